"""Find, download, decode and split data sets."""
