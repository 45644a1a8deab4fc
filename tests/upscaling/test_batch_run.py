"""Files are decoded, rendered and written side by side, and a failure stops no other file."""

import json
import threading
import time
import weakref
from pathlib import Path

import jax
import numpy as np
import pytest

from hyperfunc.devices import make_mesh
from hyperfunc.errors import UserError
from hyperfunc.images import read_photo, write_image
from hyperfunc.pixels import WHOLE_IMAGE
from hyperfunc.upscaling import (
    Request,
    Tally,
    Upscaler,
    advise_against_noise,
    batch_input,
    batch_progress,
    batch_run,
    plan_batches,
    run_batches,
)
from hyperfunc.upscaling.batch_plan import Batch
from hyperfunc.upscaling.strips import StripPlanner
from hyperfunc.upscaling.value_range import ValueRange
from tests.batches import plan_batch, run_batch

SAME_SIZE = Request(scale=(1.0, 1.0))


class FakeUpscaler(Upscaler):
    """Returns the image. On a clock of its own, 10 rows take a second and fewer rows take three."""

    workspace, linear = 2**30, False

    def __init__(self, compile_seconds: float = 0.0):
        self._planner = StripPlanner(WHOLE_IMAGE)
        self.mesh = make_mesh(jax.devices()[:1])
        self.seconds, self.compile_seconds = 0.0, compile_seconds
        self.lock = threading.Lock()

    def workspace_of(self, plan):
        return self.workspace

    def render_together(self, images, plans, *, progress=None):
        with self.lock:
            return [
                self.render(*pair, progress=progress) for pair in zip(images, plans, strict=True)
            ]

    def render(self, image, plan, *, progress=None):
        rows = max(plan.size[0] // 10, 1)
        self.seconds += self.compile_seconds
        for done in range(rows + 1):
            if progress is not None:
                progress(done, rows)
            self.seconds += (3 if rows == 1 else 1) * (done < rows)
        return image


def plan_images(folder: Path, heights: list[int]):
    """Plan black images, 10 pixels wide, as a batch."""
    for i, height in enumerate(heights):
        write_image(folder / "in" / f"{i:02}.png", np.zeros((height, 10, 3), np.uint8))
    return plan_batch(folder / "in", folder / "out", SAME_SIZE)


def run_on_fake_clock(monkeypatch, batch, upscaler) -> list[str]:
    """Run a batch; returns the lines for people after the first, which describes it."""
    lines = []
    monkeypatch.setattr("tqdm.std.time", lambda: upscaler.seconds)
    monkeypatch.setattr(batch_progress, "own_memory", lambda: 2**30)
    monkeypatch.setattr(batch_progress, "peak_memory", lambda: 3 * 2**29)
    run_batch(batch, upscaler, say=lines.append)
    assert batch.count("done") == len(batch.jobs)
    return lines[1:]


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([10, 190], "00:40"),  # The first image, 5 % of all, takes long and is not representative.
        ([900], "01:30"),  # After 5 seconds less than 10 % are enough.
    ],
    ids=str,
)
def test_time_is_estimated_once_enough_is_done(tmp_path, monkeypatch, heights, expected):
    lines = run_on_fake_clock(monkeypatch, plan_images(tmp_path, heights), FakeUpscaler())
    assert lines == [f"expected: {expected} for rendering, 2.1 GiB of memory"]


def test_time_to_compile_is_not_expected_of_the_other_images(tmp_path, monkeypatch):
    upscaler = FakeUpscaler(compile_seconds=100)
    lines = run_on_fake_clock(monkeypatch, plan_images(tmp_path, [10] * 12), upscaler)
    assert lines == ["expected: 00:36 for rendering, 2.1 GiB of memory"]


def test_few_large_images_wait(tmp_path, monkeypatch):
    """While an image is rendered, as many others are decoded as memory is set aside for."""
    decoded, ahead = [], []

    class SlowUpscaler(FakeUpscaler):
        def render(self, image, plan, *, progress=None):
            time.sleep(0.02)  # The threads decode what they may.
            ahead.append(len(decoded) - len(ahead))
            return image

    def decode(path):
        decoded.append(path)
        return read_photo(path)

    monkeypatch.setattr(batch_input, "read_photo", decode)
    plan_images(tmp_path, [300] * 12)
    for allowed, waiting in ((2**29, 8), (27_000, 3), (1, 1)):
        monkeypatch.setattr(batch_input, "DECODED_AHEAD_BYTES", allowed)
        decoded.clear(), ahead.clear()
        batch = plan_batch(tmp_path / "in", tmp_path / str(allowed), SAME_SIZE)
        run_batch(batch, SlowUpscaler(), threads=8)
        assert batch.count("done") == 12 and max(ahead) <= waiting + 1
        assert len(decoded) == 12


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "not enough memory; try a smaller --tile"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB"), "not enough memory"),
    ],
    ids=["file", "host memory", "device memory"],
)
def test_a_file_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, caplog, error, message):
    batch = plan_images(tmp_path, [10, 20, 30])

    class FailingUpscaler(FakeUpscaler):
        def render(self, image, plan, *, progress=None):
            if plan.size[0] == 20:
                raise error
            return super().render(image, plan, progress=progress)

    run_batch(batch, FailingUpscaler())
    assert [outcome.status for outcome in batch.outcomes] == ["done", "failed", "done"]
    path = tmp_path / "in" / "01.png"
    assert (batch.outcomes[1].error or "").startswith(f"{path}: ") and not caplog.records
    assert message in (batch.outcomes[1].error or "")


def test_a_full_disk_ends_the_run(tmp_path):
    """No other file is rendered than the one that was begun meanwhile."""
    plan_images(tmp_path, [10] * 6)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "01.png").symlink_to("/dev/full")
    batch = plan_batch(tmp_path / "in", tmp_path / "out", SAME_SIZE, overwrite=True)
    with pytest.raises(UserError, match=r"01.png: .*No space left.*; make room"):
        run_batch(batch, FakeUpscaler())
    statuses = ["done", "failed", "pending", "pending", "pending", "pending"]
    assert [outcome.status for outcome in batch.outcomes] == statuses


@pytest.mark.parametrize("place", ["render", "write"])
def test_a_bug_is_logged_and_told_as_one(tmp_path, monkeypatch, caplog, place):
    batch, upscaler = plan_images(tmp_path, [300, 310, 320]), FakeUpscaler()
    owner, name = (upscaler, "render") if place == "render" else (batch_run, "write_photo")
    function = getattr(owner, name)

    def fail(first, second, *arguments, **options):
        if len(caplog.records) == 0:
            raise KeyError("a name")
        return function(first, second, *arguments, **options)

    monkeypatch.setattr(owner, name, fail)
    run_batch(batch, upscaler)
    assert [outcome.status for outcome in batch.outcomes] == ["failed", "done", "done"]
    error = batch.outcomes[0].error or ""
    assert error.endswith("KeyError: 'a name'; this is a bug in hyperfunc")
    (record,) = caplog.records
    assert record.exc_info and record.exc_info[0] is KeyError and record.name == batch_run.__name__


def test_batches_without_work_are_not_kept(tmp_path):
    finished, kept = [], []

    def plan():
        yield plan_images(tmp_path, [10])
        for i in range(100):
            kept.append(i + 1 - len(finished))
            time.sleep(0.01)
            yield Batch([], [])

    run_batches(plan(), FakeUpscaler(), finish=finished.append)
    assert len(finished) == 101 and kept[-1] < 10


def test_an_interruption_completes_what_is_being_written(tmp_path, monkeypatch):
    batch, lines, writes = plan_images(tmp_path, [10, 20, 30]), [], []
    write = batch_run.write_photo

    def write_slowly(path, photo, **options):
        writes.append(path)
        time.sleep(0.3)
        return write(path, photo, **options)

    monkeypatch.setattr(batch_run, "write_photo", write_slowly)
    with pytest.raises(KeyboardInterrupt):
        run_batch(batch, FakeUpscaler(), say=lines.append, is_interrupted=lambda: bool(writes))
    assert [outcome.status for outcome in batch.outcomes] == ["done", "pending", "pending"]
    assert lines[-1] == "interrupted: completing the output that is being written"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00.png", ".hyperfunc.jsonl"}


def test_batches_are_planned_and_finished_one_after_the_other(tmp_path):
    """Of 30 files in batches of two, a few are in memory at any time."""
    plan_images(tmp_path, [10] * 30)
    references, most, finished = [], [], []

    def plan():
        for batch in plan_batches(tmp_path / "in", tmp_path / "out", SAME_SIZE, size=2):
            references.extend(map(weakref.ref, batch.outcomes))
            most.append(sum(reference() is not None for reference in references))
            yield batch

    def finish(batch):
        finished.extend(Path(outcome.output).name for outcome in batch.outcomes)
        assert all(outcome.status == "done" for outcome in batch.outcomes)

    run_batches(plan(), FakeUpscaler(), threads=1, finish=finish)
    assert finished == [f"{i:02}.png" for i in range(30)]
    assert all((tmp_path / "out" / name).exists() for name in finished)
    assert max(most) <= 12


def test_an_interruption_leaves_later_batches_unplanned(tmp_path):
    plan_images(tmp_path, [10] * 9)
    statuses = []

    class CountingUpscaler(FakeUpscaler):
        def render(self, image, plan, *, progress=None):
            statuses.append("rendered")
            return super().render(image, plan, progress=progress)

    finished = []
    batches = plan_batches(tmp_path / "in", tmp_path / "out", SAME_SIZE, size=2)
    with pytest.raises(KeyboardInterrupt):
        run_batches(
            batches,
            CountingUpscaler(),
            threads=1,
            is_interrupted=lambda: bool(statuses),
            finish=lambda batch: finished.extend(outcome.status for outcome in batch.outcomes),
        )
    assert set(finished) == {"pending"} and 2 <= len(finished) <= 6
    assert len(list(batches)) >= 1


def test_a_file_that_changes_during_the_run_fails(tmp_path):
    batch = plan_images(tmp_path, [10])
    write_image(tmp_path / "in" / "00.png", np.zeros((11, 10, 3), np.uint8))
    run_batch(batch, FakeUpscaler())
    assert "was changed during the run" in (batch.outcomes[0].error or "")


def test_the_report_has_the_fields_that_scripts_read(tmp_path):
    batch = plan_images(tmp_path, [10])
    run_batch(batch, FakeUpscaler())
    tally = Tally(tmp_path / "report.json")
    tally.add(batch)
    tally.finish(command="upscale")
    report = json.loads((tmp_path / "report.json").read_text())
    (file,) = report.pop("files")
    counts = {"done": 1, "skipped": 0, "failed": 0, "pending": 0, "passed_over": {}}
    assert report == {"command": "upscale", **counts}
    assert file.pop("seconds") >= 0
    assert file == {
        "input": f"{tmp_path}/in/00.png",
        "output": f"{tmp_path}/out/00.png",
        "status": "done",
        "input_size": [10, 10],
        "output_size": [10, 10],
        "channels": 3,
        "dtype": "uint8",
        "noise": 0.0,
        "notes": [],
        "error": None,
    }


def test_floats_of_any_range_are_mapped_to_the_unit_range_and_back():
    image = np.random.default_rng(2).uniform(size=(30, 30, 2)).astype(np.float32)
    assert ValueRange.of(image).to_unit(image) is image
    spread = image.copy()
    spread[..., :1] = image[..., :1] * 4000 - 1000  # Alpha keeps its range.
    low, high = spread[..., :1].min(), spread[..., :1].max()
    found = ValueRange.of(spread)
    assert found == (low, high)
    mapped = found.to_unit(spread)
    assert mapped[..., :1].min() == 0 and mapped[..., :1].max() == 1
    np.testing.assert_allclose(mapped[..., :1], (spread[..., :1] - low) / (high - low), atol=1e-6)
    np.testing.assert_array_equal(mapped[..., 1:], image[..., 1:])
    np.testing.assert_allclose(found.from_unit(mapped), spread, atol=0.001)
    for dtype in (np.uint8, np.uint16):
        assert ValueRange.of(np.full((2, 2, 3), 200, dtype)) == (0, 1)


def test_a_batch_is_described_before_it_runs(tmp_path):
    lines = []
    batch = plan_images(tmp_path, [10, 20])
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    batch = plan_batch(tmp_path / "in", tmp_path / "out", Request(scale=(2.0, 3.0)))
    run_batch(batch, FakeUpscaler(), say=lines.append)
    assert lines[0] == "2 of 3 files to do: 0.0 -> 0.0 Mpx, 2 tiles (1 cannot be done)"
    batch = plan_batch(tmp_path / "in" / "00.png", tmp_path / "a.png", Request(scale=(2.0, 3.0)))
    run_batch(batch, FakeUpscaler(), say=lines.append)
    assert f"{tmp_path}/in/00.png: 10 x 10 -> 30 x 20 pixels (0.0 Mpx), 1 tile" in lines


def test_restoring_is_recommended_where_there_is_noise(tmp_path):
    """Of 15 levels, and not of 5; nor for a texture that does not cover the image."""
    rng = np.random.default_rng(0)
    noise, smooth = rng.normal(size=(96, 128, 3)), np.full((96, 128, 3), 128.0)
    texture = smooth + np.where(np.arange(128)[:, None] < 80, 40, 0) * noise
    images = {"a": smooth + 15 * noise, "b": smooth + 5 * noise, "c": texture}
    (tmp_path / "in").mkdir()
    for name, image in images.items():
        write_image(tmp_path / "in" / f"{name}.png", image.round().clip(0, 255).astype("u1"))
    batch = plan_batch(tmp_path / "in", tmp_path / "out", SAME_SIZE)
    run_batch(batch, FakeUpscaler())
    assert "1 of these have noise: hyperfunc restore" in (advise_against_noise(batch) or "")
    batch.outcomes = batch.outcomes[:1]
    assert "noise of about 1" in (advise_against_noise(batch) or "")
    batch.outcomes[0].noise = 9.9
    assert advise_against_noise(batch) is None
