"""Atomic writes, and paths that cannot be written to."""

import json
import os
import threading

import pytest

from hyperfunc.errors import UserError
from hyperfunc.files import check_place, replacing, save_json


def test_what_a_link_leads_to_is_replaced(tmp_path):
    place, link = tmp_path / "below" / "real.json", tmp_path / "link.json"
    place.parent.mkdir()
    link.symlink_to(place)
    for value in (1, 2):  # There is nothing behind the link at first.
        save_json(link, value)
        assert link.is_symlink() and json.loads(place.read_text()) == value
    assert os.listdir(place.parent) == ["real.json"]


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
