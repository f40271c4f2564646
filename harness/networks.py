"""Networks by name: McPherson's two, torchvision's, then timm's; from scratch unless pretrained ones are asked for."""

from __future__ import annotations

import difflib

from torch import nn

from harness.errors import HarnessError, Skipped
from harness.mcpherson import cifar, face

PUBLISHED = {"mcpherson_face": face, "mcpherson_cifar": cifar}


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
    import timm

    if pretrained:
        try:
            return timm.create_model(name, pretrained=True, num_classes=classes)
        except Exception as error:  # no network, no such weights: the hub raises what it likes
            reason = f"pretrained weights of {name} cannot be had ({type(error).__name__})"
            raise Skipped(f"{reason}; place them in the hub's cache or use pretrained=false") from None
    return timm.create_model(name, num_classes=classes)


def _torchvision() -> list[str]:
    import torchvision  # seconds to import: only when a network is needed

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names
