"""How much memory there is, and how much this process takes."""

import contextlib
import os
import re
import sys
from pathlib import Path

from hyperfunc.errors import UserError

MEMINFO = Path("/proc/meminfo")
"""Where Linux says what is available: what is free, and what it only keeps to read files faster."""

CONTAINER = Path("/sys/fs/cgroup")
"""Where a container says how much of the machine's memory it has, such as docker's --memory=2g."""

GROUPS = Path("/proc/self/cgroup")
"""Where Linux says in which group of `CONTAINER` this process is: none of its own in a container,
but a service or a batch job may have one."""

OWN = Path("/proc/self/status")
"""Where Linux says how much this process takes, and the most that it has taken."""


def available_memory() -> int | None:
    """Return how many more bytes this process can take; None if the system cannot tell.

    Reference: the Linux kernel's documentation, "The /proc Filesystem", MemAvailable, and "Control
    Group v2", memory.max.
    """
    found = []
    # Windows has no sysconf, and macOS knows only how much memory there is.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError):
        found += [int(x) * 1024 for x in re.findall(r"MemAvailable: *(\d+)", MEMINFO.read_text())]
    for group in _own_groups():
        with contextlib.suppress(OSError, ValueError):  # There is none, or its limit is "max".
            limit, used = (int((group / f"memory.{x}").read_text()) for x in ("max", "current"))
            cached = re.findall(r"inactive_file (\d+)", (group / "memory.stat").read_text())
            found.append(max(limit - used + sum(map(int, cached)), 0))
    return min(found, default=None)


def _own_groups() -> list[Path]:
    """Return the control group of this process and those above it: the limit of each holds."""
    with contextlib.suppress(OSError):
        if path := re.search(r"^0::/(.*)$", GROUPS.read_text(), re.MULTILINE):
            group = CONTAINER / path[1]
            return [group, *(above for above in group.parents if above.is_relative_to(CONTAINER))]
    return [CONTAINER]


def own_memory() -> int:
    """Return how many bytes this process takes; 0 if the system cannot tell."""
    return _read_own("VmRSS")


def peak_memory() -> int:
    """Return the most bytes that this process has taken so far; 0 if the system cannot tell."""
    if peak := _read_own("VmHWM"):  # Linux's rusage counts what the parent took before the start.
        return peak
    try:
        import resource
    except ImportError:  # Windows.
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _read_own(name: str) -> int:
    """Return a number of `OWN` in bytes; 0 if it is not there."""
    with contextlib.suppress(OSError):
        if found := re.search(rf"{name}:\s*(\d+) kB", OWN.read_text()):
            return int(found[1]) * 1024
    return 0


def check_memory(name: str, needed: int, *, tiles: int = 0, freed: int = 0) -> None:
    """Check that so many bytes are available for an image, which errors call ``name``.

    ``tiles`` are those of them that smaller tiles take less of. ``freed`` are bytes that this
    process takes now, and will have given back.

    Raises:
        UserError: they are not.
    """
    available = available_memory()
    if available is not None and needed > (limit := available + freed):
        hint = "; a smaller --tile takes less, too" if needed - tiles <= limit else ""
        raise UserError(
            f"{name}: needs {needed / 2**30:.1f} GiB of memory, and {limit / 2**30:.1f} are "
            f"available: ask for a smaller output, or end other programs{hint}"
        )
