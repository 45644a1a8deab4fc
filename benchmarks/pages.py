"""The parts of pages that benchmarks write: between ``<!-- NAME:begin -->`` and ``...:end -->``."""

from pathlib import Path


def replace_part(page: Path, name: str, text: str) -> None:
    """Replace a part of a page.

    Raises:
        ValueError: the page does not have it.
    """
    before, _, after = _split(page, name)
    page.write_text(f"{before}{text.strip()}\n{after}", "utf-8")


def read_part(page: Path, name: str) -> str:
    """Read a part of a page.

    Raises:
        ValueError: the page does not have it.
    """
    return _split(page, name)[1].strip()


def _split(page: Path, name: str) -> tuple[str, str, str]:
    begin, end, text = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->", page.read_text("utf-8")
    start = text.find(begin) + len(begin)
    stop = text.find(end, start)
    if start < len(begin) or stop < 0:
        raise ValueError(f"{page}: has no part {name}, from {begin.strip()} to {end}")
    return text[:start], text[start:stop], text[stop:]
