"""What every component offers to the rest of the program.

Nothing outside the file that defines a component asks for its class: what differs between
components is stated here, as a property or a method that each of them has. To add one: write a
Linen module, or for a target network a frozen dataclass, that offers what its protocol states, and
name it in the union at the foot of its file: the command line, checkpoints and tests read it.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from hyperfunc.types import Shared, Theta


class Mode(NamedTuple):
    """For what a network is applied; values differ only in ``batch_statistics``."""

    batch_statistics: bool = False
    """Whether to normalise by the statistics of the batch, instead of the running ones."""
    fast_gradients: bool = False
    """Whether to use kernels with fast gradients, of which some lack forward-mode derivatives."""


INFERENCE = Mode()
TRAINING = Mode(batch_statistics=True, fast_gradients=True)


@runtime_checkable
class BackboneProtocol(Protocol):
    """A trunk: a Linen module from images [b, h, w, 3] in [0, 1] to features [b, y, x, width].

    It is called as ``backbone(images, mask=mask, mode=mode)``. Features are of type ``dtype``;
    inference sets it to float32.
    """

    width: int
    dtype: Any

    receptive_radius: int | None
    """How many pixels away a feature depends on the image, at the image's resolution.

    None: the backbone changes the resolution and cannot be applied to tiles. Otherwise it accepts a
    mask, so that a padded tile gives the features of the image.
    """

    alignment: int
    """Features of a part of the image are those of the whole if the part begins at a multiple of
    so many pixels."""


@runtime_checkable
class TargetProtocol(Protocol):
    """A target network T(x, a; theta): a pure function of a point and of emitted parameters.

    Theta and the shared parameters are nested dicts of arrays. All methods take one point and one
    theta; callers vmap.
    """

    channels: int
    """Output channels."""

    @property
    def last_layer(self) -> str:
        """The layer whose parameters have the output channels as their last axis."""
        ...

    depends_on_footprint: bool
    """Whether a value depends on the pixel pitch for which it is asked."""
    is_linear: bool
    """Whether T = basis(x, a) . theta["coefficients"], with ``basis_size`` basis functions.

    Then `prepare` changes nothing, and a hypernetwork may emit a `FactoredTheta`.
    """
    is_fourier_series: bool
    """Whether it is linear and its basis is that of `FourierField`, for the fast renderers."""

    def init(self, key: jax.Array) -> tuple[Theta, Shared]:
        """Draw parameters: the mean of theta, and what all target networks share."""
        ...

    def prepare(self, theta: Theta, shared: Shared) -> Theta:
        """Compute once for each theta what does not depend on the point."""
        ...

    def apply(
        self, theta: Theta, shared: Shared, coord: Float[Array, " 2"], footprint: Float[Array, " 2"]
    ) -> Float[Array, " c"]:
        """Evaluate at one point (y, x) of the window's frame, [-1, 1]^2.

        Theta comes from `prepare`. The footprint is the pixel pitch, per axis, in the same units.
        """
        ...


@runtime_checkable
class ModelProtocol(Protocol):
    """A network that can be trained and evaluated: a hypernetwork or a baseline for one scale.

    `hyperfunc.function.predict` turns images into images of another size with any of them.
    """

    @property
    def fixed_scale(self) -> int | None:
        """The only scale that the network predicts; None if it makes functions, for any scale."""
        ...

    @property
    def depends_on_footprint(self) -> bool:
        """Whether a value depends on the pixel pitch for which it is asked."""
        ...

    def with_dtype(self, dtype: Any) -> Any:
        """Return the same network with its backbone computing in another precision."""
        ...

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """Draw the variables, given a key and images."""
        ...

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply the network to images in [0, 1].

        It returns the enlarged images, or, without ``fixed_scale``, theta, shared parameters, and
        the base.
        """
        ...
