"""Every door by name, among them those of the command line: settings and options."""

from __future__ import annotations

import json
import random
from pathlib import Path

from harness.errors import HarnessError
from harness.registry import parse_settings
from tests.fuzz import command_lines
from tests.fuzz.archive_targets import record, secret
from tests.fuzz.image_targets import image, submission
from tests.fuzz.inputs import Input, Maker
from tests.fuzz.material import Material, within
from tests.fuzz.survey_targets import answers, judgements, survey_key
from tests.fuzz.yaml_targets import registry, reported, suite, sweep


def settings(rng: random.Random, place: Path, material: Material) -> Input:
    """-D of a defense, or -A of an attack."""
    section = rng.choice(("defenses", "attacks"))
    entry = rng.choice(list(material.registry.section(section).values()))
    pairs = [command_lines.setting(rng, entry) for _ in range(rng.randint(1, 3))]

    def call() -> None:
        chosen = material.registry.choose(section, entry.name, parse_settings(pairs))
        json.dumps([each.params for each in chosen], allow_nan=False)

    option = "-D" if section == "defenses" else "-A"
    names = ["mix", entry.name] if section == "attacks" else [entry.name, "look"]
    given = [part for pair in pairs for part in (option, pair)]
    data = ["--dataset", str(material.pictures), "--records", str(place / "r"), "--no-utility", "--dry-run"]
    return Input(call, ["run", "--defense", names[0], "--attack", names[1], *given, *data])


def options(rng: random.Random, place: Path, material: Material) -> Input:
    """A command line with other values, options left out, doubled or invented."""
    arguments = command_lines.mutated(rng, material)

    def call() -> None:
        from harness.cli import main

        try:
            with within(place):
                code = main(arguments)
        except SystemExit as left:  # --help and --version
            code = left.code if isinstance(left.code, int) else 0
        if code == 2:
            raise HarnessError("exit 2")
        if code not in (0, 1, 3):
            raise AssertionError(f"exit {code}: harness {arguments}")

    return Input(call, arguments)


TARGETS: dict[str, Maker] = {
    "registry": registry,
    "sweep": sweep,
    "suite": suite,
    "reported": reported,
    "record": record,
    "secret": secret,
    "submission": submission,
    "image": image,
    "answers": answers,
    "survey key": survey_key,
    "judgements": judgements,
    "settings": settings,
    "options": options,
}
