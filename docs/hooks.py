"""Hooks of MkDocs: write the help of each command into the page about the command line."""

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


def on_startup(**_: Any) -> None:
    """Document the checkout that the pages lie in, whether it is installed or not."""
    sys.path.insert(0, str(Path(__file__).parents[1]))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page."""
    return MARKER.sub(lambda match: f"```text\n{print_help(match[1].split())}\n```", markdown)


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
