"""What a Keras model tells of its input: layers that normalise it; for Keras' own networks, their preprocessing."""

import re
from collections.abc import Mapping
from typing import Any

import onnx

from onnxattr.loading.layers import Layer, read_layers
from onnxattr.loading.meaning.features import KEY as FEATURES_KEY
from onnxattr.loading.meaning.features import features_text
from onnxattr.loading.meaning.inputs_outputs import KEY, InputMeaning, Meaning, OutputMeaning, read_meaning
from onnxattr.loading.meaning.vocabularies import note_vocabulary
from onnxattr.loading.preprocessing.files import PRESETS
from onnxattr.loading.preprocessing.spec import KEY as PREPROCESSING_KEY
from onnxattr.loading.preprocessing.spec import Preprocessing
from onnxattr.loading.reading.source import metadata_of

from ..common import onnx_model
from .normalizing import expect_pixels, normalizing
from .tracing.words import Words

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
#: Losses of models whose output is a number of its own.
_OF_VALUES = frozenset(
    "mse mae mape msle meansquarederror meanabsoluteerror meanabsolutepercentageerror meansquaredlogarithmicerror "
    "huber huberloss logcosh poisson".split()
)
_IMAGENET_HEAD, _CLASSES = "predictions", 1000
#: Taken for sides of images that are free.
_SIDE = 8


def describe(converted: onnx.ModelProto, model: Any, words: Words) -> None:
    """Write what is known of a converted model's inputs and outputs into its metadata."""
    _note_words(converted, words)
    outputs = [output.name for output in converted.graph.output]
    kinds = _of_losses(getattr(model, "loss", None), outputs)
    _note(converted, {}, {name: OutputMeaning(kind) for name, kind in kinds.items()})
    if len(converted.graph.input) == 1:
        _describe_input(converted, model)


def _note(
    converted: onnx.ModelProto, inputs: Mapping[str, InputMeaning], outputs: Mapping[str, OutputMeaning]
) -> None:
    """Add to what the metadata say of inputs and outputs."""
    if inputs or outputs:
        known = read_meaning(metadata_of(converted))
        meaning = Meaning({**known.inputs, **inputs}, {**known.outputs, **outputs})
        onnx_model.set_property(converted, KEY, meaning.text())


def _note_words(converted: onnx.ModelProto, words: Words) -> None:
    """Write the vocabularies of the tables of words that were left out: the words of ids, or the names of columns."""
    metadata: dict[str, str] = {}
    for name, own in words.vocabularies.items():
        note_vocabulary(metadata, name, own)
    if words.columns:
        metadata[FEATURES_KEY] = features_text(words.columns)
    for key, text in metadata.items():
        onnx_model.set_property(converted, key, text)
    kinds = dict.fromkeys(words.vocabularies, "tokens") | dict.fromkeys(words.columns, "table")
    _note(converted, {name: InputMeaning(kind) for name, kind in kinds.items()}, {})


def _of_losses(losses: Any, outputs: list[str]) -> dict[str, str]:
    """What outputs give, as far as the losses that a model was compiled with say: one, or one for each output."""
    if isinstance(losses, dict):
        pairs = [(name, losses.get(name)) for name in outputs]
    elif isinstance(losses, (list, tuple)):
        pairs = list(zip(outputs, losses, strict=False))
    else:
        pairs = [(outputs[0], losses)] if len(outputs) == 1 else []
    return {name: kind for name, loss in pairs if (kind := _of_loss(loss)) is not None}


def _of_loss(loss: Any) -> str | None:
    name = str(loss if isinstance(loss, str) else getattr(loss, "name", ""))
    if getattr(loss, "from_logits", False) is True:
        return "logits"
    return "value" if name.lower().replace("_", "") in _OF_VALUES else None


def _describe_input(converted: onnx.ModelProto, model: Any) -> None:
    """Write what is known of the only input, if it takes images or a table that layers normalise."""
    (image,) = converted.graph.input
    dims = [dim.dim_value or None for dim in image.type.tensor_type.shape.dim]
    kind = {4: "image", 2: "table"}.get(len(dims))
    floats = image.type.tensor_type.elem_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    if kind is None or (kind == "table" and not floats):
        return
    layers = read_layers(metadata_of(converted))
    normalized = normalizing(layers)
    sample = tuple(size or _SIDE for size in dims[1:])
    if normalized and (kind == "table" or expect_pixels(normalized, model, sample)):
        classes = tuple(layer.class_name for layer in normalized)
        _note(converted, {image.name: InputMeaning(kind, normalized_by=classes)}, {})
    if kind != "image":
        return
    preset = None if normalized else _of_network(converted, str(getattr(model, "name", "")), layers)
    if preset is not None and None not in dims[1:3]:
        spec = Preprocessing(
            feeds=image.name,
            size=(dims[1], dims[2]),  # type: ignore[arg-type]
            source=f"keras.applications, {model.name}",
            **PRESETS[preset],
        )
        onnx_model.set_property(converted, PREPROCESSING_KEY, spec.text())


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
