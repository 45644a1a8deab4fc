"""Count what the rooms of the package are made of: the figures of docs/adr/0010-rooms.md.

python -m benchmarks.house
python -m benchmarks.house --package=OLD/hyperfunc
python -m benchmarks.house --page=docs/adr/0010-rooms.md

An import is a pair of a file and a file of the package that it imports from. Imports between rooms
are those that lead from one room into another; arrows are the pairs of rooms that they join.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import tyro

PACKAGE = Path(__file__).parents[1] / "hyperfunc"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Print the figures of a package.

    Attributes:
        package: the folder of the package.
        page: a file in which what follows ``<!-- after: NAME -->`` in a table is replaced.
    """

    package: Path = PACKAGE
    page: Path | None = None


def main(args: list[str] | None = None) -> None:
    """Run the command."""
    arguments = tyro.cli(Arguments, args=args)
    figures = measure(arguments.package)
    for name, value in figures.items():
        print(f"{name:<28}{value}")
    if arguments.page is not None:
        page = arguments.page.read_text("utf-8")
        for name, value in figures.items():
            marker = f"<!-- after: {name} -->"
            page = re.sub(f"{marker}[^|]*", f"{marker} {value} ", page)
        arguments.page.write_text(page, "utf-8")


def measure(package: Path) -> dict[str, str]:
    """Return the figures by name."""
    files = sorted(package.rglob("*.py"))
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in files}
    functions = {
        f"{path.relative_to(package)}:{function.name}": length
        for path in files
        for function, length in find_functions(path)
    }
    imports = {
        (path.relative_to(package).as_posix(), module)
        for path in files
        for module in find_imports(path, package)
    }
    crossing = {(file, module) for file, module in imports if room_of(file) != room_of(module)}
    arrows = {(room_of(file), room_of(module)) for file, module in crossing}
    longest_file = max(lines, key=lambda path: lines[path])
    longest_function = max(functions, key=lambda name: functions[name])
    return {
        "lines": f"{sum(lines.values()):,}",
        "files": str(len(files)),
        "rooms": str(len(list(package.glob("*/__init__.py")))),
        "imports between files": str(len(imports)),
        "imports between rooms": str(len(crossing)),
        "arrows between rooms": str(len(arrows)),
        "files over 350 lines": str(sum(length > 350 for length in lines.values())),
        "functions over 60 lines": str(sum(length > 60 for length in functions.values())),
        "longest file": f"{lines[longest_file]} ({longest_file.relative_to(package)})",
        "longest function": f"{functions[longest_function]} ({longest_function})",
    }


def find_functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Yield each function of a file and its number of lines, decorators and docstring included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = min([node.lineno, *(line.lineno for line in node.decorator_list)])
            yield node, (node.end_lineno or start) - start + 1


def find_imports(path: Path, package: Path) -> Iterator[str]:
    """Yield the files of the package that a file imports from, relative to the package."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == package.name and (target := resolve(name, package)):
                yield target


def resolve(name: str, package: Path) -> str | None:
    """Return the file in which a dotted name is looked up: its own or that of its module."""
    parts = name.split(".")[1:]
    while parts:
        for path in (Path(*parts).with_suffix(".py"), Path(*parts) / "__init__.py"):
            if (package / path).is_file():
                return path.as_posix()
        parts.pop()
    return None


def room_of(file: str) -> str:
    """Return the folder in the package that a file lies in, or its own name if in none."""
    return file.partition("/")[0].removesuffix(".py")


if __name__ == "__main__":
    main()
