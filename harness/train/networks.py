"""Networks by name: McPherson's two, torchvision's, then timm's; from scratch unless pretrained weights are requested.

McPherson, Shokri and Shmatikov 2016, "Defeating image obfuscation with deep learning": the face network's layers are
confirmed by two re-implementations; the CIFAR-10 one is the VGG with batch norm of Zagoruyko's Torch code, which they
cite, and is not confirmed. Both are trained with SGD at .01, momentum .9 and weight decay 5e-4. Difference to the
original: the gradient's norm is bounded by 1, without which the face network, which has no batch norm, diverged on
small sets after a thousand steps.
"""

from __future__ import annotations

import difflib

from torch import nn

from harness.errors import HarnessError, Skipped
from harness.train import pretrained as weights
from harness.train.learner import Recipe

RECIPE = Recipe("sgd", 0.01, momentum=0.9, weight_decay=5e-4, clip=1.0)


def face(classes: int, size: tuple[int, int]) -> nn.Module:
    """3x3 convolutions 32-64-128 with LeakyReLU(.01), pooling 2/2/3, a dense layer of 1024, dropout .5.

    Pooling comes before the rectifier, which is monotonic: the same numbers at a quarter of the cost. HarnessError
    where the image is smaller than 12 pixels a side.
    """
    layers: list[nn.Module] = []
    inputs, height, width = 3, *size
    if min(size) < 12:
        raise HarnessError(f"mcpherson_face: images of {height}x{width} pool to nothing; use 12 pixels or more")
    for outputs, pool in ((32, 2), (64, 2), (128, 3)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(pool), nn.LeakyReLU(0.01)]
        inputs, height, width = outputs, height // pool, width // pool
    dense = [nn.Flatten(), nn.Linear(inputs * height * width, 1024), nn.LeakyReLU(0.01), nn.Dropout(0.5)]
    return nn.Sequential(*layers, *dense, nn.Linear(1024, classes))


def cifar(classes: int, size: tuple[int, int]) -> nn.Module:
    """VGG-16 with batch norm and dropout .3/.4/.5. Above 32 px the last feature map is averaged (our assumption)."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for layer in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            if layer < depth - 1:
                layers.append(nn.Dropout(0.3 if width == 64 else 0.4))
            inputs = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    head = [nn.Dropout(0.5), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head, nn.Linear(512, classes))


PATCHES = "kmeans_patches"
"""The `arch` of recognisers that is no network to be built here: filters found by k-means, and a linear layer."""
PUBLISHED = {"mcpherson_face": face, "mcpherson_cifar": cifar}
_missing: dict[str, str] = {}  # why weights are not available, tried once per process


def check_name(name: str) -> None:
    """HarnessError where neither the paper, torchvision nor timm has a network of this name."""
    if name in PUBLISHED or name in _torchvision():
        return
    import timm  # seconds to import, and seldom needed

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, [PATCHES, *PUBLISHED, *_torchvision(), *timm.list_models()], 1)
        hint = f"; did you mean {close[0]!r}?" if close else "; use a torchvision or timm model name"
        raise HarnessError(f"no network called {name!r}{hint}")


def check_recogniser(name: str) -> None:
    """HarnessError where an attack's `arch` is neither a network's name nor PATCHES."""
    if name != PATCHES:
        check_name(name)


def build(name: str, classes: int, size: tuple[int, int], pretrained: bool = False) -> nn.Module:
    """A classifier with `classes` outputs for images of this (height, width).

    Raises HarnessError for an unknown name, `Skipped` where pretrained weights are not available.
    """
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
    """Why a timm model's pretrained weights are not available, without a connection; None where they are."""
    check_name(name)
    published = weights.timm_address(name)
    if published is None:
        raise HarnessError(f"there are no published pretrained weights of {name!r}; use a timm model that has some")
    if weights.timm_file(name):
        return None
    if name in _missing or not weights.may_download():
        return _missing.get(name, f"no pretrained weights of {name} here; {_how_to_get(name)}")
    try:
        weights.timm_digest(name)
    except HarnessError as error:
        return str(error)
    return None


def _pretrained(name: str, classes: int) -> nn.Module:
    """A timm model with its published weights: from this machine, or downloaded where that is allowed."""
    reason = why_no_weights(name)
    if reason:
        raise Skipped(reason)
    import timm

    file = weights.timm_file(name)
    try:
        if file:
            weights.check_timm(name, file)
        with weights.with_timeout():
            file = file or weights.fetch_timm(name)
            overlay = {"file": str(file)}  # else timm asks the hub whether it is the newest
            model: nn.Module = timm.create_model(
                name, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay
            )
    except HarnessError as error:
        _missing[name] = str(error)
        raise Skipped(_missing[name]) from None
    except Exception as error:  # no connection, a damaged file: the layers below raise various exceptions
        what = "unreadable" if file else "no"
        _missing[name] = f"{what} pretrained weights of {name} ({type(error).__name__}); {_how_to_get(name)}"
        raise Skipped(_missing[name]) from error
    return model


def _how_to_get(name: str) -> str:
    place = weights.placed_file(name)
    address = weights.timm_address(name)
    return (
        f"set HARNESS_DOWNLOAD=1 to fetch them, or place {address} in {weights.in_home(place.parent)} as {place.name}"
    )


def _torchvision() -> list[str]:
    import torchvision  # seconds to import: only when a network is needed

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names
