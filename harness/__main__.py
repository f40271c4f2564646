"""`python -m harness`: the command line."""

from harness.system.start_folder import hide_modules

if __name__ == "__main__":
    hide_modules()  # before the imports that files in the current folder could hide

    from harness.cli import entry_point

    entry_point()
