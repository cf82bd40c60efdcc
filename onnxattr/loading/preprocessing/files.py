"""Preprocessing by name, from a JSON file, or from what torchvision and Hugging Face describe it with."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from onnxattr.errors import ParameterError
from onnxattr.home import at_home
from onnxattr.loading.meaning.text_files import read_json, text_of
from onnxattr.loading.preprocessing.spec import Preprocessing

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: ``tf.image.resize`` and ``keras.layers.Resizing`` do not widen their kernel unless told to.
_KERAS: dict[str, Any] = {"resize": "stretch", "antialias": False}
#: By name: what the frameworks of the field do to photos. "imagenet" is torchvision's and timm's: the shorter side to
#: 256, the middle 224; those of Keras are the modes of ``keras.applications``' ``preprocess_input``.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"resize": "shortest_edge", "scale": 1 / 255, "mean": _MEAN, "std": _STD},
    "keras-tf": _KERAS | {"scale": 1 / 127.5, "mean": 1.0},
    "keras-caffe": _KERAS | {"order": "BGR", "mean": (103.939, 116.779, 123.68)},
    "keras-torch": _KERAS | {"scale": 1 / 255, "mean": _MEAN, "std": _STD},
    "0..1": {"scale": 1 / 255},
    "-1..1": {"scale": 1 / 127.5, "mean": 1.0},
    "0..255": {},
}
#: Pillow's numbers of the kernels that can be written.
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_LARGEST = 2**20
#: Of Hugging Face's processors, those that take one number as both sides, not as the shorter one.
_SQUARE = ("ViT", "DeiT", "Beit", "Data2Vec", "Swin", "Segformer", "DPT")
#: From this size on ConvNext's processor takes the whole image.
_WHOLE = 384
_UNKNOWN = ("do_thumbnail", "do_align_long_axis", "do_crop_margin", "do_pad")


def preprocessing_of(given: Any) -> Preprocessing:
    """The preprocessing that a caller names or describes.

    Args:
        given: A ``Preprocessing``; a name of ``PRESETS``; the path of a ``.json`` file, or a dict of what such a file
            holds: fields of ``Preprocessing``, with ``"preset"`` for those that are left out; Hugging Face's
            ``preprocessor_config.json``; timm's ``config.json``; or torchvision's ``weights.transforms()``.

    Raises:
        ParameterError: If it is none of these, or asks for what cannot be written as nodes.
    """
    if isinstance(given, Preprocessing):
        return given
    if isinstance(given, str) and given in PRESETS:
        return Preprocessing(**PRESETS[given], source=given)
    if isinstance(given, (str, os.PathLike)) and str(given).lower().endswith(".json"):
        return _described(_read(given), str(given))
    if isinstance(given, Mapping):
        return _described(given, str(given.get("preset", "a dict")))
    if all(hasattr(given, name) for name in ("crop_size", "resize_size", "mean", "std")):
        return _of_torchvision(given)
    raise ParameterError(
        f"preprocess={given!r}: expected one of {', '.join(map(repr, PRESETS))}, the path of a .json file, a dict of "
        "its fields, or torchvision's weights.transforms()."
    )


def _read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    path = at_home(path)
    try:
        found = read_json(text_of(path, _LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"preprocess: {path} cannot be read as JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ParameterError(f"preprocess: {path} holds {type(found).__name__}; expected a JSON object.")
    return found


def _described(given: Mapping[str, Any], source: str) -> Preprocessing:
    if any(
        name in given
        for name in ("image_processor_type", "feature_extractor_type", "image_mean", "do_resize")
    ):
        return _of_hugging_face(given, source)
    timm = given.get("pretrained_cfg", given)
    if isinstance(timm, Mapping) and "input_size" in timm and "mean" in timm:
        return _of_timm(timm, source)
    settings = {name: value for name, value in given.items() if name not in ("preset", "version")}
    known = [field.name for field in fields(Preprocessing)]
    unknown = [name for name in settings if name not in known]
    preset = given.get("preset", "0..255")
    if unknown or preset not in PRESETS:
        what = f"unknown fields {unknown}" if unknown else f"preset {preset!r}"
        raise ParameterError(
            f"preprocess: {source} has {what}; the fields are preset (one of {', '.join(PRESETS)}), {', '.join(known)}."
        )
    try:
        return replace(Preprocessing(**(PRESETS[preset] | settings)), in_graph=False, source=source)
    except TypeError as error:
        raise ParameterError(f"preprocess: {source} has a field of the wrong type: {error}.") from error


def _of_hugging_face(given: Mapping[str, Any], source: str) -> Preprocessing:
    """What a ``preprocessor_config.json`` says; switches that are left out are those of the processors: on."""
    kind = str(given.get("image_processor_type") or given.get("feature_extractor_type") or "")
    asked = [name for name in _UNKNOWN if given.get(name)]
    if asked:
        raise ParameterError(
            f"preprocess: {source} asks for {', '.join(asked)}, which is not supported as nodes."
        )
    settings: dict[str, Any] = {"resize": "none"}
    if given.get("do_resize", True):
        settings = {"kernel": _kernel(given.get("resample", 2), source)}
        settings |= _hugging_face_size(given, kind, source)
    if given.get("do_center_crop") and "crop" not in settings:
        settings["crop"] = _sides(given.get("crop_size", given.get("size")), source)
    if given.get("do_rescale", "rescale_factor" in given or "image_mean" in given):
        settings["scale"] = given.get("rescale_factor", 1 / 255)
    if given.get("do_normalize", "image_mean" in given):
        settings |= {
            "mean": tuple(given.get("image_mean", _MEAN)),
            "std": tuple(given.get("image_std", _STD)),
        }
    if given.get("do_flip_channel_order"):
        settings["order"] = "BGR"
    return Preprocessing(**settings, source=source)


def _hugging_face_size(given: Mapping[str, Any], kind: str, source: str) -> dict[str, Any]:
    size = given.get("size")
    if isinstance(size, Mapping) and "shortest_edge" in size and "longest_edge" not in size:
        size, square = size["shortest_edge"], False
    else:
        square = not isinstance(size, int) or kind.startswith(_SQUARE)
    if size is None:
        return {"resize": "stretch"}
    if square:
        return {"resize": "stretch", "size": _sides(size, source)}
    share = given.get("crop_pct")
    if share is not None and kind.startswith("ConvNext") and isinstance(size, int):
        # Small images are cut out of larger ones, large ones are not.
        if size >= _WHOLE:
            return {"resize": "stretch", "size": (size, size)}
        edge = int(size / share)
        return {"resize": "shortest_edge", "size": (edge, edge), "crop": (size, size)}
    return {"resize": "shortest_edge", "size": _sides(size, source)}


def _of_timm(given: Mapping[str, Any], source: str) -> Preprocessing:
    """What timm's ``pretrained_cfg`` says of images for evaluation."""
    _, height, width = given["input_size"]
    share, mode = float(given.get("crop_pct") or 0.875), given.get("crop_mode") or "center"
    edge = (math.floor(height / share), math.floor(width / share))
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise ParameterError(
            f"preprocess: {source} has crop_mode {mode!r} of {height} x {width}; supported: 'center' "
            "of squares, 'squash'."
        )
    return Preprocessing(
        resize="stretch" if mode == "squash" else "shortest_edge",
        size=edge,
        crop=(height, width),
        kernel=_kernel(given.get("interpolation", "bilinear"), source),
        scale=1 / 255,
        mean=tuple(given["mean"]),
        std=tuple(given.get("std", (1.0, 1.0, 1.0))),
        source=source,
    )


def _of_torchvision(given: Any) -> Preprocessing:
    """What torchvision's ``ImageClassification`` transforms do."""
    (edge,) = set(given.resize_size)
    antialias = getattr(given, "antialias", True)
    kernel = getattr(getattr(given, "interpolation", None), "value", "bilinear")
    return Preprocessing(
        resize="shortest_edge",
        size=(edge, edge),
        crop=_sides(list(given.crop_size) * (2 if len(given.crop_size) == 1 else 1), "transforms()"),
        kernel=_kernel(kernel, "transforms()"),
        antialias=antialias is not False,
        scale=1 / 255,
        mean=tuple(given.mean),
        std=tuple(given.std),
        source=f"torchvision {type(given).__name__}",
    )


def _kernel(given: Any, source: str) -> str:
    name = _RESAMPLE.get(given, given)
    if name not in _RESAMPLE.values():
        raise ParameterError(
            f"preprocess: {source} resamples with {given!r}; supported: nearest (0), bilinear (2), bicubic (3)."
        )
    return str(name)


def _sides(given: Any, source: str) -> Any:
    if isinstance(given, Mapping) and {"height", "width"} <= set(given):
        return given["height"], given["width"]
    if isinstance(given, int):
        return given, given
    if isinstance(given, (list, tuple)):
        return tuple(given)
    raise ParameterError(
        f"preprocess: {source} has the size {given!r}; expected height and width, or shortest_edge."
    )
