"""The squared difference of a pair of images by OpenCV, limited by the memory's bandwidth."""

from __future__ import annotations

import cv2
import numpy as np


def squared_difference(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of the squared differences of two (3, H, W) arrays."""
    total: float = cv2.norm(x.reshape(-1), y.reshape(-1), cv2.NORM_L2SQR)
    return total
