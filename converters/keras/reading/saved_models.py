"""The functions that a SavedModel folder serves, by the names of its signatures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxattr.errors import ConversionError

from ...common import dependencies
from ...common.causes import cause
from . import saved_model_guard

_SERVE = "serve"
SERVING_DEFAULT = "serving_default"


@dataclass(frozen=True)
class SavedSignature:
    """A signature of a SavedModel: a function without layers.

    Attributes:
        name: Name of the folder.
        function: The concrete function.
        weights: The variables it reads.
        layers: Always empty; a signature remembers no layers.
        owner: The loaded object, which keeps the variables alive.
    """

    name: str
    function: Any
    weights: Sequence[Any]
    owner: Any = field(repr=False)
    layers: tuple[Any, ...] = ()


def refuse_signature(signature: str | None, given: str) -> None:
    """Refuses a signature where something else than a SavedModel folder is given.

    Raises:
        ConversionError: If there is one.
    """
    if signature is not None:
        raise ConversionError(f"signature={signature!r} (--signature) is for SavedModel folders; {given}.")


def served_by(path: Path) -> dict[str, SavedSignature]:
    """The signatures of a folder by name.

    Raises:
        ConversionError: TensorFlow cannot load it.
    """
    tf = dependencies.tensorflow()
    tags = saved_model_guard.tag_sets(path)
    # TF 1 saved a graph to train and one to serve in one folder.
    serve = [_SERVE] if len(tags) > 1 and {_SERVE} in tags else None
    try:
        owner = tf.saved_model.load(str(path), tags=serve)
        functions = dict(getattr(owner, "signatures", {}))
    except Exception as error:
        raise ConversionError(
            f"TensorFlow cannot load the SavedModel {str(path)!r}: {cause(error)}. "
            "Save it again with model.export(folder)."
        ) from error
    return {
        name: SavedSignature(path.name, function, tuple(function.variables), owner)
        for name, function in sorted(functions.items())
    }


def chosen(path: Path, served: dict[str, SavedSignature], asked: str | None) -> SavedSignature:
    """The signature that is asked for, the default one, or the only one.

    Args:
        path: The folder.
        served: Its signatures by name.
        asked: Name of a signature, or None.

    Raises:
        ConversionError: There is none, none of this name, or several of which none is the default.
    """
    if not served:
        raise ConversionError(
            f"The SavedModel {str(path)!r} has no signature, so its inputs and outputs have no names. Save it with "
            "model.export(folder), or pass the model object."
        )
    names = ", ".join(map(repr, served))
    if asked is not None and asked not in served:
        raise ConversionError(f"The SavedModel {str(path)!r} has no signature {asked!r}; it has {names}.")
    default = asked or (SERVING_DEFAULT if len(served) > 1 else next(iter(served)))
    if default not in served:
        raise ConversionError(
            f"The SavedModel {str(path)!r} has several signatures, {names}, and none of them is {SERVING_DEFAULT!r}: "
            "say which is converted: to_onnx(folder, signature=NAME), onnxattr convert --signature NAME."
        )
    return served[default]
