"""Named experiments. Each says what it costs, what to expect, and its command."""

from hyperfunc.backbones import EDSR, InceptionTrunk
from hyperfunc.config import Data, Experiment, Run
from hyperfunc.hypernetwork import PatchHypernetwork, PixelHypernetwork
from hyperfunc.optimizers import Optimizer
from hyperfunc.targets import CosineMLP, FourierField
from hyperfunc.tasks import Reconstruction, SuperResolution
from hyperfunc.windows import WHOLE_IMAGE, WindowLayout

SR = Experiment(
    model=PixelHypernetwork(EDSR(width=64, blocks=5), FourierField(frequencies=32)),
    task=SuperResolution(scales=(2, 3, 4), crop=32),
    data=Data(dataset="train", batch_size=16),
    optimizer=Optimizer(method="muon"),
)
"""The flagship: a Fourier field for each pixel, one model for all scales.

    python train.py --workdir=runs/sr --data_dir=../shared/data
"""

SR_PAPER = Experiment(
    model=PatchHypernetwork(
        InceptionTrunk(),
        CosineMLP(footprint=True),
        WindowLayout(size=16, stride=8, overhang=0.0),
        branch_convs=1,
    ),
    task=SuperResolution(scales=(2, 3, 4), crop=16, protocol_phase=1.0),
    data=Data(dataset="train", batch_size=32),
    optimizer=Optimizer(method="adamw"),
    run=Run(loss="l2"),
)
"""The paper's super-resolution (Section 4.2): a five-layer MLP for each patch, with alpha.

    python train.py --workdir=runs/sr_paper --preset=sr_paper --data_dir=../shared/data
"""

FACES = Experiment(
    model=PatchHypernetwork(InceptionTrunk(), CosineMLP(), WHOLE_IMAGE),
    task=Reconstruction(size=64),
    data=Data(dataset="faces", batch_size=32),
    optimizer=Optimizer(method="adamw"),
    run=Run(loss="l2"),
)
"""The paper's faces (Section 4.1): one five-layer MLP for a whole 64 x 64 image.

    python train.py --workdir=runs/faces --preset=faces --data_dir=../shared/data
"""

PRESETS = {"sr": SR, "sr_paper": SR_PAPER, "faces": FACES}
"""All presets by name."""
