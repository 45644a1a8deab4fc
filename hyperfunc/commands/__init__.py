"""The command line: arguments are parsed here, and the other rooms do the work.

`main` runs any command by its name; ``train`` and ``evaluate`` are modules that the scripts of the
same names call.
"""

from hyperfunc.commands.main import main
from hyperfunc.commands.running import report_errors

# The modules are imported when they are used: `train` imports JAX.
__all__ = [
    "evaluate",  # pyright: ignore[reportUnsupportedDunderAll]
    "main",
    "report_errors",
    "train",  # pyright: ignore[reportUnsupportedDunderAll]
]
