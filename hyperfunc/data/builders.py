"""TFDS builders of the four test sets of super-resolution, which download them.

They write `array_record` files, which `hyperfunc.data.open_dataset` reads; neither needs
TensorFlow. Each example is `{"hr": image, "name": text}`; examples are stored in the order of the
names, images as lossless PNG.

Set5, Set14 and Urban100 are read from one archive of the repository majedelhelou/denoising_datasets
at commit 58234876 (folders CSet5, CSet14, CUrban100; one download serves all three). B100 is
BSDS500's `val`, the 100 test images of BSDS300, from BIDS/BSDS500 at commit a04b7c6c. These are
third-party copies of sets that were released for research; neither repository states a licence.
"""

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from hyperfunc.errors import UserError
from hyperfunc.images import ImageFile, find_images

_DENOISING_DATASETS = "https://github.com/majedelhelou/denoising_datasets/archive/58234876.zip"
_BSDS500 = "https://github.com/BIDS/BSDS500/archive/a04b7c6c3a9f0ace74bf205c72a43d32e1c72722.zip"


class _ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images with their names, so many, from a folder of a zip archive below its top folder."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    URL: str
    FOLDER: str
    EXPECTED: int
    CITATION: str

    # TFDS looks for checksums beside the code. To find the code it imports importlib_resources,
    # which it does not install. These builders have no checksums, so TFDS need not look.
    code_path = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(self.__doc__ or "").strip(),
            citation=self.CITATION,
            features=tfds.features.FeaturesDict(
                {
                    "hr": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "name": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        archive = Path(dl_manager.download(self.URL))
        files = _inside(find_images(archive), self.FOLDER)
        if len(files) != self.EXPECTED:
            raise UserError(
                f"{self.URL}: holds {len(files)} images in {self.FOLDER}, {self.name} needs "
                f"{self.EXPECTED}; give a folder of its images as --dataset"
            )
        return {"test": self._generate_examples(files)}

    def _generate_examples(
        self, files: dict[str, ImageFile]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (name, file) in enumerate(files.items()):
            # TFDS needs TensorFlow for every form of an image but an encoded one in a file object.
            png = io.BytesIO()
            Image.fromarray(file.read()).save(png, format="png")
            png.seek(0)
            yield i, {"hr": png, "name": name}


class Set5(_ImageBuilder):
    """Set5: five photographs of 228 x 344 to 512 x 512 pixels."""

    name = "set5"
    URL, FOLDER, EXPECTED = _DENOISING_DATASETS, "CSet5", 5
    CITATION = (
        "Bevilacqua, Roumy, Guillemot, Alberi Morel. Low-complexity single-image super-resolution "
        "based on nonnegative neighbor embedding. BMVC 2012."
    )


class Set14(_ImageBuilder):
    """Set14: fourteen pictures of 276 x 276 to 720 x 576 pixels; `bridge` is grey."""

    name = "set14"
    URL, FOLDER, EXPECTED = _DENOISING_DATASETS, "CSet14", 14
    CITATION = (
        "Zeyde, Elad, Protter. On single image scale-up using sparse-representations. "
        "Curves and Surfaces 2010."
    )


class B100(_ImageBuilder):
    """B100: the 100 test photographs of BSDS300, 481 x 321 or 321 x 481 pixels."""

    name = "b100"
    URL, FOLDER, EXPECTED = _BSDS500, "BSDS500/data/images/val", 100
    CITATION = (
        "Martin, Fowlkes, Tal, Malik. A database of human segmented natural images and its "
        "application to evaluating segmentation algorithms. ICCV 2001."
    )


class Urban100(_ImageBuilder):
    """Urban100: 100 photographs of buildings, 564 x 1024 to 1280 x 960 pixels."""

    name = "urban100"
    URL, FOLDER, EXPECTED = _DENOISING_DATASETS, "CUrban100", 100
    CITATION = (
        "Huang, Singh, Ahuja. Single image super-resolution from transformed self-exemplars. "
        "CVPR 2015."
    )


BUILDERS = {builder.name: builder for builder in (Set5, Set14, B100, Urban100)}
"""The builders by the name of their dataset."""


def prepare(name: str, data_dir: Path | None) -> Path:
    """Download and prepare a dataset, unless this was done before, and return its folder.

    Raises:
        UserError: there is no network, an image cannot be read, or the number of images is not that
            of the set. TFDS raises other exceptions, too.
    """
    builder = BUILDERS[name](data_dir=data_dir, file_format="array_record")
    if not builder.is_prepared():
        _check_reachable(builder.URL)
    # By default TFDS first asks a bucket of its own for the prepared data.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    return Path(builder.data_path)


def _check_reachable(url: str) -> None:
    """Fail in seconds where TFDS would retry for minutes; finds proxies as TFDS does."""
    import requests

    try:
        requests.head(url, timeout=10, allow_redirects=True)
    except requests.RequestException as error:
        raise UserError(
            f"{url}: cannot be reached ({type(error).__name__}); without a network give --data_dir "
            "with the images in benchmarks/<name>, or a folder of images as --dataset"
        ) from error


def _inside(files: list[ImageFile], folder: str) -> dict[str, ImageFile]:
    """Select the files of an archive directly in `<top folder>/<folder>`, by their names."""
    paths = [PurePosixPath(file.member) for file in files]
    wanted = PurePosixPath(folder).parts
    return {
        path.stem: file
        for path, file in zip(paths, files, strict=True)
        if path.parts[1:-1] == wanted
    }
