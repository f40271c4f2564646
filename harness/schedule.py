"""Which piece of work comes next: proofs before what they prove, and a worker stays with one defense's release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.cell import Piece
from harness.order import Order


@dataclass(frozen=True)
class Task:
    """A piece with the order that says on which bench it is done."""

    order: Order
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
        """What shares a release, and what is learned from it."""
        inputs = self.piece.spec.inputs
        return repr((self.order.stage(), inputs["dataset"]["fingerprint"], inputs["defense"], inputs["seed"]))


@dataclass
class Queue:
    """Tasks that wait. Not in it: a task whose record is there already."""

    groups: dict[str, list[Task]]
    waiting: set[str]
    _owned: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Queue:
        groups: dict[str, list[Task]] = {}
        for task in tasks:
            groups.setdefault(task.group, []).append(task)
        return cls(groups, {task.key for group in groups.values() for task in group})

    def __bool__(self) -> bool:
        return any(self.groups.values())

    def next_for(self, worker: int) -> Task | None:
        """The worker's own group first, then one that nobody has; last it helps with the longest, from its end.

        None where nothing can be begun before something else is done.
        """
        own, taken = self._owned.get(worker), set(self._owned.values())
        fresh = [group for group in self.groups if group not in taken]
        for group in filter(None, (own, *fresh)):
            ready = self._ready(group)
            if ready:
                self._owned[worker] = group
                return self._take(group, ready[0])
        longest = max(self.groups, key=lambda group: len(self._ready(group)), default=None)
        ready = self._ready(longest) if longest else []
        return self._take(str(longest), ready[-1]) if ready else None

    def again(self, task: Task) -> None:
        """Back in front: its worker was lost."""
        self.groups[task.group].insert(0, task)
        self.waiting.add(task.key)

    def done(self, task: Task) -> None:
        self.waiting.discard(task.key)

    def _ready(self, group: str) -> list[Task]:
        return [task for task in self.groups[group] if task.needs not in self.waiting]

    def _take(self, group: str, task: Task) -> Task:
        self.groups[group].remove(task)
        return task
