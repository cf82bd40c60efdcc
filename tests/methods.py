"""The methods by what they need of a model."""

import inspect

import onnxattr.attributions as attributions

#: Maps at a layer, which a model without convolutions does not have.
AT_LAYER = tuple(
    name
    for name in attributions.METHODS
    if "conv_layer" in inspect.signature(getattr(attributions, name)).parameters
)
ON_ANY_MODEL = tuple(name for name in attributions.METHODS if name not in AT_LAYER)
