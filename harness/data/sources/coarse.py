"""A data set with a coarse label: the public label is a group of classes, and the class the hidden second attribute.

An adversary breaches privacy by learning more than the public label (Raynal et al. 2020, section 2). A data set of
one's own, in a file for --registry:

    datasets:
      my_coarse:
        use: harness.data.sources.coarse:coarse
        version: 1
        cite: me
        params: {of: a/folder, groups: {pet: [cat], wild: [fox]}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.decode import LazyImage
from harness.data.load import find_images
from harness.errors import HarnessError
from harness.registry.settings import did_you_mean


def coarse(downloads: Path, *, of: str, groups: Mapping[str, Sequence[str]]) -> list[LazyImage]:
    """The images of another data set, labelled by group.

    of      a built-in data set, or a folder (relative to where the command runs)
    groups  the classes of each group; every class is in exactly one
    """
    group_of = _groups(groups)
    _, images = find_images(of, downloads)
    classes = {image.label for image in images}
    if unknown := sorted(set(group_of) - classes):
        near = did_you_mean(unknown[0], classes)
        raise HarnessError(f"{of} has no class {unknown[0]!r}{near}; fix groups ({', '.join(sorted(classes))})")
    if ungrouped := sorted(classes - set(group_of)):
        raise HarnessError(f"class {ungrouped[0]!r} of {of} is in no group; add it to one of {', '.join(groups)}")
    return [replace(image, label=group_of[image.label], attribute=image.label) for image in images]


def _groups(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The group of every class."""
    if not isinstance(groups, Mapping) or len(groups) < 2:
        raise HarnessError(f"groups {groups!r}: use a table of two or more, each with a list of classes")
    group_of: dict[str, str] = {}
    for group, classes in groups.items():
        if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
            raise HarnessError(f"group {group!r} is {classes!r}; expected a list of classes (quote what YAML misreads)")
        for name in classes:
            if name in group_of:
                raise HarnessError(f"class {name!r} is in both {group_of[name]!r} and {group!r}; keep one")
            group_of[name] = group
    return group_of
