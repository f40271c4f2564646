"""The commands of the program: one file for each, or for a few that belong together.

Each file has `add(subparsers)`, which declares the arguments, and a function from parsed arguments to the exit code.
Heavy imports are inside the functions, so that `harness list` needs no torch.
"""
