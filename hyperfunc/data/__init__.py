"""Training data: from files and datasets to batches of examples.

Batch number n is a function of (source, task, seed, n) alone, so that a resumed run repeats it.
"""

from hyperfunc.data.blur_kernels import gaussian_kernel, motion_kernel
from hyperfunc.data.datasets import BENCHMARKS, FACE_SIZES, open_dataset
from hyperfunc.data.degradation import Degradation
from hyperfunc.data.device_pipeline import make_resident_batches
from hyperfunc.data.host_operations import save_as_jpeg
from hyperfunc.data.pipeline import make_batches
from hyperfunc.data.source import ImageSource
from hyperfunc.data.tasks import Reconstruction, SuperResolution, Task, Trial

__all__ = [
    "BENCHMARKS",
    "Degradation",
    "FACE_SIZES",
    "ImageSource",
    "Reconstruction",
    "SuperResolution",
    "Task",
    "Trial",
    "gaussian_kernel",
    "make_batches",
    "make_resident_batches",
    "motion_kernel",
    "open_dataset",
    "save_as_jpeg",
]
