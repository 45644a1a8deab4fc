"""The paper's outlook, tried: a distance in the space of weights as a loss of an autoencoder.

python -m benchmarks.theta_loss --workdir=runs/faces --data_dir=DATA

Trains one small autoencoder three times with the same data, steps and seed: on squared errors of
pixels, on squared distances of theta (of the original's and the reconstruction's target network,
each weight divided by its standard deviation over faces), and on both. Writes
docs/results/theta_loss.json.

Reference: Klocek et al. 2019, Section 5.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from hyperfunc.commands import report_errors
from hyperfunc.data import open_dataset
from hyperfunc.devices import make_mesh, replicated, shard_batch, use_cpu_cores
from hyperfunc.evaluation import FeatureSpace, frechet_distance, gradient_energy
from hyperfunc.experiment import load_model
from hyperfunc.files import save_json
from hyperfunc.function import encode
from hyperfunc.images import to_uint8
from hyperfunc.pixels import psnr_rgb, ssim_rgb

Loss = Literal["pixels", "theta", "both"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare losses.

    Attributes:
        data_dir: where datasets are; HYPERFUNC_DATA_DIR if not given.
        workdir: a training run of the preset "faces" or "faces_local", or the name of a bundled
            checkpoint, whose hypernetwork measures distances.
        code: numbers that the autoencoder keeps of a face.
        steps: of each training.
        batch_size: faces in a step.
        images: training faces.
        out: the file of the results.
    """

    data_dir: Path | None = None
    workdir: str = "faces_local"
    code: int = 64
    steps: int = 1_500
    batch_size: int = 16
    images: int = 5_000
    out: Path = Path("docs/results/theta_loss.json")


class Autoencoder(nn.Module):
    """Four convolutions of stride 2 to a code, and back."""

    code: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Reconstruct images [b, 64, 64, 3] in [0, 1]."""
        for width in (16, 32, 64, 64):
            x = nn.relu(nn.Conv(width, (3, 3), (2, 2))(x))
        shape = x.shape[1:]
        x = nn.Dense(self.code)(x.reshape(x.shape[0], -1))
        x = nn.relu(nn.Dense(int(np.prod(shape)))(x)).reshape(-1, *shape)
        for width in (64, 32, 16, 16):
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = nn.relu(nn.Conv(width, (3, 3))(x))
        return nn.sigmoid(nn.Conv(3, (3, 3))(x))


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    with report_errors():
        use_cpu_cores(arguments.batch_size)
        model = load_model(arguments.workdir)
        train = open_dataset("faces", data_dir=arguments.data_dir, split="train")
        train = np.stack(list(train.select(list(range(min(arguments.images, len(train)))))))
        test = np.stack(list(open_dataset("faces", data_dir=arguments.data_dir, split="test")))
        features = FeatureSpace.fit(train[: len(test)])

        def emit(images: jax.Array) -> jax.Array:
            theta = encode(model.hypernetwork, model.variables, images)[0].expanded()
            return jnp.concatenate(
                [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(theta)], axis=1
            )

        seen = np.concatenate(
            [
                np.asarray(jax.jit(emit)(train[i : i + 50] / np.float32(255)))
                for i in range(0, 500, 50)
            ]
        )
        spread = jnp.asarray(seen.std(axis=0) + 1e-4)
        rows = {}
        for loss in ("pixels", "theta", "both"):
            began = time.perf_counter()
            rebuilt = run(arguments, loss, lambda x: emit(x) / spread, train, test)
            rows[loss] = {
                "psnr": float(
                    np.mean([psnr_rgb(a, b) for a, b in zip(test, rebuilt, strict=True)])
                ),
                "ssim": float(
                    np.mean([ssim_rgb(a, b) for a, b in zip(test, rebuilt, strict=True)])
                ),
                "frechet": frechet_distance(features(test), features(rebuilt)),
                "gradient_energy": float((gradient_energy(rebuilt) / gradient_energy(test)).mean()),
                "seconds": time.perf_counter() - began,
            }
            print(loss, rows[loss], flush=True)
        settings = {
            "code": arguments.code,
            "steps": arguments.steps,
            "batch_size": arguments.batch_size,
            "images": len(train),
            "test_images": len(test),
            "hypernetwork": model.fingerprint,
        }
        save_json(arguments.out, {**settings, "losses": rows})


def run(arguments: Arguments, loss: Loss, emit: Any, train: np.ndarray, test: np.ndarray) -> Any:
    """Train with one loss, and reconstruct the test images."""
    network = Autoencoder(arguments.code)
    mesh = make_mesh()
    params = network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, arguments.steps, 0.01))
    state = jax.device_put((params, optimizer.init(params)), replicated(mesh))

    def objective(params: Any, images: jax.Array) -> jax.Array:
        rebuilt = jnp.asarray(network.apply(params, images))
        pixels = jnp.square(rebuilt - images).mean()
        if loss == "pixels":
            return pixels
        theta = jnp.square(emit(rebuilt) - jax.lax.stop_gradient(emit(images))).mean()
        # Both start at about one hundredth; neither drowns the other.
        return theta if loss == "theta" else pixels + 0.01 * theta

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, images: jax.Array) -> Any:
        params, opt_state = state
        gradient = jax.grad(objective)(params, images.astype(jnp.float32) / 255)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), opt_state

    rng = np.random.default_rng(0)
    for _ in range(arguments.steps):
        batch = train[rng.integers(len(train), size=arguments.batch_size)]
        # Waits, because XLA's CPU devices can lock each other out when steps pile up.
        state = jax.block_until_ready(step(state, shard_batch(batch, mesh)))
    rebuild = jax.jit(lambda x: network.apply(state[0], x.astype(jnp.float32) / 255))
    return to_uint8(
        np.concatenate([np.asarray(rebuild(test[i : i + 50])) for i in range(0, len(test), 50)])
    )


if __name__ == "__main__":
    main()
