"""One image as a continuous function: what a user of the Python API holds.

    f = hyperfunc.represent("photo.jpg")
    f.render(scale=3.7)          # pixels, [h, w, 3]
    f(coords)                    # values at points (y, x) of the unit square

A `ContinuousImage` is a pytree, and all of its methods can be traced: `jax.jit`, `jax.grad` and
`jax.vmap` go through them. Values are in [0, 1] up to the overshoot of interpolation; methods that
return pictures clip it (unless ``clip=False``), methods that return the function do not. Beyond its
border the image is mirrored.
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

from hyperfunc.errors import UserError
from hyperfunc.function import (
    FunctionalImage,
    Transform,
    blur_coefficients,
    bound_footprint,
    coverage,
    derivative,
    differentiate_grid,
    evaluate_points,
    look_up,
    render_whole,
    render_window,
)
from hyperfunc.pixels import axis_over, choose_size, find_lines
from hyperfunc.types import Coords, Size

FINEST = 0.25
"""Footprint of a bare point f(x), in input pixels: a point has no pixel pitch, and the models are
trained down to a quarter (x4)."""

Number = float | int
Pair = tuple[Number, Number]
Points = Coords | np.ndarray | Sequence[Any]
"""Points (y, x): an array [..., 2], or lists such as [[0.25, 0.5]]."""

Per = Literal["image", "pixel"]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["function"], meta_fields=["sigma"]
)
@dataclasses.dataclass(frozen=True)
class ContinuousImage:
    """An image as a function from (y, x) in [0, 1]^2 to RGB.

    Attributes:
        function: the functional image, a batch of one.
        sigma: standard deviation of a Gaussian blur that evaluation adds, in input pixels.
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
    ) -> Float[Array, "height width c"]:
        """Render the whole image.

        Args:
            height: of the result, in pixels.
            width: of the result, in pixels.
            scale: instead of height and width, output pixels per input pixel, a number or one for
                each axis (y, x); any positive real. The result has scale * n pixels, rounded half
                up, and its corners are the image's.
            clip: limit values to [0, 1].

        Raises:
            ValueError: neither or both of the size and the scale, or less than one pixel.
        """
        return self.crop(0.0, 0.0, 1.0, 1.0, height, width, scale=scale, clip=clip)

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
    ) -> Float[Array, "height width c"]:
        """Render a window; only the window is computed. Its edges and size are static.

        Args:
            top: edge of the window, in [0, 1] (pixel row divided by the height).
            left: edge of the window, in [0, 1].
            bottom: edge of the window, in [0, 1], below ``top``.
            right: edge of the window, in [0, 1], right of ``left``.
            height: of the result, in pixels.
            width: of the result, in pixels.
            scale: instead of height and width, output pixels per input pixel, as for `render`.
            clip: limit values to [0, 1].

        Raises:
            ValueError: neither or both of the size and the scale, less than one pixel, or a window
                that is empty or not inside the image.
        """
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise ValueError(
                f"no window: top {top}, left {left}, bottom {bottom}, right {right}; "
                "give 0 <= top < bottom <= 1 and 0 <= left < right <= 1"
            )
        extent = (self.size[0] * (bottom - top), self.size[1] * (right - left))
        size = choose_size(extent, height, width, scale)
        if self.sigma == 0 and (top, left, bottom, right) == (0, 0, 1, 1):
            image = render_whole(self.function, size)
        else:
            axes = [
                axis_over(edges, pixels, cells)
                for edges, pixels, cells in zip(
                    ((top, bottom), (left, right)), size, self.size, strict=True
                )
            ]
            # The origin is traced, so that panning with a window of one size compiles once.
            origin = jnp.asarray([axis.start for axis in axes], jnp.float32)
            steps = tuple(float(f"{axis.step:.9g}") for axis in axes)
            image = render_window(self.function, origin, steps, size, self.sigma)
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

        Each output pixel has its own footprint per axis, from the transform's Jacobian, so that
        where the transform shrinks the image it averages. For a scaling the
        result is that of `render`; for a transform that shears while it shrinks, an axis-parallel
        footprint averages too much: ``samples`` sharpens.

        Args:
            transform: where each output pixel looks: a homography, 3 x 3 acting on (y, x, 1), or a
                function of points [..., 2], written in JAX and acting on each point by itself; from
                the unit square of the output to that of the input (`hyperfunc.from_pixel_matrix`
                converts a matrix between pixels).
            height: of the result, in pixels; the image's own if not given.
            width: of the result, in pixels; the image's own if not given.
            fill: value or colour outside of the image, with a smooth edge one footprint wide; the
                image is mirrored there if not given.
            samples: points per output pixel and axis, whose values are averaged.
            widest: bound on the footprint that is averaged exactly, in input pixels, because the
                number of pixels read is static. If not given it is measured, up to 16, or, where
                the transform is traced, 4. Where the footprint is larger the base aliases: then
                raise ``samples``, which divides the footprint.
            clip: limit values to [0, 1].

        Raises:
            ValueError: no transform, or a size or a number of samples below 1.
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
        image = _resample(self, coords, footprint, colour, samples=samples, widest=widest)
        return jnp.clip(image, 0.0, 1.0) if clip else image

    def __call__(
        self,
        coords: Points,
        footprint: Number | Pair | Array = FINEST,
        *,
        widest: Number | None = None,
    ) -> Float[Array, "*points c"]:
        """Evaluate at points.

        Args:
            coords: (y, x) in [0, 1]; beyond, the image is mirrored.
            footprint: the pixel pitch that values are asked for, in input pixels: a number, one for
                each axis, or an array with (y, x) for each point.
            widest: as for `warp`.

        Returns:
            Values, not clipped.

        Raises:
            ValueError: the last axis of ``coords`` is not (y, x).
        """
        coords = _as_points(coords)
        pitch = jnp.asarray(footprint, jnp.float32)
        widest = bound_footprint(pitch) if widest is None else widest
        if lines := self._find_lines(coords, pitch):
            none = ((0, 0),)
            values = differentiate_grid(self.function, lines, pitch, none, self.sigma, widest)
            return values[..., 0]
        pitch = jnp.broadcast_to(
            pitch.reshape(*[1] * (coords.ndim - pitch.ndim), *pitch.shape), coords.shape
        )
        values = evaluate_points(
            self.function, coords.reshape(-1, 2), pitch.reshape(-1, 2), self.sigma, widest
        )
        return values.reshape(*coords.shape[:-1], values.shape[-1])

    def gradient(
        self,
        coords: Points,
        footprint: Number | Pair = FINEST,
        *,
        per: Per = "image",
    ) -> Float[Array, "*points c 2"]:
        """Derivatives (d/dy, d/dx) of each channel at points, exact almost everywhere.

        Args:
            coords: (y, x) in [0, 1].
            footprint: as for a call.
            per: "image": per unit of the coordinates; "pixel": per input pixel on both axes, so
                that the magnitude does not depend on the image's shape.

        Reference: see `hyperfunc.function.calculus` for where derivatives exist.
        """
        values = self._differentiate(coords, footprint, ((1, 0), (0, 1)))
        return values / self._unit(per, values.ndim)

    def laplacian(
        self,
        coords: Points,
        footprint: Number | Pair = FINEST,
        *,
        per: Per = "image",
    ) -> Float[Array, "*points c"]:
        """The sum of both second derivatives of each channel at points.

        Exact almost everywhere; what the kinks between windows would add (on lines through pixel
        centres, as measures) is not part of it: blur first, ``f.gaussian(sigma)``, for a Laplacian
        that is a function everywhere.

        Args:
            coords: (y, x) in [0, 1].
            footprint: as for a call.
            per: as for `gradient`; with "pixel" it is the isotropic one.
        """
        values = self._differentiate(coords, footprint, ((2, 0), (0, 2)))
        return (values / jnp.square(self._unit(per, values.ndim))).sum(axis=-1)

    def gaussian(self, sigma: Number, *, exact: bool = True) -> "ContinuousImage":
        """Blur by a Gaussian: the function G_sigma * f, the image mirrored beyond its border.

        Args:
            sigma: standard deviation, in input pixels; static.
            exact: whether f is integrated, windows and base included, at each evaluation; blurs
                of blurs then add up (3 and 4 are 5). Otherwise nearly, in closed form: an ordinary
                image as fast as this one, which can be saved; `hyperfunc.function.blur` says how,
                and how far it is off. Take it for many scattered points, each of which costs the
                exact blur an integral of its own (grids share them), and not for second
                derivatives.

        Raises:
            ValueError: a negative or infinite sigma, or a closed form of what has none.
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
            path: of the file.
            quantize: how to round theta, as for `hyperfunc.export.save_function`.

        Raises:
            ValueError: the image is blurred by quadrature, which is not part of the format.
        """
        if self.sigma:
            raise ValueError(
                f"a blur by quadrature (sigma {self.sigma}) cannot be saved: save the image itself "
                "and blur after loading, or use gaussian(sigma, exact=False)"
            )
        from hyperfunc.export import save_function

        save_function(path, self.function, quantize=quantize)

    def _differentiate(
        self, coords: Any, footprint: Any, orders: tuple[tuple[int, int], ...]
    ) -> Float[Array, "*points c n"]:
        """Derivatives of the orders, along y and x, per unit of the coordinates."""
        coords = _as_points(coords)
        pitch = jnp.asarray(footprint, jnp.float32)
        widest = bound_footprint(pitch)
        if lines := self._find_lines(coords, pitch):
            return differentiate_grid(self.function, lines, pitch, orders, self.sigma, widest)
        return _differentiate_points(self, coords, pitch, orders, widest)

    def _find_lines(self, coords: Coords, footprint: Array) -> tuple[Array, Array] | None:
        """Rows and columns whose integrals points of a grid can share."""
        can_share = self.sigma and self.function.is_field_per_pixel and footprint.ndim < 2
        return find_lines(coords) if can_share else None

    def _unit(self, per: Per, ndim: int) -> Float[Array, "*ones 2"]:
        """How many of the unit that derivatives are given per make the unit square."""
        if per not in ("image", "pixel"):
            raise ValueError(f'derivatives are per "image" or per "pixel", not per {per!r}')
        unit = self.size if per == "pixel" else (1, 1)
        return jnp.asarray(unit, jnp.float32).reshape(*[1] * (ndim - 1), 2)


def load(path: str | os.PathLike[str]) -> ContinuousImage:
    """Read a function that `ContinuousImage.save` wrote.

    Raises:
        UserError: there is no such file, or it is damaged or of another version.
    """
    from hyperfunc.export import load_function

    function = load_function(path)
    count = function.theta.batch
    if count != 1:
        raise UserError(
            f"{path}: holds {count} images; read it with hyperfunc.export.load_function"
        )
    return ContinuousImage(function)


def _as_points(coords: Any) -> Coords:
    points = jnp.asarray(coords, jnp.float32)
    if points.ndim == 0 or points.shape[-1] != 2:
        raise ValueError(f"points have shape [..., 2], (y, x) last, not {list(points.shape)}")
    return points


@functools.partial(jax.jit, static_argnames=("orders", "widest"))
def _differentiate_points(
    f: ContinuousImage,
    coords: Coords,
    footprint: Array,
    orders: tuple[tuple[int, int], ...],
    widest: float,
) -> Float[Array, "*points c n"]:
    def field(points: Coords) -> Array:
        return f(points, footprint, widest=widest)

    return jnp.stack([derivative(field, order)(coords) for order in orders], axis=-1)


@functools.partial(jax.jit, static_argnames=("samples", "widest"))
def _resample(
    f: ContinuousImage,
    coords: Float[Array, "h w 2"],
    footprint: Float[Array, "h w 2"],
    fill: Array | None,
    *,
    samples: int,
    widest: float,
) -> Float[Array, "y x c"]:
    """Evaluate where a transform looks, lay the fill colour under, and average the samples."""
    # What a transform sends to infinity is outside.
    coords = jnp.where(jnp.isfinite(coords), coords, -1.0)
    image = f(coords, footprint, widest=widest)
    if fill is not None:
        inside = coverage(coords, footprint, f.size)[..., None]
        image = inside * image + (1 - inside) * jnp.broadcast_to(fill, image.shape[-1:])[None, None]
    height, width = coords.shape[0] // samples, coords.shape[1] // samples
    return image.reshape(height, samples, width, samples, -1).mean(axis=(1, 3))
