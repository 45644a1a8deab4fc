"""hyperfunc: hypernetworks that turn an image into a continuous function.

    import hyperfunc

    f = hyperfunc.represent("photo.jpg")
    f.render(scale=3.7)

Names are imported when they are first used, so that ``import hyperfunc`` starts no backend.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperfunc.checkpoint import Model, load_model
    from hyperfunc.config import Experiment
    from hyperfunc.continuous import ContinuousImage, load
    from hyperfunc.coords import pixel_centres
    from hyperfunc.encoding import represent
    from hyperfunc.errors import UserError
    from hyperfunc.functional_image import FunctionalImage, encode, render, sample
    from hyperfunc.images import read_image, to_uint8, write_image
    from hyperfunc.morph import interpolate
    from hyperfunc.tiling import Upscaler
    from hyperfunc.warp import from_pixel_matrix

__version__ = "0.1.0"

__all__ = [
    "ContinuousImage",
    "Experiment",
    "FunctionalImage",
    "Model",
    "Upscaler",
    "UserError",
    "encode",
    "from_pixel_matrix",
    "interpolate",
    "load",
    "load_model",
    "pixel_centres",
    "read_image",
    "render",
    "represent",
    "sample",
    "to_uint8",
    "write_image",
]

_MODULES = {
    "checkpoint": ("Model", "load_model"),
    "config": ("Experiment",),
    "continuous": ("ContinuousImage", "load"),
    "coords": ("pixel_centres",),
    "errors": ("UserError",),
    "functional_image": ("FunctionalImage", "encode", "render", "sample"),
    "images": ("read_image", "to_uint8", "write_image"),
    "morph": ("interpolate",),
    "encoding": ("represent",),
    "tiling": ("Upscaler",),
    "warp": ("from_pixel_matrix",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hyperfunc' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hyperfunc.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
