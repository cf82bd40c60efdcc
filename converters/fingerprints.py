"""What a conversion is made of: a digest of a model's weights, settings and code, None where it cannot be told."""

import hashlib
import inspect
import json
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .common.labels import class_names_of
from .keras.reading import guard as keras_guard
from .torch.running import has_hooks


class _Digest:
    """A file for pickle that keeps no more than the digest of what is written."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha.update(data)
        return len(data)


def fingerprint(model: Any, framework: str, sample: Any) -> str | None:
    """A digest that changes with anything that a conversion of this object depends on.

    Globals that the code of a PyTorch module reads are not part of it.

    Returns:
        The digest; None where there may be more to the model than can be seen: own code in a Keras model, parts that
        cannot be pickled.
    """
    digest = _Digest()
    try:
        pickle.Pickler(digest, protocol=5).dump(sample)
        if framework == "keras":
            return _add_keras(digest, model)
        if framework == "torch":
            for part in getattr(model, "modules", list)():
                if has_hooks(part) or "forward" in vars(part):
                    return None
                _add_code(digest, type(part).__mro__)
        pickle.Pickler(digest, protocol=5).dump(model)
    except Exception:  # pickling runs the code of any object within, which may fail in any way
        return None
    return digest.sha.hexdigest()


def _add_keras(digest: _Digest, model: Any) -> str | None:
    """A model of layers that Keras ships: its configuration and its weights."""
    if type(model).__name__ not in ("Functional", "Sequential", "Model"):
        return None
    config = {"class_name": type(model).__name__, "config": model.get_config()}
    text = json.dumps(config, default=_plain, sort_keys=True)
    try:
        keras_guard.check(json.loads(text), "the model")
    except ConversionError:
        return None
    layers = list(getattr(model, "_flatten_layers", list)())
    if any("call" in vars(layer) for layer in layers):
        return None
    digest.write(text.encode())
    digest.write(repr(class_names_of(model)).encode())
    for weight in model.weights:
        digest.write(np.ascontiguousarray(weight.numpy()).data.cast("B"))
    return digest.sha.hexdigest()


def _plain(value: Any) -> Any:
    """What JSON has no form for: Keras' own description of a layer or function, else its text."""
    from .common.dependencies import keras

    return keras().saving.serialize_keras_object(value)


def _add_code(digest: _Digest, classes: Iterable[type]) -> None:
    """The code of classes, which a notebook may change in place."""
    for cls in classes:
        if cls.__module__.partition(".")[0] in ("torch", "builtins"):
            continue
        for name, member in sorted(vars(cls).items()):
            if inspect.isfunction(member):
                code = member.__code__
                digest.write(f"{cls.__qualname__}.{name} {code.co_names} {code.co_consts}".encode())
                digest.write(code.co_code)
