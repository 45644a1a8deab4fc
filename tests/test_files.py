"""Atomic writes, and paths that cannot be written to."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hyperfunc
from hyperfunc.data import open_dataset
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Workdir
from hyperfunc.files import check_place, remove_leftovers, replacing, save_json
from hyperfunc.images import find_images, read_photo
from hyperfunc.training import train
from hyperfunc.upscaling import Request
from tests.batches import plan_batch


def test_what_a_link_leads_to_is_replaced(tmp_path):
    place, link = tmp_path / "below" / "real.json", tmp_path / "link.json"
    place.parent.mkdir()
    link.symlink_to(place)
    for value in (1, 2):  # There is nothing behind the link at first.
        save_json(link, value)
        assert link.is_symlink() and json.loads(place.read_text()) == value
    assert os.listdir(place.parent) == ["real.json"]


@pytest.mark.parametrize("path", ["http:/b/a.png", Path("https://a.org/b/a.png")])
@pytest.mark.parametrize(
    "use",
    [
        check_place,
        hyperfunc.read_image,
        hyperfunc.load,
        hyperfunc.load_model,
        hyperfunc.represent,
        lambda path: find_images(Path(path)),
        read_photo,
        open_dataset,
        lambda path: Workdir(Path(path)),
        lambda path: open_dataset("set5", data_dir=path),
        lambda path: hyperfunc.write_image(path, np.zeros((2, 2, 3), np.uint8)),
        lambda path: train(Experiment(), Path(path)),
        lambda path: plan_batch(Path("a.png"), path, Request()),
        lambda path: plan_batch(Path(path), "a.png", Request()),
    ],
)
def test_addresses_of_no_store_are_refused(tmp_path, monkeypatch, use, path):
    """Nothing is made in a folder that has the name of the scheme."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^https?://(b|a.org/b)/a.png: is an address"):
        use(path)
    assert not os.listdir(tmp_path)


def test_what_a_killed_process_leaves_is_removed(tmp_path):
    """The files of running processes, of other machines, and of others stay."""
    code = (
        "import os, pathlib, signal, sys; from hyperfunc.files import replacing\n"
        "with replacing(sys.argv[1]) as beside:\n"
        "    beside.touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"])
    (left,) = os.listdir(tmp_path)
    *start, machine, pid, _ = left.split(".")
    others = {".b.tmp", f"{'.'.join(start)}.ffff.{pid}.tmp", f".a.{machine}.{pid}.tmp", "a.tmp"}
    for name in others:
        (tmp_path / name).touch()
    with replacing(tmp_path / "c.png") as beside:
        beside.touch()
        remove_leftovers(tmp_path)
        assert set(os.listdir(tmp_path)) == {*others, beside.name}


def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    save_json(pipe, {"a": 1})
    reader.join()
    assert json.loads(read[0]) == {"a": 1} and pipe.is_fifo()


def test_a_place_is_looked_at_before_it_is_written_to(tmp_path):
    path = tmp_path / "new" / "out.json"
    check_place(path)
    assert os.listdir(path.parent) == []
    path.write_text("old")
    check_place(path)
    assert path.read_text() == "old" and os.listdir(path.parent) == ["out.json"]
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path, tmp_path / "file" / "out.json"):
        with pytest.raises(UserError, match="cannot be written"):
            check_place(wrong)
        with pytest.raises(UserError, match="cannot be written"), replacing(wrong):
            pytest.fail("what follows is not reached")
