"""Interpolation between two images in the space of their target networks' parameters."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import Array

from hyperfunc.api.continuous_image import ContinuousImage
from hyperfunc.networks import are_equal, choose_layers, mix


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
        t: the weight of g; outside [0, 1] it extrapolates. It may be traced.
        layers: the layers to interpolate: the first so many, or their names ("layer_0", ...); all
            if not given. The others stay those of ``f``. Base images are always interpolated.

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
    if not same or not are_equal(one.shared, two.shared):
        raise ValueError("images that different models represent cannot be interpolated")
    theta = one.theta.mix(two.theta, t, choose_layers(one.theta.layers, layers))
    base = mix(one.base, two.base, t)
    function = one.replace(theta=theta, base=base)  # pyright: ignore[reportAttributeAccessIssue]
    return dataclasses.replace(f, function=function)
