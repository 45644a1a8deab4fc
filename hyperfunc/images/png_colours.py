"""The colour space that a PNG states without an ICC profile: cICP, or gAMA and cHRM.

References: PNG, third edition (W3C 2025), Sections 11.3.2.1, 11.3.2.2 and 11.3.2.6; the codes:
ITU-T H.273, Tables 2 and 3; PQ and HLG: ITU-R BT.2100-2, Tables 4 and 5; their white: BT.2408-7.
"""

from collections.abc import Callable, Mapping

import numpy as np

from hyperfunc.values import decode_srgb, encode_srgb

Curve = Callable[[np.ndarray], np.ndarray]
Chromaticities = tuple[float, ...]
"""x, y of white, red, green and blue."""

_D65 = (0.3127, 0.329)
PRIMARIES: dict[int, Chromaticities] = {
    1: (*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # BT.709 and sRGB.
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020.
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3.
}
"""By the code of cICP."""

SDR_WHITE = 203.0
"""Luminance of the white of ordinary pictures within a PQ or HLG picture, cd/m2."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def _decode_bt709(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0.081, values / 4.5, ((values + 0.099) / 1.099) ** (1 / 0.45))


def _decode_pq(values: np.ndarray) -> np.ndarray:
    root = values ** (32 / 2523)
    ratio = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return 10000 / SDR_WHITE * ratio ** (16384 / 2610)


def _decode_hlg(values: np.ndarray) -> np.ndarray:
    """To light of a display of 1,000 cd/m2; its curve is applied to each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    return 1000 / SDR_WHITE * scene**1.2


CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _decode_bt709),
    4: lambda values: values**2.2,
    5: lambda values: values**2.8,
    8: lambda values: values,
    13: decode_srgb,
    16: _decode_pq,
    18: _decode_hlg,
}
"""From values to linear light, by the code of cICP."""


def find_conversion(chunks: Mapping[bytes, bytes]) -> tuple[Curve, str]:
    """Make a function from values [..., c] of a picture to sRGB, and describe the conversion."""
    note = f"converted to sRGB by its {' and '.join(x.decode() for x in chunks)}"
    low, span = 0.0, 1.0
    if b"cICP" in chunks:
        primaries, transfer, matrix, is_full = chunks[b"cICP"]
        if matrix or primaries not in PRIMARIES or transfer not in CURVES:
            raise ValueError(f"cICP {primaries}, {transfer}, {matrix} is unknown")
        curve, chromaticities = CURVES[transfer], PRIMARIES[primaries]
        if transfer in (16, 18):
            note += f": brighter light than white ({SDR_WHITE:g} cd/m2) is cut"
        if not is_full:
            low, span = 16 / 255, 219 / 255
    else:
        curve, chromaticities = decode_srgb, PRIMARIES[1]
        if b"gAMA" in chunks:
            exponent = int.from_bytes(chunks[b"gAMA"], "big") / 100_000
            if not 0.01 <= exponent <= 100:
                raise ValueError(f"gAMA {exponent} is impossible")
            curve = lambda values: values ** (1 / exponent)  # noqa: E731
        if b"cHRM" in chunks:
            numbers = np.frombuffer(chunks[b"cHRM"], ">u4") / 100_000
            chromaticities = tuple(numbers.tolist())
    mixing = _mix(chromaticities)

    def convert(values: np.ndarray) -> np.ndarray:
        linear = curve(np.clip((values.astype(np.float64) - low) / span, 0, 1))
        return encode_srgb(linear @ mixing.T if values.shape[-1] == 3 else linear)

    return convert, note


def _mix(chromaticities: Chromaticities) -> np.ndarray:
    """The matrix from linear RGB of these primaries to linear sRGB."""
    try:
        return np.linalg.inv(_to_xyz(PRIMARIES[1])) @ _to_xyz(chromaticities)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        raise ValueError("cHRM is impossible") from None


def _to_xyz(chromaticities: Chromaticities) -> np.ndarray:
    """The matrix from linear RGB to XYZ, adapted to the white of sRGB (Bradford)."""
    xy = np.reshape(chromaticities, (4, 2))
    if not (xy[:, 1] > 0).all():
        raise ZeroDivisionError
    xyz = np.stack([xy[:, 0], xy[:, 1], 1 - xy.sum(axis=1)]) / xy[:, 1]
    white, primaries = xyz[:, 0], xyz[:, 1:]
    target = np.array([_D65[0], _D65[1], 1 - sum(_D65)]) / _D65[1]
    gains = (BRADFORD @ target) / (BRADFORD @ white)
    adaptation = np.linalg.inv(BRADFORD) @ (gains[:, None] * BRADFORD)
    return adaptation @ (primaries * np.linalg.solve(primaries, white))
