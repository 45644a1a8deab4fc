"""Optimisers: an Optax chain from a small config."""

import dataclasses
from typing import Any, Literal

import jax
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
        warmup: steps of linear warm-up.
        schedule: "cosine" to the end of the run, or "trapezoid": constant until the last
            ``decay`` of the run, then linear.
        decay: part of the run in which a trapezoid falls.
        final: last learning rate, as a part of the peak.
        weight_decay: decoupled, on kernels; with "muon" on those that Muon updates.
        clip_norm: largest norm of the gradient; 0 does not clip.
        b2: decay of AdamW's second moment.

    Reference: Loshchilov & Hutter 2019 (AdamW); Jordan et al. 2024 (Muon).
    """

    method: Literal["adamw", "muon"] = "muon"
    learning_rate: float = 1e-3
    muon_learning_rate: float = 1e-2
    warmup: int = 100
    schedule: Literal["cosine", "trapezoid"] = "cosine"
    decay: float = 0.3
    final: float = 0.01
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    b2: float = 0.999

    def make_schedule(self, peak: float, steps: int) -> optax.Schedule:
        """Learning rate as a function of the step."""
        warmup = min(self.warmup, steps // 2)
        rise = optax.linear_schedule(peak / max(warmup, 1), peak, warmup)
        rest = max(steps - warmup, 1)
        if self.schedule == "cosine":
            fall = optax.cosine_decay_schedule(peak, rest, alpha=self.final)
        else:
            length = max(round(steps * self.decay), 1)
            fall = optax.linear_schedule(peak, peak * self.final, length, rest - length)
        return optax.join_schedules([rise, fall], [warmup])

    def make(self, steps: int) -> optax.GradientTransformation:
        """Build the transformation for a run of ``steps`` steps."""
        learning_rate = self.make_schedule(self.learning_rate, steps)
        clip = optax.clip_by_global_norm(self.clip_norm) if self.clip_norm else optax.identity()
        if self.method == "adamw":
            update = optax.adamw(
                learning_rate, b2=self.b2, weight_decay=self.weight_decay, mask=_is_kernel
            )
        else:
            update = optax.contrib.muon(
                self.make_schedule(self.muon_learning_rate, steps),
                weight_decay=self.weight_decay,
                adam_learning_rate=learning_rate,
                adam_b2=self.b2,
                muon_weight_dimension_numbers=_muon_dimensions,
            )
        return optax.chain(clip, update)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _muon_dimensions(params: Any) -> Any:
    """Say which leaves are hidden convolutions, and how they are matrices: [k k c_in, c_out]."""

    def dimensions(leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        if leaf.ndim == 4 and leaf.shape[0] * leaf.shape[1] > 1 and leaf.shape[2] >= 16:
            return optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)
        return None

    return jax.tree.map(dimensions, params)
