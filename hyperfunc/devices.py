"""The device mesh and how arrays lie on it.

The mesh has one axis, "data". Batches are split along it. Parameters are copied to every device or,
on request, split too. The same code runs on two CPU devices of a laptop, a GPU and a TPU pod.
"""

import contextlib
import logging
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hyperfunc.errors import UserError

AXIS = "data"

logger = logging.getLogger(__name__)

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Where a container says how much of the machine's cores it has, such as docker's --cpus=2."""


HEARTBEAT_TIMEOUT = 30
"""Seconds without a sign of life after which a process counts as lost, and the others are ended."""


def use_cpu_cores(batch_size: int | None = None) -> None:
    """Make one JAX device of each CPU core; call it before JAX starts its backend.

    XLA runs many convolutions on one thread, so that a batch divided over single-threaded devices
    is nearly twice as fast on two cores. The number of devices divides ``batch_size``. Does nothing
    where the user has set it or JAX has started, and nothing to accelerators.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if (
        "xla_force_host_platform_device_count" in flags
        or jax.config.values["jax_num_cpu_devices"] > 0
    ):
        return
    cores = _count_cores()
    devices = math.gcd(cores, batch_size) if batch_size else cores
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError as error:  # JAX has started: its devices stay.
        logger.debug("JAX keeps its devices: %s", error)
        return
    if devices > 1 and "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def _count_cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's share.

    Reference: the Linux kernel's documentation, "Control Group v2", cpu.max.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with contextlib.suppress(OSError, ValueError):  # There is none, or it is "max".
        quota, period = (int(number) for number in CPU_MAX.read_text().split())
        cores = min(cores, max(math.ceil(quota / period), 1))
    return cores


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the host or a device had too little memory."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return "RESOURCE_EXHAUSTED" in str(error)
    return isinstance(error, MemoryError)


def join_processes() -> None:
    """Make this process one of several that train one model; call it before JAX does anything.

    TPU pods, Slurm, Open MPI and Kubernetes jobs are recognised. Elsewhere set three
    environment variables in each process: JAX_COORDINATOR_ADDRESS (host:port of process 0),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        UserError: the other processes are unknown or cannot be reached.
    """
    try:
        count, index = (
            int(os.environ[name]) if name in os.environ else None
            for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
        jax.distributed.initialize(
            num_processes=count, process_id=index, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot join other processes ({error}): set JAX_COORDINATOR_ADDRESS (host:port), "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or train alone, without --distributed"
        ) from error


def make_mesh(devices: list[Any] | None = None) -> Mesh:
    """All devices along one axis.

    Auto axes: with JAX's default of explicit ones a scatter-add raises ``ShardingTypeError``.
    """
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """Cut along the leading axis."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def state_shardings(state: Any, mesh: Mesh, *, shard_parameters: bool) -> Any:
    """Shardings for the leaves of a train state (arrays or shapes): a copy on every device.

    With ``shard_parameters`` each is cut along its largest axis that the number of devices divides.
    """

    def sharding(leaf: Any) -> NamedSharding:
        divisible = [n if n % mesh.size == 0 else 0 for n in leaf.shape]
        if not shard_parameters or mesh.size == 1 or not any(divisible):
            return replicated(mesh)
        axis = int(np.argmax(divisible))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))

    return jax.tree.map(sharding, state)


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """Put this process' part of a batch onto its devices, as part of one global array."""
    sharding = batch_sharded(mesh)
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, array), batch
    )
