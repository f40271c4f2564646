"""Errors and statuses. Each message is one line that names the thing, the value and the fix."""


class HarnessError(ValueError):
    """Wrong usage or input, which the caller can fix (exit code 2, one line, no traceback)."""


class NotGranted(HarnessError):  # noqa: N818
    """An attack read something that its registry entry does not grant."""


class Inapplicable(Exception):  # noqa: N818  (a status, not an error)
    """This attack, evaluator or defense does not suit the case; the message says why."""


class Skipped(Exception):  # noqa: N818  (a status, not an error)
    """Something outside is missing (weights, credentials, network); the message says how to get it."""


class NotConverged(Exception):  # noqa: N818  (a status, not an error)
    """A training learned nothing or had not finished: the cell has failed, which says nothing for the defense."""
