"""The exceptions that onnxattr raises on purpose; each message says what was given, what was expected, what to do."""

from collections.abc import Mapping, Sequence


class OnnxAttrError(Exception):
    """Base class of every error raised by onnxattr."""


class ModelError(OnnxAttrError):
    """The model is missing, damaged, not ONNX, or cannot be explained as it is."""


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
            f"or add a rule with onnxattr.rules.registry.vjp. {' '.join(reasons)}".rstrip()
        )


class ShapeError(OnnxAttrError, ValueError):
    """An input array has the wrong rank, size, dtype or values for the model."""


class TargetError(OnnxAttrError, ValueError):
    """The targets do not fit the model's output."""


class ParameterError(OnnxAttrError, ValueError):
    """A parameter of a method has a value outside its domain."""


class RuntimeMissingError(OnnxAttrError):
    """ONNX Runtime, or an execution provider that was asked for, is not available."""


class RuleError(OnnxAttrError):
    """A VJP rule broke its contract: wrong number, dtype or rank of cotangents."""


class NonFiniteError(OnnxAttrError, ArithmeticError):
    """Attributions or predictions are NaN or infinite, with ``check_finite="error"``."""


class NonFiniteWarning(UserWarning):
    """Attributions or predictions are NaN or infinite: which rows, which node made them, what to try."""
