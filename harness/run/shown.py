"""Whether releases show originals nearly as they are: in rows that hold them, scored or not, and in rows that do not.

The worst case is of the originals that are scored, and of rows that hold them. A defense could show the others, or show
a picture in a row that says it holds another. So every released image is looked up among all originals by two cheap
features: thumbnails, whose correlation has the other sign for a negative, and low frequencies of the spectrum, which
shifts, turns and mirroring leave. Per original the most alike are measured by aligned dSSIM. In rows of its own, the
dSSIM of an original that is not scored is measured anyway; that of the others is known.

An original is shown where that is below .05 and its null above .3. The null is the larger of two: the mean distance to
other released images, and `unseen_distance`, what images come to that cannot show it, because a scheme can show one
picture in all its images. Distractors are images of the same kind that no release holds, looked up in the same way:
what they come to in the rows of others is chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from harness.client.client import Client
from harness.client.gallery import DISTRACTORS
from harness.images import to_images
from harness.randomness import derive, numpy_generator
from harness.registry import bind
from harness.run.originals import DERANGEMENTS, pairs_at_a_time
from harness.scores import judged, worst_metric
from harness.types import Array, Bytes, Images, Release, Secret

SEEN, UNSEEN = 0.05, 0.3  # an image is shown where its distance is below the first and its null above the second
_LIKE = (
    0.95,
    0.8,
)  # by thumbnails and by spectra: what is less alike is not measured; what is below .05 has .97 and .88
_THUMBNAIL, _FREQUENCIES = 8, 6
_STRANGERS = 2  # distractors that an original is compared with
_FLAT = 1e-4
_ROWS = 512  # images looked up at a time
_LUMINANCE = (0.299, 0.587, 0.114)


class Shown:
    """What releases show, gathered one at a time: only places are kept, no images.

    `nearest` is of rows that hold an original (own), and of those that do not, by each feature.
    """

    def __init__(self, client: Client):
        self._client = client
        self._known = _Known(client)
        count, everyone = len(client.splits.private), len(self._known)
        self._raw = np.full(count, np.inf)
        self._own = _Best(count)
        self._others = _Best(everyone)
        self._sources = np.empty((0, 1), np.int64)  # of release 0

    def add(self, number: int, release: Release, secret: Secret) -> None:
        """Take in release `number`."""
        scored = self._client.is_target
        self._sources = secret.sources if number == 0 else self._sources
        for start in range(0, len(release), _ROWS):
            rows = slice(start, min(start + _ROWS, len(release)))
            sources = secret.sources[rows]
            columns = torch.from_numpy(sources).to(self._client.device)
            for feature, likeness in enumerate(self._known.likenesses(release.images[rows])):
                mine = likeness.gather(1, columns).cpu().numpy()
                of = ~scored[sources]
                at = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], sources.shape)
                self._own.take(feature, sources[of], mine[of], number, at[of])
                most, where = likeness.scatter_(1, columns, -torch.inf).max(0)
                self._others.take(
                    feature, np.arange(len(most)), most.cpu().numpy(), number, rows.start + where.cpu().numpy()
                )
        for column in range(secret.sources.shape[1]):
            own = np.flatnonzero(~scored[secret.sources[:, column]])
            found = self._distances(judged()[0], release, own, secret.sources[own, column])
            np.minimum.at(self._raw, secret.sources[own, column], found)

    def facts(self, release: Callable[[int], Release], nearest: Array) -> dict[str, dict[str, int]]:
        """How many originals are shown by rows that hold them, and by rows that do not; of distractors the latter.

        release  release(r) -> release r, as it was taken in
        nearest  (N,) least distance of the originals that are scored in rows of their own
        """
        own = np.where(self._client.is_target, nearest, np.minimum(self._raw, self._measured(self._own, release)))
        count = len(own)
        mine, _ = self._are_shown(own, release(0))
        others, unlike = self._are_shown(self._measured(self._others, release), release(0))
        return {
            "own_rows": {"originals": count, "shown": int(mine.sum())},
            "wrong_rows": {
                "targets": count,
                "shown": int(others[:count].sum()),
                "unlike_any": int(unlike[:count].sum()),
                "distractors": len(others) - count,
                "distractors_shown": int(others[count:].sum()),
            },
        }

    def _measured(self, best: _Best, release: Callable[[int], Release]) -> Array:
        """(n,) aligned dSSIM of the most alike; infinite where nothing is alike."""
        least = np.full(best.likeness.shape[1], np.inf)
        for feature, enough in enumerate(_LIKE):
            alike = best.likeness[feature] >= enough
            for number in np.unique(best.number[feature][alike]).tolist():
                of = np.flatnonzero(alike & (best.number[feature] == number))
                metric = worst_metric(judged()[0])
                found = self._distances(metric, release(number), best.row[feature][of], of)
                least[of] = np.minimum(least[of], found)
        return least

    def _distances(self, metric: str, release: Release, rows: Array, of: Array) -> Array:
        """(n,) of released rows to images of `_Known`."""
        measure, device = bind(self._client.registry.get("metrics", metric)), self._client.device
        parts = [np.empty(0)]
        step = pairs_at_a_time(release.images.shape[1:], device)
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            images = release.images[torch.from_numpy(rows[some]).to(release.images.device)].to(device)
            originals = self._known.images(of[some]).to(device)
            parts.append(measure(to_images(images), to_images(originals)).double().cpu().numpy())
        return np.concatenate(parts)

    def _are_shown(self, distances: Array, release: Release) -> tuple[Array, Array]:
        """(n,) which images are shown, and which of them are unlike anything that cannot show them."""
        near = np.flatnonzero(distances < SEEN)
        unseen = self._known.unseen_distance(near)
        shown, unlike = (np.zeros(len(distances), bool) for _ in range(2))
        unlike[near] = unseen > UNSEEN
        shown[near] = np.maximum(unseen, self._to_other_rows(near, release)) > UNSEEN
        return shown, unlike

    def _to_other_rows(self, places: Array, release: Release) -> Array:
        """(n,) mean distance to some images of release 0 that do not hold these."""
        rows = numpy_generator(derive(b"", "other rows")).permutation(len(release))[: 4 * DERANGEMENTS]
        total, count = np.zeros(len(places)), np.zeros(len(places))
        for row in rows:
            apart = (count < DERANGEMENTS) & ~np.isin(places, self._sources[row])
            of = places[apart]
            total[apart] += self._distances(worst_metric(judged()[0]), release, np.full(len(of), row), of)
            count += apart
        return np.where(count > 0, total / np.maximum(count, 1), 0.0)


def unseen_distances(client: Client, rows: Array) -> Array:
    """`_Known.unseen_distance` of these rows of the private set."""
    return _Known(client).unseen_distance(rows)


class _Best:
    """Of each image the most alike released one, by each feature: its likeness, its release and its row."""

    def __init__(self, count: int):
        self.likeness = np.full((len(_LIKE), count), -np.inf)
        self.number, self.row = (np.zeros((len(_LIKE), count), np.int64) for _ in range(2))

    def take(self, feature: int, of: Array, likeness: Array, number: int, rows: Array) -> None:
        order = np.argsort(likeness, kind="stable")  # of several rows of one image the last is written
        of, likeness, rows = of[order], likeness[order], rows[order]
        closer = likeness > self.likeness[feature][of]
        of = of[closer]
        self.likeness[feature][of], self.row[feature][of] = likeness[closer], rows[closer]
        self.number[feature][of] = number


class _Known:
    """All originals, then the distractors: their images by place, their features, and what cannot show them."""

    def __init__(self, client: Client):
        self._client, self._private = client, client.splits.private
        self._others = client.splits.test if len(client.splits.test) else client.splits.public
        order = sorted(range(len(self._others)), key=lambda row: _hash(self._others.hashes[row]))
        self._drawn = np.array(order[:DISTRACTORS], np.int64)

    def __len__(self) -> int:
        return len(self._private) + len(self._drawn)

    def images(self, places: Array) -> Bytes:
        """(n, 3, H, W) uint8 on the CPU."""
        count = len(self._private)
        found = np.empty((len(places), *self._private.images.shape[1:]), np.uint8)
        ours = places < count
        found[ours] = self._private.images[places[ours]]
        found[~ours] = self._others.images[self._drawn[places[~ours] - count]]
        return torch.from_numpy(found)

    def likenesses(self, images: Bytes) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, everyone) by thumbnails and by spectra, in [0, 1] and [-1, 1], on the device."""
        thumbnails, spectra = _features(to_images(images.to(self._client.device)))
        shown = self._standardised(_half(spectra))
        by_spectrum = shown @ self._spectra[0].T
        for pose in self._spectra[1:]:
            by_spectrum = torch.maximum(by_spectrum, shown @ pose.T)
        return (thumbnails @ self._thumbnails.T).abs_(), by_spectrum

    def _standardised(self, spectra: torch.Tensor) -> torch.Tensor:
        mean, deviation = self._scale
        return functional.normalize((spectra - mean) / deviation, dim=-1)

    @cached_property
    def _all_features(self) -> tuple[torch.Tensor, torch.Tensor]:
        places, parts = np.arange(len(self)), []
        for start in range(0, len(self), _ROWS):
            parts.append(_features(to_images(self.images(places[start : start + _ROWS]).to(self._client.device))))
        thumbnails, spectra = zip(*parts, strict=True)
        known = torch.cat(spectra)
        swapped = [known, known.transpose(1, 2)] if len(set(self._client.splits.size)) == 1 else [known]
        return torch.cat(thumbnails), torch.stack([_half(each) for one in swapped for each in (one, one.flip(1))])

    @property
    def _thumbnails(self) -> torch.Tensor:
        return self._all_features[0]

    @cached_property
    def _scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        flat = self._all_features[1].flatten(0, 1)
        return flat.mean(0), flat.std(0).clamp(min=_FLAT)

    @cached_property
    def _spectra(self) -> torch.Tensor:
        """(poses, everyone, F): a half turn leaves a spectrum in place; other turns need square images."""
        return self._standardised(self._all_features[1])

    def unseen_distance(self, places: Array) -> Array:
        """(n,) how near images come to these that cannot show them: the less of two aligned distances.

        One is of the image's own mean colour: what is plain is near anything plain. The other is the mean over two
        distractors of the same class: what looks alike in the whole class is near any of it.
        """
        if not len(places):
            return np.empty(0)
        labels = np.concatenate([self._private.labels, self._others.labels[self._drawn]])
        strangers = _strangers(labels, len(self._private), places)
        aligned = bind(self._client.registry.get("metrics", worst_metric(judged()[0])))
        raw = bind(self._client.registry.get("metrics", judged()[0]))
        parts = []
        step = pairs_at_a_time(self._private.images.shape[1:], self._client.device)
        for start in range(0, len(places), step):
            some = slice(start, start + step)
            images = to_images(self.images(places[some]).to(self._client.device))
            nearest = raw(images.mean((2, 3), keepdim=True).expand_as(images).contiguous(), images)
            if strangers.shape[1]:
                found = [
                    aligned(to_images(self.images(column[some]).to(images.device)), images) for column in strangers.T
                ]
                nearest = torch.minimum(nearest, torch.stack(found).mean(0))
            parts.append(nearest.double().cpu().numpy())
        return np.concatenate(parts)


def _strangers(labels: Array, count: int, places: Array) -> Array:
    """(n, at most 2) distractors for each place: of its class, where there are others of it, and not itself."""
    distractors = np.arange(count, len(labels))
    found = np.empty((len(places), min(_STRANGERS, max(len(distractors) - 1, 0))), np.int64)
    if not found.shape[1]:
        return found
    for label in np.unique(labels[places]):
        same = distractors[labels[distractors] == label]
        circle = same if len(same) > found.shape[1] else distractors
        for row in np.flatnonzero(labels[places] == label):
            at = np.searchsorted(circle, places[row]) + 1 if places[row] >= count else places[row]
            found[row] = circle[(at + np.arange(found.shape[1])) % len(circle)]
    return found


def _features(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 64) thumbnails of luminance, of mean 0 and length 1, and (n, F, F) roots of its amplitudes."""
    red, green, blue = (plane * share for plane, share in zip(images.unbind(1), _LUMINANCE, strict=True))
    grey = red + green + blue
    grey = grey - grey.mean((1, 2), keepdim=True)
    length = grey.square().sum((1, 2), keepdim=True).sqrt()
    grey = torch.where(length < _FLAT, 0, grey / length.clamp(min=_FLAT))
    small = functional.adaptive_avg_pool2d(grey[:, None], _THUMBNAIL).flatten(1)
    most = min(_FREQUENCIES, (min(grey.shape[1:]) - 1) // 2)
    near = torch.arange(-most, most + 1, device=grey.device)
    amplitudes = torch.fft.fft2(grey).abs()[:, near % grey.shape[1]][:, :, near % grey.shape[2]]
    return functional.normalize(small - small.mean(1, keepdim=True), dim=1), amplitudes.sqrt()


def _half(spectra: torch.Tensor) -> torch.Tensor:
    """(..., F, F) -> one of each pair of opposite frequencies, without the mean."""
    flat = spectra.flatten(-2)
    return flat[..., flat.shape[-1] // 2 + 1 :]


def _hash(content: object) -> bytes:
    return hashlib.sha256(b"distractor " + bytes(content)).digest()  # type: ignore[call-overload]
