"""Train a small timm model on obfuscated batches, and beside it one on the images as they are.

    python examples/train_with_obfuscation.py --defense shuffle_mix --epochs 5

The images are `photos`, which come with scikit-image. Every batch of every epoch is released anew: it is mixed and
obfuscated in the DataLoader's collate function, before normalisation. Accuracy is that on clean test images.
"""

from __future__ import annotations

import argparse
from functools import partial

import timm
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, default_collate

from harness import Obfuscate
from harness.data.load import load
from harness.types import Dataset


def tensors(data: Dataset) -> TensorDataset:
    """(N, 3, H, W) uint8 images and (N,) class numbers."""
    return TensorDataset(torch.from_numpy(data.images.copy()), torch.from_numpy(data.labels))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """uint8 -> floats around 0, as the model takes them."""
    return images.float() / 127.5 - 1


def collate(
    samples: list[tuple[torch.Tensor, torch.Tensor]], obfuscate: Obfuscate | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch, obfuscated or as it is."""
    images, labels = default_collate(samples)
    return obfuscate(images, labels) if obfuscate else (images, labels)


def train(data: TensorDataset, classes: int, obfuscate: Obfuscate | None, epochs: int, workers: int) -> torch.nn.Module:
    """A model after some epochs on the images, obfuscated batch by batch or as they are."""

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model("resnet10t", num_classes=classes).to(device).train()
    batches = partial(collate, obfuscate=obfuscate)
    loader = DataLoader(data, 32, shuffle=True, drop_last=True, collate_fn=batches, num_workers=workers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * len(loader))
    for _ in range(epochs):
        for images, labels in loader:
            loss = functional.cross_entropy(model(normalised(images.to(device))), labels.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: torch.nn.Module, data: TensorDataset) -> float:
    """Share of clean images whose class is named."""
    images, labels = data.tensors
    device = next(model.parameters()).device
    return float((model(normalised(images.to(device))).argmax(1).cpu() == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defense", default="shuffle_mix", help="a name from `harness list defenses`")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--workers", type=int, default=0, help="processes that load and obfuscate")
    given = parser.parse_args()

    data = load("photos", size=given.size, public_share=0)
    classes = len(data.classes)
    for obfuscate in (None, Obfuscate(given.defense, num_classes=classes, seed=0)):
        model = train(tensors(data.private), classes, obfuscate, given.epochs, given.workers)
        print(f"{obfuscate or 'as they are'}: accuracy {accuracy(model, tensors(data.test)):.2f}")
    print(f"chance {torch.bincount(torch.from_numpy(data.test.labels)).max() / len(data.test):.2f}")


if __name__ == "__main__":
    main()
