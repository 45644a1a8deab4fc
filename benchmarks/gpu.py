"""Train on a GPU machine without a network: pack what it needs, train there, bring back a file.

python -m benchmarks.gpu pack --data_dir=DATA
python3 -m benchmarks.gpu unpack                           # there, once for each part
python3 -m benchmarks.gpu start --steps=N                  # after the first part and after the last
python3 -m benchmarks.gpu wait --limit=580 --out=$OUT      # with the last part
python3 -m benchmarks.gpu wait --limit=200 --stop=True --out=$OUT

The first command runs here. It fills the git-ignored folders .gpu/1, .gpu/2 and so on with the
training images (large lossless ones as JPEGs) and with the wheels that the machine lacks (it has
JAX, Flax, Optax, Orbax and scikit-image). Each is small enough to travel with the working tree;
carry one in each call, with unpack as the command. The machine waits for the next call for half a
minute only, so prepare them all.

A training runs on between the calls. What starts before all parts are there is a rehearsal with
those that are: it compiles every scale meanwhile, and shows the speed. Once all are there, start
ends it and begins, or goes on. The learning rate falls linearly from the first step to the last, so
choose as many as the rehearsal's speed allows, or a little more: with --stop, a training ends after
that call, with its newest state saved. What every wait brings back is the log, the metrics and
run.tar.gz: the workdir, to go on from here, for evaluate.py and for benchmarks/bundle.py. (Another
number of steps is compiled anew.)
"""

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

FOLDER = Path(".gpu")
THERE = Path("/tmp/hyperfunc")
"""On the GPU machine, which is ours alone and keeps this folder between calls."""
WHEELS = (
    "array-record cattrs cffi cloudpickle docstring-parser etils filelock grain jaxtyping"
    " platformdirs portpicker pycparser pyvips-binary safetensors tensorboardx tqdm"
    " typeguard tyro wadler-lindig"
).split()
"""What the machine may lack, with all that it depends on. At sys.path's end: its own go first."""

MOST_BYTES = 63 * 2**20
LARGE = 2**19
"""Of lossless images, in bytes: more of these would take more calls than minutes."""

ENDING = 20.0
"""Seconds that a training has to save its state, or that a call has for what comes back."""

REHEARSAL = 40.0
"""So long, in seconds, a training waits at most for the end of its rehearsal."""


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
class Start:
    """Rehearse, train or go on, in the background.

    Attributes:
        steps: of the whole training.
        flags: for train.py, as one string.
    """

    steps: int
    flags: str = "--preset=sr_large"


@dataclasses.dataclass(frozen=True)
class Wait:
    """Wait until the training ends, and export it.

    Attributes:
        out: folder of what comes back.
        limit: seconds after which this call ends, whether the training does or not.
        stop: end the training in time.
    """

    out: Path
    limit: float = 590.0
    stop: bool = False


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
    # It has no wheel to download, and is pure Python where libvips' headers are missing.
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={wheels}"]
    subprocess.run([*build, "pyvips>=3.1"], check=True)
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
        if is_running("rehearsal"):
            print((THERE / "rehearsal.log").read_text()[-100:])
        shutil.rmtree(part)


def start(arguments: Start) -> None:
    """Begin, in a session of its own: what a call leaves running otherwise ends with it."""
    if is_running("run"):
        sys.exit("it trains already")
    end_rehearsal()
    missing = missing_parts()
    name = "rehearsal" if missing else "run"
    if missing:
        shutil.rmtree(THERE / name, ignore_errors=True)
    code = f"import sys; sys.path += ['{THERE / 'site'}']; import train; train.main()"
    command = [sys.executable, "-c", code, f"--workdir={THERE / name}"]
    command += [f"--data_dir={THERE / 'data'}", "--data.resident=True", "--run.log_every=250"]
    # A validation compiles once more for every scale: only the last step has one.
    command += ["--run.save_every=2500", f"--run.validate_every={arguments.steps}"]
    # The schedule is compiled, too: a rehearsal and its training have the same.
    command += [f"--run.steps={arguments.steps}", "--optimizer.decay=0.99"]
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(THERE / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    with (THERE / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *shlex.split(arguments.flags)],
            env=os.environ | cache,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (THERE / f"{name}.pid").write_text(str(process.pid))
    (THERE / "steps").write_text(str(arguments.steps))
    print(f"{name}: {arguments.steps} steps" + (f", without parts {missing}" if missing else ""))


def end_rehearsal() -> None:
    """End it, not before it has compiled everything and measured its speed."""
    end, metrics = time.monotonic() + REHEARSAL, THERE / "rehearsal" / "metrics.jsonl"
    while is_running("rehearsal") and time.monotonic() < end:
        if metrics.exists() and metrics.read_text().count("images_per_second") > 2:
            break
        time.sleep(0.1)
    if is_running("rehearsal"):
        stop("rehearsal")
    if (THERE / "rehearsal.log").exists():
        print("the rehearsal has ended:", (THERE / "rehearsal.log").read_text()[-200:])


def wait(arguments: Wait) -> None:
    """Wait, and write what came of it, whatever happened."""
    if not (THERE / "run.pid").exists():
        missing = missing_parts()
        sys.exit(
            "nothing trains: " + (f"unpack parts {missing}, then " if missing else "") + "start"
        )
    end = time.monotonic() + arguments.limit - ENDING
    while is_running("run") and time.monotonic() < end:
        time.sleep(0.5)
    if is_stopped := arguments.stop and is_running("run"):
        stop("run")
    state = "trains on" if is_running("run") else "has ended"
    export(THERE / "run", arguments.out)
    print(f"the training {state}, its newest checkpoint is {last_step(THERE / 'run')}; the log:")
    print((THERE / "run.log").read_text()[-500:])
    is_done = last_step(THERE / "run") >= int((THERE / "steps").read_text())
    if not (is_done or is_stopped or is_running("run")):
        sys.exit("the training ended before its last step")


def is_running(name: str) -> bool:
    """Whether a rehearsal or the training is under way."""
    path = THERE / f"{name}.pid"
    if not path.exists():
        return False
    try:
        status = Path(f"/proc/{path.read_text()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # Dead, but nobody has asked how it ended.


def stop(name: str) -> None:
    """Let a training save its state and end."""
    pid = int((THERE / f"{name}.pid").read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 0.7 * ENDING
    while is_running(name) and time.monotonic() < end:
        time.sleep(0.1)
    if is_running(name):  # It validates, or compiles: what it saved last has to do.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while is_running(name):
        time.sleep(0.1)


def missing_parts() -> list[int]:
    """Numbers of parts of the pack that have not arrived."""
    arrived = {int(path.name): int(path.read_text()) for path in (THERE / "parts").glob("*")}
    return sorted(set(range(1, max(arrived.values(), default=1) + 1)) - arrived.keys())


def export(workdir: Path, out: Path) -> None:
    """Write the logs, the metrics and the newest checkpoint, with the state of the optimiser."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (workdir / "metrics.jsonl", *THERE.glob("*.log")):
        if path.exists():
            shutil.copy(path, out)
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

    commands = Pack | Unpack | Start | Wait
    arguments = tyro.cli(commands, config=(tyro.conf.FlagConversionOff,))  # pyright: ignore
    if isinstance(arguments, Pack):
        pack(arguments)
    elif isinstance(arguments, Start):
        start(arguments)
    elif isinstance(arguments, Wait):
        wait(arguments)


if __name__ == "__main__":
    main()
