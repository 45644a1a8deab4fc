"""Compiled programs on disk, so that only the first run compiles them.

The programs that enlarge files are kept whole (`load_program`, `save_program`): a program is found
by what it does, and neither Flax nor a trace of the network is needed to run it again. What else is
compiled is kept by JAX's own compilation cache (`keep_compilations`).

A processor may not run code that was compiled for another one, and a home folder may be shared by
several machines, so each kind of processor and each set of versions has a folder of its own.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import logging
import os
import pickle
import platform
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import platformdirs

from hyperfunc.errors import UserError
from hyperfunc.files import replacing

SWITCH = "HYPERFUNC_CACHE"
"""The environment variable that turns the cache off ("0"), or names its folder."""

MAX_BYTES = 256 * 2**20
"""How much JAX's cache may hold, and how much the other programs; what was not used for the longest
time is removed first."""

MOST_VERSIONS = 4
"""How many sets of versions and processors have programs at the same time."""

WORTH_KEEPING = 0.1
"""What compiles in less time is not kept by JAX's cache, in seconds."""

DIGEST = hashlib.sha256().digest_size
"""A program's file starts with so many bytes, the digest of the others."""

logger = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return the folder of the cache, which need not exist; None if the cache is turned off."""
    value = os.environ.get(SWITCH, "")
    if value == "0":
        return None
    return Path(value) if value else platformdirs.user_cache_path("hyperfunc", appauthor=False)


def turn_off_cache() -> None:
    """Turn the cache off for this process and those that it starts."""
    os.environ[SWITCH] = "0"


def keep_compilations() -> None:
    """Let JAX keep what it compiles, unless the user has chosen a folder or turned the cache off.

    This holds for all that the process compiles from here on.
    """
    folder = _own_folder()
    if folder is None:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder / "jax"))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def load_program(key: str, devices: Sequence[Any]) -> Any:
    """Load what `save_program` kept for a key and devices, ready to be called; or None."""
    folder = _own_folder()
    if folder is None:
        return None
    from jax.experimental import serialize_executable

    path = _path_of(folder, key, devices)
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            raise ValueError("the bytes are not those that were written")
        serialized = pickle.loads(content[DIGEST:])
        program = serialize_executable.deserialize_and_load(
            *serialized, execution_devices=list(devices)
        )
        for used in (path, path.parent):  # Others are removed before them.
            os.utime(used)
    except FileNotFoundError:
        return None
    # A damaged program fails in any way.
    except Exception:
        logger.debug("%s cannot be used and is compiled again", path, exc_info=True)
        return None
    return program


def save_program(key: str, devices: Sequence[Any], compiled: Any) -> None:
    """Keep a compiled function (`jax.stages.Compiled`), if the folder and the platform allow it.

    The key says all that it depends on, besides versions and the devices it was compiled for.
    """
    folder = _own_folder()
    if folder is None:
        return
    from jax.experimental import serialize_executable

    try:
        content = pickle.dumps(serialize_executable.serialize(compiled))
        with replacing(_path_of(folder, key, devices)) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    # ValueError and RuntimeError: of platforms that cannot serialise.
    except (OSError, UserError, ValueError, RuntimeError) as error:
        logger.debug("a program is not kept: %s", error)
        return
    _evict(folder / "programs", MAX_BYTES)


def measure_cache(folder: Path) -> tuple[int, int]:
    """Count the files below a folder, and their bytes."""
    sizes = [status.st_size for _, status in _files(folder)]
    return len(sizes), sum(sizes)


def clear_cache(folder: Path) -> None:
    """Remove the programs of all versions and processors."""
    for version in _list_versions(folder):
        try:
            shutil.rmtree(version)
        except FileNotFoundError:
            pass  # Another process removes it, too.
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be removed ({error.strerror})") from error


def _own_folder() -> Path | None:
    """Return the part of the cache for these versions and this processor; None: do not use it."""
    folder = cache_folder()
    if folder is None or _jax_keeps_programs():
        return None
    folder /= _machine_key()
    try:
        if not folder.exists():
            (folder / "programs").mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # Programs are run: nobody else may write them.
            _forget_versions(folder.parent)
    except OSError as error:
        logger.debug("compiled programs are not kept: %s", error)
        return None
    return folder if _is_ours(folder) else None


def _jax_keeps_programs() -> bool:
    """Whether JAX's cache is on. What it has loaded cannot be serialised once more (JAX 0.10)."""
    import jax

    return bool(jax.config.values["jax_compilation_cache_dir"])


def _is_ours(folder: Path) -> bool:
    """Whether we may write a folder and nobody else can: what lies in it is run."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return False
    if not hasattr(os, "getuid"):  # Windows: a user's folders are private.
        return True
    status = folder.stat()
    if status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    logger.debug("%s can be written by others: it is not used", folder)
    return False


def _path_of(folder: Path, key: str, devices: Sequence[Any]) -> Path:
    version = devices[0].client.platform_version
    names = [f"{device.platform} {device.device_kind} {device.id}" for device in devices]
    parts = [key, version, *names, os.environ.get("XLA_FLAGS", "")]
    return folder / "programs" / hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _machine_key() -> str:
    """Name what compiled code depends on: the versions, our sources, and the processor."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "flax")]
    package = Path(__file__).parent
    sources = sorted(
        f"{path.relative_to(package)} {status.st_mtime_ns} {status.st_size}"
        for path, status in _files(package)
        if path.suffix == ".py"
    )
    parts = [sys.version, *versions, *sources, *_describe_processor()]
    return "v" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _describe_processor() -> list[str]:
    """Describe the processor with its instruction sets, where the system lists them."""
    described = [platform.system(), platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0].splitlines()
    except OSError:
        return [*described, platform.processor()]
    names = ("model name", "flags", "features", "cpu part")
    return described + [line for line in lines if line.lower().startswith(names)]


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # Another process may remove it.
            if path.is_file():
                yield path, path.stat()


def _list_versions(folder: Path) -> list[Path]:
    """List the folders that `_machine_key` names. The user may keep others beside them."""
    return [path for path in folder.glob("v*") if re.fullmatch("v[0-9a-f]{16}", path.name)]


def _forget_versions(folder: Path) -> None:
    """Keep the folders of the versions that were used last."""
    programs = [path / "programs" for path in _list_versions(folder)]
    used = sorted(filter(Path.exists, programs), key=lambda path: path.stat().st_mtime)
    for old in used[:-MOST_VERSIONS]:
        shutil.rmtree(old.parent, ignore_errors=True)


def _evict(folder: Path, most: int) -> None:
    """Remove the files that were not used for the longest time until the others take ``most``."""
    files = sorted(_files(folder), key=lambda file: file[1].st_mtime, reverse=True)
    total = 0
    for path, status in files:
        total += status.st_size
        if total > most:
            with contextlib.suppress(OSError):
                path.unlink()
