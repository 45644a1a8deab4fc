"""The paper's numbers beside ours: as a table in Markdown, and with the figures as a page."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hyperfunc.files import replacing

PAPER = {
    "set5": {"2": (36.09, 0.9505), "3": (32.85, 0.910), "4": (30.69, 0.869)},
    "set14": {"2": (32.30, 0.900), "3": (29.37, 0.816), "4": (27.61, 0.751)},
    "b100": {"2": (31.11, 0.879), "3": (28.31, 0.778), "4": (26.86, 0.706)},
    "urban100": {"2": (29.43, 0.891), "3": (26.26, 0.798), "4": (24.56, 0.723)},
}
"""The column "Hypernetwork" of Klocek et al. 2019, Tables 1 and 2: PSNR (dB), SSIM."""

TITLES = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100": "Urban100"}
"""The literature's names of the test sets."""

NOT_MEASURED = "not measured"

FACES = {
    "figure1_weights_and_pixels": "Figure 1: between two faces, in weights (above) and in pixels",
    "figure6a_weights": "Figure 6a: interpolated weights",
    "figure6b_pixels": "Figure 6b: cross-fades of the same reconstructions",
    "figure7_layerwise": "Figure 7: weights of the first layer, of the first two, ... interpolated",
    "reconstruction": "Originals (above) and reconstructions",
}
"""Figures of faces and their captions."""

ENLARGED = {
    "figure2": "Figure 2: Set5 enlarged by 3",
    "figure3": "Figure 3: Set5 enlarged by 2.5, which no network was trained for",
}
"""Figures of enlarged images and their captions."""

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Hypernetwork functional image representation, reproduced</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-size: 14px }
td, th { border-bottom: 1px solid #ccc; padding: 0.3em 0.7em; text-align: left }
img { max-width: 100% }
</style>
<h1>Hypernetwork functional image representation, reproduced</h1>
"""


def write_table(record: dict[str, Any], systems: Sequence[str], path: Path) -> None:
    """Write Tables 1 and 2 as Markdown; the columns are the systems that have cells."""
    rows = [list(row) for row in _list_rows(record, systems)]
    rows.insert(1, ["---"] * len(rows[0]))
    counts = [list(row) for row in _list_counts(record, systems)]
    counts.insert(1, ["---"] * len(counts[0]))
    lines = [
        "# The paper's tables with our own systems",
        "",
        "    hyperfunc reproduce --data_dir=DATA --out=reproduction",
        "",
        f"PSNR-Y in dB / SSIM-Y. Protocol: {record['protocol']}.",
        "How each system was trained: [reproduction](../reproduction.md).",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(f"| {' | '.join(row)} |" for row in counts),
    ]
    with replacing(path) as beside:
        beside.write_text("\n".join(lines) + "\n", "utf-8")


def write_page(record: dict[str, Any], systems: Sequence[str], folder: Path) -> None:
    """Write ``index.html``: the tables, and the figures that the folder holds."""
    parts = [
        HEAD,
        "<h2>Super-resolution (Section 4.2, Tables 1 and 2)</h2>",
        "<p>PSNR-Y in dB / SSIM-Y. The second column is the paper's.</p>",
        _to_html(_list_rows(record, systems)),
        f"<p>{html.escape(record['protocol'])}.</p>",
        _to_html(_list_counts(record, systems)),
    ]
    for name, caption in ENLARGED.items():
        files = sorted(folder.glob(f"{name}/*_comparison.png"))
        parts += _show(caption, [file.relative_to(folder).as_posix() for file in files])
    if record["faces"]:
        parts += _describe_faces(record["faces"])
        for name, caption in FACES.items():
            parts += _show(caption, [f"faces/{name}.png"])
    with replacing(folder / "index.html") as beside:
        beside.write_text("\n".join(parts) + "\n</html>\n", "utf-8")


def _describe_faces(faces: dict[str, Any]) -> list[str]:
    rebuilt = faces["reconstruction"]
    rows = [
        ("", "the paper", faces["name"]),
        ("faces", "-", str(rebuilt["images"])),
        ("PSNR (dB) / SSIM of the reconstruction", "-", _format(rebuilt["psnr"], rebuilt["ssim"])),
    ]
    names = {
        "reconstruction": "the reconstruction",
        "weights_t50": "weights halfway",
        "pixels_t50": "cross-fades halfway",
    }
    for name, title in names.items():
        title = f"Fréchet distance of {title} to real faces"
        rows.append((title, "-", f"{faces['frechet'][name]:.3f}"))
    return [
        "<h2>Faces (Section 4.1)</h2>",
        "<p>The paper shows figures and gives no numbers.</p>",
        _to_html(rows),
    ]


def _list_rows(record: dict[str, Any], systems: Sequence[str]) -> Iterator[Sequence[str]]:
    """List the rows of Tables 1 and 2: one for each dataset and scale, and a column a system."""
    cells = {(c["dataset"], c["scale"], c["system"]): c for c in record["cells"]}
    measured = _list_measured(record, systems)
    yield ["", "scale", "the paper's hypernetwork", *measured]
    for dataset, scales in PAPER.items():
        for scale, (psnr, ssim) in scales.items():
            found = [cells.get((dataset, scale, system)) for system in measured]
            ours = [_format(c["psnr_y"], c["ssim_y"]) if c else NOT_MEASURED for c in found]
            yield [TITLES[dataset], f"x{scale}", _format(psnr, ssim), *ours]


def _list_counts(record: dict[str, Any], systems: Sequence[str]) -> Iterator[Sequence[str]]:
    """List parameters and training steps of each system, over its scales."""
    yield ["system", "parameters", "training steps"]
    for system in _list_measured(record, systems):
        cells = [c for c in record["cells"] if c["system"] == system and c["step"]]
        if cells:
            counts = [sorted({c[name] for c in cells}) for name in ("parameters", "step")]
            yield [system, *(", ".join(f"{x:,}" for x in numbers) for numbers in counts)]


def _list_measured(record: dict[str, Any], systems: Sequence[str]) -> list[str]:
    measured = {cell["system"] for cell in record["cells"]}
    return [system for system in systems if system in measured]


def _format(psnr: float, ssim: float) -> str:
    return f"{psnr:.2f} / {ssim:.4f}"


def _to_html(rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    cells = [[html.escape(cell) for cell in row] for row in rows]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = ["".join(f"<td>{cell}</td>" for cell in row) for row in cells[1:]]
    return "\n".join(["<table>", *(f"<tr>{row}</tr>" for row in [head, *body]), "</table>"])


def _show(caption: str, files: Sequence[str]) -> list[str]:
    pictures = "\n".join(f'<img src="{html.escape(file)}" alt="">' for file in files)
    return [f"<h3>{html.escape(caption)}</h3>", pictures or "<p>Not made yet.</p>"]
