"""Compile what renders pieces for all devices, once, and keep it, also on disk."""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from hyperfunc.cache import load_program, save_program
from hyperfunc.devices import AXIS, replicated
from hyperfunc.upscaling.pieces import Renderer

if TYPE_CHECKING:
    from hyperfunc.networks import Hypernetwork

CPU_OPTIONS: dict[str, Any] = {"xla_backend_optimization_level": 1}
"""By default LLVM takes a sixth more time for code that is no faster: libraries compute the
convolutions."""

logger = logging.getLogger(__name__)


class CompiledFunctions:
    """The compiled functions of one model; each renders one piece on every device.

    ``load_network`` returns the hypernetwork when something has to be compiled. By the name its
    functions are found on disk; they are not kept there without.
    """

    def __init__(
        self,
        load_network: "Callable[[], Hypernetwork]",
        variables: Any,
        mesh: Mesh,
        name: str | None = None,
    ) -> None:
        """Copy the variables to the devices."""
        self.mesh = mesh
        self.variables = jax.device_put(variables, replicated(mesh))
        self.load_network, self._name = load_network, name
        self.workspaces: dict[Renderer, int] = {}
        """The most memory that the functions of a renderer take, in bytes, over all devices."""
        self._functions: dict[Any, Callable[..., jax.Array]] = {}
        self._locks: dict[Any, threading.Lock] = {}

    def __len__(self) -> int:
        """Count the functions that were compiled."""
        return len(self._functions)

    def find(self, renderer: Renderer, inputs: Sequence[np.ndarray]) -> Callable[..., jax.Array]:
        """Return the function that renders pieces with such inputs; compile it if it is new.

        The inputs are those of one piece for each device, stacked. The function's result is
        computed asynchronously. Several threads may compile different functions at once.
        """
        key = (renderer, *((array.shape, array.dtype) for array in inputs))
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._functions:
                self._functions[key] = self._compile(renderer, inputs)
        return self._functions[key]

    def _compile(
        self, renderer: Renderer, inputs: Sequence[np.ndarray]
    ) -> Callable[..., jax.Array]:
        shapes = [(array.shape, array.dtype.name) for array in inputs]
        key = f"{self._name} {renderer} {shapes}" if self._name else None
        devices = list(self.mesh.devices.flat)
        compiled = load_program(key, devices) if key else None
        if compiled is None:
            width, height = inputs[0].shape[2:0:-1]
            logger.info("compiling the model for pieces of %d x %d pixels", width, height)
            is_cpu = devices[0].platform == "cpu"
            compiled = self._trace(renderer, inputs).compile(CPU_OPTIONS if is_cpu else None)
            if key:
                save_program(key, devices, compiled)
        memory = compiled.memory_analysis()
        if memory is not None:
            # There are three results: while one is computed, the one before it is copied from all
            # devices into one array.
            needed = memory.temp_size_in_bytes + 3 * memory.output_size_in_bytes
            known = self.workspaces.get(renderer, 0)
            self.workspaces[renderer] = max(known, needed * self.mesh.size)
        return functools.partial(compiled, self.variables)

    def _trace(self, renderer: Renderer, inputs: Sequence[np.ndarray]) -> jax.stages.Lowered:
        along_devices = PartitionSpec(AXIS)
        function = jax.shard_map(
            functools.partial(renderer, self.load_network()),
            mesh=self.mesh,
            in_specs=(PartitionSpec(), *[along_devices] * len(inputs)),
            out_specs=along_devices,
            check_vma=False,
        )
        return jax.jit(function).lower(self.variables, *inputs)
