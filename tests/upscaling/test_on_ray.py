"""On a Ray cluster of two nodes a folder becomes what it becomes without Ray."""

import os
import signal
import time

import pytest

from hyperfunc.commands import main
from hyperfunc.images import write_image
from tests.campaigns.test_lost_nodes import (
    ALLOW_WARNINGS,
    count_records,
    find_actors,
    list_outputs,
    losing,
    starting_cluster,
)

pytestmark = [pytest.mark.slow, ALLOW_WARNINGS]
COMMAND = "from hyperfunc.commands import main; main()"
FILES = 48


@pytest.fixture(scope="module")
def ray(compilation_cache):
    """The flag that names a cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(compilation_cache))
        with starting_cluster() as cluster:
            yield f"--ray={cluster.address}"


@pytest.fixture
def start(tmp_path, draw, start_python):
    """Starts to enlarge a folder of small images, with more flags."""
    for i in range(FILES):
        write_image(tmp_path / "in" / f"{i:02}.png", draw(i, (48, 64)))

    def start(target, *flags, source=tmp_path / "in"):
        return start_python(COMMAND, "upscale", source, target, "--scale=2", *flags)

    return start


def test_the_command_does_what_it_does_without_ray(start, ray, tmp_path):
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    plain, out = tmp_path / "plain", tmp_path / "out"
    start(plain).communicate(timeout=300)
    first, again = f"{FILES} done, 0 skipped, 1 failed", f"0 done, {FILES} skipped, 1 failed"
    for summary in (first, again):
        process = start(out, ray)
        lines, err = process.communicate(timeout=300)
        assert process.returncode == 1, err
        assert lines.splitlines() == ["Ray: machines: 2, processes that enlarge: 2", summary]
        announcement, error = err.splitlines()
        assert announcement.startswith("loading ") and "bad.png: cannot be read" in error
    assert len(list_outputs(out)) == FILES and set(count_records(out).values()) == {1}
    for path in list_outputs(out):
        assert path.read_bytes() == (plain / path.name).read_bytes()


def test_a_single_file_ends_as_it_does_without_ray(start, ray, tmp_path):
    """Also if only an actor finds out that it cannot be read."""
    bad = tmp_path / "bad.png"
    bad.write_bytes((tmp_path / "in" / "00.png").read_bytes()[:-400])
    for source, code in ((tmp_path / "in" / "00.png", 0), (bad, 2)):
        answers = []
        for flags in ((), (ray,)):
            process = start(tmp_path / f"{len(flags)}.png", "--overwrite", *flags, source=source)
            _, err = process.communicate(timeout=300)
            answers.append([line for line in err.splitlines() if line.startswith("error")])
            assert process.returncode == code, err
        assert answers[0] == answers[1] and len(answers[0]) == (code == 2)
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_killed_actor_loses_nothing(start, ray, tmp_path):
    killed = []

    def kill():
        killed.append(find_actors()[0])
        os.kill(killed[0], signal.SIGKILL)

    with losing(kill, tmp_path / "out", 4):
        process = start(tmp_path / "out", ray)
        lines, err = process.communicate(timeout=300)
    assert killed and process.returncode == 0, err
    assert lines.splitlines()[1] == f"{FILES} done, 0 skipped, 0 failed"
    assert len(list_outputs(tmp_path / "out")) == FILES
    assert sum(count_records(tmp_path / "out").values()) <= FILES + 1  # One was being written.


def test_an_interruption_ends_the_run_soon(start, ray, tmp_path):
    process = start(tmp_path / "out", ray)
    with losing(lambda: process.send_signal(signal.SIGINT), tmp_path / "out", 4):
        lines, err = process.communicate(timeout=300)
    assert process.returncode == 130 and err.splitlines()[-1] == "interrupted"
    assert lines.splitlines()[1].endswith("done; the same command goes on from here")
    time.sleep(1)  # The actors end, too.
    made = len(list_outputs(tmp_path / "out"))
    assert 4 <= made < FILES
    lines, _ = start(tmp_path / "out", ray).communicate(timeout=300)
    assert lines.splitlines()[1] == f"{FILES - made} done, {made} skipped, 0 failed"


def test_a_cluster_that_is_not_there(tmp_path, draw, refuse):
    write_image(tmp_path / "a.png", draw(0))
    words = ["upscale", tmp_path / "a.png", tmp_path / "b.png", "--scale=2", "--ray=localhost"]
    assert "--ray=localhost: cannot be used" in refuse(main, *words)
