"""What the frameworks of the field do to photos before a network, in floats, by Pillow and NumPy."""

import numpy as np
from PIL import Image

PILLOW = {"nearest": 0, "bilinear": 2, "bicubic": 3}


def pillow_resized(photo, height, width, kernel="bilinear"):
    """(H, W, C) resized by Pillow, each channel in floats, so that nothing is rounded to whole numbers."""
    channels = [
        Image.fromarray(photo[..., channel].astype(np.float32)).resize((width, height), PILLOW[kernel])
        for channel in range(photo.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def torchvision_sizes(height, width, edge):
    """The sizes that torchvision's ``Resize(edge)`` gives."""
    short, long = min(height, width), max(height, width)
    longer = int(edge * long / short)
    return (edge, longer) if height <= width else (longer, edge)


def centre(photo, height, width):
    """torchvision's ``center_crop``: what is beyond the photo is 0."""
    top, left = round((photo.shape[0] - height) / 2), round((photo.shape[1] - width) / 2)
    found = np.zeros((height, width, photo.shape[2]), photo.dtype)
    for row in range(height):
        for column in range(width):
            y, x = row + top, column + left
            if 0 <= y < photo.shape[0] and 0 <= x < photo.shape[1]:
                found[row, column] = photo[y, x]
    return found


def letterboxed(photo, height, width, colour=114.0):
    """A photo in a box of a colour, as detectors take it."""
    ratio = min(height / photo.shape[0], width / photo.shape[1])
    new = round(photo.shape[0] * ratio), round(photo.shape[1] * ratio)
    top, left = round((height - new[0]) / 2 - 0.1), round((width - new[1]) / 2 - 0.1)
    found = np.full((height, width, photo.shape[2]), colour, np.float32)
    found[top : top + new[0], left : left + new[1]] = pillow_resized(photo, *new)
    return found


def imagenet(photo, size=224, edge=256, kernel="bilinear"):
    """torchvision's evaluation transform."""
    resized = pillow_resized(photo, *torchvision_sizes(*photo.shape[:2], edge), kernel)
    scaled = centre(resized, size, size) / 255
    return ((scaled - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)
