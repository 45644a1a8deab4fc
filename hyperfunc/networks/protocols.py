"""What every component offers to the rest of the program."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ModelProtocol(Protocol):
    """A network that can be trained and evaluated: a hypernetwork or a baseline for one scale.

    `hyperfunc.function.predict` turns images into larger (or smaller) images with any of them.
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
        """Return theta and the shared parameters, or the enlarged images (`fixed_scale`)."""
        ...
