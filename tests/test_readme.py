"""Every code block of the README and of the documentation runs, or says why it does not."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import hyperfunc.experiment.checkpoints
from hyperfunc import commands
from hyperfunc.api import representing
from hyperfunc.commands.main import import_command
from hyperfunc.experiment import PRESETS, Experiment, Workdir, init_variables
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)

NOT_RUN = {
    "README.md: ci: demo",  # .ci/run runs this one and the next in a fresh clone.
    "README.md: ci: tests",
    "README.md: not run: downloads the package",
    "docs/getting-started.md: not run: downloads the package",
    "docs/scale.md: not run: needs many machines",
    "docs/scale.md: not run: needs Kaggle",
    "docs/train.md: not run: downloads photographs",
    "docs/train.md: not run: needs a GPU",
}
"""The blocks that no test here runs, each with the marker above it in the page."""

PARSED_ONLY = {
    "train": "compiling a whole preset takes minutes; tests/commands trains tiny ones",
    "reproduce": "training everything takes hours; tests/evaluation makes a tiny one",
    "evaluate": "measuring sets of images takes minutes; tests/commands measures drawn ones",
    "studio": "npm downloads ONNX Runtime; tests/export opens it in a browser",
    "view": "it opens a browser; tests/export looks at the page",
}
"""Commands whose lines are only parsed, and why."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    code: str
    marker: str

    @property
    def is_run(self) -> bool:
        return not self.marker.startswith(("ci: ", "not run: "))


def find_blocks() -> list[Block]:
    return [
        Block(
            page.relative_to(ROOT).as_posix(),
            match["language"],
            match["code"],
            match["marker"] or "",
        )
        for page in PAGES
        for match in BLOCK.finditer(page.read_text("utf-8"))
    ]


BLOCKS = find_blocks()
RUN = [block for block in BLOCKS if block.is_run]
PYTHON_PAGES = sorted({block.page for block in RUN if block.language == "python"})
SHELL_LINES = [
    pytest.param(line, id=f"{block.page}: {line[:60]}")
    for block in RUN
    if block.language == "bash"
    for line in block.code.splitlines()
    if line.strip()
]


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> Path:
    """Small random models in the place of the bundled ones, which take minutes to compile."""
    folder = tmp_path_factory.mktemp("bundled")
    shutil.copy(hyperfunc.experiment.exported.BUNDLED / "LICENSE-WEIGHTS.md", folder)
    small = PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4))
    faces = PRESETS["faces_local"]
    for name, experiment in {
        "sr": Experiment(model=small),
        "sr_jpeg": Experiment(model=small),
        "restore": Experiment(model=small),
        "inpaint": Experiment(model=small.clone(base="filled")),
        "faces_local": dataclasses.replace(faces, model=faces.model.clone(branch_width=8)),
    }.items():
        with Workdir(folder / name) as workdir:
            variables = init_variables(experiment, jax.random.key(0))
            workdir.save(1, experiment, variables, {"nothing": np.zeros(1)}, None)
    return folder


@pytest.fixture
def folder(tmp_path, draw, monkeypatch, bundled):
    """A reader's folder, which is the current one, with the files that the pages name."""
    monkeypatch.setattr(hyperfunc.experiment.exported, "BUNDLED", bundled)
    representing._load_once.cache_clear()
    Image.fromarray(draw(0, (32, 40))).save(tmp_path / "photo.jpg", quality=80)
    Image.fromarray(draw(1, (32, 40)) // 128 * 255).save(tmp_path / "mask.png")
    for i, name in enumerate(["face_a.png", "face_b.png"]):
        Image.fromarray(draw(i, (64, 64))).save(tmp_path / name)
    (tmp_path / "photos").mkdir()
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    representing._load_once.cache_clear()


def test_every_block_that_does_not_run_says_why():
    assert {f"{block.page}: {block.marker}" for block in BLOCKS if not block.is_run} == NOT_RUN


def test_languages_are_known():
    assert {block.language for block in BLOCKS} == {"bash", "python", "text"}
    assert "README.md" in PYTHON_PAGES and len(SHELL_LINES) > 20


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_the_python_of_a_page_runs(page, folder):
    names: dict[str, object] = {"__name__": page}
    for block in RUN:
        if block.page == page and block.language == "python":
            exec(compile(block.code, page, "exec"), names)


@pytest.mark.parametrize("line", SHELL_LINES)
def test_the_words_of_a_command_are_understood(line):
    program, *words = shlex.split(line, comments=True)
    if program == "python":
        program, command = "hyperfunc", Path(words[0]).stem
        words = words[1:]
    else:
        command, *words = words
    assert program == "hyperfunc"
    _, parse = import_command(command)
    parse(words)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(folder):
    lines = [
        shlex.split(line, comments=True)[1:]
        for block in RUN
        if block.page == "README.md" and block.language == "bash"
        for line in block.code.splitlines()
    ]
    for words in lines:
        if words[0] not in PARSED_ONLY:
            commands.main(words)
    assert {words[0] for words in lines} >= {"upscale", "export", "info"}
    assert np.asarray(Image.open(folder / "large.png")).shape == (80, 100, 3)
    assert np.asarray(Image.open(folder / "clean.png")).shape == (64, 80, 3)
    assert np.asarray(Image.open(folder / "restored.png")).shape == (32, 40, 3)
    assert np.asarray(Image.open(folder / "whole.png")).shape == (32, 40, 3)
    assert (folder / "photo.hfn").stat().st_size > 1_000
    assert (folder / "photo.html").read_text().startswith("<!")
