"""Jobs that wait for a worker: a piece of work with its options, and which comes next.

A proof comes before what it proves, and a worker stays with the release of one defense. Taking and ending a job costs
the same with ten of them as with ten thousand.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from harness.registry import Registry
from harness.run.bench import Piece
from harness.run.options import RunOptions


@dataclass(frozen=True)
class Job:
    """A piece, and the options that say on which bench it is done."""

    options: RunOptions
    piece: Piece

    @property
    def key(self) -> str:
        return self.piece.spec.key

    @property
    def needs(self) -> str | None:
        """The key of the piece that must be done before."""
        return self.piece.proof.key if self.piece.proof else None

    @property
    def group(self) -> str:
        """The same for jobs that share a release, and what is learned from it."""
        inputs = self.piece.spec.inputs
        return repr((self.options.data_options(), inputs["dataset"]["fingerprint"], inputs["defense"], inputs["seed"]))

    @property
    def is_foreign(self) -> bool:
        """Whether its defense, attack or network is somebody else's."""
        of_piece = (self.piece.defense, self.piece.attack, self.piece.network)
        return any(each is not None and each.is_foreign for each in of_piece)

    def foreign_plugins(self, registry: Registry) -> frozenset[str]:
        """Somebody else's plugins whose code it runs."""
        measured = ("metrics", "evaluators") if self.piece.spec.kind == "release" else ("evaluators",)
        network = self.piece.network.entry if self.piece.network else None
        asked = [self.piece.defense, self.piece.attack, network, registry.section("datasets").get(self.options.dataset)]
        asked += [entry for section in measured for entry in registry.section(section).values()]
        return frozenset(repr(entry) for entry in asked if entry is not None and entry.is_foreign)


@dataclass
class Queue:
    """Jobs that wait, in groups that share a release. A job whose record exists is not in it.

    _ready    by group the jobs that can begin, as (place, job) in the order of their places; no group is empty
    _blocked  by the key of the job that they need, those that cannot begin yet
    """

    _ready: dict[str, list[_Placed]] = field(default_factory=dict)
    _blocked: dict[str, list[_Placed]] = field(default_factory=dict)
    _group_of: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Queue:
        """Those with somebody else's plugins come last in their group: a worker is replaced after them."""
        placed = [_Placed(place, job) for place, job in enumerate(sorted(jobs, key=lambda job: job.is_foreign))]
        waiting = {each.job.key for each in placed}
        ready, blocked = defaultdict(list), defaultdict(list)
        for each in placed:
            if each.job.needs in waiting:
                blocked[each.job.needs].append(each)
            else:
                ready[each.group].append(each)
        return cls(dict(ready), dict(blocked))

    def __bool__(self) -> bool:
        return bool(self._ready or self._blocked)

    def next_for(self, worker: int) -> Job | None:
        """From the worker's own group, else from one that no worker has, else the last job of the longest group.

        None where nothing can begin before something else is done.
        """
        own, taken = self._group_of.get(worker), set(self._group_of.values())
        group = own if own in self._ready else next((group for group in self._ready if group not in taken), None)
        if group is not None:
            self._group_of[worker] = group
            return self._take(group, 0)
        longest = max(self._ready, key=lambda group: len(self._ready[group]), default=None)
        return None if longest is None else self._take(longest, -1)

    def requeue(self, job: Job) -> None:
        """Put it in front again: its worker was lost."""
        self._insert(_Placed(-1, job))

    def done(self, job: Job) -> None:
        """What needed it may begin."""
        for each in self._blocked.pop(job.key, ()):
            self._insert(each)

    def _insert(self, placed: _Placed) -> None:
        insort(self._ready.setdefault(placed.group, []), placed, key=lambda each: each.place)

    def _take(self, group: str, index: int) -> Job:
        jobs = self._ready[group]
        job = jobs.pop(index).job
        if not jobs:
            del self._ready[group]
        return job


@dataclass(frozen=True)
class _Placed:
    """A job and its place among all jobs."""

    place: int
    job: Job

    @cached_property
    def group(self) -> str:
        return self.job.group
