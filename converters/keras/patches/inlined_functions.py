"""Functions of ``tf.function`` that a trace inlines: loops of Python on tensors become those of TensorFlow."""

import contextlib
from collections.abc import Callable
from typing import Any

from ...common import dependencies

#: Packages whose own functions need no conversion.
_PLAIN = ("tensorflow", "keras", "tf_keras", "onnxattr")


def written_in_python(call: Callable[..., Any]) -> Callable[..., Any]:
    """`Function.__call__` that converts a user's function with AutoGraph, as its own trace would."""
    from tensorflow.python.eager.polymorphic_function.autograph_util import py_func_from_autograph

    tf = dependencies.tensorflow()

    def inlined(function: Any, *args: Any, **kwargs: Any) -> Any:
        written = function.python_function
        foreign = str(getattr(written, "__module__", "")).partition(".")[0] not in _PLAIN
        if tf.executing_eagerly() or not (function._autograph and foreign):
            return call(function, *args, **kwargs)
        return py_func_from_autograph(written, function._experimental_autograph_options)(*args, **kwargs)

    return inlined


def as_called_eagerly() -> contextlib.AbstractContextManager[Any]:
    """Within it AutoGraph is where it is in a call of a model: in functions and in the layers of tf_keras.

    A function that is traced without AutoGraph disables it in all that it calls.
    """
    from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status

    context: contextlib.AbstractContextManager[Any] = ControlStatusCtx(Status.UNSPECIFIED)
    return context
