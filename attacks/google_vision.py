"""Google Cloud Vision's LABEL_DETECTION: a classifier that knows nothing of the defense, as a paid service.

A class is recognised if its name or a synonym is among the ten labels. Reference: Raynal et al. 2020, section 4.4;
https://cloud.google.com/vision/docs/labels, limits and prices as of 2026.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.errors import HarnessError
from harness.observation import Observation
from harness.plugins.attacks.vision import service
from harness.plugins.attacks.vision.cache import Answer, Cache, key_of
from harness.plugins.attacks.vision.synonyms import vocabulary
from harness.types import Bytes, Generator, Guess

BATCH = 16  # images in a request: the service's limit
_REQUEST = 8_000_000  # bytes of pixels in a request; the service takes 10 MB
_PRICE = 1.50  # USD per 1,000 units (an image and a feature), list price; the first 1,000 of a month are free
_FAILURES = 6  # requests in a row without an answer, after which it stops
_PAUSE = 1.0  # seconds to wait after the first of them, doubled after each
log = logging.getLogger("harness")
_requests = 0  # made by this process


def check_ready(*, endpoint: str, **knobs: Any) -> None:
    """Raise `Skipped` where the package or credentials are missing."""
    service.check(endpoint)


def google_vision(
    observation: Observation,
    rng: Generator,
    *,
    endpoint: str,
    labels: int,
    max_requests: int,
    synonyms: Mapping[str, Any],
) -> Guess:
    """Class scores from the labels that Google Cloud Vision gives the targets; no answer where no class is named.

    endpoint      vision.googleapis.com, or eu-vision.googleapis.com; host:port of an emulator on this machine
    labels        labels asked for per image
    max_requests  requests (of up to 16 images) that one process may make, over all its cells, failed ones included
    synonyms      class -> other names for it (see attacks/vision/synonyms.py)

    Raises `Skipped` without credentials; `HarnessError` where the budget does not suffice or the service fails. Answers
    that were paid for until then stay in the cache.
    """
    if not 1 <= labels <= 50 or max_requests < 0:
        raise HarnessError(f"google_vision: labels {labels} is 1 to 50, max_requests {max_requests} is 0 or more")
    names = vocabulary(observation.classes, synonyms)
    check_ready(endpoint=endpoint)
    question = f"{endpoint} {service.API} LABEL_DETECTION {labels}"
    answers, requests = _annotate(observation, Cache(question), endpoint, labels, max_requests)
    scores = names.scores([answer.labels for answer in answers], max)
    dates = sorted(answer.date for answer in answers)
    named = (scores > 0).sum(1).float()
    report = {
        "asked": question,
        "first_answer": dates[0],
        "last_answer": dates[-1],
        "requests": requests,
        "malformed_labels": sum(answer.dropped for answer in answers),
        "without_labels": sum(not answer.labels for answer in answers),
        "class_named": float((named > 0).float().mean()),
        "several_classes_named": float((named > 1).float().mean()),
    }
    return Guess(scores=scores, report=report)


def _annotate(
    observation: Observation, cache: Cache, endpoint: str, labels: int, max_requests: int
) -> tuple[list[Answer], int]:
    """An answer per target, cached or requested; and the number of requests made."""
    images, before = observation.images, _requests
    keys = {int(row): key_of(images[int(row)]) for row in observation.targets}
    known = {key: answer for key in set(keys.values()) if (answer := cache.find(key)) is not None}
    missing = {key: row for row, key in keys.items() if key not in known}  # equal images are paid once
    batch = max(1, min(BATCH, _REQUEST // images[0].numel()))
    _announce(len(keys), len(missing), -(-len(missing) // batch), max_requests)
    if missing:
        cache.check_writable()
        with service.connect(endpoint) as client:
            for row, answer in _ask_until_answered(client, images, list(missing.values()), batch, labels, max_requests):
                cache.keep(keys[row], answer)
                known[keys[row]] = answer
    return [known[key] for key in keys.values()], _requests - before


def _announce(images: int, missing: int, requests: int, max_requests: int) -> None:
    """Log the cost before anything is sent; HarnessError where the budget does not suffice."""
    cost = missing * _PRICE / 1000
    log.warning(
        "google_vision: %d images in %d requests, %d billable units, about %.2f USD at %.2f USD per 1,000; "
        "%d are cached; %d of %d requests are left",
        *(missing, requests, missing, cost, _PRICE, images - missing, max(0, max_requests - _requests), max_requests),
    )
    if requests and _requests + requests > max_requests:
        spent = f" and {_requests} were made already" if _requests else ""
        raise HarnessError(
            f"google_vision: {requests} requests are needed{spent}, max_requests is {max_requests}; nothing was sent. "
            f"Set -A max_requests={_requests + requests} or more, or score fewer with --targets"
        )


def _ask_until_answered(
    client: Any, images: Bytes, rows: Sequence[int], batch: int, labels: int, max_requests: int
) -> Iterator[tuple[int, Answer]]:
    """Yields (row, answer) as they come; images without an answer are requested again."""
    global _requests
    waiting, failures = deque(rows), 0
    while waiting:
        batch_rows = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
        if _requests >= max_requests:
            raise _incomplete(len(rows), len(waiting) + len(batch_rows), f"all {max_requests} of max_requests are made")
        _requests += 1
        reply, interrupted = _reply_even_if_interrupted(client, images[batch_rows], labels)
        yield from ((batch_rows[position], answer) for position, answer in reply.answers.items())
        waiting.extend(row for position, row in enumerate(batch_rows) if position not in reply.answers)
        if interrupted:
            raise interrupted
        if reply.refused:
            raise _incomplete(len(rows), len(waiting), f"an image was refused ({reply.refused})")
        if len(reply.answers) == len(batch_rows):
            failures = 0
            continue
        failures = 1 if reply.answers else failures + 1
        if failures >= _FAILURES:
            raise _incomplete(len(rows), len(waiting), f"{failures} requests in a row brought nothing: {reply.missing}")
        time.sleep(_PAUSE * 2 ** (failures - 1))


def _reply_even_if_interrupted(
    client: Any, images: Bytes, labels: int
) -> tuple[service.Reply, KeyboardInterrupt | None]:
    """One request. A request that was sent is paid for, so Ctrl-C waits for its answer; a second one does not."""
    with ThreadPoolExecutor(1) as executor:
        sent, interrupted = executor.submit(service.ask, client, images, labels), None
        try:
            try:
                reply = sent.result()
            except KeyboardInterrupt as stop:
                interrupted, reply = stop, sent.result()
        except service.Transient as reason:
            reply = service.Reply({}, str(reason))
    return reply, interrupted


def _incomplete(wanted: int, left: int, why: str) -> HarnessError:
    return HarnessError(
        f"google_vision: {left} of {wanted} images are unanswered, {why}; "
        f"the {wanted - left} answers that were paid for are kept, and the same command goes on from there"
    )
