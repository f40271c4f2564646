"""A published ImageNet classifier from timm: the offline counterpart of `google_vision`, with the same rule.

A class is recognised if its name or a synonym is among the network's ten likeliest labels. References: Wightman 2019,
PyTorch Image Models; Russakovsky et al. 2015, ImageNet; the rule: Raynal et al. 2020, section 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harness.errors import HarnessError, Inapplicable, Skipped
from harness.images import to_images
from harness.observation import Observation
from harness.plugins.attacks.vision.synonyms import Label, vocabulary
from harness.system.device import low_precision
from harness.train import autocast, networks
from harness.types import Bytes, Generator, Guess

_BATCH = 64


def check_ready(*, arch: str, **knobs: Any) -> None:
    """Raise `Skipped` where the weights are not on this machine and may not be downloaded."""
    reason = networks.why_no_weights(arch)
    if reason:
        raise Skipped(f"timm_labels: {reason}")


def timm_labels(
    observation: Observation, rng: Generator, *, arch: str, labels: int, synonyms: Mapping[str, Any]
) -> Guess:
    """Class scores from the likeliest ImageNet labels of the targets; no answer where no class is among them.

    arch      a timm model with weights for the 1,000 classes of ImageNet
    labels    how many of the likeliest labels count
    synonyms  class -> other names for it, and ranges of WordNet numbers (see attacks/vision/synonyms.py)

    Raises `Skipped` without weights; `Inapplicable` where ImageNet has a label for none of the classes.
    """
    names = vocabulary(observation.classes, synonyms)
    outputs = _imagenet(arch)
    if not 1 <= labels <= len(outputs):
        raise HarnessError(f"timm_labels: labels {labels} is 1 to {len(outputs)}")
    known = {names.class_of(label) for variants in outputs for label in variants} - {None}
    if not known:
        raise Inapplicable(f"ImageNet has no label for any of {', '.join(observation.classes)}; add synonyms")
    check_ready(arch=arch)
    model = networks.build(arch, len(outputs), (0, 0), pretrained=True).to(observation.device).eval()
    likeliest = _likeliest(model, observation, labels)
    answers = [[_named(outputs[number], score, names) for number, score in row] for row in likeliest]
    scores = names.scores(answers, sum)  # sum: the probabilities of exclusive labels add up
    named = (scores > 0).sum(1).float()
    report = {
        "classes_with_a_label": len(known),
        "class_named": float((named > 0).float().mean()),
        "several_classes_named": float((named > 1).float().mean()),
    }
    return Guess(scores=scores, report=report)


def _imagenet(arch: str) -> list[list[Label]]:
    """The names of each output of the network: ImageNet's labels have several, such as "tabby, tabby cat"."""
    import timm
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    networks.check_name(arch)
    config: Any = timm.get_pretrained_cfg(arch, allow_unregistered=False)
    subset = infer_imagenet_subset(config.to_dict())
    if subset is None:
        raise HarnessError(f"timm_labels: the labels of {arch} are not ImageNet's; use a model that ends in in1k")
    info: Any = ImageNetInfo(subset)
    return [
        [Label(name.strip(), 0.0, info.index_to_label_name(number)) for name in description.split(",")]
        for number, description in ((number, info.index_to_description(number)) for number in range(info.num_classes()))
    ]


def _named(variants: Sequence[Label], score: float, names: Any) -> Label:
    """The label with this score under the name that stands for a class, or under the first name."""
    chosen = next((label for label in variants if names.class_of(label) is not None), variants[0])
    return chosen._replace(score=score)


@torch.no_grad()
def _likeliest(model: nn.Module, observation: Observation, labels: int) -> list[list[tuple[int, float]]]:
    """(output, probability) of the likeliest outputs for each target, the likeliest first."""
    config: Any = model.pretrained_cfg
    likeliest: list[list[tuple[int, float]]] = []
    rows = torch.from_numpy(observation.targets).to(observation.images.device)
    for batch in rows.split(_BATCH):
        images = _prepared(observation.images[batch], observation.device, config)
        with autocast(observation.device, low_precision(observation.device)):
            logits = model(images)
        if not torch.isfinite(logits).all():
            raise HarnessError("timm_labels: the network's outputs hold NaN or infinity; replace its weights")
        best = logits.float().softmax(1).topk(labels)
        likeliest += [
            list(zip(numbers, scores, strict=True))
            for numbers, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
    return likeliest


def _prepared(stored: Bytes, device: str, config: Mapping[str, Any]) -> torch.Tensor:
    """The whole image, not a crop, resized and normalised as the network expects."""
    images = to_images(stored.to(device))
    size = tuple(config["input_size"][1:])
    resized = functional.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp_(0, 1)
    mean, deviation = (resized.new_tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    return ((resized - mean) / deviation).contiguous(memory_format=torch.channels_last)
