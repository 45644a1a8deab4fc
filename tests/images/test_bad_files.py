"""Bad files and full disks: the error is one line, and no half-written file is left."""

import importlib.util
import io
import os
import resource
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save

from hyperfunc.errors import UserError
from hyperfunc.images import (
    Photo,
    check_output,
    read_header,
    read_image,
    read_photo,
    write_image,
    write_photo,
)
from tests.drawing import draw, encode

SUFFIXES = [".png", ".jpg", ".tif", ".webp", ".avif"]


def test_files_that_are_no_images_are_refused(tmp_path):
    files = {"empty.png": b"", "text.jpg": b"hello", "tiff.tif": b"II*\0rubbish"}
    files |= {
        "vector.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "table.csv": b"1,2\n3,4\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        for read in (read_header, read_photo, read_image):
            with pytest.raises(UserError, match=f"{name}: cannot be read as an image") as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_photo(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot be read: it is a folder"):
        read_photo(tmp_path)


@pytest.mark.parametrize(
    ("start", "kind", "remedy"),
    [
        (b"<!DOCTYPE html><html>", "an HTML page", "download the image itself"),
        (b"\n <HTML><body>", "an HTML page", "download the image itself"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "a drawing (SVG)", "export it as PNG"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video", "extract its frames"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video", "extract its frames"),
        (b"\x1aE\xdf\xa3\x01", "a video", "extract its frames"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound", "give an image"),
        (b"v/1\x01\x02\0\0\0", "an OpenEXR picture", "export it as TIFF"),
        (b"8BPS\0\x01", "a Photoshop document", "export it as PNG"),
        (b"%PDF-1.7", "a PDF document", "export its pages"),
        (b"PK\x03\x04\x14\0", "a zip archive", "extract it"),
        (b"\x1f\x8b\x08\0", "a compressed file", "extract it"),
        (b"not a picture\n", "a text file", "give an image"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path, start, kind, remedy):
    (tmp_path / "a.jpg").write_bytes(start)
    with pytest.raises(UserError) as caught:
        read_photo(tmp_path / "a.jpg")
    wanted = f"{tmp_path}/a.jpg: cannot be read as an image (it is {kind}); "
    assert str(caught.value).startswith(wanted) and remedy in str(caught.value)


@pytest.mark.parametrize(
    ("start", "kind", "module", "package"),
    [
        (b"\xff\x0a\xfa\x1f", "a JPEG XL picture", "pillow_jxl", "pillow-jxl-plugin"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "an HEIC picture", "pillow_heif", "pillow-heif"),
    ],
)
def test_formats_without_their_plugins_are_named(tmp_path, start, kind, module, package):
    if importlib.util.find_spec(module):
        pytest.skip("the plugin is installed")
    (tmp_path / "a.jpg").write_bytes(start)
    with pytest.raises(UserError, match=f"it is {kind}.; install a plugin: pip install {package}"):
        read_photo(tmp_path / "a.jpg")


def test_a_function_named_as_an_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(save({"a": np.zeros(3, np.float32)}, {"hyperfunc": "1"}))
    with pytest.raises(
        UserError, match=r"is a function \(.hfn\)\); give one alone, with the suffix"
    ):
        read_photo(tmp_path / "a.png")


def test_qoi_is_read(tmp_path):
    """One pixel run by hand: the header, a colour (RGB), a run of 5 more, and the end marker."""
    data = b"qoif" + struct.pack(">IIBB", 3, 2, 3, 0) + b"\xfe\x0a\x14\x1e\xc4" + b"\0" * 7 + b"\1"
    (tmp_path / "a.qoi").write_bytes(data)
    photo = read_photo(tmp_path / "a.qoi")
    np.testing.assert_array_equal(photo.pixels, np.full((2, 3, 3), [10, 20, 30], np.uint8))


@pytest.mark.parametrize(
    ("module", "suffix", "tolerance"), [("pillow_heif", ".heic", 6), ("pillow_jxl", ".jxl", 0)]
)
def test_formats_of_plugins_are_read_with_their_metadata(tmp_path, draw, module, suffix, tolerance):
    plugin = pytest.importorskip(module)
    if module == "pillow_heif":
        plugin.register_heif_opener()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    pixels = draw(0, (48, 64))
    lossless = {"quality": -1, "chroma": 444} if module == "pillow_heif" else {"lossless": True}
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", exif=exif.tobytes(), **lossless)
    photo = read_photo(tmp_path / f"a{suffix}")
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= tolerance
    assert photo.metadata.exif and b"Maker" in photo.metadata.exif


def test_a_note_tells_that_a_heic_of_10_bits_is_reduced(tmp_path):
    plugin = pytest.importorskip("pillow_heif")
    pixels = np.full((48, 64, 3), 40_000, np.uint16)
    image = plugin.from_bytes(mode="RGB;16", size=(64, 48), data=pixels.tobytes())
    image.save(tmp_path / "a.heic")
    photo, header = read_photo(tmp_path / "a.heic"), read_header(tmp_path / "a.heic")
    assert photo.pixels.dtype == np.uint8 and header.bits == 10
    assert photo.notes == header.notes == ("its 10 bits per channel are reduced to 8",)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".gif", ".bmp"])
def test_truncated_files_are_refused(tmp_path, draw, suffix):
    path = tmp_path / f"half{suffix}"
    Image.fromarray(draw(0, (96, 96))).save(path)
    data = path.read_bytes()
    for size in (len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:size])
        for source in (path, io.BytesIO(data[:size])):
            with pytest.raises(UserError, match=f"half{suffix}: cannot be read") as caught:
                read_image(source, name=path.name)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pixels_with_wrong_checksums_are_refused(tmp_path, draw_pixels, suffix):
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(draw_pixels((40, 40), 3, np.uint16)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"a{suffix}: cannot be read"):
        read_photo(path)


def test_errors_in_many_threads_name_the_right_file(tmp_path, draw):
    good = draw(0, (64, 64))
    write_image(tmp_path / "good.png", good)
    data = (tmp_path / "good.png").read_bytes()

    def read(i: int) -> str:
        path = tmp_path / f"{i}.png"
        path.write_bytes(data if i % 2 else data[: len(data) // 2])
        try:
            return "good" if (read_image(path) == good).all() else "wrong"
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(64)))
    for i, result in enumerate(results):
        assert result == "good" if i % 2 else f"{i}.png: cannot be read as an image" in result


def test_a_file_that_is_shortened_during_reading_is_refused(tmp_path, draw_pixels):
    """Mapped into memory, it would end the process."""
    path = tmp_path / "a.jpg"
    write_photo(path, Photo(draw_pixels((600, 600), 3, np.uint8)), quality=100)
    data, is_done = path.read_bytes(), threading.Event()

    def disturb() -> None:
        while not is_done.is_set():
            path.write_bytes(data)
            os.truncate(path, 5000)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(30):
            with pytest.raises(UserError, match="a.jpg: cannot be read"):
                read_photo(path)
                raise UserError("a.jpg: cannot be read")  # It was whole.
    finally:
        is_done.set()
        thread.join()


def test_bombs_are_refused(tmp_path, make_png):
    """A file of a few bytes that would fill the memory."""
    rows = zlib.compress(bytes(2**20))
    header = struct.pack(">IIBBBBB", 2**19, 2**18, 8, 0, 0, 0, 0)
    data = make_png((4, 4, 8, 0), [b"\0" * 4] * 4)
    data = data.replace(data[16:29], header)
    data = data[:29] + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:] + rows
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match="a.png: .*524288 x 262144 pixels are more than"):
        read_photo(tmp_path / "a.png")
    (tmp_path / "a.ppm").write_bytes(b"P6 99999999 99999999 65535\n" + b"0" * 60)
    with pytest.raises(UserError, match="a.ppm.*truncated"):
        read_photo(tmp_path / "a.ppm")


def test_an_image_without_pixels_is_refused(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 0 12 1023\n")
    with pytest.raises(UserError, match="a.ppm.*its size is 0 x 12 pixels"):
        read_photo(tmp_path / "a.ppm")


def test_images_too_large_to_be_encoded_are_refused(tmp_path, monkeypatch, draw):
    monkeypatch.setattr("hyperfunc.images.read.MAX_PIXELS_TO_ENCODE", 100)
    write_image(tmp_path / "a.png", draw(0, (20, 10)))
    with pytest.raises(UserError, match="a.png: .*10 x 20 pixels are more than 100"):
        read_image(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").pixels.shape == (20, 10, 3)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (read_header, read_photo):
        with pytest.raises(UserError, match="a.png.*a pipe or a device"):
            read(tmp_path / "a.png")


def test_missing_permission_is_reported(tmp_path, draw, monkeypatch):
    write_image(tmp_path / "a.png", draw(0, (4, 4)))

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="a.png: permission denied; check who may read it"):
        read_photo(tmp_path / "a.png")


def test_an_error_of_the_disk_is_reported_as_the_cause(tmp_path, draw):
    class FailingFile(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 5000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    write_image(tmp_path / "a.png", draw(0, (200, 200)))
    source = FailingFile((tmp_path / "a.png").read_bytes())
    with pytest.raises(UserError, match="a.png: cannot be read .*Input/output error"):
        read_image(source, name="a.png")


def test_an_interruption_while_libvips_works_is_not_lost(tmp_path, draw):
    class InterruptedFile(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 5000:
                raise KeyboardInterrupt
            return super().read(size)

    write_image(tmp_path / "a.png", draw(0, (200, 200)))
    with pytest.raises(KeyboardInterrupt):
        read_image(InterruptedFile((tmp_path / "a.png").read_bytes()))


def test_impossible_outputs_are_refused(tmp_path, draw_pixels):
    with pytest.raises(UserError, match="cannot write images as '.gif'"):
        check_output("a.gif", (4, 4))
    for name, size, largest in (
        ("a.jpg", (4, 70000), "65500"),
        ("a.webp", (16384, 4), "16383"),
        ("a.avif", (4, 16385), "16384"),
    ):
        with pytest.raises(UserError, match=largest):
            check_output(name, size)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_photo(tmp_path / "file" / "a.png", Photo(draw_pixels((4, 4), 3, np.uint8)))


@pytest.mark.parametrize(
    ("suffix", "size"), [(".webp", (16383, 1)), (".avif", (1, 16384)), (".jpg", (65500, 1))]
)
def test_images_with_the_largest_sides_are_written(tmp_path, suffix, size):
    write_photo(tmp_path / f"a{suffix}", Photo(np.zeros((*size, 3), np.uint8)))
    assert read_header(tmp_path / f"a{suffix}").size == size


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_keeps_the_old_file(tmp_path, draw_pixels, suffix):
    path = tmp_path / f"a{suffix}"
    write_photo(path, Photo(draw_pixels((4, 4), 3, np.uint8)))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(UserError, match=f"a{suffix}: cannot be written .File too large"):
            write_photo(path, Photo(draw_pixels((200, 200), 3, np.uint8)), quality=100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_interruption_keeps_the_old_file(tmp_path, draw_pixels, monkeypatch):
    path = tmp_path / "a.png"
    write_photo(path, Photo(draw_pixels((4, 4), 3, np.uint8)))
    before = path.read_bytes()

    def interrupt(image, file, saver, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("hyperfunc.images.write.save_target", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_photo(path, Photo(draw_pixels((8, 8), 3, np.uint8)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_whatever_a_library_raises_about_damaged_data_is_one_line(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4, 3), 1e300), photometric="rgb")
    with pytest.raises(UserError, match="values that are not finite"):
        read_photo(tmp_path / "a.tif")

    def fail(*arguments):
        raise TypeError("a tuple")

    monkeypatch.setattr("tifffile.TiffPage.asarray", fail)
    with pytest.raises(UserError, match=r"its data is damaged \(TypeError: a tuple\)"):
        read_photo(tmp_path / "a.tif")
    (tmp_path / "b.bmp").write_bytes(encode(draw(), "bmp"))
    monkeypatch.setattr("PIL.Image.Image.load", fail)
    with pytest.raises(UserError, match=r"its data is damaged \(TypeError: a tuple\)"):
        read_photo(tmp_path / "b.bmp")
