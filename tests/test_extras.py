"""What the package needs is divided into a core and extras, and a missing extra is named."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import hyperfunc
from hyperfunc.errors import EXTRAS, UserError, check_extra

PACKAGE = Path(hyperfunc.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
PICTURE = str(PACKAGE.parent / "docs" / "images" / "cell.png")
DISTRIBUTIONS = packages_distributions() | {"google": ["google-auth"]}  # Many share that name.
MODULES = {module for modules in EXTRAS.values() for module in modules}

# Names of the folders and files whose modules may import an extra at their top, since they check it
# or are imported after a check.
OF_EXTRAS = {"training", "evaluation", "data/builders.py", "experiment/muon.py"}

WITHOUT_EXTRAS = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(MODULES)}))  # Imports of these fail, as if not installed.
"""

IMPORT_THE_CORE = """
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""

COMMAND = """
from hyperfunc.commands import main
main(sys.argv[1:])
"""


def distributions(requirements: list[str]) -> set[str]:
    return {normalize(re.split(r"[^\w.-]", text)[0]) for text in requirements}


def distribution_of(module: str) -> str:
    return normalize(DISTRIBUTIONS[module][0])


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def core_files() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if OF_EXTRAS.isdisjoint(
            {path.relative_to(PACKAGE).parts[0], path.relative_to(PACKAGE).as_posix()}
        )
    ]


def foreign_modules(path: Path, *, anywhere: bool) -> Iterator[str]:
    """Yield the modules of other packages that a file imports: anywhere, or when it is imported."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for root in {name.partition(".")[0] for name in names}:
            if root not in sys.stdlib_module_names | {"hyperfunc", "hyperfunc_amx"}:
                yield root


def test_the_table_of_extras_is_that_of_the_installation():
    for name, modules in EXTRAS.items():
        installed = {distribution_of(module) for module in modules}
        assert installed == distributions(PROJECT["optional-dependencies"][name])


def test_every_import_has_a_requirement():
    """The core requires what it imports when it starts; what it imports later may be an extra."""
    core = distributions(PROJECT["dependencies"])
    extras = {x for name in EXTRAS for x in distributions(PROJECT["optional-dependencies"][name])}
    assert core.isdisjoint(extras)
    used = set()
    for path in PACKAGE.rglob("*.py"):
        for module in foreign_modules(path, anywhere=True):
            used |= {distribution_of(module)}
    assert used <= core | extras, f"required by nothing: {sorted(used - core - extras)}"
    for path in core_files():
        early = MODULES.intersection(foreign_modules(path, anywhere=False))
        assert not early, f"{path} imports {early} before anybody checked the extra"


def test_the_core_needs_no_extra(start_python):
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in core_files()
        if path.name != "__main__.py"
    ]
    process = start_python(WITHOUT_EXTRAS + IMPORT_THE_CORE, *names)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--workdir=unused"], "training needs the extra 'train'"),
        (["evaluate", "--dataset=sample"], "evaluation needs the extra 'eval'"),
        (["export", "--onnx=unused"], "--onnx needs the extra 'onnx'"),
        (
            ["upscale", PICTURE, "unused.png", "--scale=2", "--ray", "--quiet"],
            "--ray needs the extra 'ray'",
        ),
    ],
)
def test_a_command_names_the_extra_that_is_missing(start_python, words, message):
    process = start_python(WITHOUT_EXTRAS + COMMAND, *words)
    _, err = process.communicate(timeout=120)
    extra = message.split("'")[1]
    assert err == f"error: {message}: pip install 'hyperfunc[{extra}]'\n"
    assert process.returncode == 2


def test_an_extra_is_missing_if_one_of_its_modules_is(monkeypatch):
    for name in EXTRAS:
        check_extra(name, "this test")
    monkeypatch.setitem(sys.modules, "grain", None)
    check_extra("eval", "this test")
    with pytest.raises(UserError, match=r"^this test needs .* pip install 'hyperfunc\[train\]'$"):
        check_extra("train", "this test")
