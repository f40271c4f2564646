"""Which figures of a run go to an experiment tracker, and how do they get there?"""

from harness.trackers.clients import TRACKERS, tracking

__all__ = ["TRACKERS", "tracking"]
