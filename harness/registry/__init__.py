"""registry.yaml to a checked entry to a bound function; no torch is imported."""

from harness.registry.binding import bind, why_not_ready
from harness.registry.entry import Entry, read_registry
from harness.registry.load import ALL, Registry, builtin_file, load_registry
from harness.registry.settings import check_mixing, parse_settings

__all__ = [
    "ALL",
    "Entry",
    "Registry",
    "bind",
    "builtin_file",
    "check_mixing",
    "load_registry",
    "parse_settings",
    "read_registry",
    "why_not_ready",
]
