"""What can be asked of the harness: one file for each command, or for a few that belong together.

Each has `add(subparsers)`, its arguments, and a function from the parsed arguments to the exit code. Imports happen
inside the functions, so that `harness list` answers without torch.
"""
