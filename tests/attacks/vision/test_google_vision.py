"""Google Vision over a real gRPC connection to a server on this machine: the cache, the budget, and all its errors."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.cli import main
from harness.errors import HarnessError, Skipped
from harness.plugins.attacks import google_vision as attack
from harness.plugins.attacks.vision import service as vision_service
from harness.randomness import torch_generator
from harness.registry import bind, load_registry
from tests.helpers.planted import bench, defense, picture_folder, splits, stripes
from tests.helpers.vision_service import NAMES, SAID, Service, read

TURN = defense("turn")


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """An empty cache, no credentials, no request made yet, and short pauses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "K_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(attack, "_requests", 0)
    monkeypatch.setattr(attack, "_PAUSE", 0.001)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def service():
    pytest.importorskip("google.cloud.vision")
    made = Service()
    yield made
    made.server.stop(None).wait()


@pytest.fixture(scope="module")
def stage():
    return bench(None, splits(private=40, public=6), TURN)


def entry(service, **settings):
    given = {"endpoint": service.endpoint, "synonyms": NAMES, **settings}
    return load_registry().get("attacks", "google_vision").with_settings(given)


def run(stage, service, on=None, **settings):
    chosen = entry(service, **settings)
    seen = stage.client.observe(on or stage.undefended, chosen, 0)
    return bind(chosen)(seen, torch_generator(b"the rng of an attack", "cpu"))


def hits(stage, guess, on=None):
    _, secret = stage.client.release(on or stage.undefended, 0, 0)
    truth = stage.splits.private.labels[secret.dominant_rows]
    return float(((guess.scores.argmax(1).numpy() == truth) & (guess.scores.max(1).values > 0).numpy()).mean())


# Reading


def test_the_service_of_this_test_can_read_stripes():
    images, labels = stripes(60, seed=3)

    assert [read(image.transpose(1, 2, 0)) for image in images] == labels.tolist()


def test_what_the_service_names_is_recognised_and_what_misleads_it_is_not(stage, service):
    """Undefended stripes are read; a defense that turns every image makes across down, and the service says so."""
    plain, turned = run(stage, service), run(stage, service, on=TURN)

    assert hits(stage, plain) == 1
    assert hits(stage, turned, on=TURN) < 0.5  # slanted stripes stay slanted: a third
    assert plain.report["class_named"] == 1 and plain.report["several_classes_named"] == 0


def test_every_target_is_sent_once_as_it_was_released_sixteen_at_a_time(stage, service):
    guess = run(stage, service)

    release, _ = stage.client.release(stage.undefended, 0, 0)
    sent = [picture for pictures, _ in service.asked for picture in pictures]
    assert [len(pictures) for pictures, _ in service.asked] == [16, 16, 8] and guess.report["requests"] == 3
    assert all(features == {("LABEL_DETECTION", 10)} for _, features in service.asked)
    np.testing.assert_array_equal(np.stack(sent), release.images.permute(0, 2, 3, 1).numpy())


def test_only_the_targets_are_sent(stage, service):
    seen = stage.client.observe(stage.undefended, entry(service), 0)

    guess = bind(entry(service))(replace(seen, targets=np.array([3, 7, 11])), torch_generator(b"rng", "cpu"))

    assert service.images == 3 and tuple(guess.scores.shape) == (3, 3)


def test_equal_images_are_paid_once(stage, service):
    seen = stage.client.observe(stage.undefended, entry(service), 0)
    same = seen.images[:1].repeat(40, 1, 1, 1)

    guess = bind(entry(service))(replace(seen, images=same), torch_generator(b"rng", "cpu"))

    assert service.images == 1 and tuple(guess.scores.shape) == (40, 3) and (guess.scores[0] == guess.scores).all()


def test_an_image_that_nothing_is_known_of_is_no_answer(stage, service):
    service.faults = [lambda _, responses: [service.labelled(("Water", 0.9)) for _ in responses]]

    guess = run(stage, service)

    assert (guess.scores[:16] == 0).all() and (guess.scores[16:].max(1).values > 0).all()
    assert guess.report["class_named"] == pytest.approx(24 / 40)


def test_large_images_go_in_smaller_requests(stage, service, monkeypatch):
    monkeypatch.setattr(attack, "_REQUEST", 5 * 3 * 16 * 16)

    run(stage, service)

    assert [len(pictures) for pictures, _ in service.asked] == [5] * 8


# What is paid is kept


def test_a_second_run_asks_nobody(stage, service):
    first = run(stage, service)
    before = len(service.asked)

    second = run(stage, service)

    assert len(service.asked) == before and second.report["requests"] == 0
    assert torch.equal(first.scores, second.scores)


def test_new_synonyms_cost_nothing(stage, service):
    """The cache holds what the service said, not what was made of it."""
    run(stage, service)
    before = len(service.asked)

    guess = run(stage, service, synonyms={"slanted": ["pattern"]})

    assert len(service.asked) == before
    assert (guess.scores.argmax(1) == 2).all() and guess.report["class_named"] == 1


def test_another_question_is_not_answered_from_the_cache(stage, service):
    run(stage, service)

    run(stage, service, labels=5)

    assert len(service.asked) == 6


def test_the_report_says_who_was_asked_what_and_when(stage, service):
    report = run(stage, service).report

    assert report["asked"] == f"{service.endpoint} v1 LABEL_DETECTION 10"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", report["first_answer"]) and report["first_answer"] <= report["last_answer"]
    json.dumps(report, allow_nan=False)


def test_a_damaged_answer_is_asked_for_again(stage, service, tmp_path, caplog):
    run(stage, service)
    for file in sorted((tmp_path / "cache").rglob("*.json"))[:3]:
        file.write_text('{"labels": [["half')

    guess = run(stage, service)

    assert service.images == 40 + 3 and hits(stage, guess) == 1
    assert "is damaged" in caplog.text
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_an_interrupted_run_keeps_what_was_paid_for(stage, service, monkeypatch):
    sent = []

    def interrupted(client, images, labels, ask=vision_service.ask):
        sent.append(len(images))
        if len(sent) == 3:
            raise KeyboardInterrupt
        return ask(client, images, labels)

    with monkeypatch.context() as patched:
        patched.setattr(vision_service, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(stage, service)
    guess = run(stage, service)

    assert sent == [16, 16, 8] and service.images == 40 and len(service.asked) == 3
    assert hits(stage, guess) == 1


def test_an_interrupt_waits_for_the_request_that_is_under_way(stage, service):
    """It is paid for, so its answer is kept before the run ends."""

    def interrupting(_, responses):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.3)
        return responses

    service.faults = [lambda _, responses: responses, interrupting]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(stage, service)
    finally:
        signal.signal(signal.SIGINT, before)
    guess = run(stage, service)

    assert [len(pictures) for pictures, _ in service.asked] == [16, 16, 8]
    assert hits(stage, guess) == 1


def test_nothing_is_paid_for_that_cannot_be_kept(stage, service, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(HarnessError, match="cannot keep paid answers"):
        run(stage, service)

    assert service.asked == []


# What goes wrong on the way


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"])
def test_quota_and_transport_errors_are_waited_out(stage, service, code, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", lambda seconds, really=time.sleep: pauses.append(seconds))
    service.faults = [service.abort(code)] * 3

    guess = run(stage, service)

    assert hits(stage, guess) == 1 and guess.report["requests"] == 3 + 3
    assert pauses == pytest.approx([0.001, 0.002, 0.004])


def test_a_request_without_an_answer_times_out_and_is_made_again(stage, service, monkeypatch):
    monkeypatch.setattr(vision_service, "TIMEOUT", 0.3)
    released = threading.Event()
    service.faults = [lambda _, responses: released.wait(5) and responses]

    guess = run(stage, service)
    released.set()

    assert hits(stage, guess) == 1 and guess.report["requests"] == 4


def test_a_service_that_stays_away_fails_the_cell_in_one_line_and_keeps_what_was_paid(stage, service):
    service.faults = [lambda _, responses: responses] + [service.abort("RESOURCE_EXHAUSTED")] * 6

    with pytest.raises(HarnessError, match=r"24 of 40 images .* 6 requests in a row .* RESOURCE_EXHAUSTED") as raised:
        run(stage, service)
    guess = run(stage, service)

    assert "\n" not in str(raised.value) and "16 answers that were paid for are kept" in str(raised.value)
    assert guess.report["requests"] == 2 and hits(stage, guess) == 1


def test_of_half_an_answer_only_the_other_half_is_asked_for_again(stage, service):
    service.faults = [
        lambda _, responses: responses[:10],
        lambda _, responses: [*responses[:-2], service.failed(14), service.failed(8)],
    ]

    guess = run(stage, service)

    assert hits(stage, guess) == 1
    assert service.images == 40 + 6 + 2
    assert len({picture.tobytes() for pictures, _ in service.asked for picture in pictures}) == 40


def test_an_image_that_never_gets_an_answer_ends_in_a_failure_not_in_a_loop(stage, service):
    def poisoned(context, responses):
        service.faults.append(poisoned)
        return [*responses[:-1], service.failed(13)] if len(responses) > 1 else [service.failed(13)]

    service.faults = [poisoned]

    with pytest.raises(HarnessError, match="1 of 40 images"):
        run(stage, service)
    assert len(service.asked) < 20


def test_a_refused_image_fails_the_cell_and_its_neighbours_are_kept(stage, service):
    """Sent again it would be paid again; called unrecognised it would make the defense look private."""
    service.faults = [lambda _, responses: [service.failed(3, "Bad image data."), *responses[1:]]]

    with pytest.raises(HarnessError, match=r"refused \(code 3: Bad image data\.\)"):
        run(stage, service)

    assert len(service.asked) == 1
    assert run(stage, service).report["requests"] == 2  # 15 are known: 25 are left


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT"])
def test_what_no_waiting_mends_is_not_tried_again(stage, service, code):
    service.faults = [service.abort(code)]

    with pytest.raises(HarnessError, match=f"the service refused.*planted {code}") as raised:
        run(stage, service)

    assert len(service.asked) == 1 and "\n" not in str(raised.value)


def test_malformed_labels_are_dropped_and_counted(stage, service):
    def malformed(_, responses):
        junk = (("", 0.9), ("  ", 0.9), ("vertical stripes", float("nan")), ("vertical stripes", float("inf")))
        return [service.labelled(*junk, (SAID[0], 0.5)) for _ in responses]

    service.faults = [malformed]

    guess = run(stage, service)

    assert guess.report["malformed_labels"] == 4 * 16
    assert (guess.scores[:16] == torch.tensor([0.5, 0, 0])).all()


def test_ten_labels_count_and_the_eleventh_does_not(stage, service):
    many = [(f"thing {place}", 0.9 - place / 100) for place in range(10)]
    service.faults = [lambda _, responses: [service.labelled(*many, (SAID[0], 0.1)) for _ in responses]]

    assert (run(stage, service).scores[:16] == 0).all()


# The budget


def test_a_budget_that_does_not_reach_is_refused_before_anything_is_sent(stage, service, caplog):
    with pytest.raises(HarnessError, match=r"3 requests are needed, max_requests is 2; nothing was sent.*=3 or more"):
        run(stage, service, max_requests=2)

    assert service.asked == []


def test_the_cost_is_told_before_the_first_request(stage, service, caplog):
    service.faults = [service.abort("PERMISSION_DENIED")]
    with pytest.raises(HarnessError):
        run(stage, service)

    assert (
        "40 images in 3 requests, 40 billable units, about 0.06 USD at 1.50 USD per 1,000; 0 are cached" in caplog.text
    )


def test_the_budget_holds_for_all_cells_of_a_run_and_for_retries(stage, service):
    service.faults = [service.abort("UNAVAILABLE")]
    with pytest.raises(HarnessError, match=r"8 of 40 images are unanswered, all 3 of max_requests are made"):
        run(stage, service, max_requests=3)
    with pytest.raises(HarnessError, match="3 were made already"):
        run(stage, service, on=TURN, max_requests=3)

    assert len(service.asked) == 3


def test_what_is_cached_needs_no_budget(stage, service):
    run(stage, service)

    guess = run(stage, service, max_requests=0)

    assert hits(stage, guess) == 1


# Who may ask


@pytest.fixture
def offline(monkeypatch):
    """Any connection is an error."""

    def refused(*arguments, **options):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


def test_without_credentials_the_attack_is_skipped_and_nobody_is_asked(stage, offline):
    pytest.importorskip("google.cloud.vision")
    chosen = load_registry().get("attacks", "google_vision")

    result = stage.attack(stage.undefended, chosen, 0)

    assert result.status == "skipped"
    assert "gcloud auth application-default login" in result.reason and "\n" not in result.reason


def test_credentials_that_are_no_file_are_named(monkeypatch, offline):
    pytest.importorskip("google.cloud.vision")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "nowhere.json")

    with pytest.raises(Skipped, match="GOOGLE_APPLICATION_CREDENTIALS names no file"):
        vision_service.check("vision.googleapis.com")


def test_credentials_that_cannot_be_read_are_skipped_without_the_network(monkeypatch, offline, tmp_path):
    pytest.importorskip("google.cloud.vision")
    (tmp_path / "key.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))

    vision_service.check("vision.googleapis.com")
    with pytest.raises(Skipped, match="cannot be used") as raised:
        vision_service.connect("vision.googleapis.com")

    assert "\n" not in str(raised.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch, offline):
    monkeypatch.setitem(sys.modules, "google", None)
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    monkeypatch.setitem(sys.modules, "google.cloud.vision", None)

    with pytest.raises(Skipped, match=r'pip install "obfuscation-harness\[google\]"'):
        vision_service.check("vision.googleapis.com")


@pytest.mark.parametrize("endpoint", ["vision.googleapis.com", "10.0.0.7:80", "localhost.example.com:80", "vision:1"])
def test_only_this_machine_is_spoken_to_in_plain_text(endpoint, offline):
    pytest.importorskip("google.cloud.vision")

    with pytest.raises(Skipped, match="no Google Cloud credentials"):
        vision_service.check(endpoint)


# From the command line


def command(capsys, tmp_path, *arguments, records="records"):
    pictures = tmp_path / "stripes"
    if not pictures.exists():
        picture_folder(pictures, each=10)
    options = ["--no-utility", "--threads", 1, "--records", tmp_path / records, "--dataset", pictures]
    code = main([str(word) for word in ("run", "--defense", "none", *arguments, *options)])
    return code, *capsys.readouterr()


def test_asked_for_by_name_without_credentials_the_command_ends_at_once_in_one_line(capsys, tmp_path, offline):
    pytest.importorskip("google.cloud.vision")

    code, out, err = command(capsys, tmp_path, "--attack", "google_vision")

    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "gcloud auth application-default login" in err
    assert not list((tmp_path / "records").glob("*"))  # nothing was released or trained for it


def test_among_other_attacks_the_cell_is_skipped_and_the_rest_goes_on(capsys, tmp_path, offline):
    pytest.importorskip("google.cloud.vision")
    extra = tmp_path / "mine.yaml"
    extra.write_text(
        'attacks:\n  first: {use: "tests.helpers.planted:first_class", version: 1, kind: recognition, cite: planted}\n'
    )

    chosen = ("--attack", "google_vision,first", "--registry", extra, "--json")
    code, out, err = command(capsys, tmp_path, *chosen)

    assert code == 0
    assert [cell["status"] for cell in json.loads(out)["cells"]] == ["skipped", "ok"]
    assert "none x google_vision: skipped: attack: google_vision: no Google Cloud credentials" in err


def test_the_whole_line_runs_against_the_service_and_again_without_it(capsys, tmp_path, service):
    names = json.dumps(NAMES)
    chosen = ("--attack", "google_vision", "-A", f"endpoint={service.endpoint}", "-A", f"synonyms={names}", "--json")

    code, out, _ = command(capsys, tmp_path, *chosen)
    before = len(service.asked)
    again, later, _ = command(capsys, tmp_path, *chosen, records="others")

    first, second = (json.loads(text)["cells"][0]["scores"]["top1"] for text in (out, later))
    assert (code, again) == (0, 0) and first["mean"] == 1 and first == second
    assert before > 0 and len(service.asked) == before
