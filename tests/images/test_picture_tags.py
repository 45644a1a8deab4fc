"""Tags that describe the picture stay true when it is resized, or are dropped with a note."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from hyperfunc.images import Photo, read_photo, resize_tags, write_photo
from hyperfunc.images.metadata import Metadata

XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description dc:title="kept" %s>
%s</rdf:Description></rdf:RDF></x:xmpmeta>"""


def enlarge(source, target, size):
    """Read, resize and write a file as `upscale` does; return the notes."""
    photo = read_photo(source)
    metadata, notes = resize_tags(photo.metadata, photo.pixels.shape[:2], size)
    pixels = np.zeros((*size, photo.pixels.shape[2]), photo.pixels.dtype)
    return [*photo.notes, *notes, *write_photo(target, Photo(pixels, metadata))]


def test_what_xmp_says_of_lost_parts_is_dropped_with_a_note(tmp_path, draw):
    container = (
        b"<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Semantic='GainMap' "
        b"Item:Length='9'/></rdf:li></rdf:Seq></Container:Directory>"
    )
    cases = {
        b'hdrgm:Version="1.0"': (b"<hdrgm:Gamma>1</hdrgm:Gamma>", "HDR gain map"),
        b"GCamera:MotionPhoto='1'": (container, "motion picture"),
        b'GDepth:Format = "RangeLinear"': (b"", "depth map"),
        b'xmpNote:HasExtendedXMP="0A"': (
            b"<GImage:Data>\n</GImage:Data>",
            "second picture or sound",
        ),
    }
    for attribute, (element, part) in cases.items():
        path = tmp_path / "a.jpg"
        Image.fromarray(draw(0, (20, 24))).save(path, xmp=XMP % (attribute, element))
        photo = read_photo(path)
        assert f"its {part} is dropped" in photo.notes
        kept = (photo.metadata.xmp or b"").split(b"dc:title")[1]
        wanted = (XMP % (b"", b"")).split(b"dc:title")[1]
        assert re.sub(rb"\s", b"", kept) == re.sub(rb"\s", b"", wanted)


def test_a_second_picture_of_a_jpeg_is_noted(tmp_path, draw):
    first, second = (Image.fromarray(draw(i, (20, 24))) for i in range(2))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_photo(tmp_path / "a.jpg").notes == ("its second picture is dropped",)


def test_sizes_in_xmp_are_scaled():
    before = XMP % (
        b"GPano:FullPanoWidthPixels=\"4000\" GPano:CroppedAreaTopPixels='7' tiff:ImageWidth='40'",
        b"<GPano:FullPanoHeightPixels>2001</GPano:FullPanoHeightPixels>"
        b"<GPano:PosePitchDegrees>3</GPano:PosePitchDegrees>",
    )
    after = XMP % (
        b"GPano:FullPanoWidthPixels=\"12000\" GPano:CroppedAreaTopPixels='14' "
        b"tiff:ImageWidth='120'",
        b"<GPano:FullPanoHeightPixels>4002</GPano:FullPanoHeightPixels>"
        b"<GPano:PosePitchDegrees>3</GPano:PosePitchDegrees>",
    )
    assert resize_tags(Metadata(xmp=before), (20, 40), (40, 120)) == (Metadata(xmp=after), [])


def test_ome_states_the_new_size_of_a_pixel(tmp_path):
    """The picture is as wide as before, in micrometres."""
    ome = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.25, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((20, 30), np.uint16), ome=True, metadata=ome)
    assert enlarge(tmp_path / "a.ome.tif", tmp_path / "b.ome.tif", (40, 90)) == []
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        xml = tifffile.xml2dict(file.ome_metadata or "")
        pixels = xml["OME"]["Image"]["Pixels"]
        assert (pixels["SizeX"], pixels["SizeY"]) == (90, 40) and file.asarray().shape == (40, 90)
    assert pixels["PhysicalSizeX"] == pytest.approx(0.1)
    assert pixels["PhysicalSizeY"] == pytest.approx(0.125) and pixels["PhysicalSizeXUnit"] == "nm"


@pytest.mark.parametrize("images", [1, 3])
def test_imagej_states_the_new_size_of_a_pixel(tmp_path, images):
    stack = np.zeros((images, 20, 30), np.uint16)
    options = {"imagej": True, "resolution": (2.5, 2.5), "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    enlarge(tmp_path / "a.tif", tmp_path / "b.tif", (40, 90))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages.first
        assert page.shape == (40, 90) and (file.imagej_metadata or {})["unit"] == "um"
        assert (file.imagej_metadata or {}).get("images", 1) == 1
        x, y = (page.tags[name].value for name in ("XResolution", "YResolution"))
    assert (x[0] / x[1], y[0] / y[1]) == (pytest.approx(7.5 * 25.4), pytest.approx(5 * 25.4))


def test_descriptions_of_other_shapes_are_dropped(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30), np.uint8))
    notes = enlarge(tmp_path / "a.tif", tmp_path / "b.tif", (40, 60))
    assert notes == ["its description by tifffile, of another shape, is dropped"]
    tifffile.imwrite(tmp_path / "o.ome.tif", np.zeros((2, 20, 30), np.uint8), ome=True)
    notes = enlarge(tmp_path / "o.ome.tif", tmp_path / "b.tif", (40, 60))
    assert "its OME-XML, which is of all its images, is dropped" in notes
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((20, 30), np.uint8), description="a cat")
    assert enlarge(tmp_path / "c.tif", tmp_path / "b.tif", (40, 60)) == []
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages.first.description == "a cat"
