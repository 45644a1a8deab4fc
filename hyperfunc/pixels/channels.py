"""The channels of an image: grey, grey with alpha, RGB, or RGBA."""


def has_alpha(channels: int) -> bool:
    """Whether the last one of so many channels is alpha."""
    return channels in (2, 4)
