"""Training data: from files and datasets to batches of examples.

Batch number n is a function of (source, task, seed, n) alone, so that a resumed run repeats it.
"""

from hyperfunc.data.datasets import BENCHMARKS, open_dataset
from hyperfunc.data.device_pipeline import make_resident_batches
from hyperfunc.data.faces import FACE_SIZES
from hyperfunc.data.host_operations import add_enlarged
from hyperfunc.data.pipeline import make_batches
from hyperfunc.data.setting import Setting
from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import Reconstruction, SuperResolution, Task

__all__ = [
    "BENCHMARKS",
    "FACE_SIZES",
    "ImageSource",
    "Reconstruction",
    "Setting",
    "SuperResolution",
    "Task",
    "add_enlarged",
    "make_batches",
    "make_resident_batches",
    "open_dataset",
]
