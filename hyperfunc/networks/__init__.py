"""Networks: backbones, hypernetworks and target networks, and networks to compare with.

A hypernetwork turns an image into theta, the parameters of its target networks; Flax stays here.
"""

from hyperfunc.networks.backbones import (
    EDSR,
    RDN,
    Backbone,
    DenseTrunk,
    HalfEDSR,
    InceptionTrunk,
    VapSR,
)
from hyperfunc.networks.baselines import SRCNN, DnCNN, FixedScale, RDNUpscaler
from hyperfunc.networks.cpu_gradients import (
    check_training_layers,
    lay_out_patches,
    plain_convolve,
    register_training_layers,
)
from hyperfunc.networks.hypernetworks import (
    EMITTED_BASES,
    Hypernetwork,
    PatchHypernetwork,
    PixelHypernetwork,
)
from hyperfunc.networks.protocols import INFERENCE, TRAINING, Mode, ModelProtocol
from hyperfunc.networks.targets import CosineMLP, FourierField, Target
from hyperfunc.networks.theta import (
    AnyTheta,
    FactoredTheta,
    PlainTheta,
    are_equal,
    average_channels,
    choose_layers,
    mix,
    order_layers,
)

__all__ = [
    "AnyTheta",
    "Backbone",
    "CosineMLP",
    "DenseTrunk",
    "DnCNN",
    "EDSR",
    "EMITTED_BASES",
    "FactoredTheta",
    "FixedScale",
    "FourierField",
    "HalfEDSR",
    "Hypernetwork",
    "INFERENCE",
    "InceptionTrunk",
    "Mode",
    "ModelProtocol",
    "PatchHypernetwork",
    "PixelHypernetwork",
    "PlainTheta",
    "RDN",
    "RDNUpscaler",
    "SRCNN",
    "TRAINING",
    "Target",
    "VapSR",
    "are_equal",
    "average_channels",
    "check_training_layers",
    "choose_layers",
    "lay_out_patches",
    "mix",
    "order_layers",
    "plain_convolve",
    "register_training_layers",
]
