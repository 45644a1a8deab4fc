"""The paper's tables and figures with our own systems: what to train, to measure and to draw.

Everything goes to one folder, with its record in ``reproduction.json``. What was made before with
the same checkpoints is kept, so a reproduction that was stopped goes on.
"""

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from hyperfunc.data import BENCHMARKS, Reconstruction, open_dataset
from hyperfunc.errors import UserError
from hyperfunc.evaluation.methods import Method, bicubic, make_method
from hyperfunc.evaluation.reproduction_page import write_page, write_table
from hyperfunc.evaluation.super_resolution import PROTOCOL, evaluate_super_resolution
from hyperfunc.evaluation.weight_space_evaluation import (
    count_parameters,
    evaluate_weight_space,
    open_image_sets,
)
from hyperfunc.experiment import BUNDLED, PRESETS, Experiment, Model, load_model
from hyperfunc.files import save_json
from hyperfunc.networks import RDN

SCALES = (2, 3, 4)

SYSTEMS = {
    "bicubic": "",
    "SRCNN": "srcnn_x{scale}",
    "RDN, small": "rdn_small_x{scale}",
    "hypernetwork, RDN trunk": "sr_rdn",
    "hypernetwork, the paper's patches": "sr_paper",
    "hypernetwork, patches over bicubic": "sr_patches",
    "hypernetwork, pixels (ours)": "sr",
}
"""The columns of the tables: names of training runs, or of models that come with the package."""

FIGURES = {"figure2": (3.0, 3.0), "figure3": (2.5, 2.5)}
"""The figures of enlarged images, and their scales: (rows, columns)."""

TRAINING_SECONDS = {
    "srcnn_x2": 506,
    "srcnn_x3": 1138,
    "srcnn_x4": 2597,
    "rdn_small_x2": 226,
    "rdn_small_x3": 242,
    "rdn_small_x4": 279,
    "sr_rdn": 445,
    "sr_patches": 651,
    "faces": 3120,
}
"""What each training took on two cores beside other work (docs/reproduction.md)."""

MEGAPIXELS = {"set5": 0.57, "set14": 3.2, "b100": 15.4, "urban100": 77.4}

SECONDS_PER_MEGAPIXEL = 8
"""What the slowest system takes on two cores: the others are done sooner than is estimated."""

FACES_SECONDS = 100
"""What 60 faces take on one core with `faces_local`; 500 faces take longer."""

BATCH_DIVISOR = 4
"""Divides the batch size of every training."""

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A part of the reproduction."""

    name: str
    seconds: float
    """An estimate for two cores."""
    run: Callable[[], None]


def list_trainings() -> dict[str, Experiment]:
    """List what the package does not hold: experiments by the names of their runs."""
    runs = {}
    rdn = PRESETS["rdn"]
    rdn_small = dataclasses.replace(
        rdn,
        model=rdn.model.clone(backbone=RDN(width=32, blocks=4, layers=4, growth=32)),
        data=dataclasses.replace(rdn.data, batch_size=8),
        run=dataclasses.replace(rdn.run, steps=400),
    )
    for scale in SCALES:
        runs[f"srcnn_x{scale}"] = _train_for(scale, PRESETS["srcnn"])
        runs[f"rdn_small_x{scale}"] = _train_for(scale, rdn_small)
    sr_rdn = PRESETS["sr_rdn"]
    runs["sr_rdn"] = dataclasses.replace(sr_rdn, run=dataclasses.replace(sr_rdn.run, steps=1_200))
    return {**runs, "sr_patches": PRESETS["sr_patches"], "faces": PRESETS["faces"]}


def _train_for(scale: int, experiment: Experiment) -> Experiment:
    """Change the scale of a network for one scale."""
    return dataclasses.replace(
        experiment,
        model=experiment.model.clone(scale=scale),
        task=dataclasses.replace(experiment.task, scales=(scale,)),
    )


@dataclasses.dataclass
class Reproduction:
    """The paper's tables and figures in the folder ``out``, with training runs in ``runs``.

    If it is quick, nothing is trained, and Set5 and 60 faces are measured with what is there: the
    faces with `faces_local` if the paper's network was not trained.
    """

    out: Path
    runs: Path
    data_dir: Path | None = None
    is_quick: bool = False

    def __post_init__(self) -> None:
        self._file = self.out / "reproduction.json"
        self._record: dict[str, Any] = {"cells": [], "figures": {}, "faces": {}}
        if self._file.exists():
            try:
                self._record |= json.loads(self._file.read_text("utf-8"))
            except ValueError as error:
                raise UserError(f"{self._file}: is damaged ({error}): remove it") from error
        self._record["protocol"] = PROTOCOL
        self._load = functools.lru_cache(None)(load_model)

    def make(self) -> Path:
        """Make what is missing, with estimates of the time that is left. Return the page.

        Raises:
            UserError: a dataset is missing, or a run in ``runs`` is of another experiment, or a
                file cannot be written.
        """
        self._save()
        for name in (*self._datasets, "faces"):
            open_dataset(name, data_dir=self.data_dir)  # What is missing is told before the work.
        jobs = list(self.list_jobs())
        began, done = time.monotonic(), 0.0
        for number, job in enumerate(jobs, start=1):
            left = sum(each.seconds for each in jobs[number - 1 :])
            if done > 60:  # What is short says little of the machine's speed.
                left *= (time.monotonic() - began) / done
            place = f"{number} of {len(jobs)}"
            logger.info("%s: %s; about %d minutes are left", place, job.name, left / 60 + 1)
            job.run()
            done += job.seconds
            self._save()
        return self.out / "index.html"

    def list_jobs(self) -> Iterator[Job]:
        """List what is missing, in the order of the work."""
        trainings = {} if self.is_quick else list_trainings()
        for name, experiment in trainings.items():
            if not self._is_trained(name, experiment):
                run = functools.partial(self._train, name, experiment)
                yield Job(f"train {name}", TRAINING_SECONDS[name], run)
        for scale in SCALES:
            for system in SYSTEMS:
                if not (missing := self._list_missing(system, scale)):
                    continue
                seconds = SECONDS_PER_MEGAPIXEL * sum(MEGAPIXELS[name] for name in missing)
                run = functools.partial(self._measure, system, scale)
                yield Job(f"measure {system}, x{scale}", seconds, run)
        seconds = SECONDS_PER_MEGAPIXEL * MEGAPIXELS["set5"]
        for name in FIGURES:
            yield Job(f"draw {name}", seconds, functools.partial(self._draw, name))
        yield Job("measure and draw faces", FACES_SECONDS, self._measure_faces)

    @property
    def _datasets(self) -> tuple[str, ...]:
        return ("set5",) if self.is_quick else BENCHMARKS

    def _is_trained(self, name: str, experiment: Experiment) -> bool:
        model = self._find(name)
        return model is not None and model.step >= experiment.run.steps

    def _train(self, name: str, experiment: Experiment) -> None:
        from hyperfunc.training import train  # What is quick needs no packages for training.

        train(experiment, self.runs / name, data_dir=self.data_dir)
        self._load.cache_clear()

    def _find(self, name: str) -> Model | None:
        """Load a bundled model, or the newest checkpoint of a run, if there is one."""
        if (BUNDLED / name).is_dir():
            return self._load(name)
        checkpoints = (self.runs / name).glob("checkpoints/*")
        return self._load(self.runs / name) if any(x.name.isdigit() for x in checkpoints) else None

    def _cells(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        return {(c["dataset"], c["scale"], c["system"]): c for c in self._record["cells"]}

    def _list_missing(self, system: str, scale: int) -> list[str]:
        """List the datasets on which a system is to be measured; none if it is not trained."""
        found = self._find_system(system, scale)
        if found is None:
            return [] if self.is_quick else list(self._datasets)  # It will be trained first.
        cells, (_, about) = self._cells(), found
        return [
            name
            for name in self._datasets
            if cells.get((name, str(scale), system), {}).get("model") != about["model"]
        ]

    def _find_system(self, system: str, scale: int) -> tuple[Method, dict[str, Any]] | None:
        """Find the method of a system, and what it is; nothing if it is not trained."""
        if system == "bicubic":
            return bicubic, {"model": "bicubic", "parameters": 0, "step": 0}
        model = self._find(SYSTEMS[system].format(scale=scale))
        if model is None:
            return None
        parameters = count_parameters(model.variables["params"])
        about = {"model": model.fingerprint, "parameters": parameters, "step": model.step}
        return make_method(model), about

    def _measure(self, system: str, scale: int) -> None:
        """Measure a system at a scale on the datasets that are missing."""
        found = self._find_system(system, scale)
        assert found is not None, "it was trained before"
        method, about = found
        for dataset in self._list_missing(system, scale):
            source = open_dataset(dataset, data_dir=self.data_dir)
            scales = (float(scale), float(scale))
            row = evaluate_super_resolution(source, {system: method}, scales).rows[0]
            cell = {"dataset": dataset, "scale": str(scale), "system": system, **about}
            cell |= {"images": row.images, "psnr_y": row.psnr_y, "ssim_y": row.ssim_y}
            cells = self._cells() | {(dataset, str(scale), system): cell}
            self._record["cells"] = list(cells.values())
            self._save()

    def _draw(self, name: str) -> None:
        """Enlarge Set5 by what is trained for the figure's scale; the paper's kind comes last."""
        scale = FIGURES[name]
        systems = ["bicubic", "hypernetwork, the paper's patches"]
        if scale[0].is_integer():
            systems[1:1] = ["SRCNN", "RDN, small"]
        found = {x: self._find_system(x, int(scale[0])) for x in systems}
        methods = {x: pair[0] for x, pair in found.items() if pair is not None}
        models = {x: pair[1]["model"] for x, pair in found.items() if pair is not None}
        if self._record["figures"].get(name) == models:
            return
        source = open_dataset("set5", data_dir=self.data_dir)
        evaluate_super_resolution(source, methods, scale, save_dir=self.out / name)
        self._record["figures"][name] = models

    def _measure_faces(self) -> None:
        """Measure reconstruction and interpolation, and draw Figures 1, 6 and 7."""
        model = self._find("faces") or self._load("faces_local")
        about = {"model": model.fingerprint, "name": model.path.name, "is_quick": self.is_quick}
        faces = self._record["faces"]
        if {name: faces.get(name) for name in about} == about:
            return
        size = cast(Reconstruction, model.experiment.task).size
        sets = open_image_sets("faces", size, data_dir=self.data_dir)
        if self.is_quick:
            few = range(min(60, len(sets.test)))
            test, large = sets.test.select(few), sets.test_large
            sets = sets._replace(test=test, test_large=large and large.select(few))
        pairs = 60 if self.is_quick else 500
        result = evaluate_weight_space(model, sets, pairs=pairs, out=self.out / "faces")
        self._record["faces"] = {**about, **result}

    def _save(self) -> None:
        save_json(self._file, self._record)
        write_table(self._record, list(SYSTEMS), self.out / "reproduction.md")
        write_page(self._record, list(SYSTEMS), self.out)
