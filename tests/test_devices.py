"""How arrays lie on devices."""

import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from hyperfunc import devices as sharding
from hyperfunc.errors import UserError


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh()


def test_the_mesh_holds_all_devices(mesh):
    assert mesh.size == jax.device_count() == 4
    assert sharding.make_mesh(jax.devices()[:2]).size == 2


def test_a_batch_is_cut_into_equal_parts_in_order(mesh):
    batch = {"observed": np.arange(24).reshape(8, 3), "phase": np.zeros(8)}
    placed = sharding.shard_batch(batch, mesh)
    np.testing.assert_array_equal(placed["observed"], batch["observed"])
    parts = sorted(placed["observed"].addressable_shards, key=lambda shard: shard.device.id)
    assert len({part.device for part in parts}) == 4
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(part.data, batch["observed"][2 * i : 2 * i + 2])


def test_parameters_are_copied_or_cut_along_their_largest_divisible_axis(mesh):
    shapes = {
        "bias": (3,),
        "scalar": (),
        "kernel": (3, 3, 8, 16),
        "wide": (6, 4),
        "odd": (3, 5),
    }
    state = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    copied = sharding.state_shardings(state, mesh, shard_parameters=False)
    assert all(each.is_fully_replicated for each in copied.values())
    cut = sharding.state_shardings(state, mesh, shard_parameters=True)
    assert {name: each.spec for name, each in cut.items()} == {
        "bias": PartitionSpec(),
        "scalar": PartitionSpec(),
        "kernel": PartitionSpec(None, None, None, "data"),
        "wide": PartitionSpec(None, "data"),
        "odd": PartitionSpec(),
    }
    for name, shape in shapes.items():
        cut[name].shard_shape(shape)  # Raises where the axis cannot be divided.


@pytest.fixture
def config(monkeypatch, tmp_path):
    """JAX's settings on a machine with six cores, as if they had not been touched."""
    values = {"jax_num_cpu_devices": -1}
    fake = types.SimpleNamespace(values=values, update=values.__setitem__)
    monkeypatch.setattr(sharding, "jax", types.SimpleNamespace(config=fake))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(sharding, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    return values


@pytest.mark.parametrize(("batch", "devices"), [(None, 6), (12, 6), (16, 2), (9, 3), (7, 1)])
def test_each_core_is_a_device_if_the_batch_can_be_divided(config, batch, devices):
    sharding.use_cpu_cores(batch)
    assert config == {"jax_num_cpu_devices": devices}
    flags = os.environ.pop("XLA_FLAGS", "")
    assert ("xla_cpu_multi_thread_eigen=false" in flags) == (devices > 1)


@pytest.mark.parametrize(
    ("share", "devices"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 6)],
)
def test_a_container_has_no_more_devices_than_its_share(config, share, devices):
    sharding.CPU_MAX.write_text(f"{share}\n")
    sharding.use_cpu_cores()
    os.environ.pop("XLA_FLAGS", None)
    assert config == {"jax_num_cpu_devices": devices}


def test_devices_stay_once_jax_has_started(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setitem(jax.config.values, "jax_num_cpu_devices", -1)
    jax.devices()
    sharding.use_cpu_cores()
    assert "XLA_FLAGS" not in os.environ


def test_what_the_user_chose_stays(config, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    sharding.use_cpu_cores(16)
    assert config == {"jax_num_cpu_devices": -1}
    monkeypatch.delenv("XLA_FLAGS")
    config["jax_num_cpu_devices"] = 4
    sharding.use_cpu_cores(9)
    assert config == {"jax_num_cpu_devices": 4}


def test_processes_are_joined_as_the_environment_says(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **kwargs: calls.append(kwargs))
    monkeypatch.delenv("JAX_NUM_PROCESSES", raising=False)
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    sharding.join_processes()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    sharding.join_processes()
    limit = {"heartbeat_timeout_seconds": sharding.HEARTBEAT_TIMEOUT}
    assert calls == [
        {"num_processes": None, "process_id": None, **limit},
        {"num_processes": 2, "process_id": 1, **limit},
    ]
    monkeypatch.setenv("JAX_PROCESS_ID", "one")
    with pytest.raises(UserError, match="JAX_PROCESS_ID"):
        sharding.join_processes()
