"""Enlarge an image of any size by ONNX graphs, in tiles: needs onnxruntime, NumPy and Pillow.

hyperfunc export --onnx graphs --scales 2 3
python examples/onnx_tiles.py graphs photo.jpg large.png 2

A tile reads a halo around its own pixels, so that the result is that of the whole image at once.
Where the image ends, the tile ends, too: there the graphs continue the image themselves. The result
is that of `hyperfunc upscale` within one of 255 levels.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

SIDE = 256
"""Of a tile, without its halo. About 1 kB of memory for each of its pixels."""


class Upscaler:
    """The graphs of a folder, at one scale."""

    def __init__(self, folder, scale):
        """Open the graphs; SystemExit: the folder has none for this scale."""
        decoder = Path(folder, f"decoder_x{scale}.onnx")
        if not decoder.is_file():
            found = sorted(path.stem[9:] for path in decoder.parent.glob("decoder_x*.onnx"))
            sys.exit(f"{decoder}: not found; {folder} has the scales {', '.join(found) or 'none'}")
        self.encoder = onnxruntime.InferenceSession(str(Path(folder, "encoder.onnx")))
        self.decoder = onnxruntime.InferenceSession(str(decoder))
        self.limiter = onnxruntime.InferenceSession(str(Path(folder, "limiter.onnx")))
        self.scale = scale
        self.halo = int(self.encoder.get_modelmeta().custom_metadata_map["halo"])

    def __call__(self, pixels):
        """Enlarge an image [h, w, 3], uint8."""
        height, width = pixels.shape[:2]
        result = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
        for top in range(0, height, SIDE):
            for left in range(0, width, SIDE):
                self._fill(result, pixels, top, left)
        if (pixels == pixels[..., :1]).all():  # The model would tint grey images.
            result[:] = result.mean(axis=-1, keepdims=True) + 0.5
        return result

    def _fill(self, result, pixels, top, left):
        """Compute the tile whose own pixels begin at (top, left)."""
        scale, halo = self.scale, self.halo
        above, before = max(top - halo, 0), max(left - halo, 0)
        tile = pixels[above : top + SIDE + halo, before : left + SIDE + halo]
        image = (tile / 255).astype(np.float32)[None]
        features, *corrected = self.encoder.run(None, {"image": image})
        base = corrected[0] if corrected else image  # Models that restore correct the image.
        (large,) = self.decoder.run(None, {"features": features, "base": base})
        # Beside edges the function ripples; in flat areas, where that would show, it may not.
        (large,) = self.limiter.run(None, {"image": image, "pixels": large})
        large = (np.clip(large[0], 0, 1) * 255 + 0.5).astype(np.uint8)
        own = result[top * scale : (top + SIDE) * scale, left * scale : (left + SIDE) * scale]
        rows, cols = (top - above) * scale, (left - before) * scale
        own[:] = large[rows : rows + own.shape[0], cols : cols + own.shape[1]]


if __name__ == "__main__":
    folder, source, target, scale = sys.argv[1:]
    pixels = np.asarray(Image.open(source).convert("RGB"))
    Image.fromarray(Upscaler(folder, int(scale))(pixels)).save(target)
