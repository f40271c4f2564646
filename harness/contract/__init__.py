"""What every plugin must satisfy, and a template that does."""

from harness.contract.checks import Finding
from harness.contract.validation import validate

__all__ = ["Finding", "validate"]
