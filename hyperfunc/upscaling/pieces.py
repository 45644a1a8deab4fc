"""The parts that an image is rendered in, and what every plan of them offers.

There are two ways to divide an image: `hyperfunc.upscaling.tiles` for models with a window per
pixel, `hyperfunc.upscaling.strips` for models that read windows.
"""

import abc
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
    """Renders one piece on one device. Equal renderers share the compiled function."""

    def __call__(self, model: "Hypernetwork", variables: Any, *inputs: jax.Array) -> jax.Array:
        """Render a piece from what `Plan.read` gave, each array with a leading axis of 1."""
        ...


@dataclasses.dataclass(frozen=True)
class Plan(abc.ABC):
    """How one image is rendered at one size. Sizes are (height, width).

    Attributes:
        shape: size of the image.
        size: size of the result.
        padding: rows and columns of its other side that are put on each side of the image first.
    """

    shape: Size
    size: Size
    padding: Size = dataclasses.field(default=(0, 0), kw_only=True)

    @property
    def steps(self) -> tuple[float, float]:
        """The pitch of the output (rows, columns), in input pixels."""
        return self.shape[0] / self.size[0], self.shape[1] / self.size[1]

    @property
    @abc.abstractmethod
    def pieces(self) -> Sequence[Piece]:
        """The parts, which cover the result without overlap, from the top left on."""

    @property
    @abc.abstractmethod
    def renderer(self) -> Renderer:
        """Renders each of the pieces."""

    @abc.abstractmethod
    def read(self, image: HostPixels, piece: Piece) -> tuple[np.ndarray, ...]:
        """Collect the arguments with which the renderer renders a piece of the padded image."""


@runtime_checkable
class Planner(Protocol):
    """One way to divide images."""

    def plan(self, shape: Size, size: Size, parts: int) -> Plan:
        """Plan an image, in ``parts`` pieces at least, if it is not too small."""
        ...

    def plan_together(self, images: Sequence[tuple[Size, Size]]) -> Sequence[Plan]:
        """Plan small images, given as (shape, size), that are rendered at the same time."""
        ...
