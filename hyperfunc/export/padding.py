"""Functional images without the windows that only pad a tile."""

import jax.numpy as jnp
import numpy as np

from hyperfunc.function import FunctionalImage


def without_padding(function: FunctionalImage) -> FunctionalImage:
    """Remove the windows that only pad a tile, and the pixels under them.

    Raises:
        ValueError: the windows that exist are not a block, or windows hold several pixels.
    """
    spans = []
    for exists in function.exists:
        (present,) = np.nonzero(np.asarray(exists))
        if len(present) == 0 or len(present) != present[-1] - present[0] + 1:
            raise ValueError("the windows that exist must be a block, with at least one window")
        spans.append(slice(int(present[0]), int(present[-1]) + 1))
    if all(span == slice(0, len(e)) for span, e in zip(spans, function.exists, strict=True)):
        return function
    if not function.layout.is_per_pixel:
        raise ValueError("only a functional image with a window per pixel may have padding")
    rows, cols = spans
    size = (rows.stop - rows.start, cols.stop - cols.start)
    return function.replace(  # pyright: ignore[reportAttributeAccessIssue]
        theta=function.theta.map_windows(lambda leaf: leaf[:, rows, cols]),
        base=None if function.base is None else function.base[:, rows, cols],
        exists=(jnp.ones(size[0]), jnp.ones(size[1])),
        size=size,
    )
