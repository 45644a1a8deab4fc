"""Compiled programs on disk: found again, bounded in size, and never in the way."""

import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from hyperfunc import cache
from hyperfunc.commands import main

DEVICES = jax.devices()[:1]

UPSCALE = "import sys; from hyperfunc.commands import main; main(['upscale', *sys.argv[1:]])"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache that is turned on, in an empty folder."""
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_jax_keeps_programs", lambda: False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def program():
    """A compiled function of one device that adds 1.

    JAX's own cache does not keep it: what was loaded from there cannot be serialised.
    """
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[name]
    jax.config.update(name, 60)
    with jax.default_device(DEVICES[0]):
        compiled = jax.jit(lambda x: x + 1).lower(jnp.zeros(3)).compile()
    jax.config.update(name, before)
    return compiled


@pytest.fixture
def photo(tmp_path, draw):
    Image.fromarray(draw(0, (20, 24))).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def programs(folder: Path) -> list[Path]:
    return sorted(folder.glob("v*/programs/*"))


def run(program) -> list[float]:
    return np.asarray(program(jnp.arange(3.0))).tolist()


def test_a_program_is_found_by_its_key(folder, program):
    assert cache.load_program("add", DEVICES) is None
    cache.save_program("add", DEVICES, program)
    assert run(cache.load_program("add", DEVICES)) == [1, 2, 3]
    assert cache.load_program("multiply", DEVICES) is None


def test_a_program_belongs_to_versions_sources_and_processor(folder, program, monkeypatch):
    cache.save_program("add", DEVICES, program)
    monkeypatch.setattr(cache, "_describe_processor", lambda: ["another processor"])
    cache._machine_key.cache_clear()
    try:
        assert cache.load_program("add", DEVICES) is None
    finally:
        monkeypatch.undo()
        cache._machine_key.cache_clear()


def test_a_damaged_program_is_compiled_again(folder, program):
    cache.save_program("add", DEVICES, program)
    (path,) = programs(folder)
    for content in (b"", b"rubbish", path.read_bytes()[:-100]):
        path.write_bytes(content)
        assert cache.load_program("add", DEVICES) is None
    cache.save_program("add", DEVICES, program)
    assert run(cache.load_program("add", DEVICES)) == [1, 2, 3]


def test_what_was_not_used_for_the_longest_time_goes_first(folder, program, monkeypatch):
    for age, key in enumerate(("new", "middle", "old")):
        cache.save_program(key, DEVICES, program)
        newest = max(programs(folder), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (1e9 - age, 1e9 - age))
    size = newest.stat().st_size
    assert cache.load_program("old", DEVICES)  # It is the newest now.
    monkeypatch.setattr(cache, "MAX_BYTES", int(2.5 * size))
    cache.save_program("other", DEVICES, program)
    kept = [key for key in ("new", "middle", "old", "other") if cache.load_program(key, DEVICES)]
    assert kept == ["old", "other"]


def test_only_some_sets_of_versions_are_kept(folder, program, monkeypatch):
    (folder / "videos" / "programs").mkdir(parents=True)  # The user's.
    versions = [f"v{number:016x}" for number in range(cache.MOST_VERSIONS + 2)]
    for age, version in enumerate(versions):
        monkeypatch.setattr(cache, "_machine_key", lambda version=version: version)
        cache.save_program("add", DEVICES, program)
        os.utime(folder / version / "programs", (1e9 + age, 1e9 + age))
        if age == 2:
            monkeypatch.setattr(cache, "_machine_key", lambda: versions[0])
            assert cache.load_program("add", DEVICES)  # Now it is the newest.
    kept = sorted(path.name for path in folder.glob("v*"))
    assert kept == sorted([versions[0], *versions[3:], "videos"])


def test_a_full_disk_is_no_error(folder, program, monkeypatch):
    def fail(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    cache.save_program("add", DEVICES, program)
    assert programs(folder) == []


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])
def test_a_place_that_cannot_be_written_is_no_error(place, program, monkeypatch):
    monkeypatch.setenv(cache.SWITCH, place)
    cache.save_program("add", DEVICES, program)
    assert cache.load_program("add", DEVICES) is None


def test_a_folder_that_others_may_write_is_not_used(folder, program):
    cache.save_program("add", DEVICES, program)
    (own,) = folder.glob("v*")
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    assert cache.load_program("add", DEVICES) is None


def test_the_cache_can_be_turned_off(program, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(cache.SWITCH, "0")
    cache.save_program("add", DEVICES, program)
    assert cache.load_program("add", DEVICES) is None and not list(tmp_path.iterdir())
    monkeypatch.delenv(cache.SWITCH)
    assert cache.cache_folder() == tmp_path / "hyperfunc"


def test_the_users_own_folder_for_jax_is_kept(folder, program, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv(cache.SWITCH, str(folder))
    before = jax.config.values["jax_compilation_cache_dir"]
    assert before, "conftest.py sets one"
    cache.keep_compilations()
    assert jax.config.values["jax_compilation_cache_dir"] == before
    cache.save_program("add", DEVICES, program)
    assert programs(folder) == []


def test_the_command_says_where_it_is_and_empties_it(folder, program, capsys, monkeypatch):
    cache.save_program("add", DEVICES, program)
    main(["cache"])
    assert capsys.readouterr().out.startswith(f"{folder}: 1 files, 0.0 MiB")
    (folder / "notes.txt").write_text("of the user")
    (folder / "videos").mkdir()
    main(["cache", "--clear"])
    assert "1 files" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "videos"}
    main(["cache", "--clear"])
    monkeypatch.setenv(cache.SWITCH, "0")
    main(["cache"])
    assert "turned off" in capsys.readouterr().out


def test_a_flag_turns_it_off(folder, capsys):
    main(["cache", "--no-cache"])
    assert "turned off" in capsys.readouterr().out and cache.cache_folder() is None


class TestUpscale:
    """Whole processes with the bundled model."""

    @pytest.fixture
    def start(self, start_python, photo, folder):
        def start(target: Path):
            environment = {
                cache.SWITCH: os.environ[cache.SWITCH],
                "JAX_NUM_CPU_DEVICES": "1",
                "JAX_COMPILATION_CACHE_DIR": "",
            }
            words = [str(photo), str(target), "--scale=2"]
            return start_python(UPSCALE, *words, **environment)

        return start

    @staticmethod
    def finish(process) -> str:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return err

    @pytest.mark.slow
    def test_two_processes_start_together_and_the_next_compiles_nothing(
        self, start, tmp_path, folder
    ):
        targets = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
        told = [self.finish(process) for process in [start(target) for target in targets[:2]]]
        assert "compiling" in "".join(told)
        assert len(programs(folder)) == 1
        assert "compiling" not in self.finish(start(targets[2]))
        a, b, c = (target.read_bytes() for target in targets)
        assert a == b == c
