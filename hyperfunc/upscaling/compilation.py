"""Compile what renders pieces for all devices, once, and keep it."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hyperfunc.devices import AXIS, replicated
from hyperfunc.networks import Hypernetwork
from hyperfunc.upscaling.pieces import Renderer

logger = logging.getLogger(__name__)


class CompiledFunctions:
    """The compiled functions of one model; each renders one piece on every device.

    Args:
        model: the hypernetwork.
        variables: its variables, which are copied to every device.
        mesh: the devices.
    """

    def __init__(self, model: Hypernetwork, variables: Any, mesh: Mesh) -> None:
        """Copy the variables to the devices."""
        self.model, self.mesh = model, mesh
        self.variables = jax.device_put(variables, replicated(mesh))
        self.workspace = 0
        """The most memory that a function takes while it runs, in bytes, over all devices."""
        self._functions: dict[Any, Callable[..., jax.Array]] = {}

    def __len__(self) -> int:
        """Count the functions that were compiled."""
        return len(self._functions)

    def find(self, renderer: Renderer, inputs: Sequence[np.ndarray]) -> Callable[..., jax.Array]:
        """Return the function that renders pieces with these inputs; compile it if it is new.

        Args:
            renderer: what to do with one piece.
            inputs: its arguments for several pieces, one for each device along the first axis.

        Returns:
            A function of ``inputs``. Its result, the rendered pieces, is computed asynchronously.
        """
        key = (renderer, *((array.shape, array.dtype) for array in inputs))
        if key not in self._functions:
            self._functions[key] = self._compile(renderer, inputs)
        return self._functions[key]

    def _compile(
        self, renderer: Renderer, inputs: Sequence[np.ndarray]
    ) -> Callable[..., jax.Array]:
        logger.info("compiling the model for pieces of %d x %d pixels", *inputs[0].shape[2:0:-1])
        along_devices = PartitionSpec(AXIS)
        function = jax.shard_map(
            functools.partial(renderer, self.model),
            mesh=self.mesh,
            in_specs=(PartitionSpec(), *[along_devices] * len(inputs)),
            out_specs=along_devices,
            check_vma=False,
        )
        compiled = jax.jit(function).lower(self.variables, *inputs).compile()
        memory = compiled.memory_analysis()
        if memory is not None:
            needed = memory.temp_size_in_bytes + memory.output_size_in_bytes
            self.workspace = max(self.workspace, needed * self.mesh.size)
        return functools.partial(compiled, self.variables)
