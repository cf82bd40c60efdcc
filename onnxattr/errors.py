"""The exceptions that onnxattr raises; each message says what was given, what was expected, what to do."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_LISTED = 12


class OnnxAttrError(Exception):
    """Base class of every error raised by onnxattr."""


class ModelError(OnnxAttrError):
    """The model is missing, damaged, not ONNX, or cannot be explained as it is."""


class FoldedLayerError(ModelError):
    """No value of the model equals what a layer gives; a conversion that keeps ``layer``, its path, has one."""

    def __init__(self, message: str, layer: str):
        self.layer = layer
        super().__init__(message)


class UnforeseenError(ModelError):
    """A library failed on a model in a way that no check has foreseen; what it raised is the cause."""


class ConversionError(ModelError):
    """A model of another framework could not be converted into a correct ONNX file."""


class UnsupportedOpError(ModelError):
    """An operator on the path from the explained value to the score has no VJP rule."""


class MissingRuleError(UnsupportedOpError):
    """Operators have no rule at all; ``operators`` holds the names of their nodes."""

    def __init__(self, operators: Mapping[str, Sequence[str]], reasons: Sequence[str] = ()):
        self.operators = operators
        listing = "; ".join(
            f"{op}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for op, names in operators.items()
        )
        super().__init__(
            f"No VJP rule for {len(operators)} operator(s) between the explained value and the score: {listing}. "
            "Explain a value behind them (wrt=...), cut the model before them (output_layer=...), "
            f"or add a rule with onnxattr.autodiff.registry.vjp. {' '.join(reasons)}".rstrip()
        )


class ShapeError(OnnxAttrError, ValueError):
    """An input array has the wrong rank, size, dtype or values for the model."""


class TargetError(OnnxAttrError, ValueError):
    """The targets do not fit the model's output."""


class ParameterError(OnnxAttrError, ValueError):
    """A parameter of a method has a value outside its domain."""


class NoSpaceError(ParameterError):
    """A file cannot be written, because its disk is full."""


class OperatorError(ParameterError):
    """The function or model given as ``operator`` cannot be used as a score."""


class RuntimeMissingError(OnnxAttrError):
    """ONNX Runtime, or an execution provider that was asked for, is not available."""


class RuleError(OnnxAttrError):
    """A VJP rule broke its contract: wrong number, dtype or rank of cotangents."""


class NonFiniteError(OnnxAttrError, ArithmeticError):
    """Attributions or predictions are NaN or infinite, with ``check_finite="error"``."""


class NonFiniteWarning(UserWarning):
    """Attributions or predictions are NaN or infinite: which rows, which node made them, what to try."""


def few(names: Sequence[Any]) -> str:
    """The first of some names, as a list in the text of a message."""
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return f"[{', '.join(map(repr, names[:_LISTED]))}{more}]"


@contextlib.contextmanager
def one_door(failed: str) -> Iterator[None]:
    """Lets nothing out but errors of this module; what a library raises on a model becomes the cause of one.

    Numbers that round to 0 are none, whatever ``np.seterr`` was told of underflow.

    Args:
        failed: What cannot be done if something fails, for instance "model.onnx cannot be prepared".

    Raises:
        ModelError: If memory does not suffice, or something is nested too deeply.
        UnforeseenError: If anything else is raised.
    """
    try:
        with np.errstate(under="ignore"):
            yield
    except OnnxAttrError:
        raise
    except MemoryError as error:
        raise ModelError(
            f"{failed}: it takes more memory than there is. Use a smaller model or batch."
        ) from error
    except RecursionError as error:
        raise ModelError(
            f"{failed}: something in it is nested too deeply to be followed. Simplify it, and export it again."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:400]
        raise UnforeseenError(
            f"{failed}: {type(error).__name__}: {reason}. Check the model with onnx.checker and in ONNX Runtime: if it "
            "is damaged, export it again; if it runs there, this is a defect of onnxattr."
        ) from error
