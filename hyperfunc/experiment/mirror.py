"""A workdir in an object store: training goes on in a local copy, and what is new is uploaded.

Orbax writes to local folders and to ``gs://``, not to ``s3://``, and nothing appends to an object.
A checkpoint counts once ``.complete/STEP`` is there, which is uploaded last and removed first.
"""

import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from hyperfunc.errors import UserError
from hyperfunc.files import Address, read_folder

CHECKPOINTS, COMPLETE = "checkpoints", ".complete"

INTERVAL = 5.0
"""Seconds between two looks for what is new."""

logger = logging.getLogger(__name__)


def find_uploaded(workdir: Address) -> list[int]:
    """List the steps of the checkpoints that were uploaded completely, in ascending order."""
    names = {name for name in read_folder(workdir / CHECKPOINTS) if name.isdigit()}
    complete = read_folder(workdir / COMPLETE)
    # A workdir that somebody has copied there has no marks.
    return sorted(map(int, names & complete.keys() if complete else names))


@contextlib.contextmanager
def fetching_model(workdir: Path, step: int) -> Iterator[Path]:
    """Give a local workdir that holds what inference needs of a checkpoint."""
    if not isinstance(workdir, Address):
        yield workdir
        return
    with tempfile.TemporaryDirectory(prefix="hyperfunc-") as folder, _naming(folder, workdir):
        for item in ("config", "model"):
            place = Path(CHECKPOINTS, str(step), item)
            _download(workdir / place, Path(folder) / place)
        yield Path(folder)


@contextlib.contextmanager
def mirroring(workdir: Path, *, processes: int = 1) -> Iterator[Path]:
    """Give a local copy of a workdir, and upload what is new every few seconds and at the end.

    A local workdir stands for itself. ``processes`` is the number of those that train together.

    Raises:
        UserError: several processes train together, which needs a folder that they share; or the
            store cannot be read or written.
    """
    if not isinstance(workdir, Address):
        yield workdir
        return
    if processes > 1:
        raise UserError(
            f"{workdir}: is an address, and several processes need a folder that they share: mount "
            "the bucket, or give a shared file system, as --workdir"
        )
    folder = Path(tempfile.mkdtemp(prefix="hyperfunc-")) / (workdir.name or "workdir")
    mirror, stop = _Mirror(workdir, folder), threading.Event()
    with _reporting(workdir):
        mirror.download()
    thread = threading.Thread(target=mirror.upload_until, args=[stop], daemon=True)
    thread.start()
    try:
        with _naming(str(folder), workdir):
            yield folder
    finally:
        stop.set()
        thread.join()
        with _reporting(workdir, f"; what is new is in {folder}"):
            mirror.upload()
        shutil.rmtree(folder.parent, ignore_errors=True)


class _Mirror:
    def __init__(self, workdir: Address, folder: Path) -> None:
        self._workdir, self._folder = workdir, folder
        self._uploaded = set[str]()
        self._versions: dict[Path, tuple[int, int]] = {}

    def download(self) -> None:
        """Copy the workdir; checkpoints that are not complete are removed first."""
        self._uploaded = {str(step) for step in find_uploaded(self._workdir)}
        for name in ("begun", *self._uploaded):
            (self._workdir / COMPLETE / name).write_bytes(b"")
        for name in read_folder(self._workdir / CHECKPOINTS).keys() - self._uploaded:
            if name.isdigit():  # Its upload was interrupted.
                place = self._workdir / CHECKPOINTS / name
                logger.warning("%s: is not complete and is removed", place)
                place.rmtree()
        _download(self._workdir, self._folder)
        self._versions = {path: _identify(self._folder / path) for path in self._list_others()}

    def upload_until(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL):
            try:
                self.upload()
            # Also a file that has meanwhile gone.
            except OSError as error:
                logger.warning("%s: %s; trying again", self._workdir, error.strerror or error)
            except Exception:  # A mistake of ours, which must not end the uploads.
                logger.exception("%s: an upload has failed; trying again", self._workdir)

    def upload(self) -> None:
        """Upload what is new, and remove the checkpoints that are gone."""
        steps = {x.name for x in (self._folder / CHECKPOINTS).glob("*") if x.name.isdigit()}
        for name in sorted(steps - self._uploaded, key=int):
            folder = self._folder / CHECKPOINTS / name
            for path in _list_files(folder):
                (self._workdir / CHECKPOINTS / name / path).upload(folder / path)
            (self._workdir / COMPLETE / name).write_bytes(b"")
            self._uploaded.add(name)
        for path in self._list_others():
            version = _identify(self._folder / path)
            if self._versions.get(path) != version:
                (self._workdir / path).upload(self._folder / path)
                self._versions[path] = version
        for name in self._uploaded - steps:
            (self._workdir / COMPLETE / name).unlink(missing_ok=True)
            self._uploaded.discard(name)
            (self._workdir / CHECKPOINTS / name).rmtree()

    def _list_others(self) -> list[Path]:
        """Files that belong to no checkpoint, and to no lock."""
        return [
            path
            for path in _list_files(self._folder)
            if path.parts[0] not in (CHECKPOINTS, COMPLETE) and not path.name.startswith(".")
        ]


def _list_files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def _identify(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _download(source: Address, target: Path) -> None:
    for folder, _, names in source.walk():
        for name in names:
            (folder / name).download(target / Path(*folder.relative_to(source).parts, name))


@contextlib.contextmanager
def _reporting(workdir: Address, more: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{workdir}: cannot be read or written ({error.strerror or error}); check who may "
            f"write there{more}"
        ) from error


@contextlib.contextmanager
def _naming(folder: str, workdir: Address) -> Iterator[None]:
    """Name the workdir, not its copy, in errors."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(folder, str(workdir))) from error
