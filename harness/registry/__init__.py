"""registry.yaml to a checked entry to a bound function; no torch is imported."""

from harness.registry.binding import bind, why_not_ready
from harness.registry.entry import Entry, read_registry
from harness.registry.load import ALL, Registry, builtin_file, load_registry, plugin_modules
from harness.registry.settings import check_mixing, parse_settings
from harness.registry.source import source_hash

__all__ = [
    "ALL",
    "Entry",
    "Registry",
    "bind",
    "builtin_file",
    "check_mixing",
    "load_registry",
    "parse_settings",
    "plugin_modules",
    "read_registry",
    "source_hash",
    "why_not_ready",
]
