"""What collections of photographs take on other devices: an estimate, and its table in a page.

python -m benchmarks.scaling_estimates --json=docs/results/scaling_estimates.json \
    --page=docs/scale.md

Two cores were measured (docs/results/cost.json); the accelerators were not. For an input megapixel
an accelerator is assumed to take

    max(FLOP / (COMPUTE_SHARE * its peak), bytes / (BANDWIDTH_SHARE * its bandwidth))

seconds, where XLA counts the FLOP and the bytes of the compiled program of `sr`, a multiplication
and an addition as two. What files take was measured here, as a part of what their rendering takes
on a core, and so holds on a busy machine, too. Training was measured on two cores
(docs/results/scaling.json) and on an H100 (docs/experiments/sr-training.md); on others it is
assumed to be as fast as memory is, and COMPUTE_SHARE of the peak at most.
"""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.cost import LARGE, SMALL, photograph
from benchmarks.pages import replace_part
from hyperfunc.devices import use_cpu_cores
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.function import encode, render
from hyperfunc.images import read_image, write_image
from hyperfunc.upscaling import Upscaler


class Device(NamedTuple):
    """What its maker and its lender say of a machine."""

    name: str
    accelerators: int
    flops: float
    """Of an accelerator, a second; dense, with the inputs of products as JAX rounds them."""
    bandwidth: float
    """Of its memory, bytes a second."""
    cores: int
    """Of the host."""
    dollars: float
    """An hour, on demand."""


CPU = Device("two cores of an Intel Xeon", 0, 0, 0, 2, 0.34 / 4)
H100 = Device("one H100 SXM", 1, 495e12, 3.35e12, 26, 3.78)
ACCELERATORS = (H100, Device("TPU v5e-8", 8, 197e12, 819e9, 224, 8 * 1.20))
OF_NOTEBOOKS = (
    Device("one T4", 1, 8.1e12, 320e9, 2, 0),
    H100,
    Device("one TPU v5e", 1, 197e12, 819e9, 24, 0),
    ACCELERATORS[1],
)
"""The T4 in float32 and the H100 in TF32, from NVIDIA's data sheets; the TPU in bfloat16, from
Google's page on it."""

H100_CROPS = 7500, 9400
"""In a second of training `sr` in batches of 64: from the slowest to the fastest."""

PRICES = {
    CPU.name: "Amazon, c5.2xlarge with 8 cores in us-east-1, 0.34 an hour: the example in the "
    "guide of EC2 Auto Scaling",
    ACCELERATORS[0].name: "Lambda, one H100 SXM, 3.78 an hour, May 2026",
    ACCELERATORS[1].name: "Google Cloud, 1.20 an hour and chip, November 2023",
}

COMPUTE_SHARE = 0.3
BANDWIDTH_SHARE = 0.6

PHOTOGRAPH = 12.0
"""Megapixels of a photograph, which becomes four times as large: x2 along each side."""

PHOTOGRAPHS = 10_000_000

FILE_BYTES = 4e6
"""Of a photograph, so that a petabyte are 250 million."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Estimate, print, and write what is named.

    Attributes:
        cost: what was measured of enlarging.
        training: what was measured of training.
        json: the file of the results.
        page: the page whose parts "scaling" and "times" are written.
        repeats: of what is timed; the median counts.
    """

    cost: Path = Path("docs/results/cost.json")
    training: Path = Path("docs/results/scaling.json")
    json: Path | None = None
    page: Path | None = None
    repeats: int = 3


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    use_cpu_cores(1)
    seconds = json.loads(arguments.cost.read_text())["seconds"]["whole_4k_x4"]
    measured = seconds / megapixels(LARGE)
    counted, parts = count_work(), measure_files(arguments.repeats)
    files = {name: part * measured * CPU.cores for name, part in parts.items()}
    rows = [describe(CPU, measured, 0.0)]
    for device in ACCELERATORS:
        one, limit = estimate(device, counted)
        row = describe(device, one / device.accelerators, files["both"] / device.cores)
        # A process has one accelerator and one thread that writes.
        row["photographs_a_second_as_it_is"] = device.accelerators / (
            PHOTOGRAPH * max(one, files["writing"])
        )
        rows.append({**row, "limit": limit})
    times = list_times(arguments, measured, counted)
    result = {
        "per_input_megapixel": counted,
        "core_seconds_of_files_over_those_of_rendering": parts,
        "core_seconds_of_files_per_input_megapixel": files,
        "compute_share": COMPUTE_SHARE,
        "bandwidth_share": BANDWIDTH_SHARE,
        "prices": PRICES,
        "devices": rows,
        "times": times,
    }
    print(json.dumps(result, indent=1))
    if arguments.json is not None:
        save_json(arguments.json, result)
    if arguments.page is not None:
        replace_part(arguments.page, "scaling", write_table(rows))
        replace_part(arguments.page, "times", write_times(times))


def megapixels(size: tuple[int, int]) -> float:
    """Of an image of (height, width)."""
    return size[0] * size[1] / 1e6


def estimate(device: Device, counted: dict[str, float]) -> tuple[float, str]:
    """Seconds of one accelerator for an input megapixel, and what takes them."""
    computing = counted["flop"] / (COMPUTE_SHARE * device.flops)
    moving = counted["bytes"] / (BANDWIDTH_SHARE * device.bandwidth)
    return max((computing, "computing"), (moving, "memory"))


def list_times(
    arguments: Arguments, measured: float, counted: dict[str, float]
) -> list[dict[str, Any]]:
    """What the notebooks take: seconds for a photograph, and crops a second of training."""
    cores = json.loads(arguments.training.read_text())["devices"][CPU.cores - 1]
    flop = 1e9 * cores["gflops"] / cores["images_per_second"]
    crops = (cores["images_per_second"],) * 2
    rows: list[dict[str, Any]] = [
        {"name": CPU.name, "photograph": PHOTOGRAPH * measured, "crops": crops}
    ]
    for device in OF_NOTEBOOKS:
        one = estimate(device, counted)[0] / device.accelerators
        most = device.accelerators * COMPUTE_SHARE * device.flops / flop
        ratio = device.accelerators * device.bandwidth / H100.bandwidth
        crops = H100_CROPS if device is H100 else tuple(min(most, ratio * x) for x in H100_CROPS)
        rows.append({"name": device.name, "photograph": PHOTOGRAPH * one, "crops": crops})
    return rows


def count_work() -> dict[str, float]:
    """What XLA counts in the program of `sr` at x2, per input megapixel."""
    model = load_model("sr")
    size = 2 * SMALL[0], 2 * SMALL[1]

    def enlarge(image: jax.Array) -> jax.Array:
        function, _ = encode(model.hypernetwork, model.variables, image.astype(jnp.float32) / 255)
        return render(function, size)

    like = jax.ShapeDtypeStruct((1, *SMALL, 3), jnp.uint8)
    counted = jax.jit(enlarge).lower(like).compile().cost_analysis()
    assert counted
    return {
        "flop": counted["flops"] / megapixels(SMALL),
        "bytes": counted["bytes accessed"] / megapixels(SMALL),
    }


def measure_files(repeats: int) -> dict[str, float]:
    """Processor time of JPEG files at x2, as a part of that of rendering on one core."""
    model, image = load_model("sr"), photograph(np.random.default_rng(0), LARGE)
    upscaler = Upscaler(model.hypernetwork, model.variables)
    size = 2 * LARGE[0], 2 * LARGE[1]
    large = upscaler(image, size)
    with tempfile.TemporaryDirectory() as folder:
        small, output = Path(folder) / "a.jpg", Path(folder) / "b.jpg"
        write_image(small, image)
        timed: dict[str, Callable[[], Any]] = {
            "rendering": lambda: upscaler(image, size),
            "reading": lambda: read_image(small),
            "writing": lambda: write_image(output, large),
        }
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(repeats):
            for name, function in timed.items():
                began = time.process_time()
                function()
                seconds[name].append(time.process_time() - began)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    parts = {name: medians[name] / medians["rendering"] for name in ("reading", "writing")}
    return {**parts, "both": sum(parts.values())}


def describe(device: Device, seconds: float, file_seconds: float) -> dict[str, Any]:
    """What a device does in a second and for a dollar.

    Args:
        device: with its price.
        seconds: to render an input megapixel on all accelerators, or on the cores.
        file_seconds: to read and write the files of one on all cores of the host.
    """
    each = PHOTOGRAPH * max(seconds, file_seconds)
    photographs = {"ten_million": PHOTOGRAPHS, "petabyte": 1e15 / FILE_BYTES}
    return {
        "name": device.name,
        "photographs_a_second": 1 / each,
        "output_megapixels_a_second": 4 * PHOTOGRAPH / each,
        "photographs_a_dollar": 3600 / each / device.dollars,
        "output_megapixels_a_dollar": 4 * PHOTOGRAPH * 3600 / each / device.dollars,
        "days": {name: count * each / 86400 for name, count in photographs.items()},
        "dollars": {
            name: count * each / 3600 * device.dollars for name, count in photographs.items()
        },
        "host_share": file_seconds / seconds,
    }


def write_table(rows: list[dict[str, Any]]) -> str:
    """The table of the page."""
    lines = [
        "| | photographs a second | output megapixels a second | photographs a dollar "
        "| output megapixels a dollar | 10 million | 1 petabyte |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, how in zip(rows, ("measured", *["**estimated**"] * len(rows)), strict=False):
        spans = [
            f"{rounded(row['days'][name])} days, ${rounded(row['dollars'][name])}"
            for name in ("ten_million", "petabyte")
        ]
        numbers = [
            rounded(row[f"{what}_a_{per}"])
            for per in ("second", "dollar")
            for what in ("photographs", "output_megapixels")
        ]
        lines.append("| " + " | ".join([f"{row['name']}, {how}", *numbers, *spans]) + " |")
    return "\n".join(lines)


def write_times(rows: list[dict[str, Any]]) -> str:
    """The table of the notebooks."""
    lines = [
        "| | a photograph of 12 megapixels at x2, seconds | training `sr`, crops a second |",
        "|---|---|---|",
    ]
    for row in rows:
        crops = " to ".join(dict.fromkeys(map(rounded, row["crops"])))
        is_cpu, is_h100 = row["name"] == CPU.name, row["name"] == H100.name
        how = ["measured" if known else "*estimated*" for known in (is_cpu, is_cpu or is_h100)]
        lines.append(
            f"| {row['name']} | {rounded(row['photograph'])}, {how[0]} | {crops}, {how[1]} |"
        )
    return "\n".join(lines)


def rounded(number: float) -> str:
    """Two digits that count."""
    digits = max(1 - int(np.floor(np.log10(number))), -12)
    return f"{round(number, digits):,.{max(digits, 0)}f}"


if __name__ == "__main__":
    main()
