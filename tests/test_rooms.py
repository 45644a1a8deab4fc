"""The packages of hyperfunc: each is used by the names of its __init__.py alone."""

import ast
import functools
import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperfunc

PACKAGE = Path(hyperfunc.__file__).parent
ROOT = PACKAGE.parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@functools.cache
def find_imports(path: Path) -> list[tuple[str, list[str]]]:
    """List the module and the names of each ``from hyperfunc... import ...`` of a file."""
    return list(_walk_imports(path))


def _walk_imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(ast.parse(read_code(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hyperfunc"):
            yield node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("hyperfunc."):
                    yield alias.name, []


def read_code(path: Path) -> str:
    """Return the Python of a file, or of the cells of a notebook."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell) for cell in cells).splitlines()
    return "\n".join(re.sub(r"^(\s*)[!%].*", r"\1pass", line) for line in lines)


def sources() -> list[Path]:
    """Return the files that have to keep to the public names of the rooms."""
    patterns = ("*.py", "benchmarks/**/*.py", "contrib/**/*.py", "notebooks/*.ipynb")
    return [*PACKAGE.rglob("*.py"), *(path for x in patterns for path in ROOT.glob(x))]


def test_a_room_is_used_by_its_public_names() -> None:
    wrong = []
    for path in sources():
        own = path.relative_to(PACKAGE).parts[0] if PACKAGE in path.parents else ""
        for module, names in find_imports(path):
            room = module.split(".")[1] if "." in module else ""
            if room not in ROOMS or room == own:
                continue
            public = importlib.import_module(f"hyperfunc.{room}").__all__
            if module != f"hyperfunc.{room}" or not set(names) <= set(public):
                wrong.append(f"{path.relative_to(ROOT)}: from {module} import {', '.join(names)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_states_its_duty(room: str) -> None:
    duty = importlib.import_module(f"hyperfunc.{room}").__doc__ or ""
    assert 1 <= duty.count(".") and len(duty.splitlines()) <= 8, duty


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_used(room: str) -> None:
    offered = set(importlib.import_module(f"hyperfunc.{room}").__all__)
    used = {
        name
        for path in sources()
        for module, names in find_imports(path)
        if module == f"hyperfunc.{room}"
        for name in names
    }
    stub = (PACKAGE / "__init__.pyi").read_text("utf-8")
    unused = {name for name in offered - used if f".{room} import {name} " not in stub}
    assert not unused, f"hyperfunc.{room} offers names that nothing outside uses: {sorted(unused)}"


def layers() -> list[list[str]]:
    """Return the rooms and the files below them, from the top; those of a line are equal."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (order,) = [x["layers"] for x in contracts if x["name"] == "The order of the rooms"]
    return [re.split(r"\W+", line) for line in order]


def test_imports_lead_downwards() -> None:
    height = {room: -i for i, layer in enumerate(layers()) for room in layer}
    upwards = []
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module, _ in find_imports(path):
            room = module.split(".")[1] if "." in module else own
            if own in height and room != own and height[room] >= height[own]:
                upwards.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not upwards


def test_the_drawing_shows_the_rooms() -> None:
    """CONTRIBUTING.md has them in their order, each with the first line of its docstring."""
    duties = {
        room: (importlib.import_module(f"hyperfunc.{room}").__doc__ or "").splitlines()[0]
        for layer in layers()
        for room in layer
    }
    drawing = "\n    v\n".join(
        "\n".join(f"{room:<13}{duties[room]}" for room in layer) for layer in layers()
    )
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.search(r"<!-- rooms -->\n```text\n(.*?)\n```\n", page, flags=re.DOTALL)
    assert found, "CONTRIBUTING.md has no block below <!-- rooms -->"
    assert found[1] == drawing, f"the block below <!-- rooms --> has to be:\n{drawing}"
