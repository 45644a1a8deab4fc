"""The command line: arguments are parsed here, and the other rooms do the work.

``hyperfunc``, ``train.py`` and ``evaluate.py`` call what stands here.
"""

from hyperfunc.commands.main import main

__all__ = ["main"]
