"""Recognition by labels of a general classifier: the client of a paid service, its cache, and synonyms of classes."""
