"""Train the bundled checkpoint `faces_small`, whose hypernetwork reads a linear code of the face.

    python -m benchmarks.faces_small --workdir=runs/faces_small --data_dir=DATA

The first layer of its trunk is fixed: the whitened principal components of the training faces. All
else is trained as the preset says. In a layer of 12,288 inputs that is trained as well, a few
components drown the others (docs/experiments/faces-and-patches.md).
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.distributions import PrincipalComponents
from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import use_cpu_cores
from hyperfunc.evaluation import to_vectors
from hyperfunc.experiment import PRESETS, Workdir
from hyperfunc.training import make_init, make_train_step

SPREAD = 0.5
"""Standard deviation of each number of the code."""

FITTED = 1_500
"""Faces from which the components are computed."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train a small network of whole faces.

    Attributes:
        workdir: the folder for the checkpoint.
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
    """

    workdir: Path
    data_dir: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores(1)
        source = open_dataset("faces", data_dir=arguments.data_dir, split="train")
        faces = np.stack(list(source.select(range(0, len(source), 2))))
        train(faces, arguments.workdir)


def train(faces: np.ndarray, workdir: Path) -> None:
    """Train on faces, uint8 [n, 64, 64, 3], and save the last step."""
    experiment = PRESETS["faces_small"]
    code = make_code(faces, experiment.model.backbone.width)

    def with_code(params: Any) -> Any:
        fixed = jax.tree.map(jnp.array, code)  # A copy, as a step donates its state.
        return {**params, "backbone": {**params["backbone"], "code": fixed}}

    step = jax.jit(make_train_step(experiment), donate_argnums=0)
    state = jax.jit(make_init(experiment))()
    rng = np.random.default_rng(0)
    for number in range(experiment.run.steps):
        params, average = with_code(state.params), with_code(state.average)
        batch = make_batch(faces, experiment, rng)
        state, metrics = step(state.replace(params=params, average=average), batch)
        if number % 100 == 99:
            print(f"step {number + 1}, loss {float(metrics['loss']):.5f}", flush=True)
    state = state.replace(average=with_code(state.average))
    with Workdir(workdir) as folder:
        nothing = {"nothing": np.zeros(1)}  # There is no state to continue from.
        folder.save(experiment.run.steps, experiment, state.variables(), nothing, None)


def make_code(faces: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Make a dense layer of the pixels, less 0.5, to the whitened principal components."""
    chosen = np.linspace(0, len(faces) - 1, FITTED).astype(int)
    points = to_vectors(faces[chosen] / np.float32(255))
    components = PrincipalComponents.fit(points, size)
    deviations = np.sqrt(components.share * points.var(axis=0).sum())
    kernel = components.axes.T * np.float32(SPREAD / deviations)
    return {"kernel": kernel, "bias": (0.5 - components.mean) @ kernel}


def make_batch(faces: np.ndarray, experiment: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draw faces, and make the batch of the experiment's task."""
    setting = experiment.task.draw_setting(rng)
    chosen = rng.integers(len(faces), size=experiment.data.batch_size)
    examples = [experiment.task.make_example(faces[i], setting, rng) for i in chosen]
    return jax.tree.map(lambda *parts: np.stack(parts), *examples)


if __name__ == "__main__":
    main()
