"""What may change before a run is resumed."""

import dataclasses
from pathlib import Path

import pytest

from hyperfunc.errors import UserError
from hyperfunc.resume import check_same


@pytest.mark.parametrize(
    ("schedule", "changes", "refused"),
    [
        ("trapezoid", {"run": {"steps": 200}}, None),
        ("trapezoid", {"run": {"steps": 50}, "optimizer": {"decay": 0.5}}, None),
        ("trapezoid", {"optimizer": {"final": 0.5}}, "optimizer.final is 0.01 there and 0.5 here"),
        ("trapezoid", {"run": {"steps": 200, "seed": 1}}, "run.seed is 0 there and 1 here: "),
        ("cosine", {"run": {"steps": 200}}, "run.steps is 100 there and 200 here"),
        ("cosine", {"optimizer": {"decay": 0.5}}, "optimizer.decay is 0.3 there and 0.5 here"),
        ("cosine", {"optimizer": {"schedule": "trapezoid"}}, "optimizer.schedule is 'cosine'"),
        ("trapezoid", {"optimizer": {"schedule": "cosine"}}, "optimizer.schedule is 'trapezoid'"),
        ("cosine", {"run": {"keep": 9}, "data": {"threads": 5}}, None),
    ],
)
def test_what_may_change_before_a_run_is_resumed(tiny_experiment, schedule, changes, refused):
    """A trapezoid does not depend on the length of the run before it falls, a cosine does."""
    saved = dataclasses.replace(
        tiny_experiment,
        optimizer=dataclasses.replace(tiny_experiment.optimizer, schedule=schedule),
        run=dataclasses.replace(tiny_experiment.run, steps=100),
    )
    parts = {
        name: dataclasses.replace(getattr(saved, name), **values)
        for name, values in changes.items()
    }
    wanted = dataclasses.replace(saved, **parts)
    if refused is None:
        check_same(wanted, saved, Path("runs/some"))
        return
    with pytest.raises(UserError, match=f"runs/some holds another experiment: {refused}"):
        check_same(wanted, saved, Path("runs/some"))
