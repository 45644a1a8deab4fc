"""Whether outputs can be written is known before the first one is rendered."""

import shutil

import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.upscaling import Request, check_places
from tests.batches import plan_batch


@pytest.fixture
def plan(tmp_path):
    """A function that plans two images, of which one is in a subfolder, at a scale."""
    (tmp_path / "in" / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.png"):
        Image.new("RGB", (400, 300)).save(tmp_path / "in" / name)
    return lambda scale=2.0: plan_batch(
        tmp_path / "in", tmp_path / "out", Request(scale=(scale, scale)), overwrite=True
    )


def test_folders_are_made_and_left_empty(tmp_path, plan):
    check_places(plan())
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["below"]


def test_the_files_of_one_folder_fail_and_those_of_all_are_refused(tmp_path, plan):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "below").write_text("a file")
    batch = plan()
    check_places(batch)
    assert [job.target.name for job in batch.jobs] == ["a.png"]
    assert "below/b.png: cannot be written" in (batch.outcomes[1].error or "")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").symlink_to("/proc/none")
    with pytest.raises(UserError, match=r"out/a.png: cannot be written .*choose another place"):
        check_places(plan())


def test_outputs_that_cannot_fit_are_refused(tmp_path, plan, monkeypatch):
    """Two black images of 400 x 300 at scale 4 have 11 MiB of pixels, of which a tenth counts."""

    def disk_usage(path):
        return shutil._ntuple_diskusage(2**40, 2**40 - free, free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    free = 2**20
    with pytest.raises(UserError, match=r"take at least 2 MiB, and 1 MiB are free: make room"):
        check_places(plan(4.0))
    free = 2**10
    with pytest.raises(UserError, match="take at least 2 MiB, and 0 MiB are free"):
        check_places(plan(4.0))
    free = 2**20 + 2**18
    check_places(plan(4.0))
    # What is replaced makes room.
    free = 2**20
    (tmp_path / "out" / "a.png").write_bytes(bytes(2**18))
    check_places(plan(4.0))
