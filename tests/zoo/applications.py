"""keras.applications with random weights."""

import keras

from zoo.cases import add, uniform

# The range of their pixels.
_APPLICATIONS = {
    "MobileNetV2": (-1, 1),
    "ResNet50": (-1, 1),
    "VGG16": (-1, 1),
    "EfficientNetB0": (0, 255),
    "DenseNet121": (-1, 1),
    "InceptionV3": (-1, 1),
    "Xception": (-1, 1),
    "NASNetMobile": (-1, 1),
    "ConvNeXtTiny": (0, 255),
    "MobileNetV3Small": (0, 255),
    "EfficientNetV2B0": (0, 255),
}
for _name, _pixels in _APPLICATIONS.items():
    add(
        _name,
        lambda name=_name: getattr(keras.applications, name)(weights=None),
        uniform(*_pixels),
        dynamic=(224, 224),
        slow=True,
    )
