"""What does not fit into the memory that is available is refused, and what is expected suffices."""

import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hyperfunc.devices import make_mesh
from hyperfunc.errors import UserError
from hyperfunc.images import Photo, write_photo
from hyperfunc.pixels import WHOLE_IMAGE
from hyperfunc.types import Neighbourhood
from hyperfunc.upscaling import Request, Upscaler, batch_plan, batch_run, memory
from hyperfunc.upscaling.strips import StripPlanner
from hyperfunc.upscaling.tile_planner import TilePlanner
from tests.batches import plan_batch, run_batch

MIB = 2**20


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that sets what the system says, in MiB: a container has a limit."""

    def say(available: int, limit: int | str = "max", used: int = 0, cached: int = 0) -> None:
        text = f"MemTotal: {2**30} kB\nMemFree: 5 kB\nMemAvailable:   {available * 1024} kB\n"
        (tmp_path / "meminfo").write_text(text)
        limit = limit if isinstance(limit, str) else limit * MIB
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used * MIB}\n")
        stat = f"active_file 7\ninactive_file {cached * MIB}\n"
        (tmp_path / "memory.stat").write_text(stat)

    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    monkeypatch.setattr(batch_plan, "own_memory", lambda: 0)
    return say


def save(path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("said", "available"),
    [((300,), 300), ((300, 200, 150), 50), ((300, 200, 150, 40), 90), ((300, 900, 10), 300)],
    ids=["no limit", "a container", "files that are cached", "a limit above what there is"],
)
def test_a_container_takes_no_more_than_its_share(machine, said, available):
    machine(*said)
    assert memory.available_memory() == available * MIB


def test_the_limits_of_all_groups_hold(machine, monkeypatch, tmp_path):
    """A service has one of its own, and the slice above it, too."""
    machine(300)
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    (tmp_path / "groups").write_text("9:name=systemd:/other\n0::/a.slice/b.service\n")
    for below, limit in (("a.slice", 200), ("a.slice/b.service", 250)):
        (tmp_path / below).mkdir()
        (tmp_path / below / "memory.max").write_text(f"{limit * MIB}\n")
        (tmp_path / below / "memory.current").write_text(f"{50 * MIB}\n")
        (tmp_path / below / "memory.stat").write_text("inactive_file 0\n")
    assert memory.available_memory() == 150 * MIB
    (tmp_path / "a.slice/b.service/memory.max").write_text(f"{90 * MIB}\n")
    assert memory.available_memory() == 40 * MIB
    (tmp_path / "groups").write_text("0::/\n")
    assert memory.available_memory() == 300 * MIB


def test_a_system_that_says_nothing_refuses_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    monkeypatch.delattr("os.sysconf")  # Windows.
    assert memory.available_memory() is None
    memory.check_memory("a.png", 2**60)


def test_outputs_that_do_not_fit_are_refused_before_the_work(machine, tmp_path):
    machine(300)
    path = save(tmp_path / "a.png")
    for suffix, side, fits in (
        (".png", 9000, True),
        (".png", 11000, False),
        (".webp", 9000, False),
    ):
        batch = plan_batch(path, tmp_path / f"b{suffix}", Request(size=(side, side)))
        assert bool(batch.jobs) == fits
    error = batch.outcomes[0].error or ""
    assert error.startswith(f"{path}: needs 0.7 GiB of memory, and 0.3 are available: ask for a")
    assert "--tile" not in error


def test_the_copy_that_a_format_needs_counts(tmp_path):
    for source, target, kind, channels, copies in (
        ("a.tif", "b.png", np.float32, 3, 2),
        ("a.tif", "b.tif", np.float32, 3, 1),
        ("c.png", "d.jpg", np.uint8, 4, 2),
        ("c.png", "d.png", np.uint8, 4, 1),
    ):
        write_photo(tmp_path / source, Photo(np.full((4, 5, channels), 0.5, kind)))
        batch = plan_batch(tmp_path / source, tmp_path / target, Request(scale=(2.0, 2.0)))
        assert batch.jobs[0].working_bytes == copies * batch.jobs[0].output_bytes


def test_a_smaller_tile_is_proposed_only_where_it_suffices(machine):
    machine(300)
    for tiles, is_named in ((50 * MIB, False), (150 * MIB, True)):
        with pytest.raises(UserError, match="needs 0.4 GiB of memory, and 0.3 are") as raised:
            memory.check_memory("a.png", 400 * MIB, tiles=tiles)
        assert ("a smaller --tile takes less" in str(raised.value)) == is_named


@pytest.mark.parametrize("planner", [StripPlanner(WHOLE_IMAGE), TilePlanner(Neighbourhood(4), 1)])
def test_a_smaller_tile_is_proposed_only_of_models_with_tiles(machine, tmp_path, planner):
    machine(300)
    batch = plan_batch(save(tmp_path / "a.png"), tmp_path / "b.png", Request(scale=(2.0, 2.0)))
    pipeline: Any = object.__new__(batch_run._Pipeline)
    pipeline._upscaler = SimpleNamespace(mesh=make_mesh(), workspace_of=lambda plan: 400 * MIB)
    pipeline._writing = None
    with pytest.raises(UserError) as raised:
        pipeline._check_memory(batch.jobs, [planner.plan((32, 40), (64, 80), 1)])
    assert ("--tile" in str(raised.value)) == isinstance(planner, TilePlanner)


def test_what_rendering_takes_counts(machine, tmp_path):
    class LargeUpscaler(Upscaler):
        workspace, rendered = 250 * MIB, 0

        def __init__(self):
            self._planner, self.mesh = StripPlanner(WHOLE_IMAGE), make_mesh()

        def workspace_of(self, plan):
            return self.workspace

        def render_together(self, images, plans, *, progress=None):
            assert progress is not None
            progress(0, 1)
            self.rendered += 1
            return [np.zeros((*plan.size, 3), np.uint8) for plan in plans]

    machine(300)
    path, upscaler = save(tmp_path / "a.png"), LargeUpscaler()
    for side, status in ((3000, "done"), (5000, "failed")):
        batch = plan_batch(path, tmp_path / f"{side}.png", Request(size=(side, side)))
        run_batch(batch, upscaler)
        assert batch.outcomes[0].status == status
    assert upscaler.rendered == 1
    assert "a.png: needs 0.3 GiB of memory" in (batch.outcomes[0].error or "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process has taken")
def test_what_is_expected_suffices(tmp_path):
    path, target = save(tmp_path / "a.png"), tmp_path / "b.png"
    code = (
        "import sys; from hyperfunc.commands import main; main(sys.argv[1:]);"
        "print(open('/proc/self/status').read())"
    )
    words = [sys.executable, "-c", code, "upscale", path, target, "--scale=100"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (expected,) = re.findall(r"expected: .* ([0-9.]+) GiB of memory", said)
    (used,) = re.findall(r"VmHWM:\s*(\d+) kB", said)
    assert 0.5 * float(expected) < int(used) / 2**20 <= float(expected)


def test_an_image_that_was_refused_refuses_no_other(machine, tmp_path):
    """What was compiled for the one is not what the other takes."""

    class OtherUpscaler(Upscaler):
        workspace = 250 * MIB

        def __init__(self):
            self._planner, self.mesh = StripPlanner(WHOLE_IMAGE), make_mesh()

        def workspace_of(self, plan):
            return 400 * MIB if plan.size[0] > 50 else MIB

        def render_together(self, images, plans, *, progress=None):
            assert progress is not None
            progress(0, 1)
            return [np.zeros((*plan.size, 3), np.uint8) for plan in plans]

    machine(300)
    (tmp_path / "in").mkdir()
    for name, height in (("a.png", 60), ("b.png", 40)):
        Image.new("RGB", (40, height)).save(tmp_path / "in" / name)
    batch = plan_batch(tmp_path / "in", tmp_path / "out", Request(scale=(1.0, 1.0)))
    run_batch(batch, OtherUpscaler())
    assert [outcome.status for outcome in batch.outcomes] == ["failed", "done"]


def test_what_is_still_being_written_is_waited_for(monkeypatch, tmp_path):
    """Memory that the writer gives back refuses no image."""
    written = threading.Event()
    job = plan_batch(save(tmp_path / "a.png"), tmp_path / "b.png", Request(scale=(9.0, 9.0))).jobs[
        0
    ]
    plan = StripPlanner(WHOLE_IMAGE).plan((32, 40), (288, 360), 1)
    pipeline: Any = object.__new__(batch_run._Pipeline)
    pipeline._upscaler = SimpleNamespace(mesh=make_mesh(), workspace_of=lambda plan: 0)

    def write() -> None:
        time.sleep(0.1)
        written.set()

    available = {True: 2 * job.working_bytes, False: job.working_bytes // 2}
    monkeypatch.setattr(memory, "available_memory", lambda: available[written.is_set()])
    with ThreadPoolExecutor(1) as pool:
        pipeline._writing = pool.submit(write)
        pipeline._check_memory([job], [plan])
        assert written.is_set()
        available[True] = available[False]
        with pytest.raises(UserError, match="are available"):
            pipeline._check_memory([job], [plan])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process has taken")
def test_a_process_takes_nothing_for_its_parent():
    ballast = np.ones(400 * MIB, np.uint8)
    code = "from hyperfunc.upscaling.memory import peak_memory; print(peak_memory())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10 * MIB < int(said.stdout) < ballast.nbytes
