"""How far a model's ReLUs and max-pools are from deciding otherwise, measured in float64 on the model alone.

Where a ReLU's input is 0 but for rounding, or two values under a max-pool are equal but for rounding, the gradient of
float32 is that of one side or of the other, whichever way a runtime's kernels add up. Numbers of two runtimes can only
be compared where no decision is that close. The gradient graphs play no part in this measurement.
"""

from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference import ReferenceEvaluator

from onnxattr.testing import CORRECTED, as_double

#: Of the closest decision. Activations near 0 are rounded less than their layer on the whole, and few are that close.
LEAST_MARGIN = 2.0


def smallest_margin(model: onnx.ModelProto, points: np.ndarray) -> float:
    """The margin of the closest decision at any of the points, in float32 roundings of its layer at that point.

    The rounding of a layer is the root mean square of ONNX Runtime's float32 values minus the float64 ones.

    Args:
        model: A model with one input.
        points: (R, ...), the points at which gradients are taken.
    """
    bounds = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    off = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    margins = []
    for node, z, rounding in _measured(model, points):
        if node.op_type == "MaxPool":
            gaps, largest = _gaps(z, node)
            # Behind a ReLU that is off in a whole window all values are 0 in any runtime, and stay equal.
            gap = gaps[largest > 0].min() if node.input[0] in off else gaps.min()
        else:
            edges = [bounds[name] for name in node.input[1:]] or [0.0]
            gap = min(np.abs(z - edge).min() for edge in edges)
        margins.append(float(gap / rounding))
    return min(margins)


def layer_roundings(model: onnx.ModelProto, points: np.ndarray) -> np.ndarray:
    """The rounding of each of ``decision_nodes``, the root mean square over the points."""
    squares = np.array([rounding**2 for _, _, rounding in _measured(model, points)])
    return np.sqrt(squares.reshape(len(points), -1).mean(axis=0))


def decision_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes whose gradient jumps."""
    return [node for node in model.graph.node if node.op_type in ("Relu", "Clip", "MaxPool")]


def _measured(
    model: onnx.ModelProto, points: np.ndarray
) -> Iterator[tuple[onnx.NodeProto, np.ndarray, float]]:
    """Point by point each decision's input in float64, and how much ONNX Runtime's float32 is off."""
    nodes = decision_nodes(model)
    names, source = [node.input[0] for node in nodes], model.graph.input[0].name
    exact, rounded = ReferenceEvaluator(as_double(model), new_ops=CORRECTED), _float32(model, names)
    for point in points.astype(np.float32)[:, None]:
        wide = exact.run(names, {source: point.astype(np.float64)})
        for node, z, z32 in zip(nodes, wide, rounded.run(names, {source: point}), strict=True):
            yield node, z, float(np.sqrt(np.mean((z32 - z) ** 2)))


def _gaps(z: np.ndarray, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """How far the second largest value of each window is below the largest, and the largest."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel, strides, axes = given["kernel_shape"], given["strides"], tuple(range(2, z.ndim))
    spatial = len(kernel)
    pads = given.get("pads", [0] * 2 * spatial)
    padding = [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)]
    windows = sliding_window_view(np.pad(z, padding, constant_values=-np.inf), kernel, axes)
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    ranked = np.partition(windows.reshape(*windows.shape[: 2 + spatial], -1), -2, axis=-1)
    return ranked[..., -1] - ranked[..., -2], ranked[..., -1]


def _float32(model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in names:
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
