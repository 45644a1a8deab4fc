"""All backbones (trunks).

To add one: write a Linen module that offers what `BackboneProtocol` states, and name it in the
union below, which the command line, the checkpoints and the tests read.
"""

from hyperfunc.networks.pixel_backbones import EDSR, RDN, VapSR
from hyperfunc.networks.window_backbones import DenseTrunk, InceptionTrunk

Backbone = EDSR | RDN | VapSR | InceptionTrunk | DenseTrunk
