"""What a Keras model tells of its input: layers that normalise it; for Keras' own networks, their preprocessing."""

import re
from typing import Any

import onnx

from onnxattr.loading.layers import Layer, read_layers
from onnxattr.loading.meaning import KEY, InputMeaning, Meaning
from onnxattr.loading.preprocessing import KEY as PREPROCESSING_KEY
from onnxattr.loading.preprocessing import Preprocessing
from onnxattr.loading.preprocessing_files import PRESETS

from ..common import onnx_model

_NORMALIZING = ("Rescaling", "Normalization")
#: Layers before the first one of a network that leave the range of its numbers as it is.
_PASSED = frozenset(
    "InputLayer Functional Sequential Identity Resizing CenterCrop RandomCrop RandomFlip RandomRotation RandomZoom "
    "RandomTranslation Dropout GaussianNoise ZeroPadding2D".split()
)
#: Networks of ``keras.applications`` with the head for ImageNet: the pattern of the model's name, a layer that tells it
#: from others of that name, and what their ``preprocess_input`` does.
_NETWORKS = (
    (r"resnet(50|101|152)", "conv1_conv", "keras-caffe"),
    (r"vgg(16|19)", "block1_conv1", "keras-caffe"),
    (r"densenet(121|169|201)", "pool4_conv", "keras-torch"),
    (r"resnet(50|101|152)v2", "conv1_conv", "keras-tf"),
    (r"mobilenet_[\d.]+_\d+", "conv_dw_1", "keras-tf"),
    (r"mobilenetv2_[\d.]+_\d+", "block_1_expand", "keras-tf"),
    (r"inception_v3", "mixed0", "keras-tf"),
    (r"inception_resnet_v2", "mixed_5b", "keras-tf"),
    (r"xception", "block1_conv1", "keras-tf"),
    (r"nasnet_(mobile|large)", "stem_conv1", "keras-tf"),
)
_IMAGENET_HEAD, _CLASSES = "predictions", 1000


def describe(converted: onnx.ModelProto, model: Any) -> None:
    """Write what is known of a converted model's only input, if it takes images, into its metadata."""
    if len(converted.graph.input) != 1:
        return
    (image,) = converted.graph.input
    dims = [dim.dim_value or None for dim in image.type.tensor_type.shape.dim]
    if len(dims) != 4:
        return
    layers = read_layers({entry.key: entry.value for entry in converted.metadata_props})
    if normalized := _normalizing(layers):
        known = {image.name: InputMeaning("image", normalized_by=normalized)}
        onnx_model.set_property(converted, KEY, Meaning(known).text())
    preset = None if normalized else _of_network(converted, str(getattr(model, "name", "")), layers)
    if preset is not None and None not in dims[1:3]:
        spec = Preprocessing(
            feeds=image.name,
            size=(dims[1], dims[2]),  # type: ignore[arg-type]
            source=f"keras.applications, {model.name}",
            **PRESETS[preset],
        )
        onnx_model.set_property(converted, PREPROCESSING_KEY, spec.text())


def _normalizing(layers: list[Layer]) -> tuple[str, ...]:
    """The classes of the layers that normalise the input, before any that learns."""
    found: list[str] = []
    for layer in layers:
        if layer.class_name in _NORMALIZING:
            found.append(layer.class_name)
        elif layer.class_name not in _PASSED:
            break
    return tuple(found)


def _of_network(converted: onnx.ModelProto, name: str, layers: list[Layer]) -> str | None:
    """The preprocessing of a network of Keras' own, told by its name, its layers and its 1000 classes."""
    names = {layer.name for layer in layers}
    sizes = [output.type.tensor_type.shape.dim[-1].dim_value for output in converted.graph.output]
    if _IMAGENET_HEAD not in names or sizes != [_CLASSES]:
        return None
    return next(
        (preset for pattern, layer, preset in _NETWORKS if re.fullmatch(pattern, name) and layer in names),
        None,
    )
