"""What Muon needs beside Optax's: the choice of the kernels, and one stack for all of a shape."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def muon_dimensions(is_pointwise_too: bool, stacks: Any) -> Any:
    """Choose the stacks [n, k, k, c_in, c_out] of kernels between hidden layers, for Muon."""

    def dimensions(stack: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        shape = stack.shape[1:]
        if len(shape) != 4 or shape[2] < 16:
            return None
        # A fusion of many layers has far more inputs than outputs.
        is_layer = is_pointwise_too and 16 <= shape[3] and shape[2] <= 2 * shape[3]
        if shape[0] * shape[1] > 1 or is_layer:
            return optax.contrib.MuonDimensionNumbers((1, 2, 3), 4)
        return None

    return jax.tree.map(dimensions, stacks)


def on_stacks(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Run a transformation on stacks of all leaves of one shape.

    Muon's orthogonalisation is dozens of small operations for each kernel, whose launches take
    longer than the rest of a training step on a GPU; on a stack it is as many for all.
    """

    def init(params: Any) -> Any:
        return inner.init(stack_alike(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        params = None if params is None else stack_alike(params)
        stacks, state = inner.update(stack_alike(updates), state, params)
        return _unstack(stacks, updates), state

    return optax.GradientTransformation(init, update)


def stack_alike(tree: Any) -> dict[str, jax.Array]:
    """Stack the leaves of each shape, in the order of the tree."""
    alike: dict[str, list[jax.Array]] = {}
    for leaf in jax.tree.leaves(tree):
        alike.setdefault(_shape_name(leaf), []).append(leaf)
    return {name: jnp.stack(leaves) for name, leaves in alike.items()}


def _unstack(stacks: Any, like: Any) -> Any:
    """Turn stacks back into a tree."""
    leaves = {name: iter(stack) for name, stack in stacks.items()}
    return jax.tree.map(lambda leaf: next(leaves[_shape_name(leaf)]), like)


def _shape_name(leaf: jax.Array) -> str:
    return "x".join(map(str, (leaf.dtype, *leaf.shape)))
