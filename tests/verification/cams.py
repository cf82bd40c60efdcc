"""Class activation maps by TensorFlow's tape and their formulas in float64, and by Xplique where it has them."""

from functools import cache

import keras
import numpy as np
import tensorflow as tf
from support.cam_formulas import CAMS, resized

from verification.models import Case, build_case
from verification.tape import rebuild

#: The methods by name, with their parameters.
METHODS = {
    "GradCAM": ("GradCAM", ()),
    "GradCAMPP": ("GradCAMPP", ()),
    "GradCAMPP of the paper": ("GradCAMPP", (("variant", "paper"),)),
    "LayerCAM": ("LayerCAM", ()),
}
#: The layer that Xplique takes by default, as a path; those of a nested model and of series it does not find or resize.
LAYERS = {
    "conv1d_series": "conv_3",
    "cnn": "strided",
    "residual": "shortcut",
    "grey_images": "conv_2",
    "nested": "backbone/inner_conv_2",
    "emotion": None,
}
NOT_IN_XPLIQUE = ("conv1d_series", "nested")
IN_XPLIQUE = ("GradCAM", "GradCAMPP")


def layer_of(model: keras.Model, path: str | None) -> keras.Layer:
    """The layer at a path; for None the last one with filters."""
    if path is None:
        return next(layer for layer in model.layers[::-1] if hasattr(layer, "filters"))
    for name in path.split("/"):
        model = model.get_layer(name)
    return model


@cache
def layer_and_gradient(name: str, logits: bool) -> tuple[np.ndarray, np.ndarray]:
    """A and the gradient of the score there, in float64, channels last."""
    case = build_case(name)
    copied = rebuild(case.cut_model if logits else case.model, "float64")
    layer, seen = layer_of(copied, LAYERS[name]), []
    original = layer.call

    def watched(*args, **kwargs):
        output = original(*args, **kwargs)
        tape.watch(output)
        seen.append(output)
        return output

    layer.call = watched
    with tf.GradientTape() as tape:
        output = copied(tf.constant(case.inputs, "float64"), training=False)
        score = tf.reduce_sum(output * tf.constant(case.targets, "float64"), axis=-1)
    layer.call = original
    return seen[-1].numpy(), tape.gradient(score, seen[-1]).numpy()


def tape_map(case: Case, method: str, logits: bool) -> np.ndarray:
    """(N, H, W, 1) or (N, T, 1), of the image's size by bicubic interpolation."""
    small = CAMS[METHODS[method]](*layer_and_gradient(case.name, logits))
    return resized(small, case.inputs.shape[1:-1])[..., None]
