"""``hyperfunc reproduce``: the paper's tables and figures with our own systems, on one page."""

import dataclasses
from pathlib import Path

from hyperfunc.cache import keep_compilations
from hyperfunc.commands.arguments import Common, CommonFlags, Flag, OptionalPath
from hyperfunc.files import check_place


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Make the paper's tables and figures, with its numbers beside ours.

    Attributes:
        out: the folder of the results. What it holds of the same checkpoints is kept, so the same
            command goes on after an interruption.
        data_dir: the folder of the datasets; HYPERFUNC_DATA_DIR if not given.
        runs: the folder of the training runs; what is missing is trained there. OUT/runs if not
            given.
        quick: train nothing, take the checkpoints that are there, and measure Set5 and 60 faces.
    """

    out: Path = Path("reproduction")
    data_dir: OptionalPath = None
    runs: OptionalPath = None
    quick: Flag = False
    common: CommonFlags = Common()


def run(arguments: Arguments) -> None:
    """Make what is missing, and print where the page is."""
    from hyperfunc.devices import use_cpu_cores
    from hyperfunc.evaluation import BATCH_DIVISOR, Reproduction

    use_cpu_cores(BATCH_DIVISOR)
    keep_compilations()
    check_place(arguments.out / "index.html")
    runs = arguments.runs or arguments.out / "runs"
    print(Reproduction(arguments.out, runs, arguments.data_dir, arguments.quick).make())
