"""Train on a lent GPU that has no network: pack what it needs, train there, bring back a file.

python benchmarks/gpu.py pack --data_dir=../shared/data
python3 benchmarks/gpu.py unpack                                     # there, once for each part
python3 benchmarks/gpu.py train --limit=150 --out=$OUT               # there
python3 benchmarks/gpu.py train --limit=590 --fall=True --out=$OUT   # there

The first command runs here. It fills the git-ignored folders .gpu/1, .gpu/2 and so on with the
training images (large lossless ones as JPEGs) and with the wheels that the machine lacks (it has
JAX, Flax, Optax, Orbax and scikit-image). Each is small enough to travel with the working tree;
carry one in each call, with unpack as the command. The machine waits for the next call for half a
minute only, so prepare them all.

A call of train goes on from the last one, and ends in time. At first the learning rate is constant,
and the first call shows how fast the machine is; the next one, with --fall, lets it fall linearly
to where that speed leads, and any call after that goes on with the same fall. What comes back is
the metrics and run.tar.gz: the workdir, to go on from here, for evaluate.py and for
benchmarks/bundle.py.
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
THERE = Path("/tmp/hyperfunc")
"""On the lent machine, which is ours alone and keeps this between calls."""
WHEELS = (
    "array-record cattrs cloudpickle docstring-parser etils grain portpicker tensorboardx typeguard"
    " tyro"
).split()
"""What the machine lacks, with all that it depends on; sys.path's end, so that its own go first."""

MOST_BYTES = 63 * 2**20
LARGE = 2**19
"""Of lossless images, in bytes: more of these would take more calls than minutes."""

STARTING, ENDING = 25.0, 25.0
"""Seconds of a call before the first step (when XLA's cache is warm) and after the last."""

CAUTION = 0.85
"""Of the speed that was seen: an H100 was a fifth slower in the second call than in the first."""

ENDLESS = 10**7
"""Steps of a run whose end is not known yet."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """Collect images and wheels.

    Attributes:
        data_dir: its folder train/ is packed.
        python: version of the machine's Python.
        quality: of JPEG (without subsampling), which images become that are kept without loss and
            are larger than `LARGE` bytes; 0 packs them as they are.
    """

    data_dir: Path
    python: str = "3.12"
    quality: int = 95


@dataclasses.dataclass(frozen=True)
class Unpack:
    """Keep on the machine what this call carried."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train, or go on with it, and export.

    Attributes:
        out: folder of what comes back.
        limit: seconds after which this call ends.
        fall: let the learning rate fall, to its end at the end of this call; not in the first one.
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
    images = [
        Path(folder) / name
        for folder, _, names in os.walk(arguments.data_dir / "train", followlinks=True)
        for name in names
    ]
    if not images:
        sys.exit(f"there are no images in {arguments.data_dir / 'train'}")
    part, room = 1, MOST_BYTES - own - sum(map(size_of, wheels.iterdir()))
    for image in sorted(images):
        coded = FOLDER / "coded"
        name = recode(image, coded, arguments.quality)
        if size_of(coded) > room:
            part, room = part + 1, MOST_BYTES - own
        room -= size_of(coded)
        path = FOLDER / str(part) / "data" / image.relative_to(arguments.data_dir).with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            sys.exit(f"two images would both be {path}: rename {image}")
        coded.rename(path)
    for number in range(1, part + 1):
        (FOLDER / str(number) / "parts").write_text(str(part))
    print(f"packed {len(images)} images: carry .gpu/1 to .gpu/{part}, one in each call of unpack")


def recode(image: Path, destination: Path, quality: int) -> str:
    """Copy an image, as JPEG if it is large and lossless; returns the name of what it is now."""
    if quality and image.stat().st_size > LARGE and image.suffix.lower() in (".png", ".webp"):
        # Not needed there, and may be missing.
        from PIL import Image

        from hyperfunc.images import read_image

        picture = Image.fromarray(read_image(image))
        picture.save(destination, "JPEG", quality=quality, subsampling=0)
        return f"{image.stem}.jpg"
    shutil.copy(image, destination)
    return image.name


def size_of(path: Path) -> int:
    """What a file counts, with a little for what an archive adds."""
    return path.stat().st_size + 1024 if path.is_file() else 0


def unpack() -> None:
    """Move images to where the next call finds them, and install the wheels."""
    for part in FOLDER.iterdir():
        if (part / "data").exists():
            shutil.copytree(part / "data", THERE / "data", dirs_exist_ok=True)
        if (part / "wheels").exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
            wheels = map(str, (part / "wheels").glob("*.whl"))
            target = ["--upgrade", f"--target={THERE / 'site'}"]
            subprocess.run([*command, *target, *wheels], check=True)
        (THERE / "parts").mkdir(parents=True, exist_ok=True)
        shutil.copy(part / "parts", THERE / "parts" / part.name)
        print(f"part {part.name} of {(part / 'parts').read_text()} is there")
        shutil.rmtree(part)


def train(arguments: Train) -> None:
    """Train until shortly before the limit, and write what came of it, whatever happened."""
    check_parts()
    end = time.monotonic() + arguments.limit - ENDING
    workdir = THERE / "run"
    steps, decay = plan(workdir, end) if arguments.fall else (ENDLESS, 1 / ENDLESS)
    code = f"import sys; sys.path += ['{THERE / 'site'}']; import train; train.main()"
    command = [sys.executable, "-c", code, f"--workdir={workdir}", f"--data_dir={THERE / 'data'}"]
    command += ["--data.resident=True", "--run.log_every=250", "--run.save_every=2500"]
    # A validation compiles once more for every scale: only the last step has one.
    command += [f"--run.validate_every={ENDLESS}", f"--run.steps={steps}"]
    command += [f"--optimizer.decay={decay}", *shlex.split(arguments.flags)]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(THERE / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    process = subprocess.Popen(command, env=os.environ | cache)
    try:
        process.wait(max(end - time.monotonic(), 1))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(0.7 * ENDING)
        except subprocess.TimeoutExpired:  # It validates: what it saved last has to do.
            process.kill()
    export(workdir, arguments.out)
    if process.returncode:
        sys.exit(f"train.py ended with {process.returncode}")


def check_parts() -> None:
    """End if a part is missing: a folder of images would be, and nothing else would tell."""
    arrived = {int(path.name): int(path.read_text()) for path in (THERE / "parts").glob("*")}
    missing = set(range(1, max(arrived.values(), default=1) + 1)) - arrived.keys()
    if missing:
        sys.exit(f"unpack part {', '.join(map(str, sorted(missing)))} first")


def plan(workdir: Path, end: float) -> tuple[int, float]:
    """Choose the last step and the part in which the rate falls, or find what was chosen."""
    step = last_step(workdir)
    if not step:
        sys.exit("nothing is trained yet: leave --fall out in the first call")
    config = workdir / "checkpoints" / str(step) / "config" / "metadata"
    experiment = json.loads(config.read_text())["experiment"]
    if experiment["run"]["steps"] < ENDLESS:
        return experiment["run"]["steps"], experiment["optimizer"]["decay"]
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    rate = CAUTION * statistics.median(rates[-12:]) / experiment["data"]["batch_size"]
    steps = step + int(rate * (end - time.monotonic() - STARTING))
    print(f"at {rate:.0f} steps a second: from {step} to {steps}", flush=True)
    return steps, (steps - step) / steps


def export(workdir: Path, out: Path) -> None:
    """Write the metrics and the newest checkpoint, with the state of the optimiser."""
    out.mkdir(parents=True, exist_ok=True)
    if (workdir / "metrics.jsonl").exists():
        shutil.copy(workdir / "metrics.jsonl", out)
    if step := last_step(workdir):
        with tarfile.open(out / "run.tar.gz", "w:gz") as archive:
            for name in ("metrics.jsonl", f"checkpoints/{step}"):
                archive.add(workdir / name, f"run/{name}")


def last_step(workdir: Path) -> int:
    """The newest checkpoint."""
    steps = [path.name for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(map(int, steps), default=0)


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
