"""Render large images in bounded memory, on all devices.

An image is planned as pieces. As many pieces at a time as there are devices are read from it,
rendered by a compiled function, and put into the result. The network runs in the plan's renderer:
`hyperfunc.upscaling.tiles.TileRenderer` or `hyperfunc.upscaling.strips.StripRenderer`.
"""

import collections
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np

from hyperfunc.devices import make_mesh
from hyperfunc.errors import UserError
from hyperfunc.types import HostPixels, Neighbourhood, Size
from hyperfunc.upscaling.alpha import choose_channels, drop_equal_channels, repeat_grey
from hyperfunc.upscaling.compilation import CompiledFunctions
from hyperfunc.upscaling.missing import keep_known
from hyperfunc.upscaling.pieces import Piece, Plan, Planner
from hyperfunc.upscaling.strips import StripPlanner
from hyperfunc.upscaling.tile_planner import TilePlanner
from hyperfunc.upscaling.wrapping import Wrap, WrappingPlanner, check_wrap, wrap_around
from hyperfunc.values import has_alpha, largest_value

if TYPE_CHECKING:
    from hyperfunc.experiment import Model
    from hyperfunc.networks import Hypernetwork

Progress = Callable[[int, int], None]
"""Called with the number of pieces that are done and of all. The first call, with none done, comes
when the model has been compiled."""

T = TypeVar("T")


class Upscaler:
    """Renders images at any size with one model; compiled functions are kept between images.

    Args:
        model: the hypernetwork.
        variables: its variables.
        devices: the devices to work on; all if not given.
        largest_tile: the largest side of a tile in input pixels. Smaller tiles need less memory,
            and more of the work is done twice. If not given it is 512 on one or two devices and 256
            on more. At scales above 4 tiles are smaller.
        wrap: the axes along which opposite sides of the images meet: "x" (left and right, such as
            those of a panorama of 360 degrees), "y" or "xy" (textures that repeat).
        linear: whether images of integers that become smaller on both axes are taken as sRGB and
            reduced in linear light. What is averaged are the pixels that the model gives at the
            image's own size: of a fine checkerboard of black and white, `sr` makes a grey of 185
            and `restore` with a strength of 0 one of 188, where it would be 128.

    Raises:
        ValueError: there are no such axes.
        UserError: the model cannot wrap, because it has no window per pixel.
    """

    def __init__(
        self,
        model: "Hypernetwork",
        variables: Any,
        *,
        devices: list[Any] | None = None,
        largest_tile: int | None = None,
        wrap: Wrap = "",
        linear: bool = False,
    ) -> None:
        """Copy the model to the devices."""
        mesh = make_mesh(devices)
        functions = CompiledFunctions(lambda: model, variables, mesh)
        self._start(functions, model.reads, largest_tile, wrap, linear)

    @classmethod
    def of_model(
        cls,
        model: "Model",
        *,
        largest_tile: int | None = None,
        wrap: Wrap = "",
        linear: bool = False,
    ) -> "Upscaler":
        """Make one of a loaded model that keeps its compiled functions on disk, on all devices.

        What it finds there neither traces the network nor imports Flax.

        Raises:
            ValueError: there are no such axes.
            UserError: the model is none that makes functional images, or cannot wrap.
        """
        self = cls.__new__(cls)
        name = json.dumps(model.description["model"], sort_keys=True)
        functions = CompiledFunctions(
            lambda: model.hypernetwork, model.variables, make_mesh(), name
        )
        self._start(functions, model.reads, largest_tile, wrap, linear)
        return self

    def _start(
        self,
        functions: CompiledFunctions,
        reads: Neighbourhood | None,
        largest_tile: int | None,
        wrap: Wrap,
        linear: bool,
    ) -> None:
        check_wrap(wrap)
        self.mesh, self._functions = functions.mesh, functions
        self._planner: Planner
        if reads is not None:
            planner = TilePlanner(reads, self.mesh.size, largest_tile, linear=linear)
            self._planner = WrappingPlanner(planner, wrap) if wrap else planner
        elif wrap:
            raise UserError("the model cannot wrap: it reads windows; use a model such as sr")
        else:
            network = functions.load_network()
            self._planner = StripPlanner(network.layout, network.context, linear)

    def __call__(
        self, image: HostPixels, size: Size, *, progress: Progress | None = None
    ) -> HostPixels:
        """Render an image at ``size`` (height, width).

        Args:
            image: uint8, uint16 or float32, 1 to 4 channels. Where the colours are NaN, pixels are
                missing; only models with a filled base can read such images.
            size: of the result.
            progress: called after each group of pieces.

        Returns:
            The image, with the channels and the dtype of ``image``. Integers are rounded and
            clipped, floats are not. Where there are missing pixels and the size is that of the
            image, the others stay as they are.

        Raises:
            ValueError: a size is below one pixel, or the array is no image.
        """
        _check_image(image)
        return self.render(image, self.plan(image.shape[:2], size), progress=progress)

    def plan(self, shape: Size, size: Size) -> Plan:
        """Plan an image of ``shape`` (height, width) that is to be rendered at ``size``.

        Plans may share compiled functions with the plans made before them.

        Raises:
            ValueError: a size is below one pixel.
        """
        _check_sizes(shape, size)
        return self._planner.plan(shape, size, self.mesh.size)

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> Sequence[Plan]:
        """Plan small images, which are not divided among the devices: see `render_together`.

        They are given as (shape, size).

        Raises:
            ValueError: a size is below one pixel.
        """
        for image in images:
            _check_sizes(*image)
        return self._planner.plan_together(images)

    def render(
        self, image: HostPixels, plan: Plan, *, progress: Progress | None = None
    ) -> HostPixels:
        """Render an image that was planned before; see `__call__`.

        Raises:
            ValueError: the array is no image, or the plan is for an image of another size.
        """
        return self.render_together([image], [plan], progress=progress)[0]

    def render_together(
        self,
        images: Sequence[HostPixels],
        plans: Sequence[Plan],
        *,
        progress: Progress | None = None,
    ) -> list[HostPixels]:
        """Render images of one dtype at the same time; their plans have equal renderers.

        Small ones keep all devices busy only together.

        Raises:
            ValueError: an array is no image, or its plan is for an image of another size, or the
                images cannot be rendered together.
        """
        for image, plan in zip(images, plans, strict=True):
            _check_image(image)
            if image.shape[:2] != plan.shape:
                raise ValueError(f"the plan is for an image of {plan.shape}, not {image.shape[:2]}")
        kinds = {(plan.renderer, image.dtype) for image, plan in zip(images, plans, strict=True)}
        if len(kinds) > 1:
            raise ValueError("images of several dtypes or renderers cannot be rendered together")
        report = progress or (lambda done, total: None)
        wanted = [image.shape[2] for image in images]
        originals = [drop_equal_channels(image) for image in images]
        images = [wrap_around(x, plan.padding) for x, plan in zip(originals, plans, strict=True)]
        results = [
            np.zeros((*plan.size, image.shape[2]), image.dtype)
            for image, plan in zip(images, plans, strict=True)
        ]
        done, total = 0, sum(len(plan.pieces) for plan in plans)
        # The devices work on the next group while the host puts one into the results.
        for group, pixels in _one_ahead(self._start_groups(images, plans, report)):
            for (i, piece), rendered in zip(group, np.asarray(pixels), strict=False):
                _fill(results[i][piece.target], rendered, piece.skipped)
            done += len(group)
            report(done, total)
        if not done:
            report(0, total)
        if done < total:
            report(total, total)  # The other pieces are transparent: they stay zero.
        results = [keep_known(x, image) for x, image in zip(results, originals, strict=True)]
        return [repeat_grey(x, channels) for x, channels in zip(results, wanted, strict=True)]

    @property
    def compilations(self) -> int:
        """How many functions were compiled so far."""
        return len(self._functions)

    @property
    def workspace(self) -> int:
        """The most memory that one of the compiled functions takes, in bytes, over all devices."""
        return max(list(self._functions.workspaces.values()), default=0)

    def workspace_of(self, plan: Plan) -> int:
        """The most memory that the functions compiled for a plan take, in bytes."""
        return self._functions.workspaces.get(plan.renderer, 0)

    def _start_groups(
        self, images: Sequence[HostPixels], plans: Sequence[Plan], report: Progress
    ) -> Iterator[tuple[list[tuple[int, Piece]], jax.Array]]:
        """Start one group of pieces after the other; results are computed asynchronously."""
        total, is_first = sum(len(plan.pieces) for plan in plans), True
        for channels, group in self._group(images, plans):
            # The last group is filled up: every device needs a piece.
            padded = group + [group[-1]] * (self.mesh.size - len(group))
            arguments = [plans[i].read(images[i][..., :channels], piece) for i, piece in padded]
            inputs = [np.stack(arrays) for arrays in zip(*arguments, strict=True)]
            function = self._functions.find(plans[0].renderer, inputs)
            if is_first:
                report(0, total)
                is_first = False
            yield group, function(*inputs)

    def _group(
        self, images: Sequence[HostPixels], plans: Sequence[Plan]
    ) -> Iterator[tuple[int, list[tuple[int, Piece]]]]:
        """Yield groups of pieces, one for each device, with the number of channels to render.

        A piece comes with the index of its image. Pieces with equal channels come together; among
        them the order is that of the plans. Those that take the most memory come first, because it
        is checked once, when the first function is compiled.
        """
        by_channels: dict[int, list[tuple[int, Piece]]] = {}
        for i, (image, plan) in enumerate(zip(images, plans, strict=True)):
            for piece in plan.pieces:
                channels = choose_channels(image[piece.source])
                by_channels.setdefault(channels, []).append((i, piece))
        by_channels.pop(0, None)
        for channels in sorted(by_channels, key=lambda n: (has_alpha(n), n), reverse=True):
            pieces = by_channels[channels]
            for start in range(0, len(pieces), self.mesh.size):
                yield channels, pieces[start : start + self.mesh.size]


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield each item after the next one was taken."""
    waiting = collections.deque(itertools.islice(items, 1))
    for item in items:
        waiting.append(item)
        yield waiting.popleft()
    yield from waiting


def _fill(part: HostPixels, rendered: HostPixels, skipped: Size) -> None:
    """Copy what was rendered of a piece into its part of the result."""
    top, left = skipped
    height, width, _ = part.shape
    channels = rendered.shape[2]
    part[..., :channels] = rendered[top : top + height, left : left + width]
    part[..., channels:] = largest_value(part.dtype)  # Alpha that is not rendered is opaque.


def _check_sizes(shape: Size, size: Size) -> None:
    if min(*shape, *size) < 1:
        raise ValueError(
            f"cannot render an image of size {shape} at size {size}: both need at least 1 x 1 "
            "pixels"
        )


def _check_image(image: Any) -> None:
    is_known = image.dtype in (np.uint8, np.uint16, np.float32)
    if not is_known or image.ndim != 3 or not 1 <= image.shape[2] <= 4:
        raise ValueError(
            "an image must be uint8, uint16 or float32 with 1 to 4 channels, got "
            f"{image.dtype} {image.shape}"
        )
