"""What a tracker is sent: scores and settings; never images, single numbers, reasons or text that may be a path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.records import RunSpec
from harness.trackers import content
from tests.helpers.rows import attacked, release


def with_knobs(record, part="defense", **knobs):
    inputs = {**record.inputs, part: {**record.inputs[part], "params": knobs}}
    return replace(record, spec=RunSpec(record.spec.kind, inputs))


def test_figures_are_the_means_and_their_intervals():
    made = attacked("smooth", dssim=np.linspace(0.2, 0.4, 200))

    sent = content.figures(made)

    assert sent["attacked_dssim"] == pytest.approx(0.3) and sent["ok"] == 1.0 and sent["seconds"] == 1.0
    ends = [made.scores["attacked_dssim"][end] for end in ("low", "high")]
    assert [sent["attacked_dssim_low"], sent["attacked_dssim_high"]] == ends
    assert all(isinstance(value, float) for value in sent.values())


def test_what_was_not_measured_is_not_sent():
    nothing = {"n": 0, "mean": None, "low": None, "high": None, "reason": "no weights in /home/doe"}

    sent = content.figures(replace(release(), scores={"fid": nothing, "mse": {"mean": float("nan")}}))

    assert set(sent) == {"ok", "seconds"}


def test_a_piece_that_failed_is_sent_as_that_without_its_reason():
    sent = content.figures(attacked("smooth", status="failed"))

    assert sent == {"ok": 0.0, "seconds": 1.0}


def test_pieces_are_named_by_defense_and_attack():
    pieces = [release(), attacked("smooth"), attacked("smooth", seed=1), attacked("smooth", defense="none")]

    names = content.series([each.spec for each in pieces])

    assert [names[each.spec.key] for each in pieces] == ["mix/release", "mix/smooth", "mix/smooth", "none/smooth"]


def test_what_tells_pieces_of_one_name_apart_is_in_the_name_and_nothing_else():
    pieces = [with_knobs(attacked("smooth"), sigma=sigma, kept=3) for sigma in (10, 20.5)]

    names = content.series([each.spec for each in pieces])

    assert [names[each.spec.key] for each in pieces] == ["mix sigma 10/smooth", "mix sigma 20.5/smooth"]


def test_names_hold_only_what_mlflow_takes():
    pieces = [with_knobs(attacked("smooth"), levels=levels) for levels in ([0.5, 0.5], [0.75, 0.25])]

    assert sorted(content.series([each.spec for each in pieces]).values()) == [
        "mix levels 0.5_0.5/smooth",
        "mix levels 0.75_0.25/smooth",
    ]


def test_settings_hold_every_value_that_pieces_have():
    pieces = [release(), attacked("smooth", seed=0), attacked("smooth", seed=2, releases=4)]

    found = content.settings([each.spec for each in pieces])

    assert found["seed"] == "0; 2" and found["dataset"] == "stripes" and found["releases"] == "4"
    assert found["defense"] == "mix weights=0.5,0.5 pairing=permutation intra_class=false label=dominant"
    assert found["attack"] == "smooth"


@pytest.mark.parametrize("path", ["/home/doe/net.pt", "C:\\Users\\doe\\net.pt", "~doe", "../nets"])
def test_text_that_may_be_a_path_is_in_neither_settings_nor_names(path):
    pieces = [with_knobs(attacked("smooth"), "attack", weights=given) for given in (path, {"deep": [path]}, 1)]

    sent = str(content.settings([each.spec for each in pieces])) + str(content.series([each.spec for each in pieces]))

    assert path not in sent and "doe" not in sent and content.MAY_BE_A_PATH in sent
