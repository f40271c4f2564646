"""Modules that a plugin may import and that have moved: old name, new name.

Plugins and data sets outside this repository name modules in `use:` and import them. Where such a module is missing,
the message says its new name; the functions of data sets still work under their old ones.
"""

from __future__ import annotations

import logging

from harness.registry.source import defines, locate, parse

MOVED = {
    "attacks": "harness.plugins.attacks",
    "defenses": "harness.plugins.defenses",
    "evaluators": "harness.plugins.evaluators",
    # harness.check
    "harness.check.chance": "harness.check.noise",
    "harness.check.junit": "harness.check.output",
    "harness.check.scores": "harness.check.changes",
    "harness.check.shuffled": "harness.check.compare",
    "harness.check.words": "harness.check.output",
    # harness.client
    "harness.client": "harness.client.client",
    "harness.gallery": "harness.client.gallery",
    "harness.shelf": "harness.client.release_cache",
    # harness.commands
    "harness.commands.entries": "harness.commands.plugins",
    # harness.contract
    "harness.contract.findings": "harness.contract.checks",
    "harness.contract.pictures": "harness.contract.checks",
    "harness.scaffold": "harness.contract.scaffold",
    # harness.data
    "harness.archives": "harness.data.sources.archives",
    "harness.coarse": "harness.data.sources.coarse",
    "harness.datasets": "harness.data.load",
    "harness.decode": "harness.data.decode",
    "harness.download": "harness.data.download",
    "harness.folders": "harness.data.image_folder",
    "harness.keep": "harness.data.cache",
    "harness.photos": "harness.data.sources.photos",
    "harness.roles": "harness.data.splits",
    "harness.torchvision_sets": "harness.data.sources.torchvision_sets",
    "harness.transfer": "harness.data.http",
    "harness.unpack": "harness.data.unpack",
    # harness.images
    "harness.compiled": "harness.images.numba_loops",
    "harness.draws": "harness.images.draws",
    "harness.kernels": "harness.images.cpu",
    "harness.likeness": "harness.images.thumbnails",
    # harness.leaderboard
    "harness.attacked": "harness.leaderboard.attack_results",
    "harness.comparisons": "harness.leaderboard.ranking",
    "harness.complete": "harness.leaderboard.completeness",
    "harness.groups": "harness.leaderboard.attack_runs",
    "harness.leaderboard": "harness.leaderboard.board",
    "harness.notes": "harness.leaderboard.format",
    "harness.paper": "harness.leaderboard.reported",
    "harness.ranking": "harness.leaderboard.ranking",
    "harness.reported": "harness.leaderboard.reported",
    "harness.rows": "harness.leaderboard.row",
    "harness.self_checks": "harness.leaderboard.completeness",
    "harness.verdict": "harness.leaderboard.verdict",
    "harness.wording": "harness.leaderboard.format",
    "harness.worst": "harness.leaderboard.worst_case",
    # harness.plugins.attacks
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
    # harness.publish
    "harness.challenge": "harness.publish.challenge",
    "harness.external": "harness.publish.score",
    "harness.publish": "harness.publish.obfuscate",
    "harness.published": "harness.publish.published",
    "harness.release_files": "harness.publish.release_files",
    "harness.submission": "harness.publish.submission",
    # harness.records
    "harness.provenance": "harness.records.provenance",
    "harness.untouched": "harness.records.store",
    # harness.registry
    "harness.availability": "harness.registry.availability",
    "harness.binding": "harness.registry.binding",
    "harness.entries": "harness.registry.entry",
    "harness.imports": "harness.registry.source",
    "harness.locate": "harness.registry.source",
    "harness.settings": "harness.registry.settings",
    "harness.sources": "harness.registry.source",
    # harness.report
    "harness.board_files": "harness.report.files",
    "harness.columns": "harness.report.table_data",
    "harness.curves": "harness.report.epoch_curves",
    "harness.drawn": "harness.report.html.chart_data",
    "harness.estimate": "harness.report.run_summary",
    "harness.figures": "harness.report.figures.epoch_curves",
    "harness.heat": "harness.report.heatmap",
    "harness.markdown": "harness.report.markdown",
    "harness.origins": "harness.report.provenance_table",
    "harness.outcome": "harness.report.run_summary",
    "harness.page": "harness.report.html.page",
    "harness.plates": "harness.report.figures.draw",
    "harness.plates.grid": "harness.report.figures.heatmap",
    "harness.plates.names": "harness.report.figures.style",
    "harness.plates.scatter": "harness.report.figures.scatter",
    "harness.plates.spent": "harness.report.figures.epoch_curves",
    "harness.plates.style": "harness.report.figures.style",
    "harness.report": "harness.report.collect",
    "harness.sheets": "harness.report.collect",
    "harness.spending": "harness.report.epoch_curves",
    "harness.tables": "harness.report.terminal",
    "harness.verify": "harness.report.files",
    # harness.run
    "harness.agreement": "harness.run.rerun",
    "harness.cell": "harness.run.bench",
    "harness.cluster": "harness.run.ray_pool",
    "harness.cross": "harness.run.cross",
    "harness.crossing": "harness.run.cross",
    "harness.drive": "harness.run.scheduler",
    "harness.engine": "harness.run.engine",
    "harness.order": "harness.run.options",
    "harness.pool": "harness.run.process_pool",
    "harness.rerun": "harness.run.rerun",
    "harness.schedule": "harness.run.scheduler",
    "harness.scoring": "harness.run.scoring",
    "harness.sweep": "harness.run.sweep",
    "harness.worker": "harness.run.worker",
    # harness.system
    "harness.allocator": "harness.system.device",
    "harness.atomic": "harness.system.files",
    "harness.check.files": "harness.system.files",
    "harness.device": "harness.system.device",
    "harness.offline": "harness.system.offline",
    "harness.telling": "harness.system.progress",
    "harness.terminal": "harness.system.progress",
    "harness.whole": "harness.system.files",
    # harness.tools
    "harness.measure": "harness.tools.measure",
    "harness.preview": "harness.tools.preview",
    # harness.train
    "harness.convergence": "harness.train.convergence",
    "harness.mcpherson": "harness.train.networks",
    "harness.networks": "harness.train.networks",
    "harness.trained": "harness.train.memo",
    "harness.weights": "harness.train.pretrained",
    # harness.tune
    "harness.bracket": "harness.tune.ranges",
    "harness.knobs": "harness.tune.ranges",
    "harness.least": "harness.tune.search",
    "harness.tune": "harness.tune.tune",
    "harness.tuned": "harness.tune.result",
    "harness.tuned_tables": "harness.tune.tables",
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


def moved_use(module: str, function: str) -> str | None:
    """What to tell of a `use:` whose module has moved; None where it has not."""
    moved = new_name(module)
    if moved is None:
        return None
    advice = f"; write use: {moved}:{function}" if has_function(moved, function) else f" to {moved}"
    return f"{module} has moved{advice}"


def has_function(module: str, function: str) -> bool:
    """Whether a module defines that name, read from its source."""
    place = locate(module)
    return (
        place is not None and place.file is not None and place.is_python and defines(parse(place.file).body, function)
    )


def current_use(where: str, use: str) -> str:
    """The `use:` of an entry, with a warning and the new name for a data set's module that has moved."""
    module, _, function = use.partition(":")
    moved = MOVED.get(module, "")
    if not moved.startswith(DATASETS) or not has_function(moved, function):
        return use
    log.warning("%s: %s has moved; write use: %s:%s", where, module, moved, function)
    return f"{moved}:{function}"
