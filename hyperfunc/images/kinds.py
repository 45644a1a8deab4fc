"""What a file is that is no image which can be read, told by its first bytes, and what to do."""

import re

PLUGINS = {
    "HEIC picture": ("pillow_heif", (".heic", ".heif")),
    "JPEG XL picture": ("pillow_jxl", (".jxl",)),
}
"""Optional modules with which Pillow reads a kind of picture, and the suffixes of its files."""

_EXPORT, _FRAMES = "export it as PNG or TIFF", "extract its frames as PNG"
KINDS = {
    "HEIC picture": (
        rb"(?s)....ftyp(?:hei|hev|mif1|msf1)",
        "install a plugin: pip install pillow-heif",
    ),
    "JPEG XL picture": (
        rb"\xff\x0a|\0\0\0\x0cJXL ",
        "install a plugin: pip install pillow-jxl-plugin",
    ),
    "OpenEXR picture": (rb"v/1\x01", "export it as TIFF of 32-bit floats"),
    "Radiance picture": (rb"#\?RADIANCE|#\?RGBE", "export it as TIFF of 32-bit floats"),
    "Photoshop document": (rb"8BPS", _EXPORT),
    "DirectDraw surface": (rb"DDS ", _EXPORT),
    "icon": (rb"\0\0[\x01\x02]\0[^\0]\0", _EXPORT),
    "raw photograph": (rb"(?s)....ftypcrx |FUJIFILMCCD|IIRO|IIU\0", _EXPORT),
    "drawing (SVG)": (rb"(?s)\s*(?:<\?xml.*)?<svg|\s*<\?xml.*\bsvg\b", _EXPORT),
    "PDF document": (rb"%PDF", "export its pages as PNG"),
    "HTML page": (rb"(?i)\s*<(?:!doctype html|html|head|body|script)", "download the image itself"),
    "video": (rb"(?s)....ftyp|RIFF....AVI |\x1aE\xdf\xa3|FLV|\0\0\x01[\xba\xb3]|....moov", _FRAMES),
    "sound": (rb"(?s)ID3|OggS|fLaC|RIFF....WAVE", "give an image"),
    "zip archive": (rb"PK\x03\x04", "extract it, and give the folder"),
    "compressed file": (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "extract it"),
    "function (.hfn)": (rb'(?s).{8}\{"__metadata__"', "give one alone, with the suffix .hfn"),
    "text file": (rb"[\t\r\n\x20-\x7e]{1,512}\Z", "give an image"),
}
"""Patterns of the first bytes, and what to do, in the order in which they are tried."""

START = 512
"""Bytes that the patterns look at."""


class OtherKindError(ValueError):
    """A file is of another kind than the images that can be read; the message lacks its name."""


def name_kind(start: bytes) -> str | None:
    """Name the kind of a file by its first `START` bytes; None if it is unknown."""
    for name, (pattern, _) in KINDS.items():
        if re.match(pattern, start):
            return name
    return None


def refuse_kind(start: bytes) -> None:
    """Refuse a file by its first `START` bytes: `OtherKindError` if their kind is known."""
    if not start:
        raise OtherKindError("cannot be read as an image (it is empty); copy or download it again")
    name = name_kind(start)
    if name is None:
        raise ValueError("it has no known format")
    article = "an" if name[0] in "aeioHO" else "a"
    remedy = KINDS[name][1]
    raise OtherKindError(f"cannot be read as an image (it is {article} {name}); {remedy}")
