"""What ONNX Runtime's products of integers change in the predictions of a model trained for quantised inference."""

from collections.abc import Sequence

import numpy as np
import onnx

from onnxattr.callers import warn_caller

from ...common.verify import Session, difference
from .original import Original


def warn_of_integers(
    converted: onnx.ModelProto, original: Original, arrays: Sequence[np.ndarray], tolerance: float
) -> None:
    """Warns where the file computes what Keras does and ONNX Runtime, with default options, does not.

    Args:
        converted: The converted model.
        original: The Keras model.
        arrays: The inputs to compare on.
        tolerance: The largest difference that is not said, relative to the largest value of an output.
    """
    if not any(node.op_type == "DequantizeLinear" for node in converted.graph.node):
        return
    found = Session(converted).run(dict(zip(original.inputs.names, arrays, strict=True)))
    error = max(map(difference, found, original.outputs(arrays)), default=0.0)
    if error > tolerance:
        warn_caller(
            f"ONNX Runtime multiplies values that were rounded to 8 bits as integers, and rounds some to another step "
            f"than Keras: predictions of the file are off by up to {error:.2g} of the largest. A session with the "
            'entry session.disable_quant_qdq = "1" gives those of Keras (docs/models.md, quantised models).'
        )
