"""A data set under a coarse label: the label becomes a group of classes, and the class an attribute that it hides.

What an adversary learns beyond the public label is the breach (Raynal et al. 2020, section 2). A user's own, as a
registry file that is layered over with --registry:

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
    """The pictures of another data set, regrouped.

    of      a built-in data set, or a folder (relative to where the command runs)
    groups  the classes of each group; every class is in exactly one
    """
    home = _homes(groups)
    _, pictures = find_images(of, downloads)
    classes = {picture.label for picture in pictures}
    if unknown := sorted(set(home) - classes):
        near = did_you_mean(unknown[0], classes)
        raise HarnessError(f"{of} has no class {unknown[0]!r}{near}; mend groups ({', '.join(sorted(classes))})")
    if homeless := sorted(classes - set(home)):
        raise HarnessError(f"class {homeless[0]!r} of {of} is in no group; add it to one of {', '.join(groups)}")
    return [replace(picture, label=home[picture.label], attribute=picture.label) for picture in pictures]


def _homes(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The group of every class."""
    if not isinstance(groups, Mapping) or len(groups) < 2:
        raise HarnessError(f"groups {groups!r}: use a table of two or more, each with a list of classes")
    home: dict[str, str] = {}
    for group, classes in groups.items():
        if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
            raise HarnessError(f"group {group!r} is {classes!r}; expected a list of classes (quote what YAML misreads)")
        for name in classes:
            if name in home:
                raise HarnessError(f"class {name!r} is in both {home[name]!r} and {group!r}; keep one")
            home[name] = group
    return home
