"""Write the studio to a folder, which any web server can serve."""

import hashlib
import html
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from hyperfunc.errors import UserError
from hyperfunc.experiment import BUNDLED, Model
from hyperfunc.export.onnx import export_onnx, find_halo
from hyperfunc.export.page import check_page
from hyperfunc.export.page.encode import encode_head
from hyperfunc.export.page.page import PARTS
from hyperfunc.export.page.template import fill_in
from hyperfunc.files import replacing
from hyperfunc.function import encode
from hyperfunc.pixels import OVERSHOOT

WEB = Path(__file__).parent / "web"
FOLDERS = ("studio/web/parts", PARTS)
"""Of the parts of the page, below `hyperfunc.export`."""

RUNTIME = {
    "WebAssembly": (
        "ort.wasm.min.mjs",
        "ort-wasm-simd-threaded.mjs",
        "ort-wasm-simd-threaded.wasm",
    ),
    "WebGPU": (
        "ort.jspi.min.mjs",
        "ort-wasm-simd-threaded.jspi.mjs",
        "ort-wasm-simd-threaded.jspi.wasm",
    ),
}
"""Files of onnxruntime-web for each backend; a browser loads those of one."""

TILE = 128
"""Cells on a side of a tile."""

MARGIN = 3
"""How far interpolation reads a corrected base, in pixels, where fields are shown: pixels of the
screen are at most 1.37 times as large as those of the picture."""

LICENCE = "LICENSE-WEIGHTS.md"

MODEL_FILES = ("encoder.onnx", "kernel.bin")

USES = {
    "sr": "for clean pictures",
    "sr_jpeg": "for JPEGs",
    "restore": "for noise and blur",
}
"""What bundled models are for, as the menu says it."""

COPIED = ("worker.js", "arrays.js", "manifest.webmanifest", "icon.svg")


class Sample(NamedTuple):
    """A picture to try."""

    path: str
    name: str


SAMPLES = (
    Sample("samples/chelsea.webp", "Cat"),
    Sample("samples/coffee.webp", "Coffee"),
    Sample("samples/astronaut.webp", "Astronaut"),
)


def export_studio(models: Sequence[Model], folder: Path) -> int:
    """Write the studio; files of an earlier one are replaced.

    It needs the extra "onnx", which the caller checks, and npm, which downloads ONNX Runtime as
    ``web/package-lock.json`` pins it.

    Args:
        models: of the menu, the first of which is used at first; each with a Fourier series per
            pixel and the trunk `EDSR` or `HalfEDSR`.
        folder: is created if it does not exist.

    Returns:
        The size of the folder, in bytes.

    Raises:
        UserError: a model cannot be exported, two have the same name, npm is missing or fails, or
            the folder cannot be written to.
    """
    names = [model.path.name for model in models]
    if not models or len(set(names)) < len(names):
        raise UserError(f"checkpoints {names}: give at least one, and none of the same name twice")
    config = {
        "tile": TILE,
        "overshoot": _name_overshoot(),
        "models": [_write_model(model, folder) for model in models],
    }
    _copy_runtime(folder / "runtime")
    for name in COPIED:
        _write(folder / name, (WEB / name).read_bytes())
    for sample in SAMPLES:
        _write(folder / sample.path, (WEB / sample.path).read_bytes())
    values = {
        "config": json.dumps(config),
        "title": "hyperfunc studio",
        "message": "Starting …",
        "tools": fill_in("%%tools.html%%", {}, *FOLDERS) + "\n",
        "menu": fill_in("%%menu.html%%", {"models": "".join(map(_show_choice, names))}, *FOLDERS)
        + "\n",
        "inputs": fill_in("%%inputs.html%%", {}, *FOLDERS) + "\n",
        "samples": "".join(map(_show_sample, SAMPLES)),
        "licences": "; ".join(_link_licences(models)),
    }
    for name in ("index.html", "studio.css", "studio.js"):
        _write(folder / name, (fill_in(f"%%{name}%%", values, *FOLDERS) + "\n").encode())
    _write_service_worker(folder, names)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _name_overshoot() -> dict[str, Any]:
    """The bound on the overshoot as the shader names it, for 8 bits."""
    bound = OVERSHOOT._replace(rounding=OVERSHOOT.rounding / 255)._asdict()
    return {name.upper(): value for name, value in bound.items()}


def _write_model(model: Model, folder: Path) -> dict[str, Any]:
    """Write the encoder and the kernel of a model, and return its part of the configuration."""
    folder = folder / "model" / model.path.name
    with tempfile.TemporaryDirectory() as temporary:
        export_onnx(model, Path(temporary) / "graphs", scales=[1])
        for path in sorted((Path(temporary) / "graphs").iterdir()):
            if path.name in ("encoder.onnx", "config.json", LICENCE):
                _write(folder / path.name, path.read_bytes())
    network: Any = model.hypernetwork
    check_page(network.target, network.layout, (1, 1))
    function, _ = encode(network, model.variables, jnp.zeros((1, 1, 1, 3)))
    kernel, config = encode_head(function)
    _write(folder / "kernel.bin", kernel)
    halo = find_halo(network.reads, interpolated=MARGIN)
    margin = MARGIN if network.base == "corrected" else 0
    return {**config, "name": model.path.name, "halo": halo, "margin": margin}


def _copy_runtime(folder: Path) -> None:
    """Download ONNX Runtime as the lock file pins it, and copy what the studio loads."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "npm: not found, and it downloads ONNX Runtime: install Node.js 20 or newer"
        )
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(WEB / name, temporary)
        words = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
        process = subprocess.run([npm, *words], cwd=temporary, capture_output=True, text=True)
        if process.returncode:
            reason = next(iter(process.stderr.strip().splitlines()), f"code {process.returncode}")
            raise UserError(f"npm cannot download ONNX Runtime ({reason}): check the network")
        package = Path(temporary) / "node_modules" / "onnxruntime-web"
        for name in (file for files in RUNTIME.values() for file in files):
            _write(folder / name, (package / "dist" / name).read_bytes())


def _show_sample(sample: Sample) -> str:
    return (
        f'<li><button type="button" data-path="{sample.path}" data-name="{sample.name}">'
        f'<img src="{sample.path}" alt="{sample.name}" width="104" height="78"></button></li>'
    )


def _show_choice(name: str) -> str:
    name = html.escape(name)
    return f"<option>{name}{' · ' + USES[name] if name in USES else ''}</option>"


def _link_licences(models: Sequence[Model]) -> list[str]:
    bundled = [model.path.name for model in models if model.path.parent == BUNDLED]
    terms = [
        f'<a href="model/{name}/{LICENCE}">non-commercial research</a>' for name in bundled[:1]
    ]
    others = [model.path.name for model in models if model.path.name not in bundled]
    return [*terms, *(f"{html.escape(name)} (ask who trained it)" for name in others)]


def _write_service_worker(folder: Path, models: Sequence[str]) -> None:
    """Write the worker that keeps files for use without a network.

    It keeps at once what the first model needs, without WebGPU.
    """
    names = [*COPIED, "index.html", "studio.css", "studio.js"]
    names += [sample.path for sample in SAMPLES]
    names += [f"runtime/{name}" for name in RUNTIME["WebAssembly"]]
    kept = [*names, *(f"model/{models[0]}/{name}" for name in MODEL_FILES)]
    names += [f"model/{model}/{name}" for model in models for name in MODEL_FILES]
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in names))
    name = f"hyperfunc-{digest.hexdigest()[:12]}"
    head = f"const NAME = {json.dumps(name)}, FILES = {json.dumps(['./', *kept])};\n"
    _write(folder / "sw.js", head.encode() + (WEB / "sw.js").read_bytes())


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
