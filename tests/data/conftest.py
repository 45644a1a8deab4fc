"""A folder of images."""

import pytest

from hyperfunc.images import write_image
from tests.drawing import draw


@pytest.fixture
def folder(tmp_path):
    """Three good images in nested folders, beside files that are no images."""
    root = tmp_path / "images"
    for i, path in enumerate(("b.png", "a/c.bmp", "a/d/e.PNG")):
        write_image(root / path, draw(seed=i))
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_text("no image")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX/b.png").write_text("no image")
    return root
