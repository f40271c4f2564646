"""Masks and inpainting against grafting."""
