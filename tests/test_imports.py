"""What the commands that people start most often import: imports take longer than small images."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import hyperfunc
from hyperfunc import cache
from hyperfunc.errors import EXTRAS

CODE = """
import sys
from hyperfunc.commands import main
main(sys.argv[1:])
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""

REPRESENT = """
import sys, hyperfunc
hyperfunc.represent(sys.argv[1]).render(scale=2)
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""

HEAVY = {"flax", "jax", "scipy", "tensorstore", *(x for names in EXTRAS.values() for x in names)}


@pytest.fixture
def imports_of(start_python, tmp_path, draw):
    """Runs code in a new process and returns which of `HEAVY` it imported."""
    Image.fromarray(draw(0, (20, 24))).save(tmp_path / "photo.png")
    environment = {
        cache.SWITCH: str(tmp_path / "cache"),
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_COMPILATION_CACHE_DIR": "",
    }

    def run(code, *words):
        process = start_python(code, *map(str, words), **environment)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return HEAVY.intersection(out.splitlines()[-1].split())

    return run


def test_info_computes_nothing(imports_of, tmp_path):
    assert imports_of(CODE, "info", tmp_path / "photo.png") == set()
    assert imports_of(CODE, "info", "sr") == set()
    assert imports_of(CODE, "cache") == set()


@pytest.mark.slow
def test_upscale_needs_flax_only_to_compile(imports_of, tmp_path):
    words = ("upscale", tmp_path / "photo.png", tmp_path / "large.png", "--scale=2", "--overwrite")
    assert imports_of(CODE, *words) == {"flax", "jax"}
    assert imports_of(CODE, *words) == {"jax"}


def test_represent_imports_nothing_of_training(imports_of, tmp_path):
    assert imports_of(REPRESENT, tmp_path / "photo.png") == {"flax", "jax"}


def test_public_names_exist():
    for name in hyperfunc.__all__:
        assert getattr(hyperfunc, name) is not None
        assert not hasattr(getattr(hyperfunc, name), "__path__")
    assert callable(hyperfunc.represent) and callable(hyperfunc.interpolate)
    assert set(hyperfunc.__all__) <= set(dir(hyperfunc))
    with pytest.raises(AttributeError, match="reprezent"):
        hyperfunc.reprezent  # noqa: B018


def test_the_package_itself_imports_nothing():
    code = "import sys, hyperfunc; assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
