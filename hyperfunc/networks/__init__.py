"""Networks: backbones, hypernetworks and target networks, and the baselines of the paper.

A hypernetwork turns an image into theta, the parameters of its target networks; Flax stays here.
"""

from hyperfunc.networks.backbones import EDSR, RDN, Backbone, DenseTrunk, InceptionTrunk, VapSR
from hyperfunc.networks.baselines import SRCNN, FixedScale, RDNUpscaler
from hyperfunc.networks.cpu_gradients import (
    check_training_layers,
    lay_out_patches,
    plain_convolve,
    register_training_layers,
)
from hyperfunc.networks.hypernetworks import (
    FactoredTheta,
    Hypernetwork,
    PatchHypernetwork,
    PixelHypernetwork,
)
from hyperfunc.networks.protocols import ModelProtocol
from hyperfunc.networks.targets import CosineMLP, FourierField, Target

__all__ = [
    "Backbone",
    "CosineMLP",
    "DenseTrunk",
    "EDSR",
    "FactoredTheta",
    "FixedScale",
    "FourierField",
    "Hypernetwork",
    "InceptionTrunk",
    "ModelProtocol",
    "PatchHypernetwork",
    "PixelHypernetwork",
    "RDN",
    "RDNUpscaler",
    "SRCNN",
    "Target",
    "VapSR",
    "check_training_layers",
    "lay_out_patches",
    "plain_convolve",
    "register_training_layers",
]
