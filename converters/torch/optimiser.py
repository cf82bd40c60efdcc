"""What the exporter's optimiser does and does not do.

onnxscript drops `+ 0` and `* 1`, and takes every constant up to 1e-8 for 0 and up to 1 ± 1e-5 for 1: the 1e-12 of
`x / (norm + 1e-12)` is lost, and the file divides by 0. Of a Relu and a Clip it makes one Clip, whose gradient at 0 is
another, and which is no ReLU for DeconvNet and GuidedBackprop. It fails on chunks of a size that is computed.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from ..common.patching import Patch
from .translations.complex_numbers import dispatching
from .translations.elementwise import angle_of

_VERSION = "onnxscript 0.7.2"


def _exactly(original: Callable[..., bool], _: Any) -> Callable[..., bool]:
    """A constant of a pattern matches the same number, rounded to the dtype of the graph's constant."""

    def match(matcher: Any, pattern: Any, value: Any) -> bool:
        if not original(matcher, pattern, value):
            return False
        found = value.const_value.numpy()
        if np.array_equal(found, np.asarray(pattern.value).astype(found.dtype)):
            return True
        return bool(matcher.fail(f"{value.name} is close to {pattern.value}, not equal"))

    return match


def _without_clips(rules: tuple[Any, ...], _: Any) -> tuple[Any, ...]:
    """The optimiser's rules without those that make one node of several ReLUs and Clips."""
    family = importlib.import_module("onnxscript.rewriter.rules.common._fuse_relus_clips").rules
    left_out = {id(rule) for rule in family}
    return tuple(rule for rule in rules if id(rule) not in left_out)


def _of_known_sizes(original: Callable[..., Any], _: Any) -> Callable[..., Any]:
    """Nodes that cut a tensor into chunks are folded where the size of the chunks is known."""

    def lookup(registry: Any, domain: str, operator: str, version: int) -> Any:
        found = original(registry, domain, operator, version)
        if operator != "SplitToSequence":
            return found
        return [partial(_unless_computed, fold) for fold in found]

    return lookup


def _unless_computed(fold: Callable[..., Any], node: ir.Node, *arguments: Any) -> Any:
    size = node.inputs[1] if len(node.inputs) > 1 else None
    if size is not None and size.shape is not None and not len(size.shape):
        return fold(node, *arguments) if ir.convenience.get_const_tensor(size) is not None else None
    return fold(node, *arguments)


def _without_checks(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """What raises of a singular matrix has no effect that a file must keep."""

    def effect(operator: Any) -> Any:
        return None if str(operator) == "aten._linalg_check_errors.default" else original(operator)

    return effect


def _without_look(_: Callable[..., bool], __: Any) -> Callable[..., bool]:
    """Whether a mask of nn.Transformer is said to be the causal one. The mask itself is applied either way."""

    def is_said(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        return bool(is_causal)

    return is_said


def _by_the_larger(_: Callable[..., Any], __: Any) -> Callable[..., Any]:
    """The angle of points, of complex numbers too."""

    def angle(y: Any, x: Any, dtype: Any) -> Any:
        return angle_of(y, x)

    return angle


#: For the export itself.
EXPORTER = (
    Patch(
        "export",
        "onnxscript.function_libs.torch_lib.ops.core",
        "_atan2",
        _by_the_larger,
        "It divides y by x, of which no gradient is left where x is 0, and gives -pi for pi where y is 0 and x < 0.",
        _VERSION,
    ),
    Patch(
        "export",
        "torch.onnx._internal.exporter._dispatching",
        "dispatch",
        dispatching,
        "It has no form of einsum, copies and others of complex numbers, and a table of forms is of real numbers.",
        "torch 2.13.0",
    ),
    Patch(
        "export",
        "torch._higher_order_ops.effects",
        "_get_effect",
        _without_checks,
        "Behind cholesky, inv and solve it leaves a check, for whose order the file would have an input.",
        "torch 2.13.0",
        optional=True,
    ),
    Patch(
        "export",
        "torch.nn.modules.transformer",
        "_detect_is_causal_mask",
        _without_look,
        "It compares the numbers of a mask with those of the causal one, to choose between two forms of the same.",
        "torch 2.13.0",
        optional=True,
    ),
)

OPTIMISER = (
    Patch(
        "optimise",
        "onnxscript.rewriter._matcher:SimplePatternMatcher",
        "_match_constant",
        _exactly,
        "It compares constants with an absolute tolerance of 1e-8 and a relative one of 1e-5.",
        _VERSION,
    ),
    Patch(
        "optimise",
        "onnxscript.rewriter",
        "_DEFAULT_REWRITE_RULES",
        _without_clips,
        "They make a Clip of a Relu and a Clip: another gradient at 0, and no ReLU to override.",
        _VERSION,
    ),
    Patch(
        "optimise",
        "onnxscript.optimizer._constant_folding:PartialEvaluatorRegistry",
        "lookup_evaluators",
        _of_known_sizes,
        "It reads the number of chunks from a size that has no value yet.",
        _VERSION,
    ),
)
