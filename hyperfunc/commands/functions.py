"""Functions for the commands: made of an image, read from a file (.hfn), rendered as an image."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from hyperfunc.function import FunctionalImage
    from hyperfunc.upscaling import Request


def open_function(
    source: Path, checkpoint: str, *, for_page: bool
) -> tuple["FunctionalImage", dict[str, str]]:
    """Represent an image as a function, or read a function from a file.

    Args:
        source: an image or a function file (.hfn).
        checkpoint: the model that represents images.
        for_page: whether a page will show the function: what a page cannot show is refused before
            the work.

    Returns:
        The function, and where it comes from: {"image": ..., "model": ..., "step": ...}.

    Raises:
        UserError: the file cannot be read, or the model or a page cannot be used for it.
    """
    from hyperfunc.devices import use_cpu_cores

    use_cpu_cores()
    if source.suffix.lower() == ".hfn":
        from hyperfunc.export import load_function, load_header

        return load_function(source), load_header(source).get("about", {})
    from hyperfunc.api import represent
    from hyperfunc.experiment import load_model
    from hyperfunc.images import read_as_shown, read_header

    model = load_model(checkpoint)
    if for_page:
        from hyperfunc.export import check_page

        network = model.hypernetwork
        check_page(network.target, network.layout, read_header(source).size)
    photo = read_as_shown(source)
    for note in photo.notes:
        print(f"{source}: {note}")
    about = {"image": source.name, "model": model.path.name, "step": str(model.step)}
    logger.info("computing the function of %s", source)
    return represent(photo.pixels, checkpoint=model).function, about


def render_function(source: Path, target: str, request: "Request", *, overwrite: bool) -> str:
    """Render a function file as an image of 8 bits, and say what was done.

    Raises:
        UserError: the function cannot be read, or the image cannot be written.
    """
    import numpy as np

    from hyperfunc.api import load
    from hyperfunc.files import check_place
    from hyperfunc.images import Photo, check_output, to_uint8, write_photo
    from hyperfunc.upscaling import Records, append_record, pair_files

    ((source, output),) = pair_files([source], target, None).pairs
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
