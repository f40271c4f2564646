"""The two networks of McPherson, Shokri and Shmatikov 2016, "Defeating image obfuscation with deep learning".

The face network's layers are confirmed by two re-implementations; the CIFAR-10 one is the VGG with batch norm of
Zagoruyko's Torch code, which they cite, and is not confirmed. Both are trained with SGD at .01, momentum .9 and weight
decay 5e-4; the gradient's norm is bounded by 1, without which the face network, which has no batch norm, diverged on
small sets after a thousand steps.
"""

from torch import nn

from harness.errors import HarnessError
from harness.train import Recipe

RECIPE = Recipe("sgd", 0.01, momentum=0.9, weight_decay=5e-4, clip=1.0)


def face(classes: int, size: tuple[int, int]) -> nn.Module:
    """3x3 convolutions 32-64-128 with LeakyReLU(.01), pooling 2/2/3, a dense layer of 1024, dropout .5.

    Pooling comes before the rectifier, which rises and so has the same maximum: the same numbers for a quarter of it.
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
    """VGG-16 with batch norm and dropout .3/.4/.5. Above 32 px the last feature map is averaged (our reading)."""
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
