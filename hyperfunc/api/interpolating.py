"""Algebra in weight space: between two images, through their target networks' parameters."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from hyperfunc.api.continuous_image import ContinuousImage
from hyperfunc.networks import FactoredTheta


def interpolate(
    f: ContinuousImage,
    g: ContinuousImage,
    t: float | int | Array,
    *,
    layers: int | Sequence[str] | None = None,
) -> ContinuousImage:
    """Interpolate linearly between the parameters of two images' target networks.

    Args:
        f: the image at t = 0.
        g: the image at t = 1, of the same size and from the same model.
        t: the weight of g; outside of [0, 1] it extrapolates. May be traced.
        layers: which layers take part: the first ``layers``, or those named ("layer_0", ...);
            all if not given. The others stay those of ``f``. Base images always take part.

    Raises:
        ValueError: the images differ in size, model or blur, or there are no such layers.

    Reference: Klocek et al. 2019, Section 4.1 and Figure 7.
    """
    one, two = f.function, g.function
    if f.size != g.size:
        raise ValueError(
            f"images of sizes {f.size} and {g.size} cannot be interpolated: crop first"
        )
    if f.sigma != g.sigma:
        raise ValueError(f"images blurred by {f.sigma} and {g.sigma} cannot be interpolated")
    same = (one.target, one.layout, one.base is None) == (two.target, two.layout, two.base is None)
    if not same or not _agree(one.shared, two.shared):
        raise ValueError("images that different models represent cannot be interpolated")

    def mix(a: Array, b: Array) -> Array:
        return a + t * (b - a)

    if (
        isinstance(one.theta, FactoredTheta)
        and isinstance(two.theta, FactoredTheta)
        and _agree(one.theta.kernel, two.theta.kernel)
    ):
        chosen = choose_layers(["coefficients"], layers)
        features = mix(one.theta.features, two.theta.features) if chosen else one.theta.features
        theta = FactoredTheta(features, one.theta.kernel)
    else:
        theta, other = dict(one.expanded()), two.expanded()
        for name in choose_layers(order_layers(theta), layers):
            theta[name] = jax.tree.map(mix, theta[name], other[name])
    base = jax.tree.map(mix, one.base, two.base)
    function = one.replace(theta=theta, base=base)  # pyright: ignore[reportAttributeAccessIssue]
    return dataclasses.replace(f, function=function)


def choose_layers(names: Sequence[str], layers: int | Sequence[str] | None) -> list[str]:
    """The layers that are meant by their number or their names."""
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
    """Layers in the order in which they are applied."""
    return sorted(names, key=_layer_number)


def _layer_number(name: str) -> tuple[int, str]:
    digits = name.rsplit("_", 1)[-1]
    return (int(digits) if digits.isdigit() else 0, name)


def _agree(one: Any, two: Any) -> bool:
    """Whether parameters are the same; traced ones need the same shapes only."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False

    def same(a: Any, b: Any) -> bool:
        if a.shape != b.shape:
            return False
        is_traced = isinstance(a, Tracer) or isinstance(b, Tracer)
        return is_traced or bool(np.array_equal(np.asarray(a), np.asarray(b)))

    return all(jax.tree.leaves(jax.tree.map(same, one, two)))
