"""Modules that a plugin may import and that have moved: old name, new name.

Plugins and data sets outside this repository name modules in `use:` and import them. Where such a module is missing,
the message says its new name; the functions of data sets still work under their old ones.
"""

from __future__ import annotations

import logging

from harness.registry.source import locate

MOVED = {
    "attacks": "harness.plugins.attacks",
    "defenses": "harness.plugins.defenses",
    "evaluators": "harness.plugins.evaluators",
    "attacks.assignment": "harness.plugins.attacks.linking.assignment",
    "attacks.features": "harness.plugins.attacks.linking.features",
    "attacks.filling": "harness.plugins.attacks.grafting.inpainting",
    "attacks.levels": "harness.plugins.attacks.ensemble.brightness_contrast",
    "attacks.linking": "harness.plugins.attacks.linking.link",
    "attacks.mask_network": "harness.plugins.attacks.grafting.mask_network",
    "attacks.masks": "harness.plugins.attacks.grafting.masks_em",
    "attacks.pairs": "harness.plugins.attacks.linking.repeated_pairs",
    "attacks.pixels": "harness.plugins.attacks.linking.solve",
    "attacks.regression": "harness.plugins.attacks.linking.ridge",
    "attacks.restoration_loss": "harness.plugins.attacks.restoration.loss",
    "attacks.restorer": "harness.plugins.attacks.restoration.training",
    "attacks.restoring": "harness.plugins.attacks.restoration.linked",
    "attacks.stage": "harness.plugins.attacks.ensemble.rehearsal",
    "attacks.standing": "harness.plugins.attacks.ensemble.unshuffled_order",
    "attacks.synonyms": "harness.plugins.attacks.vision.synonyms",
    "attacks.tracks": "harness.plugins.attacks.linking.tracks",
    "attacks.trials": "harness.plugins.attacks.ensemble.selection",
    "attacks.tuning": "harness.plugins.attacks.common.rehearse",
    "attacks.undo": "harness.plugins.attacks.ensemble.known_linear_map",
    "attacks.unet": "harness.plugins.attacks.restoration.unet",
    "attacks.vision_cache": "harness.plugins.attacks.vision.cache",
    "attacks.vision_service": "harness.plugins.attacks.vision.service",
    "harness.allocator": "harness.system.device",
    "harness.archives": "harness.data.sources.archives",
    "harness.atomic": "harness.system.files",
    "harness.availability": "harness.registry.availability",
    "harness.binding": "harness.registry.binding",
    "harness.coarse": "harness.data.sources.coarse",
    "harness.compiled": "harness.images.numba_loops",
    "harness.convergence": "harness.train.convergence",
    "harness.datasets": "harness.data.load",
    "harness.decode": "harness.data.decode",
    "harness.device": "harness.system.device",
    "harness.download": "harness.data.download",
    "harness.draws": "harness.images.draws",
    "harness.entries": "harness.registry.entry",
    "harness.folders": "harness.data.image_folder",
    "harness.imports": "harness.registry.source",
    "harness.keep": "harness.data.cache",
    "harness.kernels": "harness.images.cpu",
    "harness.likeness": "harness.images.thumbnails",
    "harness.locate": "harness.registry.source",
    "harness.mcpherson": "harness.train.networks",
    "harness.networks": "harness.train.networks",
    "harness.offline": "harness.system.offline",
    "harness.photos": "harness.data.sources.photos",
    "harness.roles": "harness.data.splits",
    "harness.settings": "harness.registry.settings",
    "harness.sources": "harness.registry.source",
    "harness.telling": "harness.system.progress",
    "harness.terminal": "harness.system.progress",
    "harness.torchvision_sets": "harness.data.sources.torchvision_sets",
    "harness.trained": "harness.train.memo",
    "harness.transfer": "harness.data.http",
    "harness.unpack": "harness.data.unpack",
    "harness.weights": "harness.train.pretrained",
    "harness.whole": "harness.system.files",
}
DATASETS = "harness.data.sources."
log = logging.getLogger("harness")


def new_name(module: str) -> str | None:
    """Where a module is now that has moved; None where it has not, or where nothing is at its new place."""
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        moved = MOVED.get(".".join(parts[:depth]))
        if moved:
            name = ".".join([moved, *parts[depth:]])
            return name if locate(name) else None
    return None


def current_use(where: str, use: str) -> str:
    """The `use:` of an entry, with a warning and the new name for a data set's module that has moved."""
    module, _, function = use.partition(":")
    moved = MOVED.get(module, "")
    if not moved.startswith(DATASETS):
        return use
    log.warning("%s: %s has moved; write use: %s:%s", where, module, moved, function)
    return f"{moved}:{function}"
