"""From images to images of another size, for every model."""

from typing import Any, cast

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from hyperfunc.function.functional_image import encode
from hyperfunc.function.rendering import render_grid, render_phases
from hyperfunc.networks import INFERENCE, Hypernetwork, Mode, ModelProtocol
from hyperfunc.pixels import Axis, integer_scale
from hyperfunc.types import Images, Size
from hyperfunc.values import to_unit_range


def predict(
    model: ModelProtocol,
    variables: Any,
    images: UInt8[Array, "b h w c"] | Images,
    size: Size,
    *,
    phase: Float[Array, " 2"] | None = None,
    mode: Mode = INFERENCE,
) -> Float[Array, "b y x c"]:
    """Predict images of another size.

    Args:
        model: a hypernetwork, or a network for one scale.
        variables: its Flax variables.
        images: uint8, or float in [0, 1].
        size: (height, width) of the result. A network for one scale allows only one.
        phase: (y, x) shift of the output grid in output pixels: output pixel k lies at position
            (k + 0.5 - phase) * (input size / output size) of the input. May be traced. Zero if not
            given; networks for one scale ignore it.
        mode: for what the model is applied; `TRAINING` in a training step.

    Returns:
        Nominally [0, 1], not clipped.

    Raises:
        ValueError: the model cannot predict this size.
    """
    images = to_unit_range(images)
    height, width = images.shape[1:3]
    scale = model.fixed_scale
    if scale is not None:
        if size != (height * scale, width * scale):
            raise ValueError(
                f"{type(model).__name__} for scale {scale} cannot turn {height} x {width} pixels "
                f"into {size[0]} x {size[1]}: ask for {height * scale} x {width * scale}"
            )
        mutable = ["batch_stats"] if mode.batch_statistics else []
        predicted, _ = model.apply(variables, images, mode=mode, mutable=mutable)
        return jnp.asarray(predicted)
    function, _ = encode(cast(Hypernetwork, model), variables, images, mode=mode)
    phase = jnp.zeros(2) if phase is None else phase
    whole_scale = integer_scale(size, function.size)
    if whole_scale:
        return render_phases(function, whole_scale, phase=phase, fast_gradients=mode.fast_gradients)
    steps = [pixels / count for pixels, count in zip(function.size, size, strict=True)]
    rows, cols = (Axis(-phase[i] * steps[i], steps[i], size[i]) for i in range(2))
    return render_grid(function, rows, cols)


def batch_statistics(
    model: ModelProtocol, variables: Any, images: UInt8[Array, "b h w c"] | Images
) -> Any:
    """Return the statistics of batch normalisation ("batch_stats") for a batch of images.

    They are empty if the model does not normalise.
    """
    images = to_unit_range(images)
    mode = Mode(batch_statistics=True)
    _, updates = model.apply(variables, images, mode=mode, mutable=["batch_stats"])
    return updates.get("batch_stats", {})
