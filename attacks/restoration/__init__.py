"""The U-Net that restores images, its loss and its training."""
