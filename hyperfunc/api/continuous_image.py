"""One image as a continuous function: what a user of the Python API holds.

    f = hyperfunc.represent("photo.jpg")
    f.render(scale=3.7)          # pixels, [h, w, 3]
    f(coords)                    # values at points (y, x) of the unit square

A `ContinuousImage` is a pytree, and `jax.jit`, `jax.grad` and `jax.vmap` work on all of its
methods. Values are in [0, 1], except where interpolation overshoots. Methods that return pictures
clip them (unless ``clip=False``), methods that evaluate the function do not. Beyond its border the
image is mirrored.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hyperfunc.api.points import (
    Points,
    as_points,
    compare_windows,
    differentiate,
    evaluate,
    resample,
)
from hyperfunc.function import (
    FunctionalImage,
    Transform,
    blur_coefficients,
    bound_footprint,
    look_up,
    render_light,
    render_part,
)
from hyperfunc.pixels import choose_size
from hyperfunc.types import Size

POINT_FOOTPRINT = 0.25
"""Footprint of a point f(x), which has no pixel pitch, in input pixels: the smallest one (x4) for
which the models are trained."""

Number = float | int
Pair = tuple[Number, Number]
Per = Literal["image", "pixel"]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["function"], meta_fields=["sigma"]
)
@dataclasses.dataclass(frozen=True, eq=False)  # So it has a hash, which `jax.jit` requires.
class ContinuousImage:
    """An image as a function from (y, x) in [0, 1]^2 to RGB.

    Attributes:
        function: the functional image, a batch of one.
        sigma: standard deviation of the Gaussian blur that evaluation adds, in input pixels.
    """

    function: FunctionalImage
    sigma: float = 0.0

    @property
    def size(self) -> Size:
        """(height, width) of the image that was represented, in pixels."""
        return self.function.size

    def __repr__(self) -> str:
        height, width = self.size
        blurred = f", sigma={self.sigma}" if self.sigma else ""
        return f"ContinuousImage({height} x {width}, {self.function.target}{blurred})"

    def render(
        self,
        height: int | None = None,
        width: int | None = None,
        *,
        scale: Number | np.number | Pair | None = None,
        clip: bool = True,
        linear: bool = False,
    ) -> Float[Array, "height width c"]:
        """Render the whole image.

        Args:
            height: height of the result, in pixels.
            width: width of the result, in pixels.
            scale: output pixels per input pixel, instead of height and width: a positive number, or
                one for each axis (y, x). The result has scale * n pixels, rounded half up, and its
                corners are the image's.
            clip: whether to limit values to [0, 1].
            linear: whether a reduction on both axes averages light: the image at its own size is
                taken as sRGB, decoded, averaged, and encoded. A fine checkerboard then becomes a
                grey of about 0.73, which is as bright, instead of 0.5.

        Raises:
            ValueError: neither or both of the size and the scale are given, or the result has less
                than one pixel.
        """
        return self.crop(0.0, 0.0, 1.0, 1.0, height, width, scale=scale, clip=clip, linear=linear)

    def crop(
        self,
        top: Number,
        left: Number,
        bottom: Number,
        right: Number,
        height: int | None = None,
        width: int | None = None,
        *,
        scale: Number | np.number | Pair | None = None,
        clip: bool = True,
        linear: bool = False,
    ) -> Float[Array, "height width c"]:
        """Render a part of the image. Its edges and size are static.

        Args:
            top: edge of the part, in [0, 1] (pixel row divided by the height).
            left: edge of the part, in [0, 1].
            bottom: edge of the part, in [0, 1], below ``top``.
            right: edge of the part, in [0, 1], right of ``left``.
            height: as for `render`, like all that follow.
            width: width of the result, in pixels.
            scale: output pixels per input pixel, instead of height and width.
            clip: whether to limit values to [0, 1].
            linear: whether a reduction averages light.

        Raises:
            ValueError: neither or both of the size and the scale are given, the result has less
                than one pixel, or the part is empty or not inside the image.
        """
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise ValueError(
                f"cannot crop from top {top}, left {left} to bottom {bottom}, right {right}: "
                "give 0 <= top < bottom <= 1 and 0 <= left < right <= 1"
            )
        extent = (self.size[0] * (bottom - top), self.size[1] * (right - left))
        size = choose_size(extent, height, width, scale)
        is_reduced = size[0] < extent[0] and size[1] < extent[1]
        draw = render_light if linear and is_reduced else render_part
        image = draw(self.function, (top, left, bottom, right), size, sigma=self.sigma)
        return jnp.clip(image, 0.0, 1.0) if clip else image

    def warp(
        self,
        transform: ArrayLike | Transform,
        height: int | None = None,
        width: int | None = None,
        *,
        fill: Number | Sequence[Number] | Array | None = None,
        samples: int = 1,
        widest: Number | None = None,
        clip: bool = True,
    ) -> Float[Array, "height width c"]:
        """Render through a transform: rotation, homography, lens, or any other.

        The transform's Jacobian gives each output pixel a footprint per axis, over which the image
        is averaged where the transform shrinks it. For a scaling the result is that of `render`.
        Where a transform shears and shrinks, the axis-parallel footprint averages too much; more
        ``samples`` sharpen the result.

        Args:
            transform: the point that each output pixel shows, from the unit square of the output to
                that of the input: a homography, 3 x 3, that acts on (y, x, 1), or a function of
                points [..., 2], written in JAX, that acts on each point independently.
                `hyperfunc.from_pixel_matrix` converts a matrix between pixels.
            height: height of the result, in pixels; the image's own if not given.
            width: width of the result, in pixels; the image's own if not given.
            fill: value or colour outside the image, with a smooth edge one footprint wide; the
                image is mirrored there if not given.
            samples: points per output pixel and axis, whose values are averaged.
            widest: the largest footprint that is averaged exactly, in input pixels; it is static
                because it bounds the number of pixels that are read. If not given, it is measured,
                up to 16; for a traced transform it is 4. Where a footprint is larger the base
                aliases; raise ``samples``, which divides the footprint.
            clip: whether to limit values to [0, 1].

        Raises:
            ValueError: the transform is of another kind, or a size or a number of samples is below
                1.
        """
        own = self.size
        height, width = (b if a is None else a for a, b in zip((height, width), own, strict=True))
        size = choose_size(own, height, width, None)
        if samples < 1:
            raise ValueError(f"{samples} samples for each pixel: give at least 1")
        fine = (size[0] * samples, size[1] * samples)
        coords, footprint = look_up(transform, fine, self.size)
        colour = None if fill is None else jnp.asarray(fill, jnp.float32)
        widest = bound_footprint(footprint) if widest is None else widest
        image = resample(
            self.function,
            coords,
            footprint,
            colour,
            samples=samples,
            sigma=self.sigma,
            widest=widest,
        )
        return jnp.clip(image, 0.0, 1.0) if clip else image

    def __call__(
        self,
        coords: Points,
        *,
        footprint: Number | Pair | Array = POINT_FOOTPRINT,
        widest: Number | None = None,
    ) -> Float[Array, "*points c"]:
        """Evaluate at points.

        Args:
            coords: (y, x) in [0, 1]; beyond, the image is mirrored.
            footprint: the pixel pitch for which values are asked, in input pixels: a number, one
                for each axis, or an array with (y, x) for each point.
            widest: as for `warp`.

        Returns:
            Values, not clipped.

        Raises:
            ValueError: the last axis of ``coords`` is not (y, x).
        """
        coords = as_points(coords)
        pitch = jnp.asarray(footprint, jnp.float32)
        widest = bound_footprint(pitch) if widest is None else widest
        return evaluate(self.function, coords, pitch, sigma=self.sigma, widest=widest)

    def gradient(
        self,
        coords: Points,
        *,
        footprint: Number | Pair = POINT_FOOTPRINT,
        per: Per = "image",
    ) -> Float[Array, "*points c 2"]:
        """Compute the derivatives (d/dy, d/dx) of each channel, exactly almost everywhere.

        Args:
            coords: (y, x) in [0, 1].
            footprint: as for a call.
            per: "image" for derivatives per unit of the coordinates, "pixel" per input pixel on
                both axes, so that the magnitude does not depend on the image's shape.

        Reference: see `hyperfunc.function.calculus` for where derivatives exist.
        """
        return self._differentiate(coords, footprint, ((1, 0), (0, 1)), per)

    def laplacian(
        self,
        coords: Points,
        *,
        footprint: Number | Pair = POINT_FOOTPRINT,
        per: Per = "image",
    ) -> Float[Array, "*points c"]:
        """Compute the sum of both second derivatives of each channel.

        It is exact except on the lines through pixel centres, where windows have kinks and the
        Laplacian is no function. Blur first, with ``f.gaussian(sigma)``, for a Laplacian that is a
        function everywhere.

        Args:
            coords: (y, x) in [0, 1].
            footprint: as for a call.
            per: as for `gradient`; with "pixel" the Laplacian is isotropic.
        """
        return self._differentiate(coords, footprint, ((2, 0), (0, 2)), per).sum(axis=-1)

    def disagreement(
        self, coords: Points, *, footprint: Number | Pair | Array = POINT_FOOTPRINT
    ) -> Float[Array, "*points"]:
        """Measure how far the target networks of overlapping windows disagree about each point.

        The opposite of a confidence: it is high where the rendering tends to be wrong, though no
        better a sign than strong edges (docs/experiments/disagreement.md). Give ``pixel_centres``
        for a map.

        Args:
            coords: (y, x) in [0, 1]; beyond, the image is mirrored.
            footprint: as for a call.

        Returns:
            The weighted standard deviation of their values around the point (root mean square over
            the channels), as values in [0, 1] deviate. See `hyperfunc.function.disagreement`.

        Raises:
            ValueError: no windows overlap, or the image is blurred exactly.
        """
        if self.sigma:
            raise ValueError(f"sigma {self.sigma}: compare windows of the unblurred image")
        return compare_windows(self.function, as_points(coords), footprint)

    def gaussian(self, sigma: Number, *, exact: bool = True) -> "ContinuousImage":
        """Blur by a Gaussian: the function G_sigma * f, the image mirrored beyond its border.

        Args:
            sigma: standard deviation, in input pixels; static.
            exact: whether each evaluation integrates f, windows and base included. Blurs of blurs
                then add up: 3 and 4 make 5. Otherwise the blur is an approximation in closed form,
                whose error `hyperfunc.function.blur` states: an ordinary image, as fast as this
                one, which can be saved. Choose it for many scattered points, which cost the exact
                blur an integral each (the points of a grid share integrals), but not for second
                derivatives.

        Raises:
            ValueError: sigma is negative or infinite, or there is no closed form for this image.
        """
        if not 0 <= sigma < math.inf:
            raise ValueError(f"sigma {sigma}: give a finite standard deviation, at least 0")
        if sigma == 0:
            return self
        sigma = float(sigma)
        if exact:
            return dataclasses.replace(self, sigma=math.hypot(self.sigma, sigma))
        return dataclasses.replace(self, function=blur_coefficients(self.function, sigma=sigma))

    def save(self, path: str | os.PathLike[str], *, quantize: Any = "int8") -> None:
        """Write the function to a file, which `hyperfunc.load` reads.

        Args:
            path: the file.
            quantize: how to round theta, as for `hyperfunc.export.save_function`.

        Raises:
            ValueError: the image has an exact blur, which the format cannot store.
        """
        if self.sigma:
            raise ValueError(
                f"an exact blur (sigma {self.sigma}) cannot be saved: save the unblurred image and "
                "blur it after loading, or use gaussian(sigma, exact=False)"
            )
        from hyperfunc.export import save_function

        save_function(path, self.function, quantize=quantize)

    def _differentiate(
        self, coords: Points, footprint: Number | Pair, orders: tuple[Size, Size], per: Per
    ) -> Float[Array, "*points c 2"]:
        """Compute two derivatives, along y and along x, of these orders (y, x)."""
        if per not in ("image", "pixel"):
            raise ValueError(f'derivatives are per "image" or per "pixel", not per {per!r}')
        points, pitch = as_points(coords), jnp.asarray(footprint, jnp.float32)
        values = differentiate(self.function, points, pitch, orders, sigma=self.sigma)
        unit = self.size if per == "pixel" else (1, 1)
        scales = [n ** sum(order) for n, order in zip(unit, orders, strict=True)]
        return values / jnp.asarray(scales, jnp.float32).reshape(*[1] * (values.ndim - 1), 2)
