"""Networks by name: McPherson's two, torchvision's, then timm's; from scratch unless pretrained ones are asked for."""

from __future__ import annotations

import difflib

from torch import nn

from harness import weights
from harness.errors import HarnessError, Skipped
from harness.mcpherson import cifar, face

PUBLISHED = {"mcpherson_face": face, "mcpherson_cifar": cifar}
_missing: dict[str, str] = {}  # why weights could not be had: asked once per process


def check_name(name: str) -> None:
    """Refuse a name that nobody knows."""
    if name in PUBLISHED or name in _torchvision():
        return
    import timm  # seconds to import, and seldom needed

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [*PUBLISHED, *_torchvision(), *timm.list_models()], 1)
        hint = f"; did you mean {close[0]!r}?" if close else "; use a torchvision or timm model name"
        raise HarnessError(f"no network called {name!r}{hint}")


def build(name: str, classes: int, size: tuple[int, int], pretrained: bool = False) -> nn.Module:
    """A classifier with the given number of outputs, for images of that height and width."""
    check_name(name)
    if name in PUBLISHED:
        return PUBLISHED[name](classes, size)
    if name in _torchvision() and not pretrained:
        import torchvision

        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
        return model
    if pretrained:
        return _pretrained(name, classes)
    import timm

    return timm.create_model(name, num_classes=classes)


def why_no_weights(name: str) -> str | None:
    """Why a timm model's pretrained weights cannot be had without asking the network, or None where they can."""
    check_name(name)
    published = weights.timm_address(name)
    if published is None:
        raise HarnessError(f"nobody publishes pretrained weights of {name!r}; use a timm model that has some")
    if weights.timm_file(name):
        return None
    if name not in _missing and weights.may_download():
        return None
    return _missing.get(name, f"no pretrained weights of {name} here; {_mend(name)}")


def _pretrained(name: str, classes: int) -> nn.Module:
    """A timm model with its published weights: from this machine, or fetched where that is allowed."""
    reason = why_no_weights(name)
    if reason:
        raise Skipped(reason)
    import timm

    file = weights.timm_file(name)
    try:
        with weights.impatient():
            file = file or weights.fetch_timm(name)
            placed = {"file": str(file)}  # else timm asks the hub whether it is the newest
            model: nn.Module = timm.create_model(
                name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=placed
            )
    except Exception as error:  # no network, a damaged file: each layer raises what it likes
        what = "unreadable" if file else "no"
        _missing[name] = f"{what} pretrained weights of {name} ({type(error).__name__}); {_mend(name)}"
        raise Skipped(_missing[name]) from error
    return model


def _mend(name: str) -> str:
    place = weights.placed_file(name)
    address = weights.timm_address(name)
    return (
        f"set HARNESS_DOWNLOAD=1 to fetch them, or place {address} in {weights.in_home(place.parent)} as {place.name}"
    )


def _torchvision() -> list[str]:
    import torchvision  # seconds to import: only when a network is needed

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names
