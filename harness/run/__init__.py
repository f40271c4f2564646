"""Do the work: which pieces there are, who does them, and what comes out."""
