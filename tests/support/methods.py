"""The methods by what they need of a model."""

import inspect

import onnxattr.attributions as attributions

#: Maps at a layer, which a model without convolutions does not have.
AT_LAYER = tuple(
    name
    for name in attributions.METHODS
    if "conv_layer" in inspect.signature(getattr(attributions, name)).parameters
)
#: What a method needs beside the model: a set of baselines, here numbers.
NEEDED = {name: {"background": [0.0, 0.5, -0.5, 0.25, 1.0]} for name in ("ExpectedGradients", "GradientShap")}
#: Methods whose attributions add up to a difference of scores.
ON_A_PATH = ("IntegratedGradients", *NEEDED)
#: What needs neighbours, which a table does not have.
OF_SPACE = ("BlurIG",)
ON_ANY_MODEL = tuple(name for name in attributions.METHODS if name not in (*AT_LAYER, *OF_SPACE))
