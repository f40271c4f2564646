"""What single releases give away although every image has a key of its own: seams, borders, bit planes, statistics."""
