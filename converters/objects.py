"""Models given as objects of a framework: the right converter, and conversions kept while a model is the same."""

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import onnx

from onnxattr.errors import ConversionError

from .common.layer_rows import CALL
from .fingerprints import fingerprint

#: What a conversion was made of, as far as that can be told, and the conversion, by the object's identity.
_Kept = tuple[weakref.ref[Any], str, onnx.ModelProto]
_kept: OrderedDict[int, _Kept] = OrderedDict()
#: Conversions that are kept at most; each holds the model's weights once more.
_MOST = 4


def to_onnx(model: Any, framework: str, sample: Any = None, keep: Sequence[str] = ()) -> onnx.ModelProto:
    """Convert a model once for all methods that it is given to.

    The conversion is kept as long as the object lives and its weights, settings and the sample are the same.

    Args:
        model: A Keras model, a `torch.nn.Module` or exported program, or a fitted scikit-learn estimator.
        framework: "keras", "torch" or "sklearn".
        sample: One batch as the model takes it. Keras models need it where they are subclassed, exported programs
            never do.
        keep: Paths of layers of Keras or PyTorch models whose outputs must stay values of the graph, as the table of
            layers has them.

    Returns:
        The model, which callers do not change.

    Raises:
        ConversionError: The model cannot be converted, or the sample is missing.
    """
    if sample is None and (framework == "sklearn" or (framework == "torch" and not _has_examples(model))):
        what = {"torch": "A PyTorch module", "sklearn": "A scikit-learn estimator"}[framework]
        raise ConversionError(
            f"{what} ({type(model).__name__}) was given without a batch to convert it with: pass sample=<a few rows as "
            f"the model takes them>, or convert it with onnxattr.converters.{framework}.to_onnx(model, rows)."
        )
    made_of = fingerprint(model, framework, (sample, tuple(keep)))
    found = _kept.get(id(model))
    if found is not None and found[0]() is model and found[1] == made_of:
        _kept.move_to_end(id(model))
        return found[2]
    converted = _convert(model, framework, sample, [path.partition(CALL)[0] for path in keep])
    if made_of is not None:
        _keep(model, made_of, converted)
    return converted


def _has_examples(model: Any) -> bool:
    """Whether a PyTorch model is an exported program, which brings its example inputs."""
    return hasattr(model, "example_inputs")


def _convert(model: Any, framework: str, sample: Any, keep: Sequence[str]) -> onnx.ModelProto:
    if framework == "torch":
        from . import torch

        return torch.to_onnx(model, sample, keep_layers=keep)
    if framework == "sklearn":
        from . import sklearn

        return sklearn.to_onnx(model, sample)
    from . import keras

    return keras.to_onnx(model, sample=sample, keep_layers=keep)


def _keep(model: Any, made_of: str, converted: onnx.ModelProto) -> None:
    place = id(model)
    try:
        alive = weakref.ref(model, lambda _: _kept.pop(place, None))
    except TypeError:
        return
    _kept[place] = (alive, made_of, converted)
    _kept.move_to_end(place)
    while len(_kept) > _MOST:
        _kept.popitem(last=False)
