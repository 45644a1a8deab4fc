"""A folder of a million files: when its first output comes, and the memory: see many_files.json.

python -m benchmarks.many_files --json=docs/results/many_files.json

A few of the files are small images, and the others are empty stand-ins, which fail one by one. The
command runs in a process of its own, with compiled programs from an earlier run on one image. It is
watched until its first output and for a while after it, and then interrupted. Memory is the largest
resident set of the process.
"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from hyperfunc.files import save_json
from hyperfunc.images import write_image

SIDE = 64
"""Of an image, in pixels."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure, print and write JSON.

    Attributes:
        json: the file of the results.
        files: in the folder.
        images: of them, the first and the others spread evenly.
        seconds: to go on after the first output.
    """

    json: Path | None = None
    files: int = 1_000_000
    images: int = 6
    seconds: float = 60.0


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    print(json.dumps(result, indent=1))
    if arguments.json is not None:
        save_json(arguments.json, result)


def measure(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """Make the files, and enlarge them."""
    source, out, report = folder / "in", folder / "out", folder / "report.json"
    pixels = np.random.default_rng(0).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
    every = max(arguments.files // arguments.images, 1)
    source.mkdir()
    for i in range(arguments.files):
        path = source / f"{i:07d}.png"
        write_image(path, pixels) if i % every == 0 else path.touch()
    subprocess.run(command(source / "0000000.png", folder / "first.png"), check=True)
    began = time.monotonic()
    words = [*command(source, out), f"--report={report}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not out.is_dir() or not any(path.suffix == ".png" for path in out.iterdir()):
        if process.poll() is not None:
            raise SystemExit(f"the command has ended ({process.returncode}) without an output")
        time.sleep(0.01)
    first = {"seconds": round(time.monotonic() - began, 1), **read_process(process.pid)}
    time.sleep(arguments.seconds)
    later = read_process(process.pid)
    process.send_signal(signal.SIGINT)
    process.wait()
    counts = read_counts(report)
    looked_at = sum(counts.values())
    return {
        "files": arguments.files,
        "images": arguments.images,
        "cores": os.cpu_count(),
        "first output": first,
        "seconds after it": arguments.seconds,
        "then": {**later, **counts},
        "files per CPU second": round(
            looked_at / max(later["cpu_seconds"] - first["cpu_seconds"], 0.1)
        ),
    }


def command(source: Path, target: Path) -> list[str]:
    """The command line."""
    code = "from hyperfunc.commands import main; import sys; main(sys.argv[1:])"
    return [sys.executable, "-c", code, "upscale", str(source), str(target), "--scale=2"]


def read_process(pid: int) -> dict[str, float]:
    """The memory and the processor time that a process has taken so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return {
        "peak_mb": round(int(peak[1]) * 1024 / 1e6) if peak else 0,
        "cpu_seconds": round(ticks / os.sysconf("SC_CLK_TCK"), 1),
    }


def read_counts(report: Path) -> dict[str, int]:
    """How many files were done, and how many have failed."""
    with contextlib.suppress(FileNotFoundError):
        about = json.loads(report.read_text())
        return {name: about[name] for name in ("done", "failed")}
    return {}


if __name__ == "__main__":
    main()
