"""Decides by the configuration of a Keras file whether loading it can do more than build layers and read weights."""

import os
from collections.abc import Iterator
from typing import Any

from onnxattr.errors import ConversionError

from ...common.trust import untrusted
from . import pure as keras_pure

# A model within a model adds about six levels; Python itself gives up at about 300 of these.
_DEEPEST = 200
_OWN_PACKAGES = ("keras", "tf_keras", "builtins")
_CODE = ("Lambda", "__lambda__")
_TENSORFLOW_CALLS = ("TFOpLambda", "SlicingOpLambda")
_FILES = ("vocabulary", "idf_weights", "filepath", "file", "filename", "path")
_RUN_IT = "Or load it yourself and pass the model: to_onnx(keras.models.load_model(path, safe_mode=False))."
_OWN_CODE = (
    "Or load it yourself and pass the model: to_onnx(keras.models.load_model(path, custom_objects=..., "
    "compile=False))."
)


def check(config: Any, path: str | os.PathLike[str]) -> None:
    """Accept a configuration if all that it names is on the lists of `keras_pure`.

    Every dict that names a class counts, wherever it is: layers in wrappers and in models within the model, cells,
    initializers, functions, arguments of operations.

    Args:
        config: The parsed configuration; what compiles the model itself is left out, as it is when a file is loaded.
        path: The file, for the message.

    Raises:
        ConversionError: It names something else, or is nested too deeply; says which layer, and what to do.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ConversionError(
            f"The configuration in {os.fspath(path)!r} describes no model: it is no object with a class_name. The file "
            "may be damaged; save the model again."
        )
    top = {key: value for key, value in config.items() if key not in ("compile_config", "training_config")}
    pending: list[tuple[Any, tuple[str, ...], int]] = [(top, (), 0)]
    while pending:
        value, layers, depth = pending.pop()
        if depth > _DEEPEST:
            raise untrusted(path, f"its configuration is nested more than {_DEEPEST} levels deep")
        if isinstance(value, dict):
            if "class_name" in value:
                layers = _named(value, layers)
                _check_object(value, layers, path)
            _check_strings(value, layers, path)
            pending.extend((item, layers, depth + 1) for item in value.values() if _nested(item))
        elif isinstance(value, list):
            pending.extend((item, layers, depth + 1) for item in value if _nested(item))


def _nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _named(value: dict[str, Any], layers: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the enclosing layers and of this one, if it has one."""
    inner = value.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return (*layers, name) if isinstance(name, str) else layers


def _check_object(value: dict[str, Any], layers: tuple[str, ...], path: str | os.PathLike[str]) -> None:
    name, where = value["class_name"], f"layer {'/'.join(layers)!r}" if layers else "the model"
    if name in _CODE:
        reason = f"it contains Python code (a Lambda layer), which is not run from a file: {where}"
        raise untrusted(path, reason, _RUN_IT)
    if name in _TENSORFLOW_CALLS:
        _check_call(value, where, path)
    elif name == "function":
        _check_function(value, where, path)
    elif name == "TypeSpec" and value.get("type_spec") == "tf.TensorSpec":
        return
    elif not isinstance(name, str) or name not in keras_pure.CLASSES:
        raise untrusted(
            path, f"{where} is of the class {name!r}, which is not one that only computes", _OWN_CODE
        )
    if name in _TENSORFLOW_CALLS or name in keras_pure.OPERATIONS:
        _check_nodes(value, where, path)
    for registered in _other_names(value):
        if registered not in (name, *keras_pure.CLASSES):
            raise untrusted(path, f"{where} is registered as {registered!r}, a class of its own", _OWN_CODE)
    module = value.get("module")
    if module is not None and (not isinstance(module, str) or module.split(".")[0] not in _OWN_PACKAGES):
        raise untrusted(path, f"{where} is of the module {module!r}, not one of Keras", _OWN_CODE)


def _other_names(value: dict[str, Any]) -> Iterator[Any]:
    """What Keras looks up before the class name."""
    registered = value.get("registered_name")
    if registered is not None:
        yield registered if not isinstance(registered, str) else registered.removeprefix("Keras>")


def _check_function(value: dict[str, Any], where: str, path: str | os.PathLike[str]) -> None:
    for name in (value.get("config"), *_other_names(value)):
        if name != "function" and (not isinstance(name, str) or name not in keras_pure.FUNCTIONS):
            raise untrusted(
                path, f"{where} uses the function {name!r}, not one that only computes", _OWN_CODE
            )


def _check_call(value: dict[str, Any], where: str, path: str | os.PathLike[str]) -> None:
    """A layer that calls a TensorFlow function: while it is loaded, where no argument is a layer's output."""
    inner = value.get("config")
    function = inner.get("function") if isinstance(inner, dict) else None
    known = isinstance(function, str) and function.removeprefix("compat.v1.") in keras_pure.TENSORFLOW
    if not known:
        raise untrusted(
            path,
            f"{where} calls the TensorFlow function {function!r} while it is loaded, not one that only computes",
            _RUN_IT,
        )


def _check_nodes(value: dict[str, Any], where: str, path: str | os.PathLike[str]) -> None:
    """An operation on constants alone is computed while it is loaded, however large; no model is saved with one."""
    nodes = value.get("inbound_nodes")
    for node in nodes if isinstance(nodes, list) else ():
        if not _refers(node):
            raise untrusted(
                path, f"{where} ({value['class_name']}) computes a value from constants while it is loaded"
            )


def _refers(node: Any) -> bool:
    """Whether the arguments of a call hold a layer's output: a Keras 3 tensor, or [layer, node, tensor, ...]."""
    pending = [node]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if item.get("class_name") == "__keras_tensor__":
                return True
            pending.extend(item.values())
        elif isinstance(item, list):
            start = item[:3]
            if [type(part) for part in start] == [str, int, int] and start[0] != "_CONSTANT_VALUE":
                return True
            pending.extend(item)
    return False


def _check_strings(value: dict[str, Any], layers: tuple[str, ...], path: str | os.PathLike[str]) -> None:
    """Names of functions and files that stand as plain text."""
    for key, item in value.items():
        if not isinstance(item, str):
            continue
        if key.endswith("activation") and item not in keras_pure.FUNCTIONS:
            raise untrusted(
                path, f"layer {'/'.join(layers)!r} has the {key} {item!r}, not one of Keras", _OWN_CODE
            )
        if key in _FILES:
            raise untrusted(path, f"layer {'/'.join(layers)!r} reads another file, {key}={item!r}")
