"""Theta: the emitted parameters of target networks, plain or as a product of two factors.

Both classes are pytrees and offer the same; no other file tells them apart. Arrays that differ
between windows have the leading axes [b, window rows, window columns].
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from hyperfunc.types import Theta


@flax.struct.dataclass
class PlainTheta:
    """Theta as a nested dict of arrays [b, window rows, window columns, ...]."""

    parameters: Theta

    @property
    def batch(self) -> int:
        """The number of images."""
        return jax.tree.leaves(self.parameters)[0].shape[0]

    @property
    def layers(self) -> list[str]:
        """Names of the target network's emitted layers, in the order of their application."""
        return order_layers(self.parameters)

    @property
    def numbers_per_window(self) -> int:
        """How many numbers are computed or read to get the parameters of one window."""
        return sum(math.prod(leaf.shape[3:]) for leaf in jax.tree.leaves(self.parameters))

    def map_windows(self, change: Callable[..., Any], *others: Any) -> "PlainTheta":
        """Apply a function to every array that differs between windows, with those of others."""
        trees = (theta.parameters for theta in (self, *others))
        return PlainTheta(jax.tree.map(change, *trees))

    def select(self, rows: Any, cols: Any) -> Theta:
        """Return the parameters of some windows of each image, [b, *index, ...].

        The shapes of ``rows`` and ``cols`` broadcast to ``index``.
        """
        return jax.tree.map(lambda leaf: leaf[:, rows, cols], self.parameters)

    def mix(self, other: "AnyTheta", t: Any, layers: Sequence[str]) -> "PlainTheta":
        """Interpolate linearly towards another theta (t = 1) in the named layers."""
        return PlainTheta(mix(self.parameters, other.parameters, t, layers))

    def arrays(self) -> dict[str, Any]:
        """Return the arrays as a nested dict, for storing them."""
        return self.parameters

    def factors(self) -> tuple[Float[Array, "b gh gw f"], Float[Array, "f d c"]]:
        """Return features and a kernel whose product are a linear target network's coefficients."""
        coefficients = self.parameters["coefficients"]
        d, c = coefficients.shape[3:]
        features = coefficients.reshape(*coefficients.shape[:3], d * c)
        return features, jnp.eye(d * c).reshape(d * c, d, c)

    def columns(self) -> tuple[Any, Callable[[Any], Float[Array, "d c b gh"]]]:
        """Return the columns of windows, [window columns, ...], and what turns one into values."""
        return self.parameters["coefficients"].transpose(2, 3, 4, 0, 1), lambda column: column

    def average_channels(self, layer: str) -> "PlainTheta":
        """Make all channels their mean; ``layer`` is the target network's last."""
        return PlainTheta({**self.parameters, layer: average_channels(self.parameters[layer])})

    def scale_basis(self, factors: Float[Array, " d"]) -> "PlainTheta":
        """Multiply the coefficients of each basis function by a factor."""
        scaled = self.parameters["coefficients"] * factors[None, None, None, :, None]
        return PlainTheta({"coefficients": scaled})


@flax.struct.dataclass
class FactoredTheta:
    """Theta of a linear target network, still as a product: coefficients = features . kernel.

    A renderer may fold the kernel into the target network's basis and never compute theta.
    """

    features: Float[Array | np.ndarray, "b gh gw f"]
    kernel: Float[Array | np.ndarray, "f d c"]

    @property
    def batch(self) -> int:
        """The number of images."""
        return self.features.shape[0]

    @property
    def layers(self) -> list[str]:
        """The coefficients are one layer."""
        return ["coefficients"]

    @property
    def numbers_per_window(self) -> int:
        """A window's features and its coefficients."""
        features, *coefficients = self.kernel.shape
        return features + math.prod(coefficients)

    @property
    def parameters(self) -> Theta:
        """The product, {"coefficients": [b, window rows, window columns, d, c]}."""
        return {"coefficients": jnp.einsum("bhwf,fdc->bhwdc", self.features, self.kernel)}

    def map_windows(self, change: Callable[..., Any], *others: Any) -> "FactoredTheta":
        """Apply a function to the features, together with those of other thetas."""
        features = change(self.features, *(other.features for other in others))
        return FactoredTheta(features, self.kernel)

    def select(self, rows: Any, cols: Any) -> Theta:
        """Return the coefficients of some windows of each image; only these are multiplied out."""
        features = self.features[:, rows, cols]
        return {"coefficients": jnp.einsum("...f,fdc->...dc", features, self.kernel)}

    def mix(self, other: "AnyTheta", t: Any, layers: Sequence[str]) -> "AnyTheta":
        """Interpolate linearly towards another theta (t = 1); as a product if kernels are equal."""
        if not isinstance(other, FactoredTheta) or not are_equal(self.kernel, other.kernel):
            return PlainTheta(self.parameters).mix(other, t, layers)
        own, others = ({"coefficients": theta.features} for theta in (self, other))
        return FactoredTheta(mix(own, others, t, layers)["coefficients"], self.kernel)

    def arrays(self) -> dict[str, Any]:
        """Return the factors."""
        return {"features": self.features, "kernel": self.kernel}

    def factors(self) -> tuple[Float[Array, "b gh gw f"], Float[Array, "f d c"]]:
        """Return features and kernel."""
        return jnp.asarray(self.features), jnp.asarray(self.kernel)

    def columns(self) -> tuple[Any, Callable[[Any], Float[Array, "d c b gh"]]]:
        """Return the features column by column, and a function that multiplies one out."""
        features, basis_size, channels = self.kernel.shape
        kernel = jnp.asarray(self.kernel).reshape(features, -1)

        def emit(column: Float[Array, "b gh f"]) -> Float[Array, "d c b gh"]:
            flat = kernel.T @ column.reshape(-1, features).T
            return flat.reshape(basis_size, channels, *column.shape[:2])

        return jnp.transpose(self.features, (2, 0, 1, 3)), emit

    def average_channels(self, layer: str) -> "FactoredTheta":
        """Make all channels their mean."""
        del layer  # There is one.
        return FactoredTheta(self.features, average_channels(self.kernel))

    def scale_basis(self, factors: Float[Array, " d"]) -> "FactoredTheta":
        """Multiply the coefficients of each basis function by a factor."""
        return FactoredTheta(self.features, self.kernel * factors[None, :, None])


AnyTheta = PlainTheta | FactoredTheta


def mix(one: Any, two: Any, t: Any, layers: Sequence[str] | None = None) -> Any:
    """Interpolate linearly between two pytrees, from ``one`` (t = 0) to ``two`` (t = 1).

    Outside [0, 1] this extrapolates; ``t`` may be traced. If ``layers`` are given, the pytrees are
    dicts of layers, and those that are not named stay those of ``one``.
    """
    t = t if isinstance(t, jax.Array) else np.float32(t)
    if layers is None:
        return jax.tree.map(lambda a, b: a + t * (b - a), one, two)
    return {name: mix(one[name], two[name], t) if name in layers else one[name] for name in one}


def average_channels(layer: Any) -> Any:
    """Make all channels their mean, in a pytree of arrays whose last axis they are."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf.mean(axis=-1, keepdims=True), leaf.shape), layer
    )


def choose_layers(names: Sequence[str], layers: int | Sequence[str] | None) -> list[str]:
    """Return the names of the chosen layers: the first so many, or the named ones; all if None.

    Raises:
        ValueError: there are not so many layers, or none of that name.
    """
    if layers is None:
        return list(names)
    if isinstance(layers, int):
        if not 0 <= layers <= len(names):
            raise ValueError(f"the first {layers} layers: there are {len(names)}")
        return list(names[:layers])
    layers = [layers] if isinstance(layers, str) else layers
    missing = [name for name in layers if name not in names]
    if missing:
        raise ValueError(f"there are no layers {missing}: the layers are {list(names)}")
    return list(layers)


def order_layers(names: Iterable[str]) -> list[str]:
    """Sort layers ("layer_0", ...) in the order of their application."""

    def number(name: str) -> tuple[int, str]:
        digits = name.rsplit("_", 1)[-1]
        return (int(digits) if digits.isdigit() else 0, name)

    return sorted(names, key=number)


def are_equal(one: Any, two: Any) -> bool:
    """Whether two pytrees of parameters are equal; traced arrays are compared by shape."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False

    def is_equal(a: Any, b: Any) -> bool:
        if a.shape != b.shape:
            return False
        is_traced = isinstance(a, Tracer) or isinstance(b, Tracer)
        return is_traced or bool(np.array_equal(np.asarray(a), np.asarray(b)))

    return all(jax.tree.leaves(jax.tree.map(is_equal, one, two)))
