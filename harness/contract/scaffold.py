"""`harness new`: write a working plugin and its registry entry, to edit and to use with --registry."""

from __future__ import annotations

import contextlib
import keyword
import re
from pathlib import Path

import yaml

from harness.errors import HarnessError
from harness.registry import load_registry
from harness.registry.entry import SECTIONS
from harness.registry.settings import did_you_mean
from harness.registry.source import locate

DEFENSE = '''"""NAME: what it does to an image, in one line. Reference: authors, year, section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.errors import HarnessError
from harness.images import average

if TYPE_CHECKING:
    from harness.types import Generator, Images, Sources, Weights


def NAME(sources: Sources, weights: Weights, rng: Generator, *, strength: float) -> Images:
    """Average the sources, then blend the mixture with uniform noise.

    sources   (N, k, 3, H, W) float32 in [0, 1], dominant source first
    weights   (N, k), each row sums to 1
    strength  share of the noise, in [0, 1]: 0 is the plain mixture, 1 is noise alone
    """
    if not 0 <= strength <= 1:
        raise HarnessError(f"NAME: strength {strength} is outside [0, 1]")
    mixed = average(sources, weights)
    noise = torch.rand(mixed.shape, generator=rng, device=mixed.device)
    return torch.lerp(mixed, noise, strength)
'''

DEFENSE_ENTRY = """# harness run --registry NAME.yaml --defense NAME --attack cnn
defenses:
  QUOTED:
    use: NAME:NAME
    version: 1                # raise it when the code gives other results
    params: {strength: 0.3}   # every knob has its value here; none has a default in code
    mixing: {weights: [0.75, 0.25], pairing: permutation, intra_class: false, label: dominant}
    traits: [linear]          # for attacks that adapt: linear, additive_noise, blurs, pixelizes, keeps_pixels, ...
    cite: "authors, year, section"
"""

ATTACK = '''"""NAME: how it reconstructs originals from a release, in one line. Reference: authors, year, section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.types import Guess

if TYPE_CHECKING:
    from harness.observation import Observation
    from harness.types import Generator


def NAME(observation: Observation, rng: Generator, *, gain: float) -> Guess:
    """Increase the contrast of every target around its own mean: one candidate each.

    gain  factor on the difference from the mean
    """
    images = observation.images[observation.targets].float()
    mean = images.mean(dim=(-3, -2, -1), keepdim=True)
    stretched = (mean + gain * (images - mean)).round().clamp(0, 255)
    return Guess(candidates=stretched.byte()[:, None])
'''

ATTACK_ENTRY = """# harness run --registry NAME.yaml --defense mix --attack NAME
attacks:
  QUOTED:
    use: NAME:NAME
    version: 1                # raise it when the code gives other results
    kind: reconstruction      # or recognition, reidentification
    granted: []               # what it may see beyond the images: labels, releases, defense, public
    params: {gain: 1.5}       # every knob has its value here; none has a default in code
    traits: []
    cite: "authors, year, section"
"""

METRIC = '''"""NAME: what it compares, in one line. Reference: authors, year, section."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.types import Images


def NAME(images: Images, originals: Images, *, power: float) -> Tensor:
    """Mean of the absolute difference to a power: one number per image, larger for less alike images.

    images, originals  (N, 3, H, W) float32 in [0, 1]
    power              2 gives the mean squared error
    """
    return (images - originals).abs().pow(power).flatten(1).mean(dim=1)
'''

METRIC_ENTRY = """# harness measure --registry NAME.yaml A B
metrics:
  QUOTED:
    use: NAME:NAME
    version: 1                # raise it when the code gives other results
    higher_is: farther        # or closer
    params: {power: 1.0}      # every knob has its value here; none has a default in code
    cite: "authors, year, section"
"""

TEMPLATES = {
    "defense": (DEFENSE, DEFENSE_ENTRY),
    "attack": (ATTACK, ATTACK_ENTRY),
    "metric": (METRIC, METRIC_ENTRY),
}


def new_plugin(kind: str, name: str, folder: Path) -> list[Path]:
    """Write NAME.py and NAME.yaml into the folder and return their paths; raises HarnessError for a name that is taken.

    kind  defense, attack or metric
    """
    kind = SECTIONS.get(kind, kind)
    if kind not in TEMPLATES:
        raise HarnessError(f"cannot make a {kind!r}{did_you_mean(kind, TEMPLATES)}; choose {', '.join(TEMPLATES)}")
    files = [folder / f"{name}.py", folder / f"{name}.yaml"]
    _check_name(kind, name, files)
    quoted = yaml.safe_dump(name).splitlines()[0]  # a name such as `on` needs its quotes
    try:
        for file, template in zip(files, TEMPLATES[kind], strict=True):
            file.write_text(template.replace("NAME", name).replace("QUOTED", quoted), encoding="utf-8")
    except OSError as error:
        for file in files:  # write both or neither
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        raise HarnessError(f"{folder}: {error.strerror or error}; name another with --folder") from None
    return files


def _check_name(kind: str, name: str, files: list[Path]) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or keyword.iskeyword(name) or name == "all":
        raise HarnessError(f"{name!r} cannot name a function; use letters, digits and _, such as my_{kind}")
    folder = files[0].parent
    if not folder.is_dir():
        raise HarnessError(f"{folder} is not a folder; make it first")
    for file in files:
        if file.exists():
            raise HarnessError(f"{file} exists already; choose another name or folder")
    taken = [entry for entry in load_registry().entries if entry.name == name]
    if taken:
        raise HarnessError(f"{taken[0].noun} {name!r} exists already ({taken[0].origin}); choose another name")
    if locate(name) is not None:
        raise HarnessError(
            f"a Python module called {name!r} is installed and would hide {files[0].name}; choose another"
        )
