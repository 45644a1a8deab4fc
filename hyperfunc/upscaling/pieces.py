"""The parts that an image is rendered in, and what every plan of them offers.

There are two ways to divide an image: `hyperfunc.upscaling.tiles` for models with a window per
pixel, `hyperfunc.upscaling.strips` for models that read windows.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
import numpy as np

from hyperfunc.types import HostPixels, Size

if TYPE_CHECKING:
    from hyperfunc.networks import Hypernetwork


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of an image that one device renders. Pairs are rows and columns.

    Attributes:
        source: the pixels of the padded image that are read; they may end beyond it.
        target: the output pixels that the piece fills.
        rendered_from: the first input pixel that is rendered, counted from the source's first.
        skipped: output pixels that are rendered before those of the target, and dropped.
    """

    source: tuple[slice, slice]
    target: tuple[slice, slice]
    rendered_from: Size = (0, 0)
    skipped: Size = (0, 0)


@runtime_checkable
class Renderer(Hashable, Protocol):
    """Renders one piece on one device.

    It is traced and compiled. Equal renderers share the compiled function, so a renderer holds
    everything that the function depends on besides its arguments.
    """

    def __call__(self, model: "Hypernetwork", variables: Any, *inputs: jax.Array) -> jax.Array:
        """Render a piece from what `Plan.read` gave, each array with a leading axis of 1."""
        ...


@runtime_checkable
class Plan(Protocol):
    """How one image is rendered at one size."""

    @property
    def shape(self) -> Size:
        """(height, width) of the image."""
        ...

    @property
    def size(self) -> Size:
        """(height, width) of the result."""
        ...

    @property
    def padding(self) -> Size:
        """Rows and columns of its other side that are put on each side of the image first."""
        ...

    @property
    def pieces(self) -> Sequence[Piece]:
        """The parts, which cover the result without overlap."""
        ...

    @property
    def renderer(self) -> Renderer:
        """Renders each of the pieces."""
        ...

    def read(self, image: HostPixels, piece: Piece) -> tuple[np.ndarray, ...]:
        """Collect the arguments with which the renderer renders a piece of the padded image."""
        ...


@runtime_checkable
class Planner(Protocol):
    """One way to divide images."""

    def plan(self, shape: Size, size: Size, parts: int) -> Plan:
        """Plan an image of ``shape`` (height, width) that is to be rendered at ``size``.

        Args:
            shape: of the image.
            size: of the result.
            parts: divide the image into so many pieces at least, if it is not too small.
        """
        ...

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> Sequence[Plan]:
        """Plan small images, given as (shape, size), that are rendered at the same time."""
        ...
