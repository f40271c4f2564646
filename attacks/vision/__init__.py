"""Label services on the network."""
