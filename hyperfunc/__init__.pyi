# The public names of the package, which __init__.py imports when they are first used.
from .api import ContinuousImage as ContinuousImage
from .api import interpolate as interpolate
from .api import load as load
from .api import represent as represent
from .errors import UserError as UserError
from .experiment import Experiment as Experiment
from .experiment import Model as Model
from .experiment import load_model as load_model
from .function import FunctionalImage as FunctionalImage
from .function import encode as encode
from .function import from_pixel_matrix as from_pixel_matrix
from .function import render as render
from .function import sample as sample
from .images import read_image as read_image
from .images import to_uint8 as to_uint8
from .images import write_image as write_image
from .pixels import pixel_centres as pixel_centres
from .upscaling import Upscaler as Upscaler

__version__: str
