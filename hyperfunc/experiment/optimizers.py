"""Optimisers: an Optax chain from a small config."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Literal

import jax

from hyperfunc.errors import check_range

if TYPE_CHECKING:
    import optax


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
        rates = ("learning_rate", "muon_learning_rate")
        check_range(self, *rates, "warmup", "weight_decay", "clip_norm", least=0)
        check_range(self, "decay", "final", least=0, most=1)
        if not 0 <= self.b2 < 1:
            raise ValueError(f"b2 {self.b2}: give a decay in [0, 1)")

    def make_schedule(self, peak: float, steps: int) -> "optax.Schedule":
        """Learning rate as a function of the step."""
        import optax  # Models are loaded without it.

        warmup = min(self.warmup, steps // 2)
        rise = optax.linear_schedule(peak / max(warmup, 1), peak, warmup)
        rest = max(steps - warmup, 1)
        if self.schedule == "cosine":
            fall = optax.cosine_decay_schedule(peak, rest, alpha=self.final)
        else:
            length = min(max(round(steps * self.decay), 1), rest)
            fall = optax.linear_schedule(peak, peak * self.final, length, rest - length)
        return optax.join_schedules([rise, fall], [warmup])

    def make_schedules(self, steps: int) -> "dict[str, optax.Schedule]":
        """The learning rates that are in use, by name, as functions of the step."""
        names = ["learning_rate", *["muon_learning_rate"] * (self.method == "muon")]
        return {name: self.make_schedule(getattr(self, name), steps) for name in names}

    def make(self, steps: int) -> "optax.GradientTransformation":
        """Build the transformation for a run of ``steps`` steps."""
        import optax

        schedules = self.make_schedules(steps)
        clip = optax.clip_by_global_norm(self.clip_norm) if self.clip_norm else optax.identity()
        if self.method == "adamw":
            update = optax.adamw(
                schedules["learning_rate"],
                b2=self.b2,
                weight_decay=self.weight_decay,
                mask=_is_kernel,
            )
            return optax.chain(clip, update)
        from hyperfunc.experiment.muon import muon_dimensions, on_stacks

        update = optax.contrib.muon(
            schedules["muon_learning_rate"],
            weight_decay=self.weight_decay,
            adam_learning_rate=schedules["learning_rate"],
            adam_b2=self.b2,
            muon_weight_dimension_numbers=functools.partial(muon_dimensions, self.muon_pointwise),
        )
        return on_stacks(optax.chain(clip, update))


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
