"""The files of a batch and their outputs are decided before anything is enlarged."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import find_images
from hyperfunc.upscaling import Request, batch_plan, plan_batches
from hyperfunc.upscaling.records import append_record
from tests.batches import plan_batch


def test_the_size_of_an_output_is_rounded_and_limited():
    assert Request(scale=(2.5, 1.0)).find_size("a", (5, 7)) == (13, 7)
    assert Request(scale=(1.01, 1.01)).find_size("a", (1, 1)) == (1, 1)
    assert Request(size=(20, 10)).find_size("a", (5, 7)) == (20, 10)
    with pytest.raises(UserError, match="25,000,000,000,000 million"):
        Request(scale=(1e6, 1e6)).find_size("a", (5000, 5000))
    with pytest.raises(UserError, match="a: "):
        Request(scale=(1e307, 1e307)).find_size("a", (5000, 5000))


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)
    return path


def test_outputs_mirror_the_folders_of_the_inputs(tmp_path):
    for name in ("a.png", "b/a.jpg", "b/a.bmp", "B.webp", ".hidden.png", "out/old.png"):
        write(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    request = Request(scale=(2.0, 2.0))
    batch = plan_batch(tmp_path / "in", tmp_path / "in" / "out", request)
    names = {str(Path(o.output).relative_to(tmp_path / "in" / "out")) for o in batch.outcomes}
    assert names == {"a.png", "b/a.jpg", "b/a.png", "B.webp"}
    batch = plan_batch(tmp_path / "in", tmp_path / "x", request, suffix=".png")
    names = {str(Path(o.output).relative_to(tmp_path / "x")) for o in batch.outcomes}
    assert names == {"a.png", "b/a.jpg.png", "b/a.bmp.png", "B.png", "out/old.png"}
    assert all(job.size == (6, 8) for job in batch.jobs)

    single = tmp_path / "in" / "a.png"
    (tmp_path / "folder").mkdir()
    assert (
        plan_batch(single, tmp_path / "folder", request).jobs[0].target == tmp_path / "folder/a.png"
    )
    assert plan_batch(single, f"{tmp_path}/new/", request).jobs[0].target == tmp_path / "new/a.png"
    assert plan_batch(single, tmp_path / "b.tif", request).jobs[0].target == tmp_path / "b.tif"


def test_inputs_in_the_folder_of_the_outputs_are_not_passed_over_silently(tmp_path, caplog):
    source, target, request = tmp_path / "in", tmp_path / "in" / "sub", Request(scale=(2.0, 2.0))
    for name in ("sub/b.png", "sub/below/c.png", "sub/made.png"):
        write(source / name)
    append_record(write(target / ".temporary.png"), target / "made.png", {})
    os.replace(target / ".temporary.png", target / "made.png")
    text = f"{target}: is the folder of the outputs, and 2 images in it that hyperfunc did "
    with pytest.raises(UserError, match=re.escape(text)):
        plan_batch(source, target, request)
    write(source / "a.png")
    assert len(plan_batch(source, target, request).jobs) == 1
    assert [record.getMessage().startswith(text) for record in caplog.records] == [True]
    plan_batch(source, tmp_path / "out", request)
    for name in ("b.png", "below/c.png"):
        (target / name).unlink()
    plan_batch(source, target, request)
    assert len(caplog.records) == 1


def test_an_output_does_not_replace_an_input(tmp_path):
    for name in ("a.png", "in/a.png", "in/b.png"):
        write(tmp_path / "in" / name)
    batch = plan_batch(tmp_path / "in", tmp_path, Request(scale=(2.0, 2.0)), overwrite=True)
    assert {job.target for job in batch.jobs} == {tmp_path / "a.png", tmp_path / "in" / "b.png"}
    (failed,) = (outcome for outcome in batch.outcomes if outcome.status == "failed")
    assert failed.input == str(tmp_path / "in" / "in" / "a.png")
    assert failed.error == f"{tmp_path}/in/a.png: the output would replace an input; name another"


def test_no_two_outputs_have_one_name(tmp_path):
    names = ["cat.bmp", "cat.png", "cat.bmp.png", "cat.bmp.png.png"]
    for name in names:
        Image.new("RGB", (3, 4)).save(tmp_path / name)
    batch = plan_batch(tmp_path, tmp_path / "out", Request(scale=(2.0, 2.0)))
    outputs = {Path(o.input).name: Path(o.output).name.lower() for o in batch.outcomes}
    assert set(outputs) == set(names) and len(set(outputs.values())) == len(names)
    assert outputs["cat.bmp.png"] == "cat.bmp.png"  # It is unique, so it stays.


def test_batches_cover_all_files_and_read_no_more_than_they_need(tmp_path, monkeypatch):
    for name in ("a.png", "b.bmp", "b.png", "c/d.png", "c/e.png", "f/B.png", "f/b.bmp"):
        write(tmp_path / "in" / name)
    for name in ("note.txt", "f/last.txt"):
        (tmp_path / "in" / name).write_text("no image")
    opened = []
    read = batch_plan.read_header
    monkeypatch.setattr(batch_plan, "read_header", lambda path: opened.append(path) or read(path))
    request = Request(scale=(2.0, 2.0))
    batches = plan_batches(tmp_path / "in", tmp_path / "out", request, size=2)
    first = next(batches)
    assert len(first.outcomes) == len(opened) == 2 and first.passed_over == {".txt": 1}
    rest = list(batches)
    assert [len(batch.outcomes) for batch in rest] == [2, 2, 1]
    whole = plan_batch(tmp_path / "in", tmp_path / "out", request)
    assert sum((batch.outcomes for batch in rest), first.outcomes) == whole.outcomes
    assert sum((batch.passed_over for batch in rest), first.passed_over) == whole.passed_over
    assert whole.passed_over == {".txt": 2}
    names = [str(Path(x.output).relative_to(tmp_path / "out")) for x in whole.outcomes]
    assert names[:3] == ["a.png", "b.bmp.png", "b.png.png"]
    assert set(names[3:]) == {"c/d.png", "c/e.png", "f/B.png.png", "f/b.bmp.png"}


def test_folders_that_differ_by_case_do_not_share_their_outputs(tmp_path):
    for name in ("a/i.png", "A/i.png"):
        write(tmp_path / "in" / name)
    batch = plan_batch(tmp_path / "in", tmp_path / "out", Request(scale=(2.0, 2.0)))
    assert [str(job.target.relative_to(tmp_path / "out")) for job in batch.jobs] == ["A/i.png"]
    (failed,) = (outcome for outcome in batch.outcomes if outcome.status == "failed")
    assert failed.input == str(tmp_path / "in" / "a") and "only case tells it" in str(failed.error)


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    """They are recorded as failed, and the others are planned. Hidden folders are ignored."""
    for name in ("a.png", "closed/b.png", "open/c.png", ".hidden/d.png"):
        write(tmp_path / name)
    scan = os.scandir
    scanned = []

    def scan_or_refuse(path):
        scanned.append(Path(path).name)
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_or_refuse)
    batch = plan_batch(tmp_path, tmp_path / "out", Request(scale=(2.0, 2.0)))
    assert {job.source.name for job in batch.jobs} == {"a.png", "c.png"}
    (failed,) = (outcome for outcome in batch.outcomes if outcome.status == "failed")
    assert (failed.input, failed.output) == (str(tmp_path / "closed"), str(tmp_path / "out/closed"))
    assert "closed: cannot be looked into (Permission denied)" in str(failed.error)
    assert ".hidden" not in scanned
    with pytest.raises(UserError, match="closed: cannot be looked into"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="closed: cannot be looked into"):
        plan_batch(tmp_path / "closed", tmp_path / "out", Request(scale=(2.0, 2.0)))


def test_links_are_followed_once(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        Image.new("RGB", (3, 4)).save(folder / "i.png")
    (folders[0] / "itself").symlink_to(folders[0])
    (folders[0] / "other").symlink_to(folders[1])
    (folders[1] / "back").symlink_to(folders[0])
    assert [file.member for file in find_images(folders[0])] == ["i.png", "other/i.png"]
    members = [file.member for file in find_images(tmp_path)]
    assert members == ["a/i.png", "a/other/i.png", "b/back/i.png", "b/i.png"]


def test_impossible_inputs_and_outputs_are_refused(tmp_path):
    path, request = write(tmp_path / "in" / "a.png"), Request(scale=(2.0, 2.0))
    for source, target, message in (
        (tmp_path / "none", tmp_path / "b", "no such file or folder"),
        (tmp_path / "in", tmp_path / "in", "one folder"),
        (tmp_path / "in", path, "is a file"),
        (path, tmp_path / "a.gif", "cannot write images as '.gif'"),
    ):
        with pytest.raises(UserError, match=message):
            plan_batch(source, target, request)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no images; .*\.avif"):
        plan_batch(tmp_path / "empty", tmp_path / "b", request)
    for target, wanted, message in (
        (path, request, "one file"),
        (tmp_path / "a.jpg", Request(size=(10, 70000)), "65500"),
        (tmp_path / "a.png", Request(scale=(1e6, 1e6)), "million"),
    ):
        batch = plan_batch(path, target, wanted, overwrite=True)
        assert message in (batch.outcomes[0].error or "")
