"""Obfuscation in one's own training loop: a transform of whole batches, as torchvision's `v2.MixUp` is one.

    obfuscate = Obfuscate("shuffle_mix", block=8)
    loader = DataLoader(data, batch_size=64, collate_fn=lambda samples: obfuscate(*default_collate(samples)))

Every batch is released as `harness obfuscate` and `harness run` release a data set: its images are mixed with each
other, rounded to 8 bits and shuffled, and the labels say what the defense makes public.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import get_worker_info

from harness.api import facade
from harness.api.arguments import as_lists, whole
from harness.api.functions import Named, entry_of
from harness.api.tensors import as_bytes, as_floats, check_enough, checked_images, checked_labels
from harness.client.client import scheme_of
from harness.errors import HarnessError
from harness.randomness import derive, key_from, root_of
from harness.registry.settings import format_setting
from harness.release import obfuscate
from harness.system.numbers import check_count
from harness.system.schema import shown

_SOFT = "soft"
_forks: list[bytes] = []
"""A random number for each fork between the process that imported this module and this one."""
_counting = threading.Lock()


def _note_fork() -> None:
    global _counting
    _counting = threading.Lock()  # another thread may have held it when the process was forked
    _forks.append(os.urandom(32))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


class Obfuscate(torch.nn.Module):
    """Batch transform `(images, labels) -> (images, labels)`.

    defense      a name (`harness list defenses`), a function with the plugin contract, or a `DefensePlugin`
    settings     its knobs and its mixing: `block=8, weights=[0.5, 0.5], intra_class=True, label="soft"`
    num_classes  how many there are; needed for soft labels alone
    seed         the n-th batch of a process always has the same random numbers, in a worker of a DataLoader together
                 with the seed that the loader gives it: another one for each worker and epoch, repeated by
                 `torch.manual_seed` or the loader's own `generator`
    generator    a torch.Generator that random numbers are drawn from, likewise mixed with a worker's seed
                 Without both they are drawn from torch's global generator, which every worker has another state of

    Two batches of one transform never have the same random numbers, from whichever threads it is called. Copies
    (`copy.deepcopy`, pickle) and processes that one forks oneself: with a seed each continues the same sequence as the
    original, so give every copy and process a seed of its own. Without a seed each has random numbers of its own, which
    no other run repeats; a copy without a generator draws from torch's global one like the original.

    images       (N, 3, H, W) uint8, or float32 in [0, 1] as they are before normalisation, on any device; N is at
                 least the number of images in a mixture (a DataLoader: `drop_last=True`)
    labels       (N,) class numbers, on any device
    returns      images of the same type on the same device, rounded to 8 bits; labels on their device: class numbers
                 of the dominant source, or (N, num_classes) float32 shares where the defense's label is soft. Of the
                 pairing `matching` there are about N / k

    Raises HarnessError, a ValueError, in one sentence for other defenses, settings, types, shapes and ranges.
    No gradients pass: a release is data.
    """

    def __init__(
        self,
        defense: Named,
        *,
        num_classes: int | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        entry, registry = entry_of("defenses", defense, facade.registry())
        self._entry = entry.with_settings(as_lists(settings))
        self._scheme = scheme_of(self._entry, registry)
        if seed is not None and generator is not None:
            raise HarnessError("Obfuscate takes a seed or a generator, not both")
        if seed is not None:
            check_count("seed", whole("seed", seed), least=0)
        if generator is not None and not isinstance(generator, torch.Generator):
            raise HarnessError(f"generator is {shown(repr(generator))}; expected a torch.Generator")
        if num_classes is not None:
            if whole("num_classes", num_classes) < 1:
                raise HarnessError(f"num_classes is {num_classes}; expected 1 or more")
        elif self._gives_soft_labels:
            raise HarnessError(f"{entry.name} gives soft labels; say of how many classes: num_classes=10")
        self._classes, self._seed, self._generator = num_classes, seed, generator
        self._batches = 0
        self._number_of_copy = b""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._number_of_copy = os.urandom(32)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        who = f"Obfuscate({self._entry.name!r})"
        checked = checked_images(who, images)
        if checked.dtype == torch.float64:
            raise HarnessError(f"{who}: images are torch.float64; expected uint8 or float32: use images.float()")
        check_enough(who, len(checked), self._scheme.sources)
        numbers, classes = checked_labels(who, labels, len(checked), self._classes)
        with torch.no_grad():
            release, _ = obfuscate(self._scheme, as_bytes(checked), numbers, classes, self._key(), str(checked.device))
            released = release.images if checked.dtype == torch.uint8 else as_floats(release.images)
        public = release.labels
        if isinstance(labels, torch.Tensor):
            public = public.to(labels.device, public.dtype if self._gives_soft_labels else labels.dtype)
        return released, public

    def extra_repr(self) -> str:
        settings: Mapping[str, Any] = {**self._entry.params, **(self._entry.mixing or {})}
        return ", ".join([self._entry.name, *(f"{name}={format_setting(settings[name])}" for name in settings)])

    @property
    def _gives_soft_labels(self) -> bool:
        return bool(self._scheme.mixing["label"] == _SOFT)

    def _key(self) -> bytes:
        """The key of one batch: another one for every batch, worker and epoch."""
        worker = get_worker_info()
        with _counting:
            if self._seed is None:
                key = key_from(self._generator or torch.default_generator)
            else:
                key = derive(root_of(self._seed), "transform", self._batches)
                self._batches += 1
        if self._seed is None:
            for number in self._own_numbers(is_worker=worker is not None):
                key = derive(key, "process", number.hex())
        return key if worker is None else derive(key, "worker", worker.id, worker.seed)

    def _own_numbers(self, is_worker: bool) -> list[bytes]:
        """What tells a copy with a generator, and a forked process, from the one whose random state they share.

        The fork that made a worker of a DataLoader does not count: the loader's seed tells it from others, repeatably.
        """
        if is_worker:
            return _forks[:-1]
        return [*_forks, self._number_of_copy] if self._generator is not None and self._number_of_copy else [*_forks]
