"""The methods that a table can compare, by their names on the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperfunc.data import SuperResolution
from hyperfunc.errors import UserError
from hyperfunc.evaluation.methods import Method, bicubic, make_method, self_ensemble
from hyperfunc.experiment import Model, load_model
from hyperfunc.networks import SRCNN, RDNUpscaler
from hyperfunc.upscaling import Upscaler

BASELINES = {"srcnn": SRCNN, "rdn": RDNUpscaler}
"""Networks that are trained for one scale, by the name of their preset."""

METHODS = ("bicubic", *BASELINES, "hyperfunc", "hyperfunc+")


def load_methods(
    names: Sequence[str], *, checkpoint: str, baselines: Mapping[str, Path | None]
) -> tuple[dict[str, Method], dict[str, Model]]:
    """Load methods with their models.

    Args:
        names: some of `METHODS`. ``hyperfunc+`` is ``hyperfunc`` with `self_ensemble`.
        checkpoint: the model of ``hyperfunc``.
        baselines: the training run of each of `BASELINES`, if there is one.

    Returns:
        The methods by name, in the order of ``names``, and the models of those that have one.

    Raises:
        UserError: there is no such method, or no model for it.
    """
    methods: dict[str, Method] = {}
    models: dict[str, Model] = {}
    ours: tuple[Model, Method] | None = None
    for name in names:
        if name == "bicubic":
            methods[name] = bicubic
        elif name in BASELINES:
            model = models[name] = _load_baseline(name, baselines.get(name))
            methods[name] = make_method(model)
        elif name in METHODS:
            model, method = ours = ours or _load_ours(checkpoint)
            models[name] = model
            methods[name] = self_ensemble(method) if name == "hyperfunc+" else method
        else:
            raise UserError(f"--methods: there is no {name!r}; take some of {', '.join(METHODS)}")
    return methods, models


def _load_ours(checkpoint: str) -> tuple[Model, Method]:
    model = load_model(checkpoint)
    model.check_task(SuperResolution)
    return model, Upscaler(model.hypernetwork, model.variables)


def _load_baseline(name: str, workdir: Path | None) -> Model:
    if workdir is None:
        raise UserError(
            f"{name} has to be trained for each scale: give its training run as --{name}, made by "
            f"python train.py --preset={name}"
        )
    model = load_model(workdir)
    network = model.experiment.model
    if not isinstance(network, BASELINES[name]):
        raise UserError(
            f"{model.path} holds {type(network).__name__}: give the training run of "
            f"--preset={name} as --{name}"
        )
    return model
