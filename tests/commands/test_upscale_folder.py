"""`upscale` of several images and of folders: names, records, and runs that go on."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hyperfunc.upscaling.batch_run
from hyperfunc.data import SuperResolution
from hyperfunc.images import read_photo, write_image
from tests.commands.outputs import lines_of, names


def test_a_folder_with_report_and_resume(run, tmp_path, folder):
    target, report = tmp_path / "out", tmp_path / "report.json"
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folder / "notes.txt").write_text("not an image")
    code, out, err = run("upscale", folder, target, "--scale", 2, "--report", report)
    assert code == 1
    assert "5 of 6 files to do" in out and "1 cannot be done" in out
    assert "5 done, 0 skipped, 1 failed" in out
    assert err.count("error:") == 1 and "bad.png: cannot be read as an image" in err
    expected = {"a.png", "b.jpg", "c.tif", "below/d.webp", "below/e.png"}
    assert names(target) == expected
    for name in expected:
        assert read_photo(target / name).pixels.shape[:2] == (40, 48)
    content = json.loads(report.read_text())
    assert (content["done"], content["failed"], content["pending"]) == (5, 1, 0)
    by_name = {Path(entry["input"]).name: entry for entry in content["files"]}
    assert by_name["a.png"]["input_size"] == [24, 20]
    assert by_name["a.png"]["output_size"] == [48, 40]
    assert by_name["a.png"]["seconds"] > 0 and by_name["a.png"]["status"] == "done"
    assert by_name["bad.png"]["status"] == "failed" and "bad.png" in by_name["bad.png"]["error"]

    # A second run makes missing outputs only, unless it overwrites.
    (folder / "bad.png").unlink()
    (target / "b.jpg").unlink()
    before = {name: (target / name).stat().st_mtime_ns for name in expected - {"b.jpg"}}
    code, out, err = run("upscale", folder, target, "--scale", 2)
    assert code == 0 and "1 done, 4 skipped, 0 failed" in out
    assert before == {name: (target / name).stat().st_mtime_ns for name in before}
    code, out, _ = run("upscale", folder, target, "--scale", 2)
    assert code == 0 and "0 done, 5 skipped, 0 failed" in out
    code, out, _ = run("upscale", folder, target, "--scale", 2, "--overwrite", "--format", "png")
    assert code == 0 and names(target) >= {"a.png", "b.png", "c.png", "below/d.png"}


def test_a_truncated_file_fails_alone(run, tmp_path, folder):
    data = (folder / "a.png").read_bytes()
    (folder / "half.png").write_bytes(data[: len(data) // 2])  # Its header is whole.
    code, out, err = run("upscale", folder, tmp_path / "out", "--scale", 2)
    assert code == 1 and "5 done, 0 skipped, 1 failed" in out and "half.png" in err
    assert "half.png" not in names(tmp_path / "out")


def test_any_name_is_enlarged_and_a_broken_link_is_named(run, tmp_path, folder):
    """A name may be bytes that are no text, and the progress shows it."""
    name = os.fsdecode(b"\xff\n.png")
    (folder / name).write_bytes((folder / "a.png").read_bytes())
    (folder / "link.png").symlink_to("nowhere")
    code, out, err = run("upscale", folder, tmp_path / "out", "--scale", 2)
    assert code == 1 and "6 done, 0 skipped, 1 failed" in out and (tmp_path / "out" / name).exists()
    assert f"{folder}/link.png: cannot be checked (No such file" in err
    (folder / name).write_text("no image")
    code, out, err = run("upscale", folder, tmp_path / "out", "--scale", 2, "--overwrite")
    assert code == 1 and len(lines_of(err)) == 2 and "\\n.png: cannot be read as an image" in err


def test_a_folder_that_is_gone_is_told_of_each_file(run, tmp_path, folder, monkeypatch):
    check = hyperfunc.upscaling.batch_plan._check_target

    def remove(*places):
        shutil.rmtree(folder, ignore_errors=True)
        check(*places)

    monkeypatch.setattr("hyperfunc.upscaling.batch_plan._check_target", remove)
    code, out, err = run("upscale", folder, tmp_path / "out", "--scale", 2)
    assert code == 1 and "0 done, 0 skipped, " in out
    assert len(lines_of(err)) == int(out.split()[-2]) > 1


def test_an_interrupted_run_can_be_continued(run, tmp_path, folder, monkeypatch):
    """After Ctrl-C before the third output two are whole, and another run continues."""
    calls = []
    write = hyperfunc.upscaling.batch_run.write_photo

    def interrupt(path, photo, **options):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(path, photo, **options)

    monkeypatch.setattr("hyperfunc.upscaling.batch_run.write_photo", interrupt)
    report = tmp_path / "report.json"
    code, out, err = run("upscale", folder, tmp_path / "out", "--scale", 2, "--report", report)
    assert code == 130 and "interrupted" in err and "2 done; the same command goes on" in out
    assert names(tmp_path / "out") == {"a.png", "b.jpg"}
    content = json.loads(report.read_text())
    assert (content["done"], content["pending"]) == (2, 3)
    monkeypatch.undo()
    code, out, _ = run("upscale", folder, tmp_path / "out", "--scale", 2)
    assert code == 0 and "3 done, 2 skipped, 0 failed" in out


def test_several_images(run, tmp_path, folder):
    sources = folder / "a.png", folder / "below" / "d.webp", folder / "below" / "e.bmp"
    code, out, err = run("upscale", *sources, tmp_path / "out", "--scale", 2)
    assert code == 0 and "3 done, 0 skipped, 0 failed" in out, err
    assert names(tmp_path / "out") == {"a.png", "d.webp", "e.png"}
    for words, message in (
        ((*sources, tmp_path / "out" / "a.png"), "a.png: is a file, and there are several inputs"),
        ((folder, *sources, tmp_path / "out"), "is a folder; give one folder, or several files"),
        ((*sources, folder / "none.png", tmp_path / "out"), "none.png: no such file"),
        (("-", tmp_path / "b.png"), "-: standard input and output cannot be used"),
        ((folder / "a.png", "-"), "-: standard input and output cannot be used"),
    ):
        code, _, err = run("upscale", *words, "--scale", 2)
        assert code == 2 and message in err and len(lines_of(err)) == 1, err


def test_a_scale_below_1_reduces(run, tmp_path, folder):
    code, _, err = run("upscale", folder / "a.png", tmp_path / "a.png", "--scale", "0.5x0.25")
    before = read_photo(tmp_path / "a.png").pixels
    assert code == 0 and before.shape == (10, 6, 3), err
    words = ["upscale", folder / "a.png", tmp_path / "a.png", "--scale", "0.5x0.25", "--linear"]
    assert "made again" in run(*words)[1] and "skipped" in run(*words)[1]
    assert read_photo(tmp_path / "a.png").pixels.mean() > before.mean()


def test_what_is_passed_over_is_counted(run, tmp_path, folder):
    for name in ("v.mp4", "below/w.MP4", "notes.txt", "README", ".hidden.txt"):
        (folder / name).write_text("no image")
    report = tmp_path / "report.json"
    code, out, _ = run("upscale", folder, tmp_path / "out", "--scale", 2, "--report", report)
    assert code == 0 and "FILE says why): 2 .mp4, 1 README, 1 .txt\n" in out
    assert json.loads(report.read_text())["passed_over"] == {".mp4": 2, "README": 1, ".txt": 1}
    code, _, err = run("info", folder / "notes.txt")
    assert code == 2 and "it is a text file" in err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "v.mp4").write_text("no image")
    code, _, err = run("upscale", tmp_path / "other", tmp_path / "x", "--scale", 2)
    assert code == 2 and "holds no images but 1 .mp4; give a folder with" in err


def test_a_function_is_rendered_as_the_image_would_be(run, tmp_path, folder, checkpoint):
    function, target = tmp_path / "a.hfn", tmp_path / "f.png"
    words = ["--quantize", "none", "--checkpoint", checkpoint]
    run("export", folder / "a.png", "--function", function, *words)
    code, out, err = run("upscale", function, target, "--scale", 2)
    assert code == 0 and "48 x 40 pixels of the function" in out, err
    run("upscale", folder / "a.png", tmp_path / "i.png", "--scale", 2)
    rendered, enlarged = (read_photo(path).pixels for path in (target, tmp_path / "i.png"))
    assert np.abs(rendered.astype(int) - enlarged).max() <= 1
    code, out, _ = run("upscale", function, target, "--scale", 2)
    assert code == 0 and "made by the same command before, skipped" in out
    code, out, _ = run("upscale", function, target, "--size", "30x60")
    assert code == 0 and read_photo(target).pixels.shape == (60, 30, 3)
    code, _, err = run("upscale", function, f"{tmp_path}/w/", "--scale", 2, "--format", "webp")
    assert code == 0 and (tmp_path / "w" / "a.webp").is_file(), err
    code, _, err = run("upscale", function, folder / "a.png", "--scale", 2)
    assert code == 2 and "hyperfunc did not make it" in err


def test_an_output_with_a_slash_is_a_folder(run, tmp_path, folder):
    code, _, err = run("upscale", folder / "a.png", f"{tmp_path}/new/", "--scale", 2)
    assert code == 0 and (tmp_path / "new" / "a.png").is_file(), err


def test_refused_places(run, tmp_path, folder):
    (tmp_path / "loop.png").symlink_to("loop.png")
    for source, target, message in (
        (tmp_path / "none.png", tmp_path / "b.png", "no such file"),
        (folder / "a.png", tmp_path / "b.gif", "cannot write images as '.gif'"),
        (folder / "a.png", tmp_path / "b", "cannot write images as ''"),
        (folder / "a.png", folder / "a.png", "one file"),
        (folder, folder, "one folder"),
        (folder, folder / "a.png", "is a file"),
        (folder / "a.png", folder / "b.jpg" / "c.png", "b.jpg/c.png: cannot be written"),
        (folder, folder / "b.jpg" / "c", "b.jpg/c/a.png: cannot be written"),
        (folder, "/proc/none/out", "/proc/none/out/a.png: cannot be written"),
        (folder, tmp_path / ("a" * 300), "aaa: File name too long; choose a shorter name"),
        (folder / "a.png", tmp_path / ("a" * 300 + ".png"), "File name too long"),
        (folder / "a.png", tmp_path / "loop.png", "loop"),
    ):
        code, _, err = run("upscale", source, target, "--scale", 2, "--overwrite")
        assert code == 2 and message in err and len(lines_of(err)) == 1, err


def test_a_format_that_the_name_of_the_output_denies(run, tmp_path, folder):
    words = "upscale", folder / "a.png", tmp_path / "b.jpg", "--scale", 2
    code, _, err = run(*words, "--format=png")
    assert code == 2 and "b.jpg: would be written as JPEG" in err
    assert run(*words, "--format=jpg")[0] == 0


def test_outputs_do_not_replace_one_another(run, tmp_path, folder):
    source, target = folder / "a.png", tmp_path / "b.png"
    before = source.read_bytes()
    for report in (source, target):
        code, _, err = run("upscale", source, target, "--scale", 2, "--report", report)
        assert code == 2 and f"{report}: is an image" in err and len(lines_of(err)) == 1, err
    code, _, err = run("upscale", source, target, "--scale", 2, "--report", tmp_path)
    assert code == 2 and f"{tmp_path}: cannot be written" in err and len(lines_of(err)) == 1, err
    both = ["--function", target, "--html", target]
    code, _, err = run("export", source, *both)
    assert code == 2 and f"{target}: two outputs" in err, err
    code, _, err = run("export", tmp_path / "none.png", "--html", source)
    assert code == 2 and "none.png" in err and len(lines_of(err)) == 1, err
    assert source.read_bytes() == before and not target.exists()


@pytest.mark.slow
def test_only_outputs_of_the_same_request_are_skipped(run, save_model, tmp_path, folder):
    """Whatever else changes what an output holds makes it again."""
    target, source = tmp_path / "out", folder / "a.png"
    other = save_model(tmp_path / "other", SuperResolution(), seed=1)

    def upscale(*words):
        code, out, _ = run("upscale", folder, target, *words)
        assert code == 0
        return out.splitlines()[-1]

    def size():
        return read_photo(target / "a.png").pixels.shape[:2]

    assert upscale("--scale", 2) == "5 done, 0 skipped, 0 failed"
    assert upscale("--scale", 3) == "5 done, 0 skipped, 0 failed" and size() == (60, 72)
    assert upscale("--size", "50x40") == "5 done, 0 skipped, 0 failed" and size() == (40, 50)
    assert upscale("--size", "50x40", "--quality", 80) == "2 done, 3 skipped, 0 failed"
    again = ("--size", "50x40", "--quality", 80, "--checkpoint", other)
    assert upscale(*again) == "5 done, 0 skipped, 0 failed"
    shutil.copy(folder / "b.jpg", folder / "other.jpg")
    source.write_bytes(source.read_bytes() + b"x")
    assert upscale(*again) == "2 done, 4 skipped, 0 failed"
    # A file alone is found in the records of a folder.
    code, out, _ = run("upscale", source, target / "a.png", *again)
    assert code == 0 and "made by the same command before, skipped" in out
    code, out, _ = run("upscale", folder / "b.jpg", target / "a.png", *again)
    assert code == 0 and "made again" in out and "done in" in out


def test_what_hyperfunc_did_not_make_is_not_replaced(run, tmp_path, folder):
    """A picture of the user's own, or one that was edited, fails alone until --overwrite."""
    target = tmp_path / "out"
    run("upscale", folder, target, "--scale", 2)
    own = (folder / "a.png").read_bytes()
    (target / "a.png").write_bytes(own)
    with (target / ".hyperfunc.jsonl").open("a") as file:
        file.write('\n{"output": "a.p')  # The disk was full.
    code, out, err = run("upscale", folder, target, "--scale", 3)
    assert code == 1 and "4 done, 0 skipped, 1 failed" in out
    assert f"{target}/a.png: exists, and hyperfunc did not make it or it was changed" in err
    code, _, err = run("upscale", folder / "a.png", target / "a.png", "--scale", 3)
    assert code == 2 and "--overwrite replaces it" in err and len(lines_of(err)) == 1
    assert (target / "a.png").read_bytes() == own
    code, out, _ = run("upscale", folder, target, "--scale", 3, "--overwrite")
    assert code == 0 and "5 done, 0 skipped, 0 failed" in out
    code, out, _ = run("upscale", folder, target, "--scale", 3)
    assert code == 0 and "0 done, 5 skipped, 0 failed" in out


def test_a_misspelt_checkpoint_fails_also_where_nothing_is_to_be_done(run, tmp_path, folder):
    run("upscale", folder, tmp_path / "out", "--scale", 2)
    code, _, err = run("upscale", folder, tmp_path / "out", "--scale", 2, "--checkpoint", "rs")
    assert code == 2 and "no checkpoint: rs" in err


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_output_without_a_record(tmp_path, checkpoint, draw):
    """Whatever outputs a killed run has left, the next one skips, and makes the others."""
    for i in range(12):
        write_image(tmp_path / "in" / f"{i}.png", draw(i, (16, 16)))
    words = ["upscale", tmp_path / "in", tmp_path / "out", "--scale=2"]
    command = [sys.executable, "-m", "hyperfunc", *words, f"--checkpoint={checkpoint}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(tmp_path.glob("out/*.png"))) < 3:
            time.sleep(0.001)
        process.kill()
    left = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*.png")}
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"{12 - len(left)} done, {len(left)} skipped, 0 failed" in result.stdout
    assert left == {path: path.stat().st_mtime_ns for path in left}


def test_a_wrapped_output_is_told_apart(run, tmp_path, folder):
    def upscale(*words):
        return run("upscale", folder, tmp_path / "out", "--scale", 2, *words)

    assert "5 done" in upscale()[1]
    before = read_photo(tmp_path / "out" / "a.png").pixels
    assert "5 done, 0 skipped" in upscale("--wrap", "x")[1]
    assert "0 done, 5 skipped" in upscale("--wrap", "x")[1]
    after = read_photo(tmp_path / "out" / "a.png").pixels
    assert (before[:, 0] != after[:, 0]).any() and (before[:, 20:28] == after[:, 20:28]).all()
    (tmp_path / "f.hfn").touch()
    words = ("upscale", tmp_path / "f.hfn", tmp_path / "f.png", "--scale=2")
    for flags in (["--wrap=x"], ["--report", tmp_path / "r.json"], ["--tile=64"], ["--ray"]):
        code, _, err = run(*words, *flags)
        assert code == 2 and "is a function; leave out --" in err
