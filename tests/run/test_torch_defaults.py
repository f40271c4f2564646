"""Figures do not depend on how the caller has set torch, nor on other threads that run at the same time."""

from __future__ import annotations

import threading

import pytest
import torch

import harness
from harness.system.threads import torch_defaults
from tests.helpers.planted import picture_folder


@pytest.fixture
def utility(tmp_path, monkeypatch):
    """utility("records", defense) -> accuracy of the model trained on it, with its record in that folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = picture_folder(tmp_path / "stripes", each=16)

    def call(records, defense="mix"):
        options = {"epochs": 2, "records": tmp_path / records, "model": "mcpherson_face"}
        (cell,) = harness.evaluate(defense, "mean_image", folder, **options)["cells"]
        assert cell["status"] == "ok", cell["reason"]
        return cell["scores"]["utility"], cell["scores"]["attacked_dssim"]

    return call


STATES = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "another device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("state", STATES)
def test_the_callers_settings_change_no_figure(utility, state):
    expected = utility("plain")
    with STATES[state]():
        assert utility("set") == expected


def test_the_callers_dtype_changes_no_figure_and_is_kept(utility):
    expected = utility("plain")
    torch.set_default_dtype(torch.float64)
    try:
        assert utility("set") == expected and torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_threads_at_once_train_what_each_trains_alone(utility):
    defenses = ("mix", "noise_mix", "shuffle_mix")
    alone = {defense: utility("alone", defense) for defense in defenses}
    at_once = {}

    def work(defense):
        at_once[defense] = utility(defense, defense)

    threads = [threading.Thread(target=work, args=[defense]) for defense in defenses]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert at_once == alone


def test_one_thread_at_a_time_is_inside():
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(50):
            with torch_defaults():
                inside += 1
                most = max(most, inside)
                torch.zeros(1000).sum()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert most == 1
