"""The presets for the experiments of the paper, and for the networks that it compares with."""

import dataclasses

from hyperfunc.data import Reconstruction, SuperResolution
from hyperfunc.experiment.config import Data, Experiment, Run
from hyperfunc.experiment.optimizers import Optimizer
from hyperfunc.networks import (
    RDN,
    SRCNN,
    CosineMLP,
    DenseTrunk,
    FourierField,
    InceptionTrunk,
    PatchHypernetwork,
    PixelHypernetwork,
    RDNUpscaler,
)
from hyperfunc.pixels import WHOLE_IMAGE, WindowLayout

SR_PAPER = Experiment(
    model=PatchHypernetwork(
        InceptionTrunk(stem_width=16, width=64, blocks=4, pool=False),
        CosineMLP(
            hidden=(16, 32, 48, 32), footprint=True, output="linear", frequency=8.0, gain=0.0
        ),
        WindowLayout(size=4, stride=2, overhang=1.0),
        base="bicubic",
        branch_width=64,
        branch_convs=1,
        branch_scale=0.002,
        sliding=True,
    ),
    task=SuperResolution(scales=(2, 3, 4), crop=32, protocol_phase=0.8, shrink=1.5, tries=2),
    data=Data(dataset="train", batch_size=8, weights=(("bsds399", 0.4),)),
    optimizer=Optimizer(method="muon", learning_rate=1e-4, schedule="trapezoid", decay=0.166),
    run=Run(steps=2_400),
)
"""The paper's super-resolution (Section 4.2): a five-layer MLP for each patch, with alpha.

Patches of 4 x 4 pixels every 2 pixels; each network sees the 15 pixels around its patch, too, and
corrects bicubic interpolation. The rates fall in the last 400 steps. 40 minutes of one core.

    python train.py --workdir=runs/sr_paper --preset=sr_paper --data_dir=DATA
"""

SR_PATCHES = Experiment(
    model=PatchHypernetwork(
        InceptionTrunk(stem_width=8, width=64),
        CosineMLP(hidden=(24, 48, 64, 48), footprint=True, normalization="batch", output="linear"),
        WindowLayout(size=8, stride=4, overhang=0.0),
        base="bicubic",
        branch_width=64,
        branch_convs=1,
        code=192,
    ),
    task=SuperResolution(scales=(2, 3, 4), crop=8, protocol_phase=1.0),
    data=Data(dataset="train", batch_size=64, resident=True),
    optimizer=Optimizer(method="muon"),
    run=Run(steps=3_000, loss="l2"),
)
"""Patches of 8 x 8 pixels every 4, each read alone, with a wider network.

    python train.py --workdir=runs/sr_patches --preset=sr_patches --data_dir=DATA
"""

FACES = Experiment(
    model=PatchHypernetwork(
        InceptionTrunk(stem_width=4, width=32, stride=2),
        CosineMLP(normalization="batch"),
        WHOLE_IMAGE,
        branch_width=32,
        code=256,
    ),
    task=Reconstruction(size=64, stride=2),
    data=Data(dataset="faces", batch_size=16, validation=0.01),
    optimizer=Optimizer(method="muon", schedule="trapezoid", decay=0.74),
    run=Run(steps=9_000, loss="l2"),
)
"""The paper's faces (Section 4.1): one five-layer MLP for a whole 64 x 64 image.

    python train.py --workdir=runs/faces --preset=faces --data_dir=DATA
"""

FACES_LOCAL = dataclasses.replace(
    FACES,
    model=PatchHypernetwork(
        DenseTrunk(),
        CosineMLP(hidden=(32, 64), normalization="batch", output="linear"),
        WindowLayout(size=16, stride=8, overhang=0.0),
        branch_width=32,
        branch_convs=0,
    ),
    data=Data(dataset="faces", batch_size=4, validation=0.01),
    optimizer=Optimizer(method="adamw"),
    run=Run(steps=6_000, loss="l2"),
)
"""Faces as overlapping windows of 16 x 16 pixels, each with a small MLP: sharper, less of a whole.

    python train.py --workdir=runs/faces_local --preset=faces_local --data_dir=DATA
"""

FACES_SMALL = dataclasses.replace(
    FACES,
    model=PatchHypernetwork(
        DenseTrunk(width=96),
        CosineMLP(hidden=(16, 32, 64, 32), normalization="batch"),
        WHOLE_IMAGE,
        branch_width=32,
        branch_convs=0,
    ),
    task=Reconstruction(size=64, stride=4),
    optimizer=Optimizer(method="adamw", schedule="trapezoid", warmup=0, decay=0.5),
    run=Run(steps=1_500, loss="l2"),
)
"""One small five-layer MLP for a whole face, as in `FACES`, but from a trunk of dense layers.

A minute of one core instead of an hour: nothing is convolved, and each step compares a sixteenth of
the pixels. All weights of a face depend on 96 numbers. The bundled checkpoint comes of
`benchmarks/faces_small.py`, which fixes the first layer: trained, it learns slowly.

    python train.py --workdir=runs/faces_small --preset=faces_small --data_dir=DATA
"""

SRCNN_PRESET = Experiment(
    model=SRCNN(scale=2),
    task=SuperResolution(scales=(2,), crop=20, tries=2, shrink=1.5, protocol_phase=1.0),
    data=Data(dataset="train", batch_size=12, validation=0.02),
    optimizer=Optimizer(method="muon", schedule="trapezoid", decay=0.4),
    run=Run(steps=5_000, loss="l2"),
)
"""The paper's first competitor, one network for each scale. Less than an hour of one core each.

    python train.py --workdir=runs/srcnn_x2 --preset=srcnn --data_dir=DATA
    python train.py --workdir=runs/srcnn_x3 --preset=srcnn --model.scale=3 --task.scales 3
"""

RDN_PRESET = Experiment(
    model=RDNUpscaler(scale=2),
    task=SuperResolution(scales=(2,), crop=32, protocol_phase=1.0),
    data=Data(dataset="train", batch_size=16),
    optimizer=Optimizer(method="muon"),
    run=Run(steps=200_000),
)
"""The paper's second competitor at its full size (22 M parameters, for a GPU), one for each scale.

    python train.py --workdir=runs/rdn_x2 --preset=rdn --data_dir=DATA

Small ones train on a CPU: see `SR_RDN`.
"""

SR_RDN = Experiment(
    model=PixelHypernetwork(RDN(width=32, blocks=4, layers=4, growth=32), FourierField()),
    task=SuperResolution(scales=(2, 3, 4), crop=32),
    data=Data(dataset="train", batch_size=8),
    optimizer=Optimizer(method="muon"),
    run=Run(steps=1_800),
)
"""The paper's prediction (its Section 4.2): a hypernetwork with the trunk of a small RDN.

    python train.py --workdir=runs/sr_rdn --preset=sr_rdn --data_dir=DATA

Its three competitors, one for each scale (here 3):

    python train.py --workdir=runs/rdn_small_x3 --preset=rdn --model.scale=3 --task.scales 3 \
        --model.backbone.blocks=4 --model.backbone.layers=4 --model.backbone.growth=32 \
        --model.backbone.width=32 --data.batch_size=8 --run.steps=600
"""
