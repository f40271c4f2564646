"""What the paper reports, as data: the points that are drawn beside what is measured here.

Reference: Raynal, Achanta and Humbert, "Image Obfuscation for Privacy-Preserving Machine Learning" (2020), Table 7.
"""

from __future__ import annotations

from dataclasses import dataclass

CITATION = "Raynal, Achanta and Humbert, Image Obfuscation for Privacy-Preserving Machine Learning (2020), Table 7"
PROTOCOL = "cats and dogs at 256 px, 22,800 training and 2,000 clean test images, ResNet-18, 20 epochs"
DATASET = "cats_vs_dogs"
"""What the same images are called here."""


@dataclass(frozen=True)
class PublishedRow:
    """One row of Table 7.

    settings     knobs as -D takes them; block is of 256 px images
    intra_class  whether partners are of the same class
    dssim        the paper's privacy: mean dSSIM of the release, not attacked, to the dominant original
    accuracy     on clean test images, a share
    """

    defense: str
    settings: str
    intra_class: bool
    dssim: float
    accuracy: float


_ROWS = (  # defense, knob, weights, then privacy and accuracy in %: partners of any class, of the same class
    ("none", "", "", (0.00, 93.35), (0.00, 93.35)),
    ("mix", "", "0.75,0.25", (0.14, 92.75), (0.15, 92.45)),
    ("mix", "", "0.6,0.4", (0.29, 87.65), (0.28, 90.50)),
    ("mix", "", "0.5,0.5", (0.32, 79.45), (0.30, 79.20)),
    ("noise_mix", "sigma=20", "0.75,0.25", (0.65, 91.30), (0.68, 88.94)),
    ("noise_mix", "sigma=20", "0.5,0.5", (0.72, 69.00), (0.71, 81.85)),
    ("noise_mix", "sigma=30", "0.75,0.25", (0.80, 85.55), (0.79, 86.60)),
    ("noise_mix", "sigma=30", "0.5,0.5", (0.81, 71.20), (0.83, 79.20)),
    ("shuffle_mix", "block=4", "0.75,0.25", (0.46, 88.35), (0.47, 84.85)),
    ("shuffle_mix", "block=4", "0.5,0.5", (0.56, 68.40), (0.56, 85.30)),
    ("shuffle_mix", "block=8", "0.75,0.25", (0.63, 80.45), (0.63, 84.95)),
    ("shuffle_mix", "block=8", "0.5,0.5", (0.70, 69.20), (0.70, 83.90)),
    ("pixelize_mix", "grid=32", "0.75,0.25", (0.52, 80.10), (0.52, 79.90)),
    ("pixelize_mix", "grid=32", "0.5,0.5", (0.56, 76.05), (0.57, 78.90)),
    ("pixelize_mix", "grid=16", "0.75,0.25", (0.59, 67.70), (0.59, 67.40)),
    ("pixelize_mix", "grid=16", "0.5,0.5", (0.57, 65.20), (0.61, 67.50)),
)


def _reported(at: int) -> list[PublishedRow]:
    made = []
    for defense, knob, weights, *figures in _ROWS:
        chosen = " ".join(part for part in (knob, f"weights={weights}" if weights else "") if part)
        dssim, percent = figures[at]
        made.append(PublishedRow(defense, chosen, bool(at), dssim, round(percent / 100, 4)))
    return made


TABLE_7 = (*_reported(0), *_reported(1)[1:])  # an undefended image has no partner: it stands once
