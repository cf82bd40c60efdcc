"""Errors of runs that fail in a node which checks sizes: those of a mask, a baseline or targets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from onnxattr.autodiff.paths import counting_node
from onnxattr.compile.fit import BASELINE_FIT, LABELS_FIT, ROWS_FIT, TARGETS_FIT
from onnxattr.compile.renderings.groups import FIT
from onnxattr.errors import ModelError, ShapeError, TargetError
from onnxattr.graph.operator_kinds import COUNTING
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.loading.prepared import Prepared


@contextlib.contextmanager
def fitting(prepared: Prepared, masks: Sequence[tuple[int, ...]] = ()) -> Iterator[None]:
    """Says of a run what is wrong if samples turn out to have another size than what was given for them.

    Args:
        prepared: The model, or an exported file with its prediction as output.
        masks: The shapes of the masks that group the explained values, where they are known.

    Raises:
        ShapeError: If it is the mask, a baseline, or rows.
        TargetError: If it is the targets, or a label.
    """
    try:
        yield
    except ModelError as error:
        if FIT in str(error):
            of_shape = f" of shape {' or '.join(map(str, masks))}" if masks else ""
            raise ShapeError(
                f"feature_mask{of_shape} does not fit these inputs: the sample that it groups has another size there. "
                "Give a mask for this size, or inputs of the size of the mask."
            ) from error
        if BASELINE_FIT in str(error):
            raise ShapeError(
                "A baseline has other sizes than these samples, or than what is explained of them: give numbers of "
                "the sizes of one sample, with sizes of 1 where they are the same along an axis, or a row of these "
                "for each sample. Samples are not broadcast."
            ) from error
        if ROWS_FIT in str(error):
            raise ShapeError(
                "The targets and the inputs have different numbers of samples: give a row of each for every sample."
            ) from error
        if LABELS_FIT in str(error):
            raise TargetError(
                "A label is out of range: labels go from 0 to the last class of the output (-1 for the predicted "
                "class); predict() tells how many classes there are."
            ) from error
        if TARGETS_FIT not in str(error):
            raise
        raise TargetError(_misfit(prepared)) from error


def _misfit(prepared: Prepared) -> str:
    """Why targets have other sizes than the output."""
    if (node := _deciding(prepared)) is None:
        return (
            f"The targets have other sizes than the output {prepared.output!r} has for these samples: give one number "
            "for each of its numbers; predict() tells its shape. Targets are not broadcast."
        )
    return (
        f"{node.op_type} node {node.name!r} decides how large the output {prepared.output!r} is, and there it has "
        "another size than the targets: at another point of the method than the sample itself, or at the sample, whose "
        "output predict() gives. Explain a value in front of this node, output_layer=<value> (--output-layer <value>), "
        "or choose a method of one point, such as GradientInput."
    )


def _deciding(prepared: Prepared) -> ir.Node | None:
    """The node that decides by numbers how large the output is; a file may have it inside a Loop."""
    return counting_node(prepared.value(prepared.output)) or next(
        (node for node in nodes_of(prepared.model.graph) if node.op_type in COUNTING), None
    )
