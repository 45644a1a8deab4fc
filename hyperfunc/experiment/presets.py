"""Named experiments. Each says what it costs, what to expect, and its command."""

import dataclasses

from hyperfunc.data import Degradation, SuperResolution
from hyperfunc.experiment.config import Data, Experiment, Run
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.experiment.paper_presets import (
    FACES,
    FACES_LOCAL,
    FACES_SMALL,
    RDN_PRESET,
    SR_PAPER,
    SR_PATCHES,
    SR_RDN,
    SRCNN_PRESET,
)
from hyperfunc.networks import (
    EDSR,
    DnCNN,
    FourierField,
    HalfEDSR,
    PixelHypernetwork,
    VapSR,
)

SR = Experiment(
    model=PixelHypernetwork(
        EDSR(width=48, blocks=10, attention=True, fusion=True), FourierField(frequencies=32)
    ),
    task=SuperResolution(scales=(2, 3, 4) * 4 + (8,), crop=48, shrink=1.5, tries=2, noise=0.05),
    data=Data(dataset="train", batch_size=8, weights=(("bsds399", 0.4),)),
    optimizer=Optimizer(method="muon", schedule="trapezoid", weight_decay=0.1, clip_norm=0.05),
)
"""The flagship: a Fourier field for each pixel, one model for all scales (0.49 M parameters).

One batch in 13 has scale 8, which the scales beyond 4 gain by. The Berkeley photographs are JPEGs
of many pixels and little detail: without their weight they would be two crops in three. One example
in 20 is disturbed, without which noise and dithering make the network blow up. Without the weight
decay kernels grow, so that Muon's steps count for less and less. Gradients have norms of about
0.01: what is far above comes of an accident. On a Xeon with AMX, `--amx=True`.

    python train.py --workdir=runs/sr --data_dir=DATA

The bundled checkpoint is 181,063 steps of 64 crops, 23 minutes of an H100
(docs/experiments/sr-training.md), without the second try.
"""

SR_FINETUNE = dataclasses.replace(
    SR,
    task=dataclasses.replace(SR.task, tries=1),
    data=dataclasses.replace(SR.data, weights=()),
    optimizer=dataclasses.replace(
        SR.optimizer, learning_rate=3e-5, muon_learning_rate=3e-4, decay=0.9, weight_decay=0.0
    ),
    run=Run(steps=5_000, start_from="sr"),
)
"""On from the bundled flagship, with images of one's own: about an hour of two cores.

At a thirtieth of the flagship's rates, which soon fall: at a tenth, batches of 8 set back what it
has learned from batches of 64 (docs/experiments/data-and-crops.md). Nothing grows in so few steps
that a weight decay would have to hold.

    python train.py --workdir=runs/mine --preset=sr_finetune --data.dataset=my_photos
"""

SR_JPEG = dataclasses.replace(
    SR_FINETUNE,
    task=dataclasses.replace(SR.task, tries=1, degradation=Degradation(jpeg=0.8)),
    data=SR.data,
    optimizer=dataclasses.replace(
        SR_FINETUNE.optimizer, learning_rate=3e-4, muon_learning_rate=3e-3
    ),
    run=Run(steps=15_000, start_from="sr"),
)
"""On from the flagship, to undo JPEG: four crops in five are compressed, with quality 30 to 95.

An hour of two cores with AMX. On JPEGs of quality 85 and below 0.5 to 1.4 dB better than the
flagship, on what was never compressed 0.3 to 0.4 dB worse (docs/experiments/jpeg.md).

    python train.py --workdir=runs/sr_jpeg --preset=sr_jpeg --data_dir=DATA
"""

RESTORE = Experiment(
    model=PixelHypernetwork(
        HalfEDSR(width=64, blocks=8, fine_width=32, fine_blocks=8),
        FourierField(frequencies=32),
        base="corrected",
    ),
    task=SuperResolution(
        scales=(1,) * 4 + (2, 2, 3, 4),
        crop=48,
        shrink=1.5,
        tries=2,
        grey=0.15,
        degradation=Degradation(
            alone=0.6,
            blur=0.4,
            blur_noise=(0.0, 5.0),
            noise=0.6,
            jpeg=0.5,
            jpeg_again=0.1,
            jpeg_quality=(8, 85),
        ),
    ),
    data=SR.data,
    optimizer=dataclasses.replace(SR.optimizer, clip_norm=0.2),
    run=Run(steps=60_000, loss="psnr"),
)
"""The function of the clean image, from a blurred, noisy or compressed one (0.93 M parameters).

Blind: what happened to an image, and how much of it, is not told. Half of the batches have scale 1.
Three examples in five have one kind of degradation alone; of the others, one in eight has none. The
network corrects each pixel, and the fields add to what is interpolated between those
(docs/adr/0015-restoring-by-a-corrected-base.md). With the absolute error as the loss, images with
little damage would count little (docs/experiments/restoration.md).

    python train.py --workdir=runs/restore --preset=restore --data_dir=DATA
"""

INPAINT = dataclasses.replace(
    RESTORE,
    model=PixelHypernetwork(
        HalfEDSR(width=64, blocks=8), FourierField(frequencies=32), base="filled"
    ),
    task=SuperResolution(
        scales=(1,) * 7 + (2,),
        crop=48,
        shrink=1.5,
        tries=2,
        degradation=Degradation(
            missing=1.0, gaps=("pixels", "pixels", "pixels", "strokes", "rectangles", "text")
        ),
    ),
)
"""The function of the whole image, from one of which pixels are missing (0.73 M parameters).

Half of the examples lack 20 to 90 % of their pixels, at random; of the others a part is hidden
under strokes, rectangles or text. The network corrects a weighted mean of the known pixels nearby
(docs/adr/0017-missing-pixels-are-nan.md).

    python train.py --workdir=runs/inpaint --preset=inpaint --data_dir=DATA

The bundled checkpoint goes on from an earlier `restore`, with the absolute error as the loss first
and then with the PSNR (docs/experiments/restoration.md).
"""

SR_LARGE = Experiment(
    model=PixelHypernetwork(
        EDSR(width=64, blocks=16, attention=True, fusion=True, dtype="bfloat16"),
        FourierField(frequencies=32),
    ),
    task=SuperResolution(scales=(2, 3, 4), crop=48, shrink=1.5, noise=0.05),
    data=Data(dataset="train", batch_size=32, resident=True),
    optimizer=SR.optimizer,
    run=Run(steps=100_000, validate_every=5_000, save_every=2_500),
)
"""The flagship's larger sister (1.3 M parameters), for a GPU: half an hour of an H100.

    python train.py --workdir=runs/sr_large --preset=sr_large --data_dir=DATA

On a machine without a network: benchmarks/gpu.py.
"""

SR_VAPSR = dataclasses.replace(
    SR,
    model=PixelHypernetwork(VapSR(blocks=20, dtype="bfloat16"), FourierField(frequencies=32)),
    data=dataclasses.replace(SR.data, batch_size=64, resident=True),
    optimizer=dataclasses.replace(SR.optimizer, muon_pointwise=True, decay=0.99),
    run=Run(steps=45_000, validate_every=5_000, save_every=2_500),
)
"""The flagship's task for a trunk of 1x1 and depthwise layers (0.32 M parameters), for a GPU.

After 23,738 steps, six and a half minutes of an H100, it is as good as `SR` after 181,063 of as
many crops (docs/experiments/trunks.md). On a CPU it takes 1.4 to 2 times
as long to enlarge an image.

    python train.py --workdir=runs/sr_vapsr --preset=sr_vapsr --data_dir=DATA
"""

DNCNN = dataclasses.replace(
    RESTORE,
    model=DnCNN(),
    task=dataclasses.replace(RESTORE.task, scales=(1,), protocol_phase=1.0),
    optimizer=Optimizer(method="adamw", schedule="trapezoid", clip_norm=0.0),
)
"""A competitor of `RESTORE` at scale 1, with its task, data and loss (0.67 M parameters).

The optimizer is Adam, as its authors have it: a normalised convolution does not depend on the
length of its kernels, so that nothing has to hold it. Gradients have norms of 10 to 50, because the
network cannot leave a clean image exactly as it is: `RESTORE`'s limit would cut all of them.

    python train.py --workdir=runs/dncnn --preset=dncnn --data_dir=DATA
"""

PRESETS = {
    "sr": SR,
    "sr_finetune": SR_FINETUNE,
    "sr_jpeg": SR_JPEG,
    "restore": RESTORE,
    "inpaint": INPAINT,
    "sr_large": SR_LARGE,
    "sr_vapsr": SR_VAPSR,
    "sr_paper": SR_PAPER,
    "sr_patches": SR_PATCHES,
    "faces": FACES,
    "faces_local": FACES_LOCAL,
    "faces_small": FACES_SMALL,
    "srcnn": SRCNN_PRESET,
    "rdn": RDN_PRESET,
    "dncnn": DNCNN,
    "sr_rdn": SR_RDN,
}
"""All presets by name."""
