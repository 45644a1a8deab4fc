"""How far the target networks of overlapping windows disagree about the same point."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.function.functional_image import FunctionalImage
from hyperfunc.function.rendering import evaluate_windows
from hyperfunc.pixels import to_positions


def disagreement(
    function: FunctionalImage, coords: Float[Array, "n 2"], footprint: Float[Array, "n 2"]
) -> Float[Array, "b n"]:
    """Compute the deviation of the values of the windows that cover each point.

    At x, V(x) = sum_k w_k(x) (T_k(x) - sum_j w_j(x) T_j(x))^2 is the weighted variance over the
    windows. It vanishes where a single window has all the weight, such as at a pixel's centre if
    there is one window for each pixel. So the result is the square root of the mean of V over the
    channels and over four points, each a quarter of the windows' stride away on both axes. Where
    `FunctionalImage.field_share` fades the windows out, it fades, too.

    Raises:
        ValueError: the windows do not overlap.
    """
    axes = [function.layout.axis(pixels) for pixels in function.size]
    if all(axis.overlap == 1 for axis in axes):
        raise ValueError(
            f"no two windows of {function.layout} overlap in an image of {function.size[0]} x "
            f"{function.size[1]} pixels, so none can disagree: use another checkpoint, such as sr"
        )
    quarters = [jnp.array([-axis.stride, axis.stride]) / 4 for axis in axes]
    offsets = jnp.stack(jnp.meshgrid(*quarters), axis=-1).reshape(1, 4, 2)
    positions = to_positions(coords, function.size)[:, None] + offsets
    pitch = jnp.repeat(footprint, 4, axis=0)
    values, weights = evaluate_windows(function, positions.reshape(-1, 2), pitch)
    mean = jnp.einsum("nbijc,nij->nbc", values, weights)[:, :, None, None]
    variance = jnp.einsum("nbijc,nij->bnc", jnp.square(values - mean), weights)
    variance = variance.reshape(variance.shape[0], -1, 4 * variance.shape[2]).mean(axis=2)
    # The derivative of the square root is infinite at zero.
    root = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
    share = function.field_share((footprint[:, 0], footprint[:, 1]))
    return jnp.broadcast_to(share, footprint.shape[:1])[None] * root
