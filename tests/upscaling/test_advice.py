"""The command says which model would serve an image better."""

import numpy as np
from PIL import Image

from hyperfunc.upscaling import Request, advise
from tests.batches import plan_batch


def test_the_model_for_jpegs_is_recommended(tmp_path):
    def find_advice(source):
        return advise(plan_batch(source, f"{tmp_path}/out/", Request(scale=(1.0, 1.0))))

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    (tmp_path / "in").mkdir()
    for name, options in {"a.png": {}, "good.jpg": {"quality": 98}, "poor.jpg": {}}.items():
        picture.save(tmp_path / "in" / name, **options)  # Pillow's default quality is 75.
    assert find_advice(tmp_path / "in/a.png") is None
    assert find_advice(tmp_path / "in/good.jpg") is None
    assert str(find_advice(tmp_path / "in/poor.jpg")).startswith(
        "a JPEG of quality 75: --checkpoint="
    )
    assert str(find_advice(tmp_path / "in")).startswith(
        "1 of these are JPEGs of quality 95 or less: "
    )
