"""What commands have printed and written."""

from pathlib import Path


def lines_of(err: str) -> list[str]:
    """The lines that do not announce a slow step."""
    announcements = ("loading ", "compiling ", "computing ")
    return [line for line in err.splitlines() if not line.startswith(announcements)]


def names(root: Path) -> set[str]:
    """The files below a folder, without the records of outputs."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {file.as_posix() for file in files if file.name != ".hyperfunc.jsonl"}
