"""What the documents say of the package is true, and their links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

import hyperfunc
from hyperfunc.experiment import BUNDLED, PRESETS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("**/*.md")), *BUNDLED.glob("*.md")]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
HISTORY = re.compile(
    r"\bsessions? \d|\bissues? #?\d|\blent\b|\.\./shared|\bworking period|\bthis session",
    flags=re.IGNORECASE,
)
"""Words about how and when something was made, which a reader of the repository cannot look up."""


@pytest.mark.parametrize("name", hyperfunc.__all__)
def test_every_public_name_has_a_docstring_and_an_entry(name: str) -> None:
    assert getattr(hyperfunc, name).__doc__
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    assert f"\n::: hyperfunc.{name}\n" in f"{pages}\n"
    assert f"[`{name}`][hyperfunc.{name}]" in (DOCS / "api" / "index.md").read_text("utf-8")


def test_every_room_has_a_page() -> None:
    rooms = {path.parent.name for path in (ROOT / "hyperfunc").glob("*/__init__.py")}
    assert {page.stem for page in (DOCS / "api" / "rooms").glob("*.md")} == {*rooms, "ground"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    """MkDocs checks the pages of docs/ itself, but not those that lie elsewhere."""
    for target, _ in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_nothing_tells_how_it_was_made(page: Path) -> None:
    assert not HISTORY.search(page.read_text("utf-8"))


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    missing = [
        page.relative_to(DOCS).as_posix()
        for page in DOCS.glob("**/*.md")
        if page.relative_to(DOCS).as_posix() not in navigation
    ]
    assert not missing


def test_figures_exist_and_are_small() -> None:
    paths = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (DOCS / "how-it-works.md").read_text("utf-8"))
    figures = [DOCS / path for path in paths]
    assert figures
    assert all(figure.stat().st_size < 150_000 for figure in figures)


def test_every_preset_is_explained() -> None:
    page = (DOCS / "train.md").read_text("utf-8")
    assert not [name for name in PRESETS if f"`{name}`" not in page]


def test_every_bundled_checkpoint_has_a_card_and_a_licence() -> None:
    card = (DOCS / "model-card.md").read_text("utf-8")
    licence = (BUNDLED / "LICENSE-WEIGHTS.md").read_text("utf-8")
    table = (BUNDLED / "README.md").read_text("utf-8")
    names = [folder.name for folder in BUNDLED.glob("*/")]
    assert names
    for name in names:
        assert f"\n## `{name}`\n" in card
        assert f"`{name}`" in licence and f"`{name}`" in table


def test_every_result_that_is_named_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for name in re.findall(r"docs/results/([\w.]+\w)", text):
        assert (DOCS / "results" / name).exists(), name


def test_every_file_that_is_named_exists() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    folders = "hyperfunc|tests|benchmarks|contrib|notebooks"
    names = set(re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.(?:py|csv|ipynb)\b", text))
    assert len(names) > 10
    assert not [name for name in names if not (ROOT / name).exists()]


def test_the_version_is_one() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {hyperfunc.__version__}\n" in citation
    assert f"## [{hyperfunc.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_workflows_test_the_versions_that_are_promised() -> None:
    promised = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text()
    )
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
    tested = re.search(r"python: \[(.+)\]", workflow)
    assert promised and tested
    assert re.findall(r"3\.\d+", tested[1]) == promised


def find_messages() -> list[str]:
    """Return the texts in the package; "..." stands for what is filled in."""
    texts = []
    for path in (ROOT / "hyperfunc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (x.value if isinstance(x, ast.Constant) else "..." for x in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_troubleshooting_explains_messages_that_exist() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    tables = re.findall(r"\| the message says \|.*?\n\|---\|---\|\n((?:\|.*\n)+)", page)
    explained = [
        fragment
        for table in tables
        for row in table.splitlines()
        for fragment in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert len(explained) > 25
    messages = find_messages()
    unknown = [
        fragment
        for fragment in explained
        if not any(
            re.search(".*".join(map(re.escape, fragment.split("..."))), message)
            for message in messages
        )
    ]
    assert not unknown, "no message says this any more; change docs/troubleshooting.md"
