"""What a run writes for programs and for people."""

import errno
import json
import math
import types

import pytest

from hyperfunc.errors import UserError
from hyperfunc.files import save_json, to_json
from hyperfunc.images import read_image
from hyperfunc.training.writer import Writer


def read_strictly(line):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(line, parse_constant=refuse)


def test_lines_are_there_at_once_and_a_resumed_run_appends(tmp_path):
    with Writer(tmp_path) as writer:
        writer.write(1, loss=0.5)
        text = (tmp_path / "metrics.jsonl").read_text()
        assert [read_strictly(line) for line in text.splitlines()] == [{"step": 1, "loss": 0.5}]
    with Writer(tmp_path) as writer:
        writer.write(2, **{"loss": 0.25, "validation/psnr": 30.0})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [read_strictly(line) for line in lines] == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 0.25, "validation/psnr": 30.0},
    ]


def test_numbers_that_json_lacks_are_null(tmp_path):
    with Writer(tmp_path) as writer:
        writer.write(1, a=math.inf, b=math.nan, c=1.0)
    line = (tmp_path / "metrics.jsonl").read_text()
    assert read_strictly(line) == {"step": 1, "a": None, "b": None, "c": 1.0}
    nested = {"rows": [{"psnr": math.inf}, (1, -math.inf)], "name": "NaN"}
    assert read_strictly(to_json(nested)) == {
        "rows": [{"psnr": None}, [1, None]],
        "name": "NaN",
    }


def test_pictures_and_tensorboard_events(tmp_path, draw):
    picture = draw(0, (20, 30))
    with Writer(tmp_path) as writer:
        writer.write(3, loss=0.5)
        writer.write_picture(3, "validation", picture)
    written = read_image(tmp_path / "samples" / "validation-0000003.png")
    assert (written == picture).all()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents.")
    recorded = events.read_bytes()
    assert b"loss" in recorded and b"validation" in recorded and b"PNG" in recorded


def test_a_process_that_is_not_the_first_writes_nothing(tmp_path, draw):
    with Writer(tmp_path / "run", active=False) as writer:
        writer.write(1, loss=0.5)
        writer.write_picture(1, "validation", draw(0, (20, 30)))
    assert not (tmp_path / "run").exists()


def test_a_line_that_a_full_disk_cut_off_stays_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    with Writer(tmp_path) as writer:
        writer.write(3, loss=0.5)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines[1:] == ['{"step": 2, "lo', '{"step": 3, "loss": 0.5}']


def test_steps_that_are_done_again_are_taken_out(tmp_path):
    """A process that is killed has logged steps after the last one that it saved."""
    path = tmp_path / "metrics.jsonl"
    others = ["[1]", '{"loss": 0.5}', '{"step": 9, "lo']
    path.write_text("\n".join(['{"step": 1}', '{"step": 2}', '{"step": 3}', *others]))
    for start, kept in ((2, ['{"step": 1}', '{"step": 2}', *others]), (0, others)):
        with Writer(tmp_path, start=start) as writer:
            assert path.read_text().splitlines() == kept
            writer.write(3, loss=0.5)
        assert path.read_text().splitlines() == [*kept, '{"step": 3, "loss": 0.5}']
    assert sorted(x.name for x in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_a_full_disk_is_told_at_the_end_too(tmp_path, monkeypatch):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="cannot be written .No space left"):
        with Writer(tmp_path) as writer:
            monkeypatch.setattr(writer._board, "close", fail)
    # But not over what was wrong before.
    with pytest.raises(KeyError), Writer(tmp_path) as writer:
        monkeypatch.setattr(writer._board, "close", fail)
        raise KeyError("lost")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    with Writer(tmp_path) as writer:

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        full = types.SimpleNamespace(write=fail, close=writer._lines.close)
        monkeypatch.setattr(writer, "_lines", full)
        with pytest.raises(UserError, match=f"{tmp_path}: cannot be written .No space left"):
            writer.write(1, loss=0.5)


def test_files_are_closed_after_an_error(tmp_path):
    with pytest.raises(KeyError), Writer(tmp_path) as writer:
        raise KeyError("lost")
    with pytest.raises(ValueError, match="closed"):
        writer.write(1, loss=0.5)


def test_saved_json_is_what_was_given_and_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "out.json"
    save_json(path, {"psnr": math.inf, "ends": (1, 2.5), "name": "faces"})
    before = path.read_text()
    assert before.endswith("}\n") and before.count("\n") > 3  # For people, too.
    assert read_strictly(before) == {"psnr": None, "ends": [1, 2.5], "name": "faces"}

    def fail(*args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(UserError, match="out.json: cannot be written .*disk is full"):
            save_json(path, {"psnr": 1.0})
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]
    save_json(path, [1.0])
    assert read_strictly(path.read_text()) == [1.0]
