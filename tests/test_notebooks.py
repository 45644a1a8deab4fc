"""The notebooks run from top to bottom with tiny settings, and are stored without outputs."""

import asyncio
import os
from pathlib import Path

import jax
import nbformat
import pytest
from nbclient import NotebookClient

import train

ROOT = Path(train.__file__).parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def kernel_environment(compilation_cache: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a kernel: JAX set up as in this process, nothing of the user's data."""
    environment = {
        **os.environ,
        "HYPERFUNC_NOTEBOOK_STEPS": "2",
        "JAX_COMPILATION_CACHE_DIR": str(compilation_cache),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "True",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PLATFORMS": jax.default_backend(),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": str(compilation_cache / "matplotlib"),
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("HYPERFUNC_DATA_DIR", None)
    return environment


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "faces_and_weight_space",
        "super_resolution",
        "train_your_own",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert cell.outputs == [] and cell.execution_count is None
    assert "attachments" not in path.read_text()  # Nor pictures in its text.
    assert "image/png" not in path.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, kernel_environment):
    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    asyncio.run(client.async_execute(env=kernel_environment))  # Raises where a cell does.
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
