"""The notebooks install themselves, run from top to bottom, and are stored without outputs."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import nbformat
import pytest
from nbclient import NotebookClient

import train
from benchmarks.pages import read_part

ROOT = Path(train.__file__).parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

FAKE_PIP = """
import os, sys
with open(os.environ["FAKE_PIP_LOG"], "w") as file:
    print(*sys.argv[1:], sep="|", file=file)
"""
"""A pip that writes down what it was asked for."""


@pytest.fixture
def kernel_environment(compilation_cache: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a kernel: JAX is set up as in this process; the user has no data."""
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


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "faces_and_weight_space",
        "restoration",
        "super_resolution",
        "train_your_own",
    ]


@EVERY_NOTEBOOK
def test_a_notebook_is_stored_without_outputs(path):
    nbformat.validate(read(path))
    for cell in code_cells(path):
        assert cell.outputs == [] and cell.execution_count is None
    assert "attachments" not in path.read_text()  # Nor pictures in its text.
    assert "image/png" not in path.read_text()


@EVERY_NOTEBOOK
@pytest.mark.parametrize(
    ("wheel", "package"),
    [
        ("hyperfunc-1.2.3-py3-none-any.whl", "./hyperfunc-1.2.3-py3-none-any.whl[eval,train]"),
        (None, "hyperfunc[eval,train] @ git+https://github.com/hyperfunc/hyperfunc"),
    ],
)
def test_a_notebook_installs_what_it_needs(path, tmp_path, monkeypatch, wheel, package):
    """From a wheel beside it, else from the repository."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()  # A namespace package would not hide the real one.
    (tmp_path / "pip" / "__main__.py").write_text(FAKE_PIP)
    if wheel:
        (tmp_path / wheel).touch()
    monkeypatch.chdir(tmp_path)
    before, _, rest = code_cells(path)[0].source.partition("if importlib")
    values = {"__name__": "__main__"}
    with mock.patch("shutil.which", return_value=None):  # As on a machine without a GPU.
        exec(before, values)
    command = rest.splitlines()[1].strip().removeprefix("!").format(**values)
    subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "FAKE_PIP_LOG": str(tmp_path / "log")},
        check=True,
    )
    assert values["pip"].startswith(sys.executable)
    words = (tmp_path / "log").read_text().strip().split("|")
    assert words == ["install", "-q", "matplotlib", package]


@pytest.mark.parametrize("name", ["super_resolution", "train_your_own"])
def test_the_table_of_times_is_that_of_the_documentation(name):
    table = read_part(ROOT / "docs" / "scale.md", "times")
    cells = read(ROOT / "notebooks" / f"{name}.ipynb").cells
    assert table.count("estimated") > 5 and any(table in cell.source for cell in cells)


@pytest.mark.notebooks
@EVERY_NOTEBOOK
def test_a_notebook_runs_from_an_empty_folder(path, tmp_path, kernel_environment):
    folder = tmp_path / "empty"
    folder.mkdir()
    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    asyncio.run(client.async_execute(env=kernel_environment))  # Raises where a cell does.
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    text = "".join(output.get("text", "") or str(output.get("data", "")) for output in outputs)
    assert "no restart is needed" in text
    assert "CPU 0" in text  # The drawing of a batch on the devices.
