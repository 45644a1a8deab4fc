"""``hyperfunc restore``: remove the damage of an image, or of all images of a folder.

It is ``hyperfunc upscale`` with another model, at scale 1 unless another one is given.
"""

import dataclasses
from typing import Annotated

import tyro

from hyperfunc.commands import upscale
from hyperfunc.commands.arguments import OptionalText
from hyperfunc.errors import UserError
from hyperfunc.files import as_path


@dataclasses.dataclass(frozen=True)
class Arguments(upscale.Arguments):
    """Remove noise, blur and the artefacts of JPEG from images, or fill missing pixels.

    It need not be told what happened to an image, except which pixels are missing (--mask).
    Formats, metadata, folders and interruptions are treated as by `hyperfunc upscale`. An image is
    restored at its own size, or with --scale or --size restored and enlarged at once.

    Attributes:
        source: an image, or a folder, whose subfolders are included.
        more: more images may precede the output, which is the last word then, and a folder:
            hyperfunc restore a.jpg b.jpg clean/
        scale: output pixels per input pixel, such as 2, 1.5, or 2x1 for rows x columns. If neither
            a scale nor a size is given, it is 1.
        checkpoint: the workdir of a training run, or the name of a bundled checkpoint. If not
            given, restore, or inpaint with --mask.
        strength: how much of the change to make, from 0 (none) to 1 (all of it).
        mask: fill missing pixels, and leave the others as they are. An image of the same size that
            is white where pixels are missing; a folder with such an image for each input, of the
            same name below it; "alpha" where transparent pixels are; or a colour such as "#ff00ff"
            that they have.
    """

    checkpoint: Annotated[str, tyro.conf.arg(metavar="STR", help_behavior_hint="")] = ""
    strength: float = 1.0
    mask: OptionalText = None


def run(arguments: Arguments) -> None:
    """Restore the files, and say what happened to each.

    Raises:
        UserError: nothing can be restored, or the only file failed.
        SystemExit: some files of a folder failed, or Ctrl-C was pressed.
    """
    if not 0 <= arguments.strength <= 1:
        raise UserError(f"--strength {arguments.strength:g}: give a number from 0 to 1")
    if arguments.source.suffix.lower() == ".hfn":
        raise UserError(
            f"{arguments.source}: a function is rendered as it is: use hyperfunc upscale, or "
            "restore the image that it was made of"
        )
    if arguments.mask:
        from hyperfunc.upscaling import Mask

        Mask(arguments.mask).check(arguments.source, as_path(arguments.target))
        if arguments.linear:
            raise UserError("--linear: is not possible with --mask: leave it out")
    if not arguments.checkpoint:
        name = "inpaint" if arguments.mask else "restore"
        arguments = dataclasses.replace(arguments, checkpoint=name)
    if arguments.scale is None and arguments.size is None:
        arguments = dataclasses.replace(arguments, scale="1")
    upscale.run(
        arguments, command="restore", strength=arguments.strength, mask=arguments.mask or ""
    )
