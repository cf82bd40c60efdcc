"""Errors of runs that fail in a node which checks sizes: those of a mask, or of targets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from onnxattr.autodiff.paths import counting_node
from onnxattr.compile.renderings.groups import FIT
from onnxattr.compile.renderings.rewrite import TARGETS_FIT, Request
from onnxattr.errors import ModelError, ShapeError, TargetError


@contextlib.contextmanager
def fitting(request: Request) -> Iterator[None]:
    """Says of a run what is wrong if samples turn out to have another size than their mask or their targets.

    Raises:
        ShapeError: If it is the mask.
        TargetError: If it is the targets.
    """
    try:
        yield
    except ModelError as error:
        if FIT in str(error):
            shapes = [found.shape for found in request.map_groups if found is not None]
            raise ShapeError(
                f"feature_mask of shape {' or '.join(map(str, shapes))} does not fit these inputs: the sample that it "
                "groups has another size there. Give a mask for this size, or inputs of the size of the mask."
            ) from error
        output = request.prepared.value(request.prepared.output)
        node = counting_node(output)
        if node is None or TARGETS_FIT not in str(error):
            raise
        raise TargetError(
            f"{node.op_type} node {node.name!r} decides how large the output {output.name!r} is, and at another point "
            "of the method it has another size than for the sample itself, so that the targets do not fit. Explain a "
            "value in front of this node, output_layer=<value> (--output-layer <value>), or choose a method of one "
            "point, such as GradientInput."
        ) from error
