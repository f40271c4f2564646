"""Which images: find, fetch, decode and split a data set."""
