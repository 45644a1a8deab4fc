"""`ImageSource`: a list of images, whatever they are stored in."""

import copy
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hyperfunc.errors import UserError
from hyperfunc.types import HostImage

logger = logging.getLogger(__name__)

MIN_SIDE = 16
"""Images with a shorter side, in pixels, are refused."""

CACHE_BYTES = 2 << 30
"""Default limit of the decoded images that a source keeps in memory: 2 GiB."""


class ImageSource:
    """Images `[h, w, 3]`, uint8 RGB 0..255, by number; each has a name and its own size.

    A source keeps decoded images until `cache_bytes` are full, and decodes the others again at each
    access. Images are read-only because all readers share them. Several threads may read a source,
    and it can be pickled (without its cache).
    """

    def __init__(
        self,
        description: str,
        names: Sequence[str],
        read: Callable[[int], HostImage],
        *,
        cache_bytes: int = CACHE_BYTES,
    ):
        """Make a source; `read` decodes one image, or raises a `UserError` that names the file."""
        self.description = description
        self.names = tuple(names)
        self._read = read
        self._numbers: Sequence[int] = range(len(self.names))
        self._sizes: dict[int, tuple[int, int]] = {}
        self._cache_bytes = cache_bytes
        self._make_cache()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> HostImage:
        """Image `i`, read-only.

        Raises:
            UserError: its file cannot be read, or a side is shorter than `MIN_SIDE`.
        """
        number = self._numbers[i]
        image = self._cache.get(number)
        if image is None:
            image = self._read(number)
            if min(image.shape[:2]) < MIN_SIDE:
                raise UserError(
                    f"{self.names[i]}: an image of {image.shape[0]} x {image.shape[1]} pixels is "
                    f"too small, each side needs {MIN_SIDE}; remove it from {self.description}"
                )
            image.flags.writeable = False
            self._sizes[number] = (image.shape[0], image.shape[1])
            with self._lock:
                if number not in self._cache and image.nbytes <= self._free:
                    self._cache[number] = image
                    self._free -= image.nbytes
        return image

    def __iter__(self) -> Iterator[HostImage]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"ImageSource({self.description}, {len(self)} images)"

    def __getstate__(self) -> dict:
        """Everything but the cache and its lock."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_cache", "_lock", "_free")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._make_cache()

    def verify(self, *, strict: bool) -> "ImageSource":
        """Decode every image once, in several threads, and return this source.

        If not ``strict``, bad images are left out with a warning, as suits training; a mean over
        fewer images would be wrong in an evaluation.

        Raises:
            UserError: an image is bad (strict), or all images are.
        """
        problems = self._decode_all()
        bad = [problem for problem in problems if problem is not None]
        if strict and bad:
            raise bad[0]
        for problem in bad:
            logger.warning("left out: %s", problem)
        if len(bad) == len(self):
            raise UserError(f"{self.description}: none of its {len(bad)} files is a usable image")
        good = [i for i, problem in enumerate(problems) if problem is None]
        self._numbers = [self._numbers[i] for i in good]
        self.names = tuple(self.names[i] for i in good)
        return self

    def sizes(self) -> list[tuple[int, int]]:
        """Return (height, width) of every image; images not decoded before are decoded now.

        Raises:
            UserError: an image is bad.
        """
        if any(number not in self._sizes for number in self._numbers):
            for problem in filter(None, self._decode_all()):
                raise problem
        return [self._sizes[number] for number in self._numbers]

    def identify(self) -> str:
        """Return the number of images and a digest of their names and sizes, to notice changes."""
        text = "\n".join(
            f"{name} {height} {width}"
            for name, (height, width) in zip(self.names, self.sizes(), strict=True)
        )
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{len(self)} images ({digest[:12]})"

    def select(self, numbers: Sequence[int]) -> "ImageSource":
        """Return a source of the images with these numbers; both share one cache."""
        part = copy.copy(self)
        part.names = tuple(self.names[i] for i in numbers)
        part._numbers = [self._numbers[i] for i in numbers]
        return part

    def _decode_all(self) -> list[UserError | None]:
        """Decode every image, and return what is wrong with each."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._find_problem, range(len(self))))

    def _find_problem(self, i: int) -> UserError | None:
        try:
            self[i]
        except UserError as error:
            return error
        return None

    def _make_cache(self) -> None:
        self._cache: dict[int, np.ndarray] = {}
        self._free = self._cache_bytes
        self._lock = threading.Lock()
