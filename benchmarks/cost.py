"""What one image costs: docs/results/cost.json. Run it alone on the machine.

python -m benchmarks.cost --json=docs/results/cost.json

Times are medians, the parts of a ratio are measured in turns in one run, and everything is warm
(compiled) unless it says otherwise. A whole is uint8 in, uint8 out, through the same `Upscaler` as
the command line. FLOPs count a multiplication and an addition as two.
"""

import dataclasses
import functools
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.devices import use_cpu_cores
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.function import encode, render
from hyperfunc.upscaling import Upscaler

SMALL, LARGE = (180, 320), (540, 960)
"""(height, width) of the inputs: to 1280 x 720 and 3840 x 2160 at scale 4."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure time, memory and compilations of the bundled checkpoint.

    Attributes:
        workdir: a training run, or the name of a bundled checkpoint.
        json: the file of the results.
        repeats: of each timing.
        photographs: of different sizes, to count compilations.
        liif: compare with LIIF's decoder on the same trunk, which takes minutes on a CPU.
        memory_only: internal: render 4K in this process and print its peak memory.
    """

    workdir: str = "sr"
    json: Path | None = None
    repeats: int = 5
    photographs: int = 100
    liif: bool = True
    memory_only: bool = False


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores()
        if arguments.memory_only:
            print(json.dumps(measure_memory(arguments)))
            return
        result = measure(arguments)
        print(json.dumps(result, indent=1))
        if arguments.json is not None:
            save_json(arguments.json, result)


def measure(arguments: Arguments) -> dict[str, Any]:
    """Everything, as the JSON file has it."""
    model = load_model(arguments.workdir)
    network, variables = model.hypernetwork, model.variables
    rng = np.random.default_rng(0)
    small, large = (photograph(rng, size) for size in (SMALL, LARGE))
    upscaler = Upscaler(network, variables)
    sizes = {"x4": (720, 1280), "x3.7": (666, 1184), "x2": (360, 640)}
    trunk = make_trunk(network, variables)
    seconds: dict[str, float] = {}

    def whole(image: np.ndarray, size: tuple[int, int]) -> Callable[[], Any]:
        return lambda: upscaler(image, size)

    timed = {f"whole_{name}": whole(small, size) for name, size in sizes.items()}
    timed["trunk"] = lambda: trunk(small)
    seconds |= in_turns(timed, arguments.repeats)
    timed = {"whole_4k_x4": whole(large, (2160, 3840)), "trunk_4k": lambda: trunk(large)}
    seconds |= in_turns(timed, max(arguments.repeats // 2, 2))

    # A second size of the same functional image: theta is there already.
    keep = jax.jit(lambda image: encode(network, variables, image.astype(jnp.float32) / 255)[0])
    draw = jax.jit(lambda function, size: to_bytes(render(function, size)), static_argnums=1)
    function = jax.block_until_ready(keep(small[None]))
    timed = {
        "first_size": lambda: jax.block_until_ready(draw(keep(small[None]), sizes["x4"])),
        "second_size_x4": lambda: jax.block_until_ready(draw(function, sizes["x4"])),
        "second_size_x2": lambda: jax.block_until_ready(draw(function, sizes["x2"])),
        "second_size_x3.7": lambda: jax.block_until_ready(draw(function, sizes["x3.7"])),
    }
    seconds |= in_turns(timed, arguments.repeats)

    plan = upscaler.plan(SMALL, sizes["x4"])
    computed = len(plan.pieces) * math.prod(read_extents(plan))
    gflop = 2e-9 * conv_macs(variables["params"]) * computed
    seconds |= in_turns({"matmul": (product := make_product())}, arguments.repeats)
    matmul_rate = product.gflop / seconds["matmul"]
    result: dict[str, Any] = {
        "total_over_trunk": {name: seconds[f"whole_{name}"] / seconds["trunk"] for name in sizes},
        "total_over_trunk_4k": seconds["whole_4k_x4"] / seconds["trunk_4k"],
        "second_size_over_first": seconds["second_size_x4"] / seconds["first_size"],
        "second_size_x3.7_over_first": seconds["second_size_x3.7"] / seconds["first_size"],
        "trunk_pixels_over_image_pixels": computed / (SMALL[0] * SMALL[1]),
        "trunk_gflops": gflop / seconds["trunk"],
        "matmul_gflops": matmul_rate,
        "trunk_gflops_over_matmul_gflops": gflop / seconds["trunk"] / matmul_rate,
    }
    if arguments.liif:
        liif = make_liif(network, variables, (720, 1280))
        seconds |= in_turns({"liif_x4": lambda: liif(small)}, 1)
        result["liif_total_over_ours"] = seconds["liif_x4"] / seconds["whole_x4"]
    result |= measure_tiling(network, variables, small)
    result |= measure_compilations(network, variables, arguments.photographs)
    command = [sys.executable, __file__, "--memory-only"]
    command += [f"--workdir={arguments.workdir}"]
    memory = subprocess.run(command, capture_output=True, text=True, check=True)
    result |= json.loads(memory.stdout.splitlines()[-1])
    result["seconds"] = seconds
    result["machine"] = {
        "devices": [str(device) for device in jax.devices()],
        "cores": os.cpu_count(),
        "jax": jax.__version__,
    }
    return result


def in_turns(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, measured in turns, after one call of each to compile."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def read_extents(plan: Any) -> tuple[int, int]:
    """(height, width) of what each tile of a plan reads, in input pixels."""
    rows, cols = plan.pieces[0].source
    return rows.stop - rows.start, cols.stop - cols.start


def make_trunk(network: Any, variables: Any) -> Callable[[np.ndarray], Any]:
    """The trunk alone, on the tiles that the whole works on, halo and all."""
    upscaler = Upscaler(network, variables)
    trunk_variables = {"params": variables["params"]["backbone"]}
    backbone = network.backbone.clone(parent=None)

    @functools.cache
    def compiled(shape: tuple[int, ...]) -> Any:
        mesh = upscaler.mesh
        spec = jax.sharding.PartitionSpec
        return jax.jit(
            jax.shard_map(
                lambda x: backbone.apply(trunk_variables, x),
                mesh=mesh,
                in_specs=spec(mesh.axis_names[0]),
                out_specs=spec(mesh.axis_names[0]),
                check_vma=False,
            )
        )

    def run(image: np.ndarray) -> None:
        plan = upscaler.plan(image.shape[:2], (4 * image.shape[0], 4 * image.shape[1]))
        group = upscaler.mesh.size
        tiles = np.zeros((group, *read_extents(plan), 3), np.float32)
        for _ in range(0, len(plan.pieces), group):
            result = compiled(tiles.shape)(tiles)
        jax.block_until_ready(result)

    return run


def conv_macs(params: Any) -> int:
    """Multiplications of the trunk for each pixel: the size of its kernels."""
    leaves = jax.tree.leaves(params["backbone"])
    return sum(int(leaf.size) for leaf in leaves if leaf.ndim == 4)


def make_product(devices: list[Any] | None = None, side: int = 2048) -> Callable[[], Any]:
    """A product of matrices on every device at once, the machine's peak."""
    devices = devices or jax.devices()
    count = len(devices)
    mesh = jax.make_mesh((count,), ("data",), devices=devices)
    sharding = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    a = jax.device_put(jnp.ones((count, side, side)), sharding)
    spec = jax.sharding.PartitionSpec("data")
    product = jax.jit(
        jax.shard_map(lambda x: (x[0] @ x[0])[None], mesh=mesh, in_specs=spec, out_specs=spec)
    )

    def run() -> None:
        jax.block_until_ready(product(a))

    run.gflop = 2e-9 * count * side**3
    return run


def make_liif(
    network: Any, variables: Any, size: tuple[int, int], *, chunk: int = 30_000
) -> Callable[[np.ndarray], Any]:
    """The same trunk under LIIF's decoder: unfolded features, cell, four corners, MLP of 4 x 256.

    Random weights: only its cost is wanted. In chunks of the size that LIIF's own script uses.

    Reference: Chen et al. 2021, "Learning continuous image representation with local implicit image
    function"; github.com/yinboc/liif.
    """
    backbone = network.backbone.clone(parent=None)
    trunk_variables = {"params": variables["params"]["backbone"]}
    width = 9 * network.backbone.width + 4
    widths = [width, 256, 256, 256, 256, 3]
    keys = jax.random.split(jax.random.key(0), 5)
    layers = [
        jax.random.normal(key, shape) / np.sqrt(shape[0])
        for key, shape in zip(keys, zip(widths, widths[1:], strict=False), strict=False)
    ]

    @jax.jit
    def features_of(image: jax.Array) -> jax.Array:
        x = backbone.apply(trunk_variables, image.astype(jnp.float32)[None] / 255)
        padded = jnp.pad(x[0], ((1, 1), (1, 1), (0, 0)))
        h, w = x.shape[1:3]
        return jnp.concatenate(
            [padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=-1
        )

    @jax.jit
    def query(features: jax.Array, coords: jax.Array) -> jax.Array:
        h, w = features.shape[:2]
        position = coords * jnp.array([h, w]) - 0.5
        total, areas = 0.0, 0.0
        for dy in (0, 1):
            for dx in (0, 1):
                corner = jnp.floor(position) + jnp.array([dy, dx])
                offset = position - corner
                index = jnp.clip(corner.astype(int), 0, jnp.array([h - 1, w - 1]))
                cell = jnp.broadcast_to(jnp.array([h / size[0], w / size[1]]), offset.shape)
                x = jnp.concatenate([features[index[:, 0], index[:, 1]], offset, cell], axis=-1)
                for layer in layers[:-1]:
                    x = jax.nn.relu(x @ layer)
                area = jnp.abs((1 - jnp.abs(offset)).prod(axis=-1, keepdims=True)) + 1e-9
                total, areas = total + area * (x @ layers[-1]), areas + area
        return to_bytes(total / areas)

    grid = (np.indices(size).reshape(2, -1).T + 0.5) / np.array(size)
    grid = np.pad(grid, ((0, -len(grid) % chunk), (0, 0)), mode="edge").astype(np.float32)

    def run(image: np.ndarray) -> np.ndarray:
        features = features_of(image)
        parts = [
            np.asarray(query(features, grid[i : i + chunk])) for i in range(0, len(grid), chunk)
        ]
        return np.concatenate(parts)[: size[0] * size[1]].reshape(*size, 3)

    return run


def measure_tiling(network: Any, variables: Any, image: np.ndarray) -> dict[str, float]:
    """Largest difference between an image in small tiles and as one."""
    image = image.astype(np.float32) / 255
    worst = 0.0
    for size in ((360, 640), (666, 1184)):
        whole = Upscaler(network, variables, devices=jax.devices()[:1], largest_tile=4096)
        tiled = Upscaler(network, variables, largest_tile=64)
        worst = max(worst, float(np.abs(whole(image, size) - tiled(image, size)).max()))
    return {"tiled_max_abs_diff": worst}


def measure_compilations(network: Any, variables: Any, count: int) -> dict[str, Any]:
    """Compilations and seconds for photographs of many sizes, each enlarged twice its size."""
    rng = np.random.default_rng(1)
    upscaler = Upscaler(network, variables)
    compiled, waited = [], []
    for _ in range(count):
        height, width = rng.integers(100, 400, size=2)
        image = photograph(rng, (int(height), int(width)))
        before = upscaler.compilations
        began = time.perf_counter()
        upscaler(image, (2 * int(height), 2 * int(width)))
        waited.append(time.perf_counter() - began)
        compiled.append(upscaler.compilations - before)
    is_compiling = np.array(compiled) > 0
    seconds = np.array(waited)
    return {
        f"compiles_for_{count}_sizes": int(sum(compiled)),
        "seconds_with_a_compilation": float(np.median(seconds[is_compiling])),
        "seconds_without": float(np.median(seconds[~is_compiling])),
    }


def measure_memory(arguments: Arguments) -> dict[str, float]:
    """Peak memory of one 4K image above what the imports and the model take, in GiB."""
    model = load_model(arguments.workdir)
    upscaler = Upscaler(model.hypernetwork, model.variables)
    image = photograph(np.random.default_rng(0), LARGE)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # Start the peak anew.
    before = peak_gib()
    upscaler(image, (2160, 3840))
    return {"peak_extra_gib_4k": peak_gib() - before}


def peak_gib() -> float:
    """Largest resident set of this process so far (Linux; not that of the process that made it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def photograph(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Noise: what an image shows does not change what it costs."""
    return rng.integers(256, size=(*size, 3), dtype=np.uint8)


def to_bytes(image: jax.Array) -> jax.Array:
    """[0, 1] to 0..255."""
    return jnp.floor(jnp.clip(image, 0, 1) * 255 + 0.5).astype(jnp.uint8)


if __name__ == "__main__":
    main()
