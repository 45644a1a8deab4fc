"""By how much an enlarged value may leave the range of the input around it.

A field that sharpens edges ripples beside them. Where the input is flat, no detail hides the
ripples; so a bound on the overshoot removes them, and what is constant stays exactly constant.
"""

from typing import Any, NamedTuple


class Overshoot(NamedTuple):
    """The bound, for values in [0, 1].

    Attributes:
        radius: how many pixels away those are that bound a value; input pixels, or output pixels if
            those are larger.
        share: by how much a value may leave their range, as a part of that range, where it is at
            most ``flat``.
        flat: the largest range of an area that is called flat.
        at_edges: what the range has beyond ``flat`` counts so many times more. With ``share`` of
            all of it, PSNR on buildings would be 0.02 dB lower.
        rounding: how far the values of an integer image may be from what was rounded, in levels.
    """

    radius: int = 2
    share: float = 0.5
    flat: float = 4 / 255
    at_edges: float = 2.0
    rounding: float = 0.499

    def margin(self, spread: Any) -> Any:
        """By how much a value may leave a range, from the range's extent: arrays of one shape."""
        return self.share * spread + self.at_edges * (spread - self.flat).clip(0)


OVERSHOOT = Overshoot()
"""The bound of `hyperfunc upscale`."""
