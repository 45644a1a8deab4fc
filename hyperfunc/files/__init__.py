"""Files here and in object stores: paths that are addresses, and atomic writes."""

from hyperfunc.files.addresses import Address, as_path, fetching, read_folder
from hyperfunc.files.writing import (
    check_place,
    is_full,
    remove_leftovers,
    replacing,
    save_json,
    to_json,
)

__all__ = [
    "Address",
    "as_path",
    "check_place",
    "fetching",
    "is_full",
    "read_folder",
    "remove_leftovers",
    "replacing",
    "save_json",
    "to_json",
]
