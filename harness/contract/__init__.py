"""The contract of plugins: the checks of `harness validate`, and the templates of `harness new`, which pass them."""

from harness.contract.checks import Finding
from harness.contract.validation import validate

__all__ = ["Finding", "validate"]
