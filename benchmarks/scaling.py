"""Speed of training against the number of devices: docs/results/scaling.json.

python -m benchmarks.scaling --data_dir=DATA

Run it alone on the machine. Each number of devices gets a process of its own, which trains with the
flagship's step on real batches. On a CPU, devices are virtual: up to the number of cores their
number shows speed, beyond it that the numbers agree. FLOPs count a multiplication and an addition
as two, forward and twice that backward, of the trunk alone.
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import tyro

from benchmarks.cost import conv_macs, in_turns, make_product
from hyperfunc.commands import report_errors
from hyperfunc.data import make_batches, open_dataset
from hyperfunc.devices import batch_sharded, make_mesh, replicated, shard_batch, state_shardings
from hyperfunc.errors import UserError
from hyperfunc.experiment import SR
from hyperfunc.files import save_json
from hyperfunc.training import make_init, make_train_step, split_validation


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure how training scales over devices.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        devices: numbers of devices; of a GPU or TPU at most as many as there are.
        steps: that are timed, after one of every scale.
        json: the file of the results.
        worker: internal: measure with so many devices in this process, and print the result.
    """

    data_dir: Path | None = None
    devices: tuple[int, ...] = (1, 2, 4, 8)
    steps: int = 26
    json: Path = Path("docs/results/scaling.json")
    worker: int = 0


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        if arguments.worker:
            print(json.dumps(measure(arguments)))
            return
        rows = [run_worker(arguments, count) for count in arguments.devices]
        for row in rows:
            row["speed_over_first"] = row["images_per_second"] / rows[0]["images_per_second"]
            row["loss_over_first"] = row["loss"] / rows[0]["loss"]
        machine = {"cores": os.cpu_count(), "jax": jax.__version__}
        settings = {"preset": "sr", "batch_size": SR.data.batch_size, "steps": arguments.steps}
        save_json(arguments.json, {**settings, "machine": machine, "devices": rows})
        print(json.dumps(rows, indent=1))


def run_worker(arguments: Arguments, count: int) -> dict[str, Any]:
    """Measure in a process with ``count`` devices."""
    command = [sys.executable, __file__, f"--worker={count}", f"--steps={arguments.steps}"]
    command += [f"--data_dir={arguments.data_dir}"] if arguments.data_dir else []
    environment = {  # As `hyperfunc.devices.use_cpu_cores` has it for training.
        "JAX_NUM_CPU_DEVICES": str(count),
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    if done.returncode:
        raise SystemExit(f"{count} devices: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments: Arguments) -> dict[str, Any]:
    """Time a product of matrices, the pipeline without steps, and steps with the pipeline."""
    devices = jax.devices()[: arguments.worker]
    if len(devices) < arguments.worker:
        raise UserError(f"{arguments.worker} devices: there are only {len(devices)}; give less")
    product = make_product(devices)
    peak = product.gflop / in_turns({"product": product}, 5)["product"]

    mesh = make_mesh(devices)
    init = make_init(SR)
    shardings = state_shardings(jax.eval_shape(init), mesh, shard_parameters=False)
    state = jax.jit(init, out_shardings=shardings)()
    step = jax.jit(
        make_train_step(SR),
        in_shardings=(shardings, batch_sharded(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )
    source = open_dataset("train", data_dir=arguments.data_dir, split="train")
    training, _ = split_validation(source, SR.data.validation)
    size = SR.data.batch_size

    stream = make_batches(training, SR.task, batch_size=size, seed=0, threads=SR.data.threads)
    next(stream)  # Starts the readers.
    began = time.perf_counter()
    for _ in itertools.islice(stream, arguments.steps):
        pass
    pipeline = time.perf_counter() - began

    # On with the same stream: another would have to be filled while it is timed.
    compiled: set[int] = set()
    while len(compiled) < len(SR.task.target_sides):
        batch = next(stream)
        side = batch["target"].shape[1]
        if side not in compiled:
            compiled.add(side)
            state, _ = step(state, shard_batch(batch, mesh))
    jax.block_until_ready(state)
    began = time.perf_counter()
    for batch in itertools.islice(stream, arguments.steps):
        state, metrics = step(state, shard_batch(batch, mesh))
    jax.block_until_ready(state)
    seconds = time.perf_counter() - began

    height, width = SR.task.observed_size
    macs = conv_macs(state.params) * height * width * size
    rate = 3 * 2e-9 * macs * arguments.steps / seconds
    return {
        "devices": len(devices),
        "platform": devices[0].platform,
        "images_per_second": size * arguments.steps / seconds,
        "gflops": rate,
        "gflops_over_matmul": rate / peak,
        "pipeline_images_per_second": size * arguments.steps / pipeline,
        "loss": float(metrics["loss"]),
    }


if __name__ == "__main__":
    main()
