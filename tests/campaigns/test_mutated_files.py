"""Damaged files of every format: each is read, or refused in one line, soon and in little memory.

python -m tests.campaigns mutated_files --count 10000
"""

import collections
import json
import os
import re
import shutil
import struct
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns.harness import Ended, Worker, run_command
from tests.campaigns.samples import EXPERIMENT, make_samples
from tests.drawing import draw

SMALL = 2**18
"""Pixels up to which a damaged picture is enlarged; a larger one is only read."""

NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes, or take away, repeat, exchange or insert a part."""
    result = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _change(result, other, rng)
    if result.startswith(b"\x89PNG") and rng.random() < 0.7:
        _mend_checksums(result)  # Otherwise none of these would be decoded.
    return bytes(result)


def _change(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) + 1)) if rng.random() < 0.5 else _early(data, rng)
    stop = min(start + int(rng.integers(1, 64)), len(data))
    part = data[start:stop]
    changes: list[Callable[[], Any]] = [
        lambda: data.__setitem__(slice(start, start + 1), rng.bytes(1)),
        lambda: data.__setitem__(slice(start, stop), rng.bytes(len(part))),
        lambda: data.__setitem__(slice(start, stop), b"\0" * len(part)),
        lambda: data.__setitem__(slice(start, stop), b""),
        lambda: data.__setitem__(slice(start, start), part),
        lambda: data.__setitem__(slice(start, None), b""),
        lambda: data.__setitem__(slice(start, stop), _cut(other, rng)),
        lambda: _set_number(data, start, rng),
        lambda: _change_digits(data, rng),
    ]
    changes[rng.integers(len(changes))]()


def _early(data: bytes | bytearray, rng: np.random.Generator) -> int:
    """A place near the start, where headers are."""
    return int(len(data) ** rng.random())


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[start : start + int(rng.integers(1, 64))]


def _set_number(data: bytearray, place: int, rng: np.random.Generator) -> None:
    order, kind = rng.choice(["<", ">"]), rng.choice(["B", "H", "I"])
    number = int(rng.choice(NUMBERS)) % 256 ** struct.calcsize(kind)
    packed = struct.pack(order + kind, number)
    data[place : place + len(packed)] = packed


def _change_digits(data: bytearray, rng: np.random.Generator) -> None:
    """Write another number, or another value, in the place of one in a text."""
    found = list(re.finditer(rb'-?\d+|"[a-zA-Z_]+"|true|false|null', data[:4096]))
    if found:
        match = found[rng.integers(len(found))]
        values = [b"0", b"-1", b"1e9", b"99999999", b"null", b'"x"', b"[]", b"{}", b"true", b"1.5"]
        data[slice(*match.span())] = values[rng.integers(len(values))]


def _mend_checksums(data: bytearray) -> None:
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            return
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4


def start_reading(folder: Path, model: Path) -> Callable[[tuple[str, Path]], str]:
    """Prepare a worker: it keeps what is compiled for the whole model."""
    import jax

    from hyperfunc import experiment
    from hyperfunc.images import write_image
    from hyperfunc.upscaling import Upscaler

    os.environ["HYPERFUNC_CACHE"] = str(folder / "cache")
    jax.config.update("jax_num_cpu_devices", 1)
    write_image(folder / "whole.png", draw(12, 16))
    load, make = experiment.load_model, Upscaler.of_model
    whole = load(model)
    upscaler = make(whole)
    experiment.load_model = lambda path, **options: (
        whole if str(path) == str(model) else load(path, **options)
    )
    Upscaler.of_model = lambda other, **options: (  # type: ignore[method-assign]
        upscaler if other is whole else make(other, **options)
    )

    def read(job: tuple[str, Path]) -> str:
        kind, path = job
        warnings.resetwarnings()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            if kind in ("exported", "checkpoint"):
                outcome = _run([["info", path], _enlarge(folder / "whole.png", folder, path)])
                return _resume(path) if (kind, outcome) == ("checkpoint", "read") else outcome
            if kind != "hfn" and not _is_small(path):
                return _run([["info", path]]) and _read(path)
            return _run([["info", path], _enlarge(path, folder, model)])

    return read


def _enlarge(source: Path, folder: Path, model: Path) -> list[Any]:
    target = folder / "large.png"
    target.unlink(missing_ok=True)
    return ["upscale", source, target, "--scale=2", "--overwrite", f"--checkpoint={model}"]


def _is_small(path: Path) -> bool:
    from hyperfunc.images import read_header

    try:
        return np.prod(read_header(path).size) <= SMALL
    except Exception:
        return True  # The command tells why.


def _read(path: Path) -> str:
    from hyperfunc.errors import UserError
    from hyperfunc.images import read_photo

    try:
        read_photo(path)
    except UserError:
        return "refused"
    return "read"


def _resume(workdir: Path) -> str:
    """Read what a training run would continue with, which goes back to an earlier step."""
    import jax

    from hyperfunc.devices import make_mesh, state_shardings
    from hyperfunc.errors import UserError
    from hyperfunc.experiment import Workdir
    from hyperfunc.training import make_init
    from hyperfunc.training.starting import start_state

    shapes = jax.eval_shape(make_init(EXPERIMENT))
    shardings = state_shardings(shapes, make_mesh(), shard_parameters=False)
    try:
        with Workdir(workdir) as checkpoints:
            start_state(EXPERIMENT, checkpoints, shapes, shardings)
    except UserError:
        return "refused"
    except Exception:
        return traceback.format_exc()
    return "read"


def _run(commands: list[list[Any]]) -> str:
    """Run commands; return "read", "refused", or what is wrong with how one of them ended."""
    outcome = "read"
    for words in commands:
        code, text = run_command([str(word) for word in words])
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        is_plain = not re.search(r"Traceback|\wWarning: ", text)
        if code not in (0, 2) or len(errors) != (code == 2) or not is_plain:
            return f"{words[0]}, exit code {code}: {text[-1500:]}"
        if words[0] == "upscale" and Path(words[2]).exists() != (code == 0):
            return f"exit code {code}, and the output is {'missing' if code == 0 else 'there'}"
        if code:
            outcome = "refused"
    return outcome


def run(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Try so many damaged files; return the numbers of each kind and all failures."""
    samples = make_samples(folder / "samples")
    worker = Worker(start_reading, folder, samples["exported"])
    outcomes: dict[str, collections.Counter] = {name: collections.Counter() for name in samples}
    failures, names = [], list(samples)
    for name, path in samples.items():
        assert worker.do((name.partition(" ")[0], path)) == Ended("done", "read"), name
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        name = names[i % len(names)]
        path, changed = _write_mutated(samples, name, folder, rng)
        ended = worker.do((name.partition(" ")[0], path))
        outcome = ended.result if ended.how == "done" else f"{ended.how}: {ended.result}"
        if outcome in ("read", "refused"):
            outcomes[name][outcome] += 1
        else:
            outcomes[name]["failed"] += 1
            kept = folder / "failed" / f"{i}{changed.suffix}"
            kept.parent.mkdir(exist_ok=True)
            shutil.copy(changed, kept)
            failures.append({"number": i, "kind": name, "file": changed.name, "how": outcome})
            (folder / "failures.json").write_text(json.dumps(failures, indent=1))
    worker.close()
    return {"outcomes": {k: dict(v) for k, v in outcomes.items()}, "failures": failures}


def _write_mutated(
    samples: dict[str, Path], name: str, folder: Path, rng: np.random.Generator
) -> tuple[Path, Path]:
    """Write a damaged file; return what a command opens, and the file itself."""
    source = samples[name]
    place = folder / "mutated" / source.name
    shutil.rmtree(place.parent, ignore_errors=True)
    place.parent.mkdir()
    changed = place
    if source.is_dir():
        shutil.copytree(source, place)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        changed = files[rng.integers(len(files))]
    else:
        shutil.copy(source, place)
    files = [path for path in samples.values() if path.is_file()]
    other = files[rng.integers(len(files))].read_bytes()
    changed.write_bytes(mutate(changed.read_bytes(), other, rng))
    return place, changed


@pytest.mark.campaign
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    result = run(100, 0, tmp_path)
    assert not result["failures"]
    assert sum(sum(kind.values()) for kind in result["outcomes"].values()) == 100
