"""`harness check`: a small suite is run again and compared with its baseline, cell by cell.

suite     the run itself
baseline  the folder of records that it is compared with, and its renewal
series    records -> pieces of work over their seeds; the baseline's matched with the new run's
noise     how far a figure moves by chance, over originals and over seeds
changes   a change, its verdict and its tolerance
verdicts  the verdict on each defense, before and after
compare   what changed, and whether that fails
output    the comparison as lines, Markdown, JSON and JUnit XML
"""
