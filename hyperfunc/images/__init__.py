"""Image files: reading them into arrays, writing arrays into them, and finding them in folders.

What a file says besides its pixels (orientation, colour profile, metadata) is handled here alone.
"""

from hyperfunc.images.arrays import read_image, to_float, to_uint8, write_animation, write_image
from hyperfunc.images.folders import FileReader, ImageFile, find_images, name_files
from hyperfunc.images.photos import (
    BEYOND,
    FORMATS,
    Header,
    Photo,
    check_output,
    read_as_shown,
    read_header,
    read_photo,
    write_photo,
)

__all__ = [
    "BEYOND",
    "FORMATS",
    "FileReader",
    "Header",
    "ImageFile",
    "Photo",
    "check_output",
    "find_images",
    "name_files",
    "read_as_shown",
    "read_header",
    "read_image",
    "read_photo",
    "to_float",
    "to_uint8",
    "write_animation",
    "write_image",
    "write_photo",
]
