"""The training loop: from an experiment to checkpoints, metrics and samples.

A run starts in one of these ways; the first that applies:

1. its workdir holds the last step: the run is finished, and nothing is done;
2. its workdir holds a checkpoint: it continues as if it had never stopped;
3. ``run.start_from`` names a checkpoint: it begins with those averaged parameters;
4. otherwise it begins with parameters drawn from the seed.

On the same devices the parameters are the same, bit for bit, whether a run was interrupted or not:
batch number n is a function of the seed and n, and a checkpoint holds all that a step changes.
"""

import itertools
import math
from pathlib import Path

import jax
from jax.sharding import Mesh
from jaxtyping import Array
from tqdm import tqdm

from hyperfunc.data import open_dataset
from hyperfunc.devices import make_mesh, state_shardings
from hyperfunc.errors import UserError
from hyperfunc.experiment import Experiment, Workdir, lock_workdir, mirroring, to_dict
from hyperfunc.files import as_path
from hyperfunc.training.batches import open_batches, split_validation
from hyperfunc.training.recording import Recorder
from hyperfunc.training.starting import check_data, start_state
from hyperfunc.training.step import TrainState, compile_train_steps, make_init
from hyperfunc.training.stop_signals import StopSignals, ending_together
from hyperfunc.training.validation import Validator
from hyperfunc.training.writer import Writer


def train(
    experiment: Experiment,
    workdir: Path,
    *,
    data_dir: Path | None = None,
    patience: float = math.inf,
) -> TrainState:
    """Train a model, or continue the training in a workdir.

    SIGTERM and Ctrl-C save after the current step, and end the run. A second Ctrl-C interrupts at
    once; so does the first signal before the first step, when there is nothing to save.

    Args:
        experiment: what to train. To continue, it must be the same as before, except for the
            intervals of logging, saving and validating, and the number of checkpoints kept; and,
            with the "trapezoid" schedule, the number of steps and the part in which it falls.
        workdir: the folder for checkpoints, metrics and samples.
        data_dir: the folder of the datasets; HYPERFUNC_DATA_DIR if not given.
        patience: seconds after a signal within which the step has to be done. Otherwise the
            process is ended, and continues from the checkpoint before.

    Returns:
        The state after the last step.

    Raises:
        UserError: the data cannot be opened; the workdir is another experiment's, or another
            process trains in it; ``run.start_from`` holds no checkpoint of the same model; the
            loss, the gradient or the parameters are not finite (the last good checkpoint remains);
            or registered training layers are of no use.
        ValueError: a component belongs to none of the unions that a checkpoint can name.
        KeyboardInterrupt: Ctrl-C has ended the run.
        SystemExit: SIGTERM has ended the run.
    """
    to_dict(experiment)  # Raise ValueError now rather than at the first checkpoint.
    mesh = make_mesh()
    if experiment.data.batch_size % mesh.size:
        raise UserError(
            f"a batch of {experiment.data.batch_size} cannot be divided over {mesh.size} devices: "
            f"choose --data.batch_size as a multiple of {mesh.size}"
        )
    workdir = as_path(workdir)
    with (
        lock_workdir(workdir),
        mirroring(workdir, processes=jax.process_count()) as place,
    ):
        return _train(experiment, workdir, place, data_dir, mesh, patience)


def _train(
    experiment: Experiment,
    workdir: Path,
    place: Path,
    data_dir: Path | None,
    mesh: Mesh,
    patience: float,
) -> TrainState:
    """Train in ``place``, the workdir or its local copy."""
    run, is_main = experiment.run, jax.process_index() == 0

    # The state: shapes first, arrays later.
    shapes = jax.eval_shape(make_init(experiment))
    shardings = state_shardings(shapes, mesh, shard_parameters=run.shard_parameters)
    checkpoints = Workdir(place, keep=run.keep)
    state, start = start_state(experiment, checkpoints, shapes, shardings)
    if start >= run.steps:
        checkpoints.close()
        if is_main:
            tqdm.write(f"{workdir} is trained already: step {start} of {run.steps}")
        return state

    # The data: batches for training, held-out images for validation.
    source = open_dataset(experiment.data.dataset, data_dir=data_dir, split="train", strict=False)
    data = source.identify()
    if start:
        check_data(data, checkpoints.read_config(start).data, workdir)
    training, held_out = split_validation(source, experiment.data.validation)
    batches = open_batches(experiment, training, mesh, start=start)
    validator = Validator(experiment.model, experiment.task, held_out, mesh)

    progress = tqdm(
        total=run.steps, initial=start, unit="step", disable=not is_main, mininterval=1.0
    )
    writer = Writer(place, start=start, active=is_main)
    recorder = Recorder(experiment, data, start, validator, checkpoints, writer, progress)
    signals = StopSignals()
    with signals.catching(patience), checkpoints, writer, progress, ending_together():
        # The first batch: it reports bad data before the compilation, which may take minutes.
        batches = itertools.chain([next(batches)], batches)
        train_steps = compile_train_steps(experiment, shapes, shardings, mesh)
        previous: dict[str, Array] = {}
        recorder.start_clock()
        for step, batch in zip(range(start + 1, run.steps + 1), batches, strict=False):
            # Train.
            state, metrics = train_steps[batch["target"].shape[1]](state, batch)
            progress.update()

            # Check the step before, which is done by now: to wait for this one would idle devices.
            recorder.check_finite(step - 1, previous)
            previous = metrics

            # Log, validate and save, each at its own interval.
            is_stopping = signals.is_asked(step, metrics)
            recorder.record(step, state, metrics, is_stopping=is_stopping)
            if is_stopping and step < run.steps:
                recorder.tell(f"stopped at step {step}, which is saved: run again to continue")
                signals.end()
        recorder.tell_best(workdir)
    return state
