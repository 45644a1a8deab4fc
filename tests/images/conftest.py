"""Pictures of every depth, ICC profiles and PNG files, drawn and built byte by byte."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ImageCms

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" dc:title="ducks"/></x:xmpmeta>'
)


@pytest.fixture(scope="session")
def draw_pixels() -> Callable[..., np.ndarray]:
    """Draws noise on a ramp, `[h, w, channels]`, in which each filter of PNG has its use."""

    def draw(size: tuple[int, int], channels: int, dtype: type) -> np.ndarray:
        rng = np.random.default_rng(channels)
        ramp = np.linspace(0, 0.9, size[0] * size[1] * channels).reshape(*size, channels)
        noise = rng.uniform(0, 0.1, size=(*size, channels))
        values = ramp + noise * (np.arange(size[1]) % 2)[:, None]
        if dtype is np.float32:
            return values.astype(np.float32)
        return np.round(values * np.iinfo(dtype).max).astype(dtype)

    return draw


@pytest.fixture(scope="session")
def srgb_profile() -> bytes:
    """The ICC profile of sRGB that Pillow makes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="session")
def xmp() -> bytes:
    """An XMP packet with a title and an orientation."""
    return XMP


@pytest.fixture(scope="session")
def make_profile() -> Callable[..., bytes]:
    """Makes the smallest ICC profile (version 2): a gamma, and the primaries of sRGB or grey."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    def make(gamma: float, *, is_grey: bool) -> bytes:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
        tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249)}
        if is_grey:
            tags[b"kTRC"] = curve
        else:
            tags[b"rXYZ"] = xyz(0.4361, 0.2225, 0.0139)
            tags[b"gXYZ"] = xyz(0.3851, 0.7169, 0.0971)
            tags[b"bXYZ"] = xyz(0.1431, 0.0606, 0.7141)
            tags |= dict.fromkeys([b"rTRC", b"gTRC", b"bTRC"], curve)
        table, data, start = b"", b"", 132 + 12 * len(tags)
        for name, body in tags.items():
            table += name + struct.pack(">II", start + len(data), len(body))
            data += body
        size, space = start + len(data), b"GRAY" if is_grey else b"RGB "
        head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
        head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
        return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data

    return make


@pytest.fixture(scope="session")
def make_chunk() -> Callable[[bytes, bytes], bytes]:
    """Makes a chunk of a PNG: length, name, data, checksum."""

    def make(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    return make


@pytest.fixture(scope="session")
def make_png(make_chunk) -> Callable[..., bytes]:
    """Makes a PNG from rows of packed samples, with chunks before and after the pixels."""

    def make(
        header: tuple[int, int, int, int],
        rows: list[bytes],
        before: list[tuple[bytes, bytes]] = (),  # type: ignore[assignment]
        after: list[tuple[bytes, bytes]] = (),  # type: ignore[assignment]
    ) -> bytes:
        """``header``: width, height, bits, and the colour type."""
        packed = zlib.compress(b"".join(b"\0" + row for row in rows))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *before, (b"IDAT", packed)]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            make_chunk(*chunk) for chunk in [*chunks, *after, (b"IEND", b"")]
        )

    return make
