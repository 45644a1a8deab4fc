"""Compile kernels.cc once, with the C++ compiler of the machine."""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import tempfile
from pathlib import Path

import jax
import platformdirs

from hyperfunc.errors import UserError

SOURCE = Path(__file__).with_name("kernels.cc")
FLAGS = ("-O3", "-std=c++17", "-march=sapphirerapids", "-shared", "-fPIC")


def compile_kernels() -> Path:
    """Compile `SOURCE` into the user's cache folder, unless the library is there already.

    The compiler is g++, or the one that the environment variable CXX names.

    Returns:
        The path of the shared library.

    Raises:
        UserError: There is no compiler, it fails, or the cache folder cannot be written.
    """
    compiler = os.environ.get("CXX") or "g++"
    recipe = f"{SOURCE.read_text()}{compiler}{FLAGS}{importlib.metadata.version('jaxlib')}"
    cache = platformdirs.user_cache_path("hyperfunc")
    library = cache / f"amx-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            built = Path(folder) / library.name
            _run_compiler(compiler, built)
            built.replace(library)
    except OSError as error:
        raise UserError(
            f"cannot write {library} ({error}): name another folder by XDG_CACHE_HOME"
        ) from error
    return library


def _run_compiler(compiler: str, library: Path) -> None:
    command = [*shlex.split(compiler), *FLAGS, f"-I{jax.ffi.include_dir()}", str(SOURCE)]
    try:
        subprocess.run([*command, "-o", str(library)], check=True, capture_output=True, text=True)
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"--amx needs a C++ compiler, and {compiler} cannot be run: install g++ 12 or newer, "
            "name another by CXX, or leave --amx out"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = next((x for x in error.stderr.splitlines() if "error" in x), error.stderr)
        raise UserError(
            f"{compiler} cannot compile {SOURCE} ({reason.strip()}): name another compiler by "
            "CXX (g++ 12 or newer can), or leave --amx out"
        ) from error


def cpu_features() -> set[str]:
    """Return the features of the processor as Linux lists them; an empty set elsewhere."""
    if platform.system() != "Linux":
        return set()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
