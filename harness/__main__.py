"""`python -m harness`: the command line."""

from harness.cli import entry_point

if __name__ == "__main__":
    entry_point()
