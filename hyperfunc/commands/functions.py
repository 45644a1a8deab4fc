"""Functions for the commands: made of an image, read from a file (.hfn), rendered as an image."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from hyperfunc.experiment import Model
    from hyperfunc.function import FunctionalImage
    from hyperfunc.types import HostPixels, Size
    from hyperfunc.upscaling import Request


class Opened(NamedTuple):
    """The functions of a source."""

    whole: "FunctionalImage | None"
    page: "FunctionalImage | None"
    """Of a reduced picture where the picture is too large for a page."""
    about: dict[str, str]
    """Where they come from: {"image": ..., "model": ..., "step": ...}."""


def open_functions(
    source: Path, checkpoint: "str | Model", *, for_file: bool, for_page: bool
) -> Opened:
    """Represent an image as a function, or read a function from a file (.hfn).

    ``for_file`` tells whether the function of the whole image is needed, ``for_page`` whether a
    page will show it: a model that no page can show is refused at once.
    """
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores()
    if source.suffix.lower() == ".hfn":
        from hyperfunc.export import load_function, load_header

        function = load_function(source)
        return Opened(function, function, load_header(source).get("about", {}))
    from hyperfunc.api import represent
    from hyperfunc.experiment import load_model
    from hyperfunc.export import check_page, fit_page
    from hyperfunc.images import read_as_shown

    model = load_model(checkpoint) if isinstance(checkpoint, str) else checkpoint
    network = model.hypernetwork
    if for_page:
        check_page(network.target, network.layout, (1, 1))
    photo = read_as_shown(source)
    for note in photo.notes:
        print(f"{source}: {note}")
    about = {"image": source.name, "model": model.path.name, "step": str(model.step)}
    logger.info("computing the function of %s", source)
    height, width = size = (photo.pixels.shape[0], photo.pixels.shape[1])
    fitting = fit_page(network.target, size) if for_page else size
    whole = page = None
    if for_file or fitting == size:
        whole = page = represent(photo.pixels, checkpoint=model).function
    if fitting != size:
        print(
            f"{source}: reduced from {width} x {height} to {fitting[1]} x {fitting[0]} pixels for "
            "the page"
        )
        page = represent(_reduce(photo.pixels, fitting), checkpoint=model).function
    return Opened(whole, page, about)


def _reduce(pixels: "HostPixels", size: "Size") -> "HostPixels":
    from hyperfunc.pixels import imresize
    from hyperfunc.values import to_unit_range

    if pixels.dtype == "uint8":
        return imresize(pixels, size)
    return imresize(to_unit_range(pixels), size).clip(0, 1)


def render_function(
    source: Path, target: str, request: "Request", *, suffix: str | None, overwrite: bool
) -> str:
    """Render a function file as an image of 8 bits, and say what was done.

    The suffix is that of an output in a folder, ".png" if not given.
    """
    import numpy as np

    from hyperfunc.api import load
    from hyperfunc.files import check_place
    from hyperfunc.images import Photo, check_output, to_uint8, write_photo
    from hyperfunc.upscaling import Records, append_record, pair_files

    ((source, output),) = pair_files([source], target, suffix).pairs
    origin = request.describe_origin(source, output)
    if not overwrite and Records().compare(output, origin) == "same":
        return f"{output}: made by the same command before, skipped"
    function = load(source)
    size = request.find_size(str(source), function.size)
    check_output(output, size)
    check_place(output)
    photo = Photo(to_uint8(np.asarray(function.render(*size))))
    record = functools.partial(append_record, output=output, origin=origin)
    write_photo(output, photo, quality=request.quality, before=record)
    return f"{output}: {size[1]} x {size[0]} pixels of the function of {source}"
