"""The modules of the studio pass their own tests and their linter."""

import subprocess
from pathlib import Path

import pytest


@pytest.mark.browser
@pytest.mark.parametrize("words", [["test"], ["run", "lint"]], ids=["tests", "linter"])
def test_modules_pass(web: Path, words: list[str]) -> None:
    process = subprocess.run(["npm", *words], cwd=web, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
