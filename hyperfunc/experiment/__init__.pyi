from .checkpoints import Model as Model
from .checkpoints import init_variables as init_variables
from .checkpoints import load_model as load_model
from .checkpoints import write_model as write_model
from .config import Experiment as Experiment
from .config import to_dict as to_dict
from .exported import BUNDLED as BUNDLED
from .exported import count_parameters as count_parameters
from .exported import find_folder as find_folder
from .exported import is_exported as is_exported
from .exported import read_exported as read_exported
from .losses import pixel_loss as pixel_loss
from .mirror import mirroring as mirroring
from .muon import stack_alike as stack_alike
from .plain_data import Network as Network
from .plain_data import from_plain as from_plain
from .plain_data import to_plain as to_plain
from .presets import PRESETS as PRESETS
from .presets import SR as SR
from .workdir import Workdir as Workdir
from .workdir import lock_workdir as lock_workdir

__all__ = [
    "BUNDLED",
    "PRESETS",
    "SR",
    "Experiment",
    "Model",
    "Network",
    "Workdir",
    "count_parameters",
    "find_folder",
    "from_plain",
    "init_variables",
    "is_exported",
    "load_model",
    "lock_workdir",
    "mirroring",
    "pixel_loss",
    "read_exported",
    "stack_alike",
    "to_dict",
    "to_plain",
    "write_model",
]
