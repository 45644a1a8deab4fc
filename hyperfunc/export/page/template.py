"""Put pages together from the files that lie in folders beside the code."""

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"%%([a-z/.-]+)%%")


def fill_in(template: str, values: Mapping[str, str], *folders: str) -> str:
    """Replace each ``%%name%%`` by the value of that name, or else by the part of that name.

    Parts may contain names, too. In values nothing is replaced: they may come from strangers.
    """

    def include(match: re.Match[str]) -> str:
        if match[1] in values:
            return match[0]
        return _NAME.sub(include, read_part(match[1], *folders))

    return _NAME.sub(lambda match: values[match[1]], _NAME.sub(include, template))


def read_part(name: str, *folders: str) -> str:
    """Read a part from the first folder that has it, without the newline at its end."""
    paths = (files("hyperfunc.export").joinpath(folder, *name.split("/")) for folder in folders)
    return next(path for path in paths if path.is_file()).read_text("utf-8").removesuffix("\n")
