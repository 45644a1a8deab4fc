"""Hooks of MkDocs: the help of each command in the page about the command line, and the studio.

The site has the studio where HYPERFUNC_STUDIO=1 is set, which needs npm and takes 40 MB.
"""

import contextlib
import io
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any
from unittest import mock

MARKER = re.compile(r"^<!-- help: hyperfunc(.*) -->$", flags=re.MULTILINE)
"""A line that is replaced by the output of ``hyperfunc WORDS --help``."""

COLUMNS = 96
"""The width of the help in characters: what fits a page beside the navigation."""

STUDIO = "<!-- studio -->"
"""A line that is replaced by a link to the studio, if the site has it."""


def on_startup(**_: Any) -> None:
    """Document the checkout that the pages lie in, whether it is installed or not."""
    sys.path.insert(0, str(Path(__file__).parents[1]))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page."""
    link = '<a class="md-button" href="studio/index.html">Open the studio</a>'
    markdown = markdown.replace(STUDIO, link if has_studio() else "")
    return MARKER.sub(lambda match: f"```text\n{print_help(match[1].split())}\n```", markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Write the studio into the site."""
    if has_studio():
        from hyperfunc.commands import main

        main(["studio", str(Path(config["site_dir"]) / "studio")])


def has_studio() -> bool:
    """Whether the site has the studio."""
    return os.environ.get("HYPERFUNC_STUDIO") == "1"


def print_help(words: list[str]) -> str:
    """Return what ``hyperfunc WORDS --help`` prints.

    Raises:
        ValueError: there is no such command.
    """
    from hyperfunc.commands import main

    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        mock.patch.dict(os.environ, COLUMNS=str(COLUMNS), NO_COLOR="1"),
    ):
        try:
            main([*words, "--help"])
        except SystemExit as exit:
            if exit.code:
                raise ValueError(f"hyperfunc {' '.join(words)}: no such command") from exit
    lines = output.getvalue().strip().splitlines()
    return "\n".join(
        line if len(line) <= COLUMNS else textwrap.fill(line, COLUMNS) for line in lines
    )
