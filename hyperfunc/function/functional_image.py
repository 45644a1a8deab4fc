"""An image as a continuous function, and the only way from pixels to it and back.

    f(x, a) = base(x) + sum over windows k that cover x of  w_k(x) T(local_k(x), a; theta_k)

`encode` reads images and returns a `FunctionalImage`; `render` samples it on any separable grid,
`render_phases` on an integer grid laid at any offset, `sample` at scattered coordinates. All agree.
Training, evaluation and everything else go through them.

Three renderers do the work. `_render_windows` is the definition: evaluate every window on the
samples that it covers, and add up. Where the target network is linear and there is a window per
pixel, sums can be reordered: `_render_field` applies exp(i w x) by rows, then by columns;
`render_phases` uses that at an integer scale all cells share the same phases, so that head, basis
and windows are one 2 x 2 convolution from features to pixels.
"""

import dataclasses
import functools
from typing import Any, cast

import flax.errors
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from hyperfunc.function.separable import render_separable
from hyperfunc.networks import (
    FactoredTheta,
    FourierField,
    Hypernetwork,
    Target,
    lay_out_patches,
    plain_convolve,
)
from hyperfunc.pixels import (
    Axis,
    Cover,
    Samples,
    WindowLayout,
    axis_over,
    cubic_kernel,
    integer_scale,
    interpolate_grid,
    interpolate_points,
    to_positions,
    to_unit_range,
)
from hyperfunc.types import Coords, Images, Shared, Size, Theta

Samplings = Axis | Samples
"""Where one axis is sampled."""

FEW_ROWS = 8
"""Rows of windows that are evaluated at once; of more, one after the other, in the cache."""


@flax.struct.dataclass
class FunctionalImage:
    """A batch of images as functions [0, 1]^2 -> RGB in [0, 1] (not clipped).

    Attributes:
        theta: parameters of the target networks, leading axes [b, window rows, window columns].
        shared: parameters that all target networks have in common.
        base: the images that the target networks correct, or None where they stand alone.
        exists: for each axis 1 for windows of the image, 0 for those that pad a tile.
        target: the target network.
        layout: the windows.
        size: (height, width) of the images that were encoded.
    """

    theta: Theta | FactoredTheta
    shared: Shared
    base: Images | None
    exists: tuple[Float[Array, " gh"], Float[Array, " gw"]]
    target: Target = flax.struct.field(pytree_node=False)
    layout: WindowLayout = flax.struct.field(pytree_node=False)
    size: Size = flax.struct.field(pytree_node=False)

    @property
    def is_field_per_pixel(self) -> bool:
        """Whether the fast renderers apply: a Fourier field for each pixel."""
        return isinstance(self.target, FourierField) and self.layout.is_per_pixel

    def expanded(self) -> Theta:
        """Theta as plain parameters of target networks."""
        return self.theta.expand() if isinstance(self.theta, FactoredTheta) else self.theta

    def prepared(self) -> Theta:
        """Theta as `Target.apply` wants it."""
        prepare = functools.partial(self.target.prepare, shared=self.shared)
        return jax.vmap(jax.vmap(jax.vmap(prepare)))(self.expanded())


def encode(
    model: Hypernetwork,
    variables: Any,
    images: UInt8[Array, "b h w c"] | Images,
    *,
    exists: tuple[Float[Array, " h"], Float[Array, " w"]] | None = None,
    train: bool = False,
) -> tuple[FunctionalImage, Any]:
    """Turn images into functions.

    Args:
        model: the hypernetwork.
        variables: its Flax variables, {"params": ...} and, if it normalises, "batch_stats".
        images: uint8, or float in [0, 1].
        exists: for each axis 1 for pixels of the image and 0 for padding: the result is then the
            same as for the image without its padding. For a model with a window per pixel.
        train: whether to use and update batch statistics.

    Returns:
        The functional images, and the updated "batch_stats" (empty unless ``train``).

    Raises:
        ValueError: the variables are those of larger images, for a model of the whole image.
    """
    images = to_unit_range(images)
    mask = (
        None if exists is None else exists[0][None, :, None, None] * exists[1][None, None, :, None]
    )
    try:
        (theta, shared), updates = model.apply(
            variables, images, mask=mask, train=train, mutable=["batch_stats"] if train else []
        )
    except flax.errors.ScopeParamShapeError as error:
        raise ValueError(
            f"images of {images.shape[1]} x {images.shape[2]} pixels are too small for this model: "
            "give such as it was trained on"
        ) from error
    size = (images.shape[1], images.shape[2])
    grid = model.layout.grid(size)
    function = FunctionalImage(
        theta=theta,
        shared=shared,
        base=None if model.base == "none" else images,
        exists=(jnp.ones(grid[0]), jnp.ones(grid[1])) if exists is None else exists,
        target=model.target,
        layout=model.layout,
        size=size,
    )
    return function, updates.get("batch_stats", {})


def cut_windows(function: FunctionalImage, along: int, low: Array, extent: int) -> FunctionalImage:
    """Keep ``extent`` rows (``along`` 0) or columns (1) from ``low`` on, which may be traced.

    For a model with a window per pixel. Two pixels from where it was cut and further inside, the
    function is the same; positions are then counted from ``low``.
    """

    def part(leaf: Array, dimension: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(leaf, low, extent, dimension)

    theta = function.theta
    if isinstance(theta, FactoredTheta):
        theta = FactoredTheta(part(theta.features, along + 1), theta.kernel)
    else:
        theta = jax.tree.map(lambda leaf: part(leaf, along + 1), theta)
    exists, size = list(function.exists), list(function.size)
    exists[along], size[along] = part(exists[along], 0), extent
    return dataclasses.replace(
        function,
        theta=theta,
        base=None if function.base is None else part(function.base, along + 1),
        exists=(exists[0], exists[1]),
        size=(size[0], size[1]),
    )


FADE_START, FADE_RATE = 0.8, 8.0
"""Where `field_share` begins to fall, in cells, and how fast.

Both are measured: docs/experiments/minification-and-blur.md.
"""


def field_share(
    function: FunctionalImage, pitch: tuple[float | Array, float | Array]
) -> float | Float[Array, "*points"]:
    """How much of the windows' sum counts beside the base: 1, and less for large pixels.

    What changes from window to window is averaged by nothing, so it would alias. Where a pixel
    covers more than about one window's stride the base, which averages, is left alone: on each axis
    the share is 1 up to 0.8 strides, 0.7 at one, 0.02 at 1.5. Without a base it is 1.

    Args:
        function: what is rendered.
        pitch: of the pixels (y, x), in input pixels.
    """
    if function.base is None or function.layout.size == 0:
        return 1.0
    beyond = [jnp.maximum(step / function.layout.stride - FADE_START, 0.0) for step in pitch]
    return jnp.exp(-FADE_RATE * (jnp.square(beyond[0]) + jnp.square(beyond[1])))


def render(
    function: FunctionalImage,
    size: Size,
    *,
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Float[Array, "b y x c"]:
    """Render at any size, any aspect, any part.

    Args:
        function: what to render.
        size: (height, width) of the result in pixels.
        window: the part of the image to show, (top, left, bottom, right) in coordinates of [0, 1].

    Raises:
        ValueError: a size below one pixel, or a window that is empty or reaches out of the image.
    """
    top, left, bottom, right = window
    if min(size) < 1:
        raise ValueError(f"cannot render an image of size {size}: both sides need at least 1 pixel")
    if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
        raise ValueError(
            f"the window {window} is empty or not within the image: give (top, left, bottom, "
            "right), increasing, between 0 and 1"
        )
    scale = integer_scale(size, function.size)
    if window == (0.0, 0.0, 1.0, 1.0) and scale:
        return render_phases(function, scale)
    rows = axis_over((top, bottom), size[0], function.size[0])
    cols = axis_over((left, right), size[1], function.size[1])
    return render_grid(function, rows, cols)


def render_grid(
    function: FunctionalImage, rows: Samplings, cols: Samplings
) -> Float[Array, "b y x c"]:
    """Render on any separable grid of positions."""
    draw = _render_field if function.is_field_per_pixel else _render_windows
    image = draw(function, rows, cols)
    if function.base is None:
        return image
    share = field_share(function, (rows.step, cols.step))
    return share * image + interpolate_grid(function.base, rows, cols)


def sample(
    function: FunctionalImage,
    coords: Coords,
    *,
    footprint: tuple[float, float] | Coords | None = None,
    widest: float | int | None = None,
) -> Float[Array, "b *points c"]:
    """Evaluate at any coordinates (y, x) in [0, 1].

    Args:
        function: what to evaluate.
        coords: the points, the same for every image of the batch.
        footprint: the pixel pitch (y, x) that values are asked for, in pixels of the encoded image:
            one for all points, or an array with one for each point, which may be traced; 1 (that
            image's own) if not given.
        widest: where each point has its own footprint, the largest that the base is averaged
            over, because how many of its pixels are read is static.
    """
    positions = to_positions(coords.reshape(-1, 2), function.size)
    pitches = (1.0, 1.0) if footprint is None else footprint
    if not isinstance(pitches, tuple):
        pitches = pitches.reshape(-1, 2)
    axes = [function.layout.axis(pixels) for pixels in function.size]
    row, col = (axis.cover(positions[:, i], function.exists[i]) for i, axis in enumerate(axes))
    half = jnp.array([[axis.half_width for axis in axes]])
    local_pitch = jnp.broadcast_to(jnp.asarray(pitches).reshape(-1, 2) / half, positions.shape)
    # Factored parameters are multiplied out for the windows that are read, and never for all.
    is_factored = isinstance(function.theta, FactoredTheta)
    theta = function.theta.features if is_factored else function.prepared()

    def at_point(theta_b: Any, pitch: Array, row: Cover, col: Cover) -> Array:
        cells = jax.tree.map(lambda leaf: leaf[row.index[:, None], col.index[None, :]], theta_b)
        if isinstance(function.theta, FactoredTheta):
            kernel = function.theta.kernel
            cells = {"coefficients": jnp.einsum("ijf,fdc->ijdc", cells, kernel)}
        local = jnp.stack(jnp.meshgrid(row.local, col.local, indexing="ij"), axis=-1)
        one = lambda cell, x: function.target.apply(cell, function.shared, x, pitch)  # noqa: E731
        values = jax.vmap(jax.vmap(one))(cells, local)
        return jnp.einsum("ijc,i,j->c", values, row.weight, col.weight)

    over_points = jax.vmap(at_point, in_axes=(None, 0, 0, 0))
    values = jax.vmap(over_points, in_axes=(0, None, None, None))(theta, local_pitch, row, col)
    if function.base is not None:
        steps = jnp.broadcast_to(jnp.asarray(pitches).reshape(-1, 2), positions.shape)
        share = field_share(function, (steps[:, 0], steps[:, 1]))
        base = interpolate_points(function.base, positions, pitches, widest)
        values = jnp.broadcast_to(share, positions.shape[:1])[None, :, None] * values + base
    return values.reshape(values.shape[0], *coords.shape[:-1], values.shape[-1])


def _render_windows(
    function: FunctionalImage, rows: Samplings, cols: Samplings
) -> Float[Array, "b y x c"]:
    """Evaluate each window on the samples it covers, weight, and add up."""
    row_axis, col_axis = (function.layout.axis(pixels) for pixels in function.size)
    row_slot, row_local, row_weight = _window_slots(row_axis, rows, function.exists[0])
    col_slot, col_local, col_weight = _window_slots(col_axis, cols, function.exists[1])
    pitch = jnp.array([rows.step / row_axis.half_width, cols.step / col_axis.half_width])

    def one_point(theta, y, x):
        return function.target.apply(theta, function.shared, jnp.stack([y, x]), pitch)

    def one_window(theta, ys, xs):
        return jax.vmap(jax.vmap(one_point, (None, None, 0)), (None, 0, None))(theta, ys, xs)

    def one_row(theta, ys):
        prepared = jax.vmap(functools.partial(function.target.prepare, shared=function.shared))(
            theta
        )
        return jax.vmap(one_window, (0, None, 0))(prepared, ys, col_local)

    def one_image(theta):
        if row_axis.count <= FEW_ROWS:
            return jax.vmap(one_row)(theta, row_local)
        return jax.lax.map(lambda row: one_row(*row), (theta, row_local))

    values = jax.vmap(one_image)(function.expanded())
    values *= row_weight[None, :, None, :, None, None] * col_weight[None, None, :, None, :, None]
    if (
        row_axis.count == col_axis.count == 1
        and row_slot.size == rows.count
        and col_slot.size == cols.count
    ):
        return values[:, 0, 0]
    canvas = jnp.zeros((values.shape[0], rows.count, cols.count, values.shape[-1]), values.dtype)
    return canvas.at[:, row_slot[:, None, :, None], col_slot[None, :, None, :]].add(values)


def _window_slots(axis, samples: Samplings, exists: Array) -> tuple[Array, Array, Array]:
    """For each window: the samples it covers (index), their local position and their weight.

    The number of slots is static; those left over have weight zero.
    """
    positions = samples.positions()
    cover = axis.cover(positions, exists)
    centres = axis.first + jnp.arange(axis.count) * axis.stride
    # A little early, so that rounding cannot part a sample from its window.
    first = jnp.searchsorted(positions, centres - axis.half_width * (1 + 1e-4))
    first = first.at[0].set(0)  # The first window also serves what lies before it.
    slots = axis.slots(samples)
    index = jnp.clip(first, 0, samples.count - slots)[:, None] + jnp.arange(slots)[None]
    belongs = cover.index[index] == jnp.arange(axis.count)[:, None, None]
    weight = jnp.where(belongs, cover.weight[index], 0.0).sum(axis=-1)
    local = (positions[index] - centres[:, None]) / axis.half_width
    return index, local, weight


def _render_field(function: FunctionalImage, rows: Samplings, cols: Samplings) -> Array:
    """Render a linear field, one window per pixel, on a separable grid."""
    theta = function.theta
    if isinstance(theta, FactoredTheta):
        columns = theta.features.transpose(2, 0, 1, 3)
        features, basis_size, channels = theta.kernel.shape
        kernel = theta.kernel.reshape(features, -1)

        def emit(column: Float[Array, "b h f"]) -> Float[Array, "d c b h"]:
            flat = kernel.T @ column.reshape(-1, features).T
            return flat.reshape(basis_size, channels, *column.shape[:2])

    else:
        columns = theta["coefficients"].transpose(2, 3, 4, 0, 1)
        emit = lambda column: column  # noqa: E731
    target = cast(FourierField, function.target)
    return render_separable(target, function.shared, columns, emit, function.exists, rows, cols)


def render_phases(
    function: FunctionalImage,
    scale: int,
    *,
    phase: Float[Array, " 2"] | None = None,
    train: bool = False,
) -> Float[Array, "b y x c"]:
    """Render at an integer scale, on a grid that may be shifted by a fraction of a pixel.

    Output pixel k lies at position (k + 0.5 - phase) / scale. Every cell between four neighbouring
    centres then holds scale x scale samples at the same local coordinates, so that for a linear
    target network per pixel head, basis, windows and base are convolutions with kernels computed
    from the parameters.

    Args:
        function: what to render.
        scale: output pixels per input pixel.
        phase: (y, x) shift in output pixels, between -scale / 2 and scale / 2; may be traced. The
            training data are laid out so, to cover all phases with integer scales.
        train: chooses a product with a fast gradient where there is one, with the same values.
    """
    phase = jnp.zeros(2) if phase is None else phase
    if not function.is_field_per_pixel:
        height, width = function.size
        rows = Axis(-phase[0] / scale, 1 / scale, height * scale)
        return render_grid(function, rows, Axis(-phase[1] / scale, 1 / scale, width * scale))
    theta = function.theta
    if isinstance(theta, FactoredTheta):
        features, head = theta.features, theta.kernel
    else:
        coefficients = theta["coefficients"]
        features = coefficients.reshape(*coefficients.shape[:3], -1)
        d, c = coefficients.shape[3:]
        head = jnp.eye(d * c).reshape(d * c, d, c)
    # Interval j lies between the centres of pixels j - 1 and j; its samples k = first + j * scale
    # + q, q = 0 ... scale - 1, lie at the fraction t of it.
    first = jnp.ceil(phase - (scale + 1) / 2).astype(int)
    slots = jnp.arange(scale)
    t = (first[:, None] + slots[None] + 0.5 - phase[:, None]) / scale + 0.5  # [2, scale], in [0, 1)

    kernel = _phase_kernel(function, head, t, 1.0 / scale)
    convolve = _convolve_to_train if train else plain_convolve
    image = _per_interval(convolve(features, kernel, padding=1), scale)
    image = image / _covered_weight(function.exists, t)
    if function.base is not None:
        base = jnp.pad(function.base, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="symmetric")
        kernel = _cubic_phase_kernel(t, base.shape[-1])
        if scale == 1:
            image = field_share(function, (1.0, 1.0)) * image
        image = image + _per_interval(plain_convolve(base, kernel, padding=0), scale)
    b, h, w, _, _, c = image.shape
    image = image.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * scale, w * scale, c)
    height, width = (pixels * scale for pixels in function.size)
    return jax.lax.dynamic_slice(image, (0, -first[0], -first[1], 0), (b, height, width, c))


def _phase_kernel(
    function: FunctionalImage, head: Float[Array, "f d c"], t: Float[Array, "2 q"], footprint: float
) -> Float[Array, "2 2 f n"]:
    """Fold head, basis and tents into the 2 x 2 kernel from features to q x q samples."""
    local = jnp.stack(
        [t, t - 1], axis=-1
    )  # [axis, q, neighbour]: from the left and the right centre
    weight = jnp.stack([1 - t, t], axis=-1)
    rows, cols = local
    coord = jnp.stack(
        jnp.broadcast_arrays(rows[:, :, None, None], cols[None, None, :, :]), axis=-1
    )  # [qy, ny, qx, nx, 2]
    target = cast(FourierField, function.target)
    basis = target.basis(function.shared, coord, jnp.full((1, 1, 1, 1, 2), footprint))
    basis = basis * (weight[0][:, :, None, None] * weight[1][None, None])[..., None]
    kernel = jnp.einsum("ymxnd,fdc->mnfyxc", basis, head)
    return kernel.reshape(*kernel.shape[:3], -1)


def _cubic_phase_kernel(t: Float[Array, "2 q"], channels: int) -> Float[Array, "4 4 c n"]:
    """The 4 x 4 kernel that interpolates the base at the samples of an interval."""
    taps = cubic_kernel(t[..., None] + 1 - jnp.arange(4)[None, None])  # [axis, q, tap]
    kernel = jnp.einsum("yi,xj,cd->ijcyxd", taps[0], taps[1], jnp.eye(channels))
    return kernel.reshape(4, 4, channels, -1)


def _per_interval(x: Float[Array, "b i j n"], scale: int) -> Float[Array, "b i j q q c"]:
    """Split channels into the samples of an interval."""
    return x.reshape(*x.shape[:3], scale, scale, -1)


def _covered_weight(exists: tuple[Array, Array], t: Float[Array, "2 q"]) -> Array:
    """Sum of the tents of the windows that exist, [1, i, j, q, q, 1], at each sample (1 inside)."""
    totals = []
    for present, fraction in zip(exists, t[:, None], strict=True):
        padded = jnp.pad(present, 1)[:, None]
        total = padded[:-1] * (1 - fraction) + padded[1:] * fraction
        totals.append(jnp.where(total > 1e-6, total, 1.0))
    rows, cols = totals
    return rows[None, :, None, :, None, None] * cols[None, None, :, None, :, None]


def _convolve_to_train(x: Array, kernel: Array, padding: int) -> Array:
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_convolve_as_product, padding=padding),
        default=functools.partial(plain_convolve, padding=padding),
    )


def _convolve_as_product(
    x: Float[Array, "b h w f"], kernel: Float[Array, "m n f o"], padding: int
) -> Array:
    """The same, as one product of patches laid side by side.

    XLA's gradient to a small kernel with many outputs is slow on CPUs: at scale 4 it takes six
    times as long as this one, at scale 8 sixty times (docs/experiments/cost-and-kernels.md).
    """
    rows, cols, _, outputs = kernel.shape
    patches = lay_out_patches(x, (rows, cols), padding)
    return jnp.einsum("bhwf,fo->bhwo", patches, kernel.reshape(-1, outputs))
