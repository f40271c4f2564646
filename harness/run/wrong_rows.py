"""Whether releases show originals, nearly as they are, in rows that say they hold others.

No distance to a row's own sources sees them, and a few of them are too few for the re-identification of images that do
not hold an original. So each image of the gallery is compared with the one image, of all that do not hold it, that is
most like it. Distractors are images of the same kind that no release holds: what they come to is chance, near-duplicate
and plain photographs included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.client.client import Client
from harness.images import to_images
from harness.registry import bind
from harness.run.answers import Answers
from harness.run.originals import DERANGEMENTS
from harness.scores import embeddings, judged

SEEN, UNSEEN = 0.05, 0.3  # an image is shown where its distance is below the first and its null above the second
_ROWS = 1024  # images looked up at a time
_CHUNK = 64


def shown_in_wrong_rows(client: Client, answers: Sequence[Answers]) -> dict[str, int]:
    """How many targets and distractors of the gallery images show that do not hold them.

    The most alike is chosen by the first embedding (thumbnails), and measured by the distance that ranks, unaligned. An
    image's null is the mean distance to those chosen for its next five neighbours in the gallery.

    answers  of all releases, one image a row
    returns  targets, shown, distractors, distractors_shown
    """
    gallery = client.gallery.images
    likeness = bind(client.registry.get("evaluators", next(iter(embeddings()))))
    best = torch.full((len(gallery),), -torch.inf)
    chosen = torch.zeros_like(gallery)
    for each in answers:
        columns = torch.from_numpy(client.gallery.columns[each.sources])
        for start in range(0, len(each), _ROWS):
            some = slice(start, start + _ROWS)
            found = likeness(each.images[some], gallery, client.device).amax(1).cpu()
            found = torch.cat([found, found.new_empty(len(found), 1)], 1)  # a place for what is not in the gallery
            found.scatter_(1, torch.where(columns[some] < 0, len(gallery), columns[some]), -torch.inf)
            most, rows = found[:, :-1].max(0)
            closer = most > best
            best[closer] = most[closer]
            chosen[closer] = each.images[some][rows[closer], 0].cpu()
    near = torch.isfinite(best) & (_distances(client, chosen, gallery) < SEEN)
    places = torch.arange(len(gallery))[near]
    if len(places):
        others = [
            _distances(client, chosen[(places + step) % len(gallery)], gallery[places])
            for step in range(1, 1 + DERANGEMENTS)
        ]
        near[places] = torch.stack(others).mean(0) > UNSEEN
    is_target = torch.zeros(len(gallery), dtype=torch.bool)
    is_target[torch.from_numpy(client.gallery.columns[client.is_target])] = True
    return {
        "targets": int(is_target.sum()),
        "shown": int((near & is_target).sum()),
        "distractors": int((~is_target).sum()),
        "distractors_shown": int((near & ~is_target).sum()),
    }


def _distances(client: Client, images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(n,) on the CPU, of images (n, 3, H, W) uint8."""
    metric = bind(client.registry.get("metrics", judged()[0]))
    pairs = zip(images.split(_CHUNK), others.split(_CHUNK), strict=True)
    return torch.cat([metric(*(to_images(part.to(client.device)) for part in pair)).cpu() for pair in pairs])
