"""Train on a lent GPU that has no network: pack what it needs, train there, bring back a file.

python benchmarks/gpu.py pack --data_dir=../shared/data
python3 benchmarks/gpu.py unpack                                     # there, once for each part
python3 benchmarks/gpu.py train --limit=150 --out=$OUT               # there
python3 benchmarks/gpu.py train --limit=590 --fall=True --out=$OUT   # there

The first command runs here. It fills the git-ignored folders .gpu/1, .gpu/2 and so on with the
training images and with the wheels that the machine lacks (it has JAX, Flax, Optax, Orbax and
scikit-image). Each is small enough to travel with the working tree; carry one in each call, with
unpack as the command.

A call of train goes on from the last one, and ends in time. At first the learning rate is constant,
and the first call shows how fast the machine is; the call with --fall lets it fall linearly to
where that speed leads. What comes back is the metrics and run.tar.gz: the workdir, to go on from
here, for evaluate.py and for benchmarks/bundle.py.
"""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

FOLDER = Path(".gpu")
THERE = Path("/tmp/hyperfunc")  # noqa: S108 - the machine is ours alone, and given back.
WHEELS = (
    "array-record cattrs cloudpickle docstring-parser etils grain portpicker tensorboardx typeguard"
    " tyro"
).split()
"""What the machine lacks, with all that it depends on; sys.path's end, so that its own go first."""

MOST_BYTES = 63 * 2**20
STARTING, SAVING = 25.0, 20.0
"""Seconds of a call before the first step (when XLA's cache is warm) and after the last."""


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
class Unpack:
    """Keep on the machine what this call carried."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train, or go on with it, and export.

    Attributes:
        out: folder of what comes back.
        limit: seconds after which this call ends.
        fall: let the learning rate fall, to its end at the end of this call.
        flags: for train.py, as one string.
    """

    out: Path
    limit: float = 590.0
    fall: bool = False
    flags: str = "--preset=sr_large"


def pack(arguments: Pack) -> None:
    """Fill the folders anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    wheels = FOLDER / "1" / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        + [f"--python-version={arguments.python}", f"--dest={wheels}"]
        + [f"--platform=manylinux_{version}_x86_64" for version in ("2_17", "2_24", "2_28")]
        + ["--platform=manylinux2014_x86_64", *WHEELS],
        check=True,
    )
    tracked = subprocess.check_output(["git", "ls-files", "-z"], text=True).split("\0")
    own = sum(size_of(Path(name)) for name in tracked if name)
    images = sorted(path for path in (arguments.data_dir / "train").rglob("*") if path.is_file())
    part, room = 1, MOST_BYTES - own - sum(map(size_of, wheels.iterdir()))
    for image in images:
        if size_of(image) > room:
            part, room = part + 1, MOST_BYTES - own
        room -= size_of(image)
        path = FOLDER / str(part) / "data" / image.relative_to(arguments.data_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, path)
    print(f"packed {len(images)} images: carry .gpu/1 to .gpu/{part}, one in each call of unpack")


def size_of(path: Path) -> int:
    """What a file counts, with a little for what an archive adds."""
    return path.stat().st_size + 1024 if path.is_file() else 0


def unpack() -> None:
    """Move images to where the next call finds them, and install the wheels."""
    site = THERE / "site"
    for part in FOLDER.iterdir():
        shutil.copytree(part / "data", THERE / "data", dirs_exist_ok=True)
        if (part / "wheels").exists() and not site.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
            wheels = map(str, (part / "wheels").glob("*.whl"))
            subprocess.run([*command, f"--target={site}", *wheels], check=True)
        shutil.rmtree(part)
    print(f"{sum(path.is_file() for path in THERE.glob('data/**/*'))} images so far")


def train(arguments: Train) -> None:
    """Train until shortly before the limit."""
    end = time.monotonic() + arguments.limit - SAVING
    workdir = THERE / "run"
    steps, decay = 10**7, 1e-7
    if arguments.fall:
        step, rate = last_step(workdir), steps_per_second(workdir)
        steps = step + int(0.95 * rate * (end - time.monotonic() - STARTING))
        decay = (steps - step) / steps
        print(f"{rate:.0f} steps a second: from {step} to {steps}", flush=True)
    code = f"import sys; sys.path += ['{THERE / 'site'}']; import train; train.main()"
    command = [sys.executable, "-c", code, f"--workdir={workdir}", f"--data_dir={THERE / 'data'}"]
    command += ["--data.resident=True", "--run.log_every=250", f"--run.steps={steps}"]
    # A validation compiles for every size of image: only the last step has one.
    command += [f"--run.{name}={10**7}" for name in ("save_every", "validate_every")]
    command += [f"--optimizer.decay={decay:.6f}", *shlex.split(arguments.flags)]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(THERE / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    with subprocess.Popen(command, env=os.environ | cache) as process:
        try:
            process.wait(timeout=max(end - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
    if process.returncode:
        sys.exit(f"train.py ended with {process.returncode}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    shutil.copy(workdir / "metrics.jsonl", arguments.out)
    with tarfile.open(arguments.out / "run.tar.gz", "w:gz") as archive:
        archive.add(workdir / "metrics.jsonl", "run/metrics.jsonl")
        newest = f"checkpoints/{last_step(workdir)}"
        archive.add(workdir / newest, f"run/{newest}")


def last_step(workdir: Path) -> int:
    """The newest checkpoint."""
    steps = [path.name for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(map(int, steps), default=0)


def steps_per_second(workdir: Path) -> float:
    """How fast the last call trained."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    config = workdir / "checkpoints" / str(last_step(workdir)) / "config" / "metadata"
    data = json.loads(config.read_text())["experiment"]["data"]
    return statistics.median(rates[-12:]) / data["batch_size"]


def main() -> None:
    """Run the command."""
    if sys.argv[1:2] == ["unpack"]:  # Before anything that it unpacks.
        unpack()
        return
    # The command line's library may be among the wheels.
    sys.path += [str(THERE / "site"), "."]
    import tyro

    commands = Pack | Unpack | Train
    arguments = tyro.cli(commands, config=(tyro.conf.FlagConversionOff,))  # pyright: ignore
    if isinstance(arguments, Pack):
        pack(arguments)
    elif isinstance(arguments, Train):
        train(arguments)


if __name__ == "__main__":
    main()
