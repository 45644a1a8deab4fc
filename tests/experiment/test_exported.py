"""Exported models: the two files, and what is said about those that are damaged."""

import json
import os
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hyperfunc.errors import UserError
from hyperfunc.experiment import (
    BUNDLED,
    PRESETS,
    count_parameters,
    init_variables,
    load_model,
    read_exported,
    to_dict,
    write_model,
)
from hyperfunc.experiment.exported import Exported, read_variables, write_exported


@pytest.fixture
def folder(tiny_experiment, tmp_path):
    """A small model, exported."""
    variables = jax.device_get(init_variables(tiny_experiment, jax.random.key(0)))
    exported = Exported.of(7, to_dict(tiny_experiment), tiny_experiment.model.reads)
    write_exported(tmp_path / "model", exported, variables)
    return tmp_path / "model"


def test_a_model_is_read_as_it_was_written(folder, tiny_experiment):
    model = load_model(folder)
    variables = init_variables(tiny_experiment, jax.random.key(0))
    assert model.experiment == tiny_experiment and (model.step, model.path) == (7, folder)
    assert model.reads == tiny_experiment.model.reads
    jax.tree.map(np.testing.assert_array_equal, model.variables, variables)
    assert jax.tree.structure(model.variables) == jax.tree.structure(variables)
    assert count_parameters(folder) == sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_branches_without_variables_are_kept(tmp_path, tiny_experiment):
    """A target network that shares nothing has an empty branch, which Flax looks for."""
    variables = {"params": {"shared": {}, "a": {"b": np.ones(2)}}, "batch_stats": {}}
    write_exported(tmp_path, Exported(1, to_dict(tiny_experiment), None), variables)
    assert jax.tree.structure(read_variables(tmp_path)) == jax.tree.structure(variables)


def test_what_a_network_reads_is_kept_without_it(tmp_path):
    for name in ("sr", "restore", "inpaint", "faces_local"):
        model = PRESETS[name].model
        exported = Exported.of(1, to_dict(PRESETS[name]), model.reads)
        write_exported(tmp_path, exported, {"params": {}})
        assert read_exported(tmp_path).reads == model.reads


def test_an_exported_model_can_be_exported_again(folder, tmp_path):
    write_model(load_model(folder), tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_it_holds_one_step(folder):
    assert load_model(folder, step=7).step == 7
    with pytest.raises(UserError, match=r"no checkpoint of step 8: it has \[7\]"):
        load_model(folder, step=8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 1}', "cannot be read"),
        ('{"format": 1, "step": 1, "experiment": {}, "receptive_radius": 1}', "cannot be read"),
        ('{"format": 2}', "its format is 2 and this version of hyperfunc reads 1"),
    ],
)
def test_a_damaged_config_is_told(folder, config, message):
    (folder / "config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_a_network_of_another_version_is_told(folder):
    config = json.loads((folder / "config.json").read_text())
    config["experiment"]["model"]["type"] = "Later"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"step 7: this version of hyperfunc knows no such.*Later"):
        load_model(folder)


def test_damaged_weights_are_told(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:-4], b"\xff" * 100):
        path.write_bytes(content)
        for read in (load_model, count_parameters, read_variables):
            with pytest.raises(UserError, match=r"model.safetensors: cannot be read"):
                read(folder)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        load_model(folder)


def test_weights_of_another_experiment_are_told(folder):
    path = folder / "model.safetensors"
    arrays = load_file(path)
    name = min(arrays)
    for changed in (
        {**arrays, name: arrays[name].astype(np.float16)},
        {**arrays, name: arrays[name][..., :-1].copy()},
        {**arrays, "params.other": np.zeros(1, np.float32)},
        {key: array for key, array in arrays.items() if key != name},
    ):
        save_file(changed, path)
        with pytest.raises(UserError, match="the weights are not those of the experiment"):
            load_model(folder)


def test_an_export_that_fails_leaves_the_old_one(folder, tiny_experiment, monkeypatch):
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(UserError, match="full"):
        write_exported(folder, Exported(8, to_dict(tiny_experiment), 1), {"params": {}})
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", sorted(path.name for path in BUNDLED.glob("*/")))
def test_bundled_models_fit_their_presets(name, tmp_path):
    """They are not checked when they are loaded, which takes time."""
    shutil.copytree(BUNDLED / name, tmp_path / name)
    assert load_model(tmp_path / name).fingerprint == load_model(name).fingerprint
    network = PRESETS[name].model.with_dtype("float32")
    assert load_model(name).experiment.model == network
    assert read_exported(BUNDLED / name).step == load_model(name).step
