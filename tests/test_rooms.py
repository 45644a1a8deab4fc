"""The packages of hyperfunc: each is used by the names of its __init__.py alone."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperfunc

PACKAGE = Path(hyperfunc.__file__).parent
ROOT = PACKAGE.parent
PENDING = {"functional_image"}  # A module that is still used whole.
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def find_imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the module and the names of each ``from hyperfunc... import ...`` of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hyperfunc"):
            yield node.module or "", [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("hyperfunc."):
                    yield alias.name, []


def sources() -> list[Path]:
    """Return the files that have to keep to the public names of the rooms."""
    folders = ("benchmarks", "contrib")
    others = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [*PACKAGE.rglob("*.py"), *ROOT.glob("*.py"), *others]


def test_a_room_is_used_by_its_public_names() -> None:
    wrong = []
    for path in sources():
        own = path.relative_to(PACKAGE).parts[0] if PACKAGE in path.parents else ""
        for module, names in find_imports(path):
            room = module.split(".")[1] if "." in module else ""
            if room not in ROOMS or room == own:
                continue
            public = importlib.import_module(f"hyperfunc.{room}").__all__
            if module != f"hyperfunc.{room}" or not set(names) <= {*public, *PENDING}:
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
