"""A file system without locks, such as Lustre mounted without `-o flock`."""

from __future__ import annotations

import os

import pytest


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let `fcntl.flock` raise OSError with this errno."""
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
