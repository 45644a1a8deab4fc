"""Train on a lent GPU that has no network: pack what it needs, train there, bring back a file.

python benchmarks/gpu.py pack --data_dir=../shared/data
python benchmarks/gpu.py train --minutes=25 --limit=560 --out=$OUT

The first command runs here. It fills the git-ignored folder .gpu/ with the training images and with
the wheels that the machine lacks (it has JAX, Flax, Optax, Orbax and scikit-image). Carried with
the working tree, all stays below 64 MiB; if it would not, some images are left out.

The second runs there, in calls of at most --limit seconds, the same command again until it says
that it is done. It trains the preset at a constant rate for 70 % of the minutes and lets the rate
fall to the end. After each call it writes to --out the metrics and model.tar.gz, a workdir for
evaluate.py and benchmarks/bundle.py.
"""

import dataclasses
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

FOLDER = Path(".gpu")
WHEELS = (
    "absl-py array-record attrs cattrs cloudpickle docstring-parser etils grain jaxtyping"
    " portpicker protobuf psutil tensorboardx tifffile tqdm typeguard typing-extensions tyro"
    " wadler-lindig"
).split()
"""What the machine lacks, with all that it depends on; sys.path's end, so that its own go first."""

MOST_BYTES = 63 * 2**20
FALL = 0.7
"""Part of the time after which the learning rate falls."""

SAVING = 30.0
"""Seconds of a call that are left for saving and exporting."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """Collect images and wheels.

    Attributes:
        data_dir: its folder train/ is packed.
        python: version of the machine's Python.
    """

    data_dir: Path
    python: str = "3.12"


@dataclasses.dataclass(frozen=True)
class Train:
    """Train, or go on with it, and export.

    Attributes:
        out: folder of what comes back.
        minutes: of training in all calls together.
        limit: seconds after which this call stops.
        workdir: of the run.
        flags: for train.py, as one string.
    """

    out: Path
    minutes: float = 25.0
    limit: float = 560.0
    workdir: Path = Path("runs/sr_large")
    flags: str = "--preset=sr_large"


def pack(arguments: Pack) -> None:
    """Fill the folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.copytree(arguments.data_dir / "train", FOLDER / "data" / "train")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        + [f"--python-version={arguments.python}", f"--dest={FOLDER / 'wheels'}"]
        + [f"--platform=manylinux_{version}_x86_64" for version in ("2_17", "2_24", "2_28")]
        + ["--platform=manylinux2014_x86_64", *WHEELS],
        check=True,
    )
    tracked = subprocess.check_output(["git", "ls-files", "-z"], text=True).split("\0")
    paths = [Path(name) for name in tracked if name and Path(name).is_file()]
    excess = sum(size_of(path) for path in [*paths, *FOLDER.rglob("*")]) - MOST_BYTES
    images = [path for path in sorted(FOLDER.glob("data/**/*")) if path.is_file()]
    left_out = 0
    # Evenly over the folders, so that what is left is like the whole.
    for path in images[:: max(int(sum(map(size_of, images)) / max(excess, 1)), 1)]:
        if excess <= 0:
            break
        excess -= size_of(path)
        left_out += 1
        path.unlink()
    print(
        f"packed {len(images) - left_out} of {len(images)} images: {-excess / 2**20:.1f} MiB left"
    )


def size_of(path: Path) -> int:
    """What a file counts, with a little for what an archive adds."""
    return path.stat().st_size + 1024 if path.is_file() else 0


def train(arguments: Train) -> None:
    """Train for what is left of the time, at most for this call's limit."""
    began, total = time.monotonic(), 60 * arguments.minutes
    path = arguments.workdir / "clock.json"
    clock = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0}
    while True:
        step, spent = last_step(arguments.workdir), clock["seconds"]
        if "steps" not in clock and spent >= FALL * total:
            clock |= {"fall": step, "steps": step + int(0.95 * step / spent * (total - spent))}
        is_falling = "steps" in clock
        # Saving and exporting take a while after the time is over.
        seconds = arguments.limit - SAVING - (time.monotonic() - began)
        is_done = is_falling and step >= clock["steps"]
        if is_done or seconds <= 0:
            break
        if is_falling:
            steps, decay = clock["steps"], (clock["steps"] - clock["fall"]) / clock["steps"]
        else:
            steps, decay = 10**7, 1e-7
            seconds = min(seconds, FALL * total - spent)
        started = time.monotonic()
        run(arguments, seconds, [f"--run.steps={steps}", f"--optimizer.decay={decay:.6f}"])
        clock["seconds"] += time.monotonic() - started
        path.write_text(json.dumps(clock))
    export(arguments)
    print(
        f"step {step}, {clock['seconds'] / 60:.1f} of {arguments.minutes:g} minutes: "
        + ("done" if is_done else "run the same command again")
    )


def unpack_wheels() -> None:
    """Install the wheels into a folder of their own, once."""
    site = FOLDER / "site"
    if not site.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
            + [f"--target={site}", *map(str, (FOLDER / "wheels").glob("*.whl"))],
            check=True,
        )


def run(arguments: Train, seconds: float, flags: list[str]) -> None:
    """Run train.py, and ask it to save and stop when the time is over."""
    code = f"import sys; sys.path += ['{FOLDER / 'site'}']; import train; train.main()"
    command = [sys.executable, "-c", code, f"--workdir={arguments.workdir}"]
    command += [f"--data_dir={FOLDER / 'data'}", *shlex.split(arguments.flags), *flags]
    with subprocess.Popen(command) as process:
        try:
            process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
    if process.returncode:
        sys.exit(f"train.py ended with {process.returncode}")


def last_step(workdir: Path) -> int:
    """The newest checkpoint."""
    steps = [path.name for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(map(int, steps), default=0)


def export(arguments: Train) -> None:
    """Write what inference needs, as one file."""
    from hyperfunc.checkpoint import export_model

    arguments.out.mkdir(parents=True, exist_ok=True)
    model = arguments.workdir / "export"
    shutil.rmtree(model, ignore_errors=True)
    export_model(arguments.workdir, model)
    with tarfile.open(arguments.out / "model.tar.gz", "w:gz") as archive:
        archive.add(model, arcname=arguments.workdir.name)
    shutil.copy(arguments.workdir / "metrics.jsonl", arguments.out)


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["train"]:
        unpack_wheels()
    # The command line's library may be among the wheels.
    sys.path += [str(FOLDER / "site"), "."]
    import tyro

    arguments = tyro.cli(Pack | Train)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if isinstance(arguments, Pack):
        pack(arguments)
    else:
        train(arguments)


if __name__ == "__main__":
    main()
