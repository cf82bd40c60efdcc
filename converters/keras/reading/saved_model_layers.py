"""The Keras model that a SavedModel folder remembers, if that is what the folder serves."""

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...common import dependencies
from ...common.verify import TOLERANCE, TOLERANCE_FLOAT16, difference, random_inputs
from ..tracing.inputs import flatten, model_inputs
from . import guard as keras_guard
from . import saved_model_guard
from .saved_models import SERVING_DEFAULT, SavedSignature, chosen, served_by


def load_saved_model(path: Path, trust: bool, signature: str | None) -> Any:
    """The Keras model of a folder with its layers, or else one of its signatures.

    Args:
        path: The folder.
        trust: Load it whatever its graphs hold.
        signature: Name of the signature; the default or only one if None.

    Raises:
        ConversionError: Not loadable, not to be opened without trust, or without such a signature.
    """
    dependencies.tensorflow()
    if not trust:
        saved_model_guard.check(path)
    model = _revived(path, trust) if signature in (None, SERVING_DEFAULT) else None
    served = served_by(path)
    if model is None:
        return chosen(path, served, signature)
    compared = [served[SERVING_DEFAULT]] if SERVING_DEFAULT in served else list(served.values())
    if not compared or any(_same(model, one) for one in compared):
        return model
    one = chosen(path, served, signature)
    warnings.warn(
        f"The SavedModel {path.name!r} serves something else than the Keras model in it computes; its signature "
        "preprocesses, perhaps. The signature is converted, without names of layers. To convert the Keras model alone, "
        f"pass it: tf_keras.models.load_model({str(path)!r}).",
        stacklevel=4,
    )
    return one


def _same(model: Any, served: SavedSignature) -> bool:
    """Whether a model takes what a signature takes and computes its outputs; true where neither can be run here."""
    own, others = model_inputs(model), model_inputs(served)
    taken = {spec.name: (spec.dtype, tuple(spec.shape[1:])) for spec in others.specs}
    kinds = [(spec.dtype, tuple(spec.shape[1:])) for spec in own.specs]
    # Signatures name inputs after the model's input layers, dicts of inputs have keys of their own.
    fitting = (
        names for names in (own.layer_names, own.names) if dict(zip(names, kinds, strict=True)) == taken
    )
    names = next(fitting, None)
    if names is None:
        return False
    variables = [*model.variables, *served.weights]
    values = [variable.numpy() for variable in variables]
    try:
        arrays = random_inputs(own.specs, others.fixed_batch or 2, highest_id=1)
        by_name = dict(zip(names, arrays, strict=True))
        results = own.call(arrays), others.call([by_name[name] for name in others.names])
        found, expected = ([np.asarray(leaf) for _, leaf in flatten(result)] for result in results)
    except Exception:  # text, or sizes that the model refuses: the names and types of the inputs agree
        return True
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    return len(found) == len(expected) and all(any(_close(a, b) for b in expected) for a in found)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    tolerance = TOLERANCE_FLOAT16 if one.dtype == np.float16 else TOLERANCE
    return one.shape == other.shape and difference(one, other) <= tolerance


def _revived(path: Path, trust: bool) -> Any:
    """The tf_keras model that a SavedModel remembers, with its layers; None if it remembers none or others' code.

    Layers that are not tf_keras' own would be imitations of themselves.
    """
    metadata = path / "keras_metadata.pb"
    if not metadata.is_file() or importlib.util.find_spec("tf_keras") is None:
        return None
    import tf_keras

    try:
        if not trust:
            _check_metadata(metadata)
        model = tf_keras.models.load_model(path, compile=False)
    except Exception:
        return None  # its signature remains
    layers = [layer for layer in model._flatten_layers() if layer is not model]
    own = all(type(layer).__module__.startswith("tf_keras.src.") for layer in [model, *layers])
    return model if own and layers and type(model).__name__ in ("Functional", "Sequential") else None


def _check_metadata(path: Path) -> None:
    """Each saved object has its configuration, from which tf_keras makes it again.

    Raises:
        ConversionError: One may do more than compute.
    """
    from tf_keras.protobuf import saved_metadata_pb2

    saved = saved_metadata_pb2.SavedMetadata()
    saved.ParseFromString(path.read_bytes())
    for node in saved.nodes:
        config = json.loads(node.metadata)
        if isinstance(config, dict):
            keras_guard.check({"class_name": "Model"} | config, path)
