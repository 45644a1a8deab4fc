"""``hyperfunc cache``: where compiled programs are kept, and how to remove them."""

import dataclasses

from hyperfunc.cache import SWITCH, cache_folder, clear_cache, measure_cache
from hyperfunc.commands.arguments import Common, CommonFlags, Flag


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Say where compiled programs are kept, and how many they are.

    Programs are kept so that only the first run of a command compiles them. Those that were not
    used for the longest time are removed first.

    Attributes:
        clear: remove them.
    """

    clear: Flag = False
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Print the folder and its size, after emptying it on request."""
    folder = cache_folder()
    if folder is None:
        print(f"the cache is turned off (--no-cache or {SWITCH}=0)")
        return
    if arguments.clear:
        clear_cache(folder)
    count, size = measure_cache(folder)
    print(f"{folder}: {count} files, {size / 2**20:.1f} MiB")
