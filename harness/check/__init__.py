"""`harness check`: a small suite, run again and held against its baseline, cell by cell.

series    records -> pieces of work over their seeds, the baseline's beside the new run's
chance    how far a figure moves by chance: the originals, the seeds
changes   a change, and what it is called
compare   what moved, and whether that fails
words     a change as a line, the whole as Markdown
junit     the same for a build server
suite     the run itself
baseline  the folder that it is held against, and its renewal
"""
