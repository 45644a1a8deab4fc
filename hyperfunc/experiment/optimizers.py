"""Optimisers: an Optax chain from a small config."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from hyperfunc.errors import check_range


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW, or Muon for the inner kernels and AdamW for the rest.

    Attributes:
        method: "adamw", or "muon": kernels of spatial convolutions between hidden layers are
            updated by an orthogonalised momentum (spectral norm ``muon_learning_rate``), all else
            by AdamW with Nesterov's momentum.
        learning_rate: peak of AdamW's.
        muon_learning_rate: peak of Muon's.
        muon_pointwise: let Muon update 1x1 kernels between hidden layers, too, but for the fusions
            of many.
        warmup: steps of linear warm-up.
        schedule: "cosine" to the end of the run, or "trapezoid": constant until the last
            ``decay`` of the run, then linear.
        decay: part of the run in which a trapezoid falls.
        final: where the rate has fallen to when the last step is done, as a part of the peak.
        weight_decay: decoupled, on kernels; with "muon" on those that Muon updates.
        clip_norm: largest norm of the gradient; 0 does not clip.
        b2: decay of AdamW's second moment.

    Reference: Loshchilov & Hutter 2019 (AdamW); Jordan et al. 2024 (Muon).
    """

    method: Literal["adamw", "muon"] = "muon"
    learning_rate: float = 1e-3
    muon_learning_rate: float = 1e-2
    muon_pointwise: bool = False
    warmup: int = 100
    schedule: Literal["cosine", "trapezoid"] = "cosine"
    decay: float = 0.3
    final: float = 0.01
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    b2: float = 0.999

    def __post_init__(self) -> None:
        """Check the ranges."""
        rates = ("learning_rate", "muon_learning_rate")
        check_range(self, *rates, "warmup", "weight_decay", "clip_norm", least=0)
        check_range(self, "decay", "final", least=0, most=1)
        if not 0 <= self.b2 < 1:
            raise ValueError(f"b2 {self.b2}: give a decay in [0, 1)")

    def make_schedule(self, peak: float, steps: int) -> optax.Schedule:
        """Learning rate as a function of the step."""
        warmup = min(self.warmup, steps // 2)
        rise = optax.linear_schedule(peak / max(warmup, 1), peak, warmup)
        rest = max(steps - warmup, 1)
        if self.schedule == "cosine":
            fall = optax.cosine_decay_schedule(peak, rest, alpha=self.final)
        else:
            length = min(max(round(steps * self.decay), 1), rest)
            fall = optax.linear_schedule(peak, peak * self.final, length, rest - length)
        return optax.join_schedules([rise, fall], [warmup])

    def make_schedules(self, steps: int) -> dict[str, optax.Schedule]:
        """The learning rates that are in use, by name, as functions of the step."""
        names = ["learning_rate", *["muon_learning_rate"] * (self.method == "muon")]
        return {name: self.make_schedule(getattr(self, name), steps) for name in names}

    def make(self, steps: int) -> optax.GradientTransformation:
        """Build the transformation for a run of ``steps`` steps."""
        schedules = self.make_schedules(steps)
        clip = optax.clip_by_global_norm(self.clip_norm) if self.clip_norm else optax.identity()
        if self.method == "adamw":
            update = optax.adamw(
                schedules["learning_rate"],
                b2=self.b2,
                weight_decay=self.weight_decay,
                mask=_is_kernel,
            )
        else:
            update = optax.contrib.muon(
                schedules["muon_learning_rate"],
                weight_decay=self.weight_decay,
                adam_learning_rate=schedules["learning_rate"],
                adam_b2=self.b2,
                muon_weight_dimension_numbers=functools.partial(
                    _muon_dimensions, self.muon_pointwise
                ),
            )
            return _on_stacks(optax.chain(clip, update))
        return optax.chain(clip, update)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _muon_dimensions(is_pointwise_too: bool, stacks: Any) -> Any:
    """Say which stacks are of hidden convolutions, and how their kernels are matrices.

    [n, k, k, c_in, c_out] are n matrices [k k c_in, c_out].
    """

    def dimensions(stack: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        shape = stack.shape[1:]
        if len(shape) != 4 or shape[2] < 16:
            return None
        # A fusion of many layers has far more inputs than outputs.
        is_layer = is_pointwise_too and 16 <= shape[3] and shape[2] <= 2 * shape[3]
        if shape[0] * shape[1] > 1 or is_layer:
            return optax.contrib.MuonDimensionNumbers((1, 2, 3), 4)
        return None

    return jax.tree.map(dimensions, stacks)


def _on_stacks(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Run a transformation on stacks of all leaves of one shape.

    Muon's orthogonalisation is dozens of small operations for each kernel, whose launches take
    longer than the rest of a training step on a GPU; on a stack it is as many for all.
    """

    def init(params: Any) -> Any:
        return inner.init(stack_alike(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        params = None if params is None else stack_alike(params)
        stacks, state = inner.update(stack_alike(updates), state, params)
        return _unstack(stacks, updates), state

    return optax.GradientTransformation(init, update)


def stack_alike(tree: Any) -> dict[str, jax.Array]:
    """Stack the leaves of each shape, in the tree's order; what is done to a stack is done once."""
    alike: dict[str, list[jax.Array]] = {}
    for leaf in jax.tree.leaves(tree):
        alike.setdefault(_shape_name(leaf), []).append(leaf)
    return {name: jnp.stack(leaves) for name, leaves in alike.items()}


def _unstack(stacks: Any, like: Any) -> Any:
    """Turn stacks back into a tree."""
    leaves = {name: iter(stack) for name, stack in stacks.items()}
    return jax.tree.map(lambda leaf: next(leaves[_shape_name(leaf)]), like)


def _shape_name(leaf: jax.Array) -> str:
    return "x".join(map(str, (leaf.dtype, *leaf.shape)))
