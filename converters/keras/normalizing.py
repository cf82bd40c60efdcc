"""The layers with which a Keras model normalises its input, and whether they expect the pixels of photos."""

from typing import Any

import numpy as np

from onnxattr.loading.layers import Layer

_NORMALIZING = ("Rescaling", "Normalization")
#: Layers before the first one of a network that leave the range of its numbers as it is; those that draw are off.
_PASSED = frozenset(
    "InputLayer Functional Sequential Identity Pipeline Resizing CenterCrop RandomCrop RandomFlip RandomRotation "
    "RandomZoom RandomTranslation RandomHeight RandomWidth RandomShear RandomPerspective RandomElasticTransform "
    "RandomContrast RandomBrightness RandomHue RandomSaturation RandomSharpness RandomColorJitter RandomGrayscale "
    "RandomColorDegeneration RandomPosterization RandomInvert RandomErasing RandomGaussianBlur RandAugment AugMix "
    "MixUp CutMix Dropout SpatialDropout2D GaussianDropout GaussianNoise ZeroPadding2D".split()
)
#: How far apart normalised black and white may be: a Rescaling makes them 0 and 1 or -1 and 1, a Normalization
#: divides their 255 levels by the deviation of a data set.
_APART = {"Rescaling": (0.5, 4.0), "Normalization": (0.5, 64.0)}


def normalizing(layers: list[Layer]) -> list[Layer]:
    """The layers that normalise the input, before any that learns."""
    found: list[Layer] = []
    for layer in layers:
        if layer.class_name in _NORMALIZING:
            found.append(layer)
        elif layer.class_name not in _PASSED:
            break
    return found


def expect_pixels(found: list[Layer], model: Any, sample: tuple[int, ...]) -> bool:
    """Whether what layers normalise are pixels of 0 to 255, and not numbers of 0 to 1, -1 to 1 or 16 bits.

    Args:
        found: The layers, in the order of the model.
        model: The Keras model that they are part of.
        sample: The shape of one sample of its input.
    """
    own = (
        {layer.name: layer for layer in model._flatten_layers()} if hasattr(model, "_flatten_layers") else {}
    )
    black, white = np.zeros((1, *sample), np.float32), np.full((1, *sample), 255, np.float32)
    for one in found:
        layer = own.get(one.name)
        if layer is None or type(layer).__name__ != one.class_name:
            return False
        black, white = (np.asarray(layer(image), np.float32) for image in (black, white))
        apart, (least, most) = np.abs(white - black), _APART[one.class_name]
        if not (least <= apart.min() and apart.max() <= most):
            return False
    return True
