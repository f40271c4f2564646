"""The restoring U-Net."""
