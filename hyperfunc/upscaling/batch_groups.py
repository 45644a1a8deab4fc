"""Which images of a batch are rendered at the same time.

Small images are not divided among the devices: the pieces would be mostly halo. Each device renders
one of them instead.
"""

import dataclasses
from collections.abc import Hashable, Sequence

from hyperfunc.upscaling.batch_plan import Job
from hyperfunc.upscaling.pieces import Plan
from hyperfunc.upscaling.upscaler import Upscaler

SMALL = 256
"""The largest side of a small image, in pixels."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that are rendered at the same time, and how each is divided."""

    jobs: Sequence[Job]
    plans: Sequence[Plan]

    @property
    def is_small(self) -> bool:
        """Whether little memory is needed, so that another group may be rendered meanwhile."""
        return all(_is_small(job) for job in self.jobs)


def plan_groups(jobs: Sequence[Job], upscaler: Upscaler) -> list[Group]:
    """Plan the images of a batch in order, except that a small one waits for others like it."""
    devices = upscaler.mesh.size
    small = [i for i, job in enumerate(jobs) if _is_small(job)]
    plans: dict[int, Plan] = {}
    if len(small) > 1:
        together = upscaler.plan_together([(jobs[i].header.size, jobs[i].size) for i in small])
        plans = dict(zip(small, together, strict=True))
    for i, job in enumerate(jobs):
        if i not in plans:
            plans[i] = upscaler.plan(job.header.size, job.size)
    groups, waiting = [], dict[Hashable, list[int]]()
    for i, job in enumerate(jobs):
        is_alone = len(plans[i].pieces) > 1 or not _is_small(job)
        alike = waiting.setdefault(i if is_alone else (plans[i].renderer, job.header.dtype), [])
        alike.append(i)
        if is_alone or len(alike) == devices:
            groups.append(alike[:])
            alike.clear()
    groups += filter(None, waiting.values())
    return [Group([jobs[i] for i in group], [plans[i] for i in group]) for group in groups]


def _is_small(job: Job) -> bool:
    return max(job.header.size) <= SMALL
