"""Small files of every format, to be damaged."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from hyperfunc.data import SuperResolution
from hyperfunc.experiment import Experiment
from hyperfunc.networks import EDSR, FourierField, PixelHypernetwork
from tests.drawing import draw, encode

EXPERIMENT = Experiment(
    model=PixelHypernetwork(EDSR(width=8, blocks=1), FourierField(frequencies=4)),
    task=SuperResolution(scales=(2, 3), crop=8),
)
"""Of the models."""


def make_samples(folder: Path) -> dict[str, Path]:
    """Write a small file of each format; the value is the file, or the folder of a model."""
    from PIL import Image, ImageCms

    folder.mkdir(parents=True, exist_ok=True)
    rgb, grey = draw(12, 16), draw(12, 16)[..., 0]
    alpha = np.concatenate([rgb, grey[..., None]], axis=-1)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x9286] = "Maker", 6, b"ASCII\0\0\0note"
    about: dict[str, Any] = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    frames = [Image.fromarray(draw(12, 16, seed)) for seed in (1, 2)]
    files = {
        "png": encode(rgb, "png", **about),
        "png 16 bits": encode(grey.astype(np.uint16) * 257, "png"),
        "png palette": _save(Image.fromarray(rgb).quantize(16), "png", transparency=3),
        "png animated": _save(frames[0], "png", save_all=True, append_images=frames[1:]),
        "jpg": encode(rgb, "jpeg", **about),
        "jpg progressive": encode(rgb, "jpeg", progressive=True, subsampling=0),
        "jpg cmyk": _save(Image.fromarray(rgb).convert("CMYK"), "jpeg"),
        "webp": encode(rgb, "webp", exif=exif, icc_profile=profile),
        "webp lossless": encode(alpha, "webp", lossless=True),
        "webp animated": _save(frames[0], "webp", save_all=True, append_images=frames[1:]),
        "avif": encode(rgb, "avif", exif=exif, icc_profile=profile),
        "tif": encode(rgb, "tiff", compression="tiff_deflate", **about),
        "tif jpeg": encode(rgb, "tiff", compression="jpeg"),
        "tif lzw": encode(alpha, "tiff", compression="tiff_lzw"),
        "tif pages": _save(frames[0], "tiff", save_all=True, append_images=frames[1:]),
        "tif floats": _save_floats(np.float32, tile=(16, 16)),
        "tif doubles": _save_floats(np.float64),
        "gif": _save(frames[0].quantize(16), "gif", save_all=True, append_images=frames[1:]),
        "bmp": encode(rgb, "bmp"),
        "jp2": encode(rgb, "jpeg2000"),
        "ppm": encode(rgb, "ppm"),
        "ppm 16 bits": b"P6 16 12 1023\n" + rgb.astype(">u2").tobytes(),
        "pfm": b"Pf\n16 12\n-1.0\n" + grey.astype("<f4").tobytes(),
        "qoi": _save(Image.fromarray(rgb), "qoi"),
        "tga": encode(alpha, "tga", compression="tga_rle"),
        **_make_plugin_samples(Image.fromarray(rgb)),
    }
    for name, data in files.items():
        kind, _, rest = name.partition(" ")
        (folder / f"sample_{rest or kind}.{kind}").write_bytes(data)
    samples = {name: folder / "sample_{1}.{0}".format(*_split(name)) for name in files}
    return samples | _make_models(folder, rgb)


def _split(name: str) -> tuple[str, str]:
    kind, _, rest = name.partition(" ")
    return kind, rest or kind


def _save(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def _save_floats(dtype: type, **options: Any) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, draw(12, 16).astype(dtype) / 255, photometric="rgb", **options)
    return file.getvalue()


def _make_plugin_samples(image: Any) -> dict[str, bytes]:
    """HEIC and JPEG XL, if their plugins are installed."""
    samples = {}
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        samples["heic"] = _save(image, "heif")
    except ImportError:
        pass
    try:
        import pillow_jxl  # noqa: F401

        samples["jxl"] = _save(image, "jxl")
    except ImportError:
        pass
    return samples


def _make_models(folder: Path, rgb: np.ndarray) -> dict[str, Path]:
    """Functions, an exported model, and a checkpoint, all of one small network."""
    from hyperfunc.api import represent
    from hyperfunc.experiment import Workdir, load_model, write_model
    from hyperfunc.training import make_init
    from hyperfunc.training.starting import save_state

    checkpoint, exported = folder / "checkpoint", folder / "exported"
    with Workdir(checkpoint) as workdir:
        for step in (1, 2):
            save_state(workdir, EXPERIMENT, step, make_init(EXPERIMENT)(), None, "")
    write_model(load_model(checkpoint), exported)
    function = represent(rgb, checkpoint=load_model(exported))
    samples = {"exported": exported, "checkpoint": checkpoint}
    for quantize in ("int8", "float16", None):
        path = samples[f"hfn {quantize}"] = folder / f"sample_{quantize}.hfn"
        function.save(path, quantize=quantize)
    return samples
