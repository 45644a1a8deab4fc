"""`upscale` of one image, with a small random model."""

import io
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from hyperfunc.commands import main
from hyperfunc.commands.arguments import parse_size
from hyperfunc.data import Reconstruction, SuperResolution
from hyperfunc.errors import UserError
from hyperfunc.images import Photo, read_image, read_photo, write_image, write_photo
from hyperfunc.networks import SRCNN
from tests.commands.outputs import lines_of, names


def test_a_file(run, tmp_path, folder):
    code, out, err = run("upscale", folder / "a.png", tmp_path / "new" / "a.png", "--scale", "2x3")
    assert code == 0 and err.startswith("loading the checkpoint of step 7 in ")
    assert "24 x 20 -> 72 x 40 pixels" in out and "expected: " in out and "done in" in out
    assert read_photo(tmp_path / "new" / "a.png").pixels.shape == (40, 72, 3)
    assert names(tmp_path / "new") == {"a.png"}
    code, out, err = run(
        "upscale", folder / "a.png", tmp_path / "b.jpg", "--size", "30x45", "--quiet"
    )
    assert code == 0 and out == err == ""
    assert read_photo(tmp_path / "b.jpg").pixels.shape == (45, 30, 3)


def test_a_pipe_is_written_to(run, tmp_path, folder):
    """It is no output that exists, and nothing about it is recorded."""
    pipe, read = tmp_path / "pipe.png", []
    os.mkfifo(pipe)
    for _ in range(2):
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
        reader.start()
        code, _, err = run("upscale", folder / "a.png", pipe, "--scale", 2)
        if code:  # Let the reader end.
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(timeout=60)
        assert code == 0, err
    assert read[0] == read[1] and read_image(io.BytesIO(read[0])).shape == (40, 48, 3)
    assert pipe.is_fifo()
    assert not (tmp_path / ".hyperfunc.jsonl").exists()


def test_standard_output_is_refused_by_any_name(tmp_path, folder):
    link, file = tmp_path / "stdout.png", tmp_path / "b.png"
    link.symlink_to("/dev/stdout")
    words = [sys.executable, "-m", "hyperfunc", "upscale", folder / "a.png", link, "--scale=2"]
    with file.open("wb") as stdout:
        done = subprocess.run([*words, "--overwrite"], stdout=stdout, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"stdout.png: standard input and output" in done.stderr
    assert file.read_bytes() == b""


def test_the_result_resembles_the_bicubic_enlargement(run, tmp_path, folder):
    """The small random model changes it by a few of 255 levels."""
    run("upscale", folder / "a.png", tmp_path / "a.png", "--scale", "2")
    result = read_photo(tmp_path / "a.png").pixels.astype(float)
    with Image.open(folder / "a.png") as image:
        bicubic = np.asarray(image.resize((48, 40), Image.Resampling.BICUBIC)).astype(float)
    assert np.sqrt(np.mean((result - bicubic) ** 2)) < 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_compilation_ends_the_process(tmp_path, checkpoint, number):
    """It ends soon, without a crash, and with the exit code that shells expect."""
    write_image(tmp_path / "a.png", np.zeros((1500, 1500, 3), np.uint8))
    command = [sys.executable, "-m", "hyperfunc", "upscale", tmp_path / "a.png", tmp_path / "b.png"]
    with subprocess.Popen(
        [*command, "--scale=2", f"--checkpoint={checkpoint}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "1500 x 1500 -> 3000 x 3000" in process.stdout.readline()  # Now it compiles.
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.endswith("interrupted\n") == (number == signal.SIGINT)
    assert "0 done; the same command goes on" in out and names(tmp_path) == {"a.png"}


def test_an_interruption_while_writing_leaves_no_file(run, tmp_path, folder, monkeypatch):
    def interrupt(image, file, saver, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperfunc.images.write.save_target", interrupt)
    code, _, _ = run("upscale", folder / "a.png", tmp_path / "out" / "a.png", "--scale", 2)
    assert code == 130 and names(tmp_path / "out") == set()


@pytest.mark.parametrize(("size", "channels"), [((1, 1), 3), ((1, 9), 4), ((9, 1), 1)])
def test_the_smallest_images(run, tmp_path, size, channels):
    pixels = np.full((*size, channels), 90, np.uint8)
    write_photo(tmp_path / "a.png", Photo(pixels))
    code, _, err = run("upscale", tmp_path / "a.png", tmp_path / "b.png", "--scale", "2.5x3")
    assert code == 0, err
    result = read_photo(tmp_path / "b.png").pixels
    assert result.shape == (int(size[0] * 2.5 + 0.5), size[1] * 3, channels)


def test_alpha_has_no_fringe(run, tmp_path):
    """No green of the transparent pixels around a red disc shows in the result."""
    y, x = np.mgrid[:48, :48]
    inside = ((y - 24) ** 2 + (x - 24) ** 2 < 15**2)[..., None]
    image = np.where(inside, [220, 0, 0, 255], [0, 255, 0, 0]).astype(np.uint8)
    write_photo(tmp_path / "a.png", Photo(image))
    code, _, _ = run("upscale", tmp_path / "a.png", tmp_path / "b.png", "--scale", 3)
    result = read_photo(tmp_path / "b.png").pixels.astype(float)
    alpha = result[..., 3:] / 255
    assert code == 0 and result.shape == (144, 144, 4)
    assert (result[60:84, 60:84, 3] == 255).all() and (result[:9, :9] == 0).all()
    assert (result * alpha)[..., 1].max() < 15  # Interpolating colour without alpha gives 64.
    edge = (alpha[..., 0] > 0.3) & (alpha[..., 0] < 0.7)
    assert edge.sum() > 50 and abs(result[edge, 0].mean() - 220) < 15  # Nor is the edge dark.


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_stay_16_bits(run, tmp_path, suffix):
    ramp = np.linspace(20000, 24000, 40 * 40).reshape(40, 40, 1)
    pixels = np.repeat(ramp, 3, axis=-1).astype(np.uint16)
    write_photo(tmp_path / f"a{suffix}", Photo(pixels))
    code, _, _ = run("upscale", tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", "--scale", 2)
    result = read_photo(tmp_path / f"b{suffix}").pixels
    assert code == 0 and result.dtype == np.uint16
    assert len(np.unique(result)) > 1000  # With 8 bits there would be 16.


def test_floats_and_grey(run, tmp_path, draw):
    values = draw(1, (20, 20))[..., 0].astype(np.float32) * 30 - 500
    tifffile.imwrite(tmp_path / "a.tif", values)
    code, _, _ = run("upscale", tmp_path / "a.tif", tmp_path / "b.tif", "--scale", 2)
    result = tifffile.imread(tmp_path / "b.tif")
    assert code == 0 and result.shape == (40, 40) and result.dtype == np.float32
    assert abs(result.mean() - values.mean()) < 200


def test_metadata_and_notes(run, tmp_path, draw):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    image = Image.fromarray(draw(2, (16, 24)))
    image.save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    code, out, _ = run("upscale", tmp_path / "a.jpg", tmp_path / "b.jpg", "--scale", 2)
    assert code == 0 and "16 x 24 -> 32 x 48" in out
    with Image.open(tmp_path / "b.jpg") as result:
        assert result.size == (32, 48) and dict(result.getexif())[0x010F] == "Maker"
        assert result.getexif().get(0x0112, 1) == 1 and result.info["dpi"] == (300, 300)
    image.convert("CMYK").save(tmp_path / "c.tif")
    code, out, _ = run("upscale", tmp_path / "c.tif", tmp_path / "d.tif", "--scale", 2)
    assert code == 0 and "without an ICC profile" in out
    image.convert("RGBA").save(tmp_path / "e.png")
    code, out, _ = run("upscale", tmp_path / "e.png", tmp_path / "e.jpg", "--scale", 2)
    assert code == 0 and "laid on white" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--scale", "0"], "scale '0'"),
        (["--scale", "nan"], "scale 'nan'"),
        (["--scale", "1000000"], "480,000,000 million"),
        (["--scale", "2x2x2"], "scale '2x2x2'"),
        (["--size", "0x10"], "--size '0x10'"),
        (["--size", "10"], "--size '10'"),
        (["--size", "99999999999x1"], "--size"),
        (["--size", "70000x10"], "65500"),
        (["--size", "100000x100000"], "10,000 million"),
        ([], "how large?"),
        (["--size", "3x3", "--scale", "2"], "one of"),
        (["--scale", "2", "--quality", "0"], "--quality 0"),
        (["--scale", "2", "--tile", "1"], "--tile 1"),
        (["--scale", "2", "--threads", "0"], "--threads 0"),
    ],
)
def test_refused_flags(run, tmp_path, folder, args, message):
    code, out, err = run("upscale", folder / "a.png", tmp_path / "b.jpg", *args)
    assert code == 2 and message in err and len(lines_of(err)) == 1 and "Traceback" not in err
    assert not (tmp_path / "b.jpg").exists()


def test_a_model_of_another_task(save_model, tmp_path, folder, capsys):
    other = save_model(tmp_path / "faces", Reconstruction(size=16))
    with pytest.raises(SystemExit):
        main(
            ["upscale", str(folder / "a.png"), str(tmp_path / "b.png"), "--scale=2"]
            + ["--checkpoint", str(other)]
        )
    assert "trained for Reconstruction" in capsys.readouterr().err


def test_a_baseline_is_refused(save_model, tmp_path, folder, capsys):
    task = SuperResolution(scales=(2,), protocol_phase=1.0)
    other = save_model(tmp_path / "srcnn", task, SRCNN(scale=2, widths=(4, 5)))
    source = str(folder / "a.png")
    for words in (
        ["upscale", source, str(tmp_path / "b.png"), "--scale=2"],
        ["export", source, f"--function={tmp_path / 'b.hfn'}"],
    ):
        with pytest.raises(SystemExit) as exit:
            main([*words, "--checkpoint", str(other)])
        error = capsys.readouterr().err
        assert exit.value.code == 2 and len(lines_of(error)) == 1
        assert "srcnn holds SRCNN for scale 2 only" in error
    assert not list(tmp_path.glob("b.*"))
    main(["info", str(other)])
    assert "SRCNN" in capsys.readouterr().out


def test_a_model_of_windows_enlarges_in_strips(tmp_path, draw, capsys):
    write_image(tmp_path / "photo.png", draw(0, (20, 24)))
    output = tmp_path / "large.png"
    main(
        ["upscale", f"{tmp_path / 'photo.png'}", f"{output}", "--scale=2", "--checkpoint=sr_paper"]
    )
    assert read_image(output).shape == (40, 48, 3)
    assert "1 tile" in capsys.readouterr().out


def test_parsing_of_sizes():
    assert parse_size("3840x2160") == (2160, 3840)
    for text in ("", "x", "3840", "-1x5", "1.5x2", "3x0", "²x2"):
        with pytest.raises(UserError, match="--size"):
            parse_size(text)
