"""Images made different for training: mirrored, and warped a little."""

import numpy as np
from numpy.typing import NDArray


def mirrored(images: NDArray[np.float32], which: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Exchange left and right in some of the images (..., height, width); `which` broadcasts to (...)."""
    return np.where(which[..., None, None], images[..., ::-1], images)


def warped(images: NDArray[np.float32], warp: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Stretch, shear, turn and shift each of the images at random.

    Values between pixels are interpolated linearly; around an image everything is 0.

    Args:
        images: (..., side, side).
        warp: from 0 to less than 1. The map from each pixel to where its value comes from has a matrix whose
            entries differ from those of the identity by up to this, and a shift of up to this, in halves of a
            side. With 0 the images are returned as they are.
        rng: where the maps come from.

    Returns:
        (..., side, side), within the range of the images and 0.
    """
    if not warp:
        return images
    side = images.shape[-1]
    sheets = images.reshape(-1, side, side)
    count, middle = len(sheets), (side - 1) / 2
    matrices = np.eye(2) + rng.uniform(-warp, warp, (count, 2, 2))
    shifts = rng.uniform(-warp, warp, (count, 2, 1)) * middle
    grid = np.indices((side, side)).reshape(2, -1) - middle
    # Where each pixel's value comes from, and how far that is from the pixel above it to the left.
    sources = (matrices @ grid + shifts + middle).astype(np.float32)
    corners = np.floor(sources)
    down, right = (sources - corners).transpose(1, 0, 2)
    # A margin of zeros, wide enough that all neighbours of what lies beyond an edge are 0.
    padded = np.pad(sheets, ((0, 0), (2, 2), (2, 2)))
    row, column = np.clip(corners, -2, side).astype(np.intp).transpose(1, 0, 2) + 2
    which = np.arange(count)[:, None]
    upper = (1 - right) * padded[which, row, column] + right * padded[which, row, column + 1]
    lower = (1 - right) * padded[which, row + 1, column] + right * padded[which, row + 1, column + 1]
    return ((1 - down) * upper + down * lower).reshape(images.shape)
