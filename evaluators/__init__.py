"""What is measured: how far an image is from its original, and how well an attack did."""
