"""The API reference names everything public, and what is public says what it is."""

import re
from pathlib import Path

import pytest

import hyperfunc

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", hyperfunc.__all__)
def test_every_public_name_has_a_docstring_and_its_module_a_page(name: str) -> None:
    value = getattr(hyperfunc, name)
    assert value.__doc__
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    modules = re.findall(r"^::: (\S+)", pages, flags=re.MULTILINE)
    assert value.__module__ in modules
    assert f"[`hyperfunc.{name}`][{value.__module__}.{value.__name__}]" in pages


def test_how_it_works_shows_figures_that_exist_and_are_small() -> None:
    page = DOCS / "how-it-works.md"
    paths = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())
    figures = [page.parent / path for path in paths]
    assert figures
    assert all(figure.stat().st_size < 150_000 for figure in figures)
