"""Image files: reading them into arrays, writing arrays into them, and finding them in folders.

What a file says besides its pixels (orientation, colour profile, metadata) is handled here alone.
"""

from hyperfunc.images.colours import to_uint8
from hyperfunc.images.folders import (
    SUFFIXES,
    FileReader,
    ImageFile,
    find_images,
    name_files,
    walk_images,
)
from hyperfunc.images.metadata import Photo
from hyperfunc.images.other_formats import unwrap_pillow
from hyperfunc.images.picture_tags import resize_tags
from hyperfunc.images.read import (
    FLOAT_TOLERANCE,
    Header,
    read_as_shown,
    read_header,
    read_image,
    read_photo,
)
from hyperfunc.images.write import (
    FORMATS,
    check_output,
    write_animation,
    write_image,
    write_photo,
)

__all__ = [
    "FLOAT_TOLERANCE",
    "FORMATS",
    "FileReader",
    "Header",
    "ImageFile",
    "Photo",
    "SUFFIXES",
    "check_output",
    "find_images",
    "name_files",
    "read_as_shown",
    "read_header",
    "read_image",
    "read_photo",
    "resize_tags",
    "to_uint8",
    "unwrap_pillow",
    "walk_images",
    "write_animation",
    "write_image",
    "write_photo",
]
