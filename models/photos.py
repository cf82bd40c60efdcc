"""Real photos that Python packages carry, and the crops that the models see.

No photo is copied into this repository: each is read from the installed package, by name.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Photo:
    """Where a photo lies and who made it."""

    package: str
    path: str
    credit: str
    shows: str
    """The ImageNet class (first synonym) that EfficientNet-Lite0 finds in it; empty if none fits."""


PHOTOS = {
    "chelsea": Photo("skimage", "data/chelsea.png", "Stefan van der Walt, CC0", "Egyptian cat"),
    "coffee": Photo("skimage", "data/coffee.png", "Rachel Michetti, Pikolo Espresso Bar, CC0", "espresso"),
    "motorcycle": Photo(
        "skimage",
        "data/motorcycle_left.png",
        "Scharstein et al., Middlebury stereo benchmark 2014, as redistributed by scikit-image",
        "moped",
    ),
    "rocket": Photo("skimage", "data/rocket.jpg", "SpaceX, public domain", "missile"),
    "astronaut": Photo("skimage", "data/astronaut.png", "NASA, public domain", ""),
    "grace_hopper": Photo(
        "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "US Navy, public domain", "military uniform"
    ),
    "china": Photo("sklearn", "datasets/images/china.jpg", "danielbuechele on Flickr, CC BY 2.0", "palace"),
    "flower": Photo("sklearn", "datasets/images/flower.jpg", "vultilion on Flickr, CC BY 2.0", "daisy"),
}
FACE_BOX = (160, 50, 290, 200)
"""Left, top, right, bottom of the face in the astronaut photo."""


def load(name: str) -> np.ndarray:
    """Return a photo of `PHOTOS` as (height, width, 3) uint8, RGB."""
    return np.asarray(_open(name))


def centre_crop(name: str, size: int = 224) -> np.ndarray:
    """Return the largest centred square of a photo, resized (bicubic) to (size, size, 3) uint8."""
    photo = _open(name)
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC, box=box))


def face(size: int = 64) -> np.ndarray:
    """Return the astronaut's face in grey, resized (bicubic) to (size, size) uint8."""
    crop = _open("astronaut").convert("L").crop(FACE_BOX)
    return np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC))


def _open(name: str) -> Image.Image:
    photo = PHOTOS[name]
    with (files(photo.package) / photo.path).open("rb") as file:
        return Image.open(file).convert("RGB")
