"""Enlarge a collection on many machines: Ray Data takes the plan as it is made, and feeds actors.

One process plans, and waits while the actors are behind. An actor is a process that keeps the model
and its compiled functions. It does with a few files what a run without Ray does with all of them:
it reads, renders, and writes outputs and their records. If it is lost, another one takes over, and
leaves out what was done.
"""

import contextlib
import logging
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hyperfunc.errors import UserError, check_extra
from hyperfunc.upscaling.batch_plan import Batch
from hyperfunc.upscaling.batch_run import run_batches
from hyperfunc.upscaling.places import check_places
from hyperfunc.upscaling.records import Records
from hyperfunc.upscaling.upscaler import Upscaler

FILES = 8
"""Files that an actor is given at a time."""

PLANNED_BYTES = 2**25
"""Memory for what is planned ahead of the actors."""

QUIET = ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")
"""Variables of Ray that are 0: it reports to nobody, and warns of no change of its defaults."""


def run_on_ray(
    plan: Callable[[], Iterator[Batch]],
    make_upscaler: Callable[[], Upscaler],
    *,
    address: str,
    cores: int,
    overwrite: bool,
    threads: int,
    say: Callable[[str], None],
    is_interrupted: Callable[[], bool],
    finish: Callable[[Batch], None],
) -> None:
    """Enlarge the files of a plan on a Ray cluster, and record the outcome of each.

    Args:
        plan: called in the process that plans. This and the next one can be pickled.
        make_upscaler: called in each actor.
        address: of the cluster's head, host:port. If empty, that of a cluster of this machine,
            which is started if there is none.
        cores: of each actor. Where the cluster has accelerators, an actor has one of them, too.
        overwrite: whether the plan has outputs of this request, which are to be replaced.
        threads: how many threads of an actor decode.
        say: called with lines for people to read.
        is_interrupted: tells whether the user has asked to stop.
        finish: called with a few files at a time, whose outcomes are known.

    Raises:
        UserError: there is no such cluster, or a disk is full.
        KeyboardInterrupt: the user has asked to stop.
    """
    check_extra("ray", "--ray")
    ray = _start(address)
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        size, resources = _divide(nodes, cores)
        say(f"Ray: machines: {len(nodes)}, processes that enlarge: {size}")
        parts = ray.data.from_items([0]).flat_map(
            _plan_parts, fn_args=(plan, Path.cwd()), num_cpus=0
        )
        results = parts.map_batches(
            _Enlarger,
            batch_size=1,
            fn_constructor_args=(make_upscaler, threads, overwrite, Path.cwd()),
            compute=ray.data.ActorPoolStrategy(size=size),
            runtime_env={"env_vars": _make_environment(cores)},
            **resources,
        )
        _collect(results.iter_rows(), is_interrupted, finish)
    finally:
        ray.shutdown()


def _start(address: str) -> Any:
    """Import Ray, connect to a cluster or start one, and let Ray print nothing."""
    os.environ |= dict.fromkeys(QUIET, "0") | {"RAY_BACKEND_LOG_LEVEL": "fatal"}
    import ray
    import ray.data
    from ray._private import worker

    # Of each process that is lost, Ray prints lines on stdout; nothing else turns that off.
    worker.print_to_stdstream = lambda *_, **__: None
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # Ray prints here that its log is silent; its errors are raised.
    try:
        ray.init(address or None, include_dashboard=False, log_to_driver=False, logging_level=50)
    except Exception as error:  # Ray raises of these, too.
        remedy = "give the host:port of a cluster's head, or --ray alone for this machine"
        raise UserError(f"--ray={address}: cannot be used ({error}); {remedy}") from error
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # What is planned is passed on at once.
    limits = ray.data.ExecutionResources(object_store_memory=PLANNED_BYTES)
    context.execution_options.resource_limits = limits
    return ray


def _divide(nodes: list[dict[str, float]], cores: int) -> tuple[int, dict[str, Any]]:
    """Return how many actors there are, and what each takes of the cluster."""
    for name, resources in (("GPU", {"num_gpus": 1}), ("TPU", {"resources": {"TPU": 1}})):
        if count := int(sum(node.get(name, 0) for node in nodes)):
            return count, {**resources, "num_cpus": cores}
    if not (count := sum(int(node.get("CPU", 0)) // cores for node in nodes)):
        raise UserError(f"--ray-cores {cores}: no machine of the cluster has as many; give fewer")
    return count, {"num_cpus": cores}


def _make_environment(cores: int) -> dict[str, str]:
    """Make each core of an actor a device of JAX, with one thread."""
    kept = {name: os.environ[name] for name in ("HYPERFUNC_CACHE",) if name in os.environ}
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    numbers = dict.fromkeys(("JAX_NUM_CPU_DEVICES", "VIPS_CONCURRENCY"), str(cores))
    return {**kept, **numbers, "XLA_FLAGS": flags.strip()}


def _plan_parts(
    _: Any, plan: Callable[[], Iterator[Batch]], folder: Path
) -> Iterator[dict[str, bytes]]:
    """Yield a few files at a time, and what ends the plan.

    If this process is lost, Ray starts it again and drops as many parts as it has had. So a part
    holds the files of certain places of the list, whether they are still to be done or not.
    """
    _enter(folder)
    try:
        for batch in plan():
            check_places(batch, is_first=False)
            for i in range(0, len(batch.outcomes), FILES):
                outcomes = batch.outcomes[i : i + FILES]
                ids = set(map(id, outcomes))
                jobs = [job for job in batch.jobs if id(job.outcome) in ids]
                yield {"part": pickle.dumps(Batch(jobs, outcomes, batch.quality))}
            yield {"part": pickle.dumps(Batch([], [], passed_over=batch.passed_over))}
    except UserError as error:
        yield {"part": pickle.dumps(error)}


def _enter(folder: Path) -> None:
    with contextlib.suppress(OSError):  # On other machines, relative paths may be wrong.
        os.chdir(folder)


class _Enlarger:
    """What an actor keeps."""

    def __init__(
        self, make_upscaler: Callable[[], Upscaler], threads: int, overwrite: bool, folder: Path
    ) -> None:
        import ray

        _enter(folder)
        self._upscaler, self._threads = make_upscaler(), threads
        replaces_lost = ray.get_runtime_context().was_current_actor_reconstructed
        self._is_to_look = replaces_lost and not overwrite

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[bytes]]:
        parts = [pickle.loads(rows["part"][0])]
        if isinstance(parts[0], Batch):
            if self._is_to_look:
                _leave_out_done(parts[0])
            try:
                run_batches(parts[:], self._upscaler, threads=self._threads)
            except UserError as error:
                parts.append(error)
        return {"part": [pickle.dumps(part) for part in parts]}


def _leave_out_done(part: Batch) -> None:
    """Leave out the files that a lost actor has done."""
    records = Records()
    for job in part.jobs[:]:
        with contextlib.suppress(UserError):  # Somebody else has made the output.
            if job.target.exists() and records.compare(job.target, job.origin) == "same":
                job.outcome.status = "done"
                part.jobs.remove(job)


def _collect(
    rows: Any, is_interrupted: Callable[[], bool], finish: Callable[[Batch], None]
) -> None:
    """Hand over what the actors return, and check every tenth of a second for an interruption."""
    found: queue.Queue[Batch | Exception | None] = queue.Queue()

    def fetch() -> None:
        try:
            for row in rows:
                found.put(pickle.loads(row["part"]))
            found.put(None)
        except Exception as error:  # Raised below.
            found.put(error)

    threading.Thread(target=fetch, daemon=True).start()
    with tqdm(unit="px", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        while not is_interrupted():
            with contextlib.suppress(queue.Empty):
                if (item := found.get(timeout=0.1)) is None:
                    return
                if isinstance(item, Exception):
                    raise item
                finish(item)
                bar.update(sum(job.pixels for job in item.jobs))
    raise KeyboardInterrupt
