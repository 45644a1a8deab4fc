"""What restoring 3840 x 2160 pixels costs, beside enlarging as many by two.

python -m benchmarks.restoration_4k --json=docs/results/restoration_4k.json

Each command runs in a process of its own, in turns, and compiles its programs. Memory is the
largest resident set of the process. CPU seconds are those of all cores.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from hyperfunc.files import save_json
from hyperfunc.images import write_image

SIZE = (2160, 3840)
"""(height, width)."""

COMMANDS = {
    "restore": ["restore"],
    "upscale_x2": ["upscale", "--scale=2"],
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure, print and write JSON.

    Attributes:
        json: the file of the results.
        repeats: of each command; the median counts.
    """

    json: Path | None = None
    repeats: int = 1


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    rng = np.random.default_rng(0)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noise.jpg"
        pixels = rng.integers(256, size=(*SIZE, 3), dtype=np.uint8)
        write_image(source, pixels)
        for _ in range(arguments.repeats):
            for name, words in COMMANDS.items():
                runs[name].append(measure(words, source))
                print(name, runs[name][-1], flush=True)
    result = {
        name: {key: float(np.median([run[key] for run in of_name])) for key in of_name[0]}
        for name, of_name in runs.items()
    }
    if arguments.json is not None:
        about = {"size": SIZE, "repeats": arguments.repeats, "cores": os.cpu_count()}
        save_json(arguments.json, {**about, **result})


def measure(words: list[str], source: Path) -> dict[str, float]:
    """Run a command once: seconds, CPU seconds and the peak of its memory in GiB."""
    command = [sys.executable, "-m", "hyperfunc", words[0], str(source)]
    target = source.with_name("out.jpg")
    began = time.perf_counter()
    process = subprocess.Popen([*command, str(target), *words[1:], "--overwrite", "--no-cache"])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 3),
    }


if __name__ == "__main__":
    main()
