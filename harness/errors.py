"""What can go wrong, by who has to act on it. Each message is one line: the thing, the value, the mend."""


class HarnessError(Exception):
    """Wrong usage or input: the caller mends it (exit code 2, one line, no traceback)."""


class NotGranted(HarnessError):  # noqa: N818
    """An attack reached for knowledge that its registry entry does not grant."""


class Inapplicable(Exception):  # noqa: N818  (a status, not an error)
    """This attack, evaluator or defense does not suit the case; the message says why."""


class Skipped(Exception):  # noqa: N818  (a status, not an error)
    """Something outside is missing (weights, credentials, network); the message says how to get it."""


class NotConverged(Exception):  # noqa: N818  (a status, not an error)
    """A training that learned nothing or had not finished: the cell has failed, the defense is not private."""
