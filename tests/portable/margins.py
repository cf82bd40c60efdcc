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

from onnxattr.testing import as_double

#: Points of a path or of the noise that are looked at together.
CHUNK = 25


def smallest_margin(model: onnx.ModelProto, points: np.ndarray) -> float:
    """The margin of the closest decision at any of the points, in float32 roundings of its layer.

    The rounding of a layer is the root mean square of ONNX Runtime's float32 values minus the float64 ones, at the
    same points. A margin above 4 is safe: two runtimes that both round like that differ by 1.4 roundings.

    Args:
        model: A model with one input.
        points: (R, ...), the points at which gradients are taken.
    """
    return min(
        margin
        for start in range(0, len(points), CHUNK)
        for margin in _margins(model, points[start : start + CHUNK].astype(np.float32))
    )


def _margins(model: onnx.ModelProto, points: np.ndarray) -> Iterator[float]:
    nodes = [node for node in model.graph.node if node.op_type in ("Relu", "Clip", "MaxPool")]
    names = [node.input[0] for node in nodes]
    source = model.graph.input[0].name
    exact = ReferenceEvaluator(as_double(model)).run(names, {source: points.astype(np.float64)})
    rounded = _float32(model, names).run(names, {source: points})
    bounds = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node, z, z32 in zip(nodes, exact, rounded, strict=True):
        rounding = np.sqrt(np.mean((z32 - z) ** 2))
        if node.op_type == "MaxPool":
            yield float(_gaps(z, node).min() / rounding)
        else:
            edges = [bounds[name] for name in node.input[1:]] or [0.0]
            yield min(float(np.abs(z - edge).min() / rounding) for edge in edges)


def _gaps(z: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    """How far the second largest value of each window is below the largest."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel, strides, axes = given["kernel_shape"], given["strides"], tuple(range(2, z.ndim))
    spatial = len(kernel)
    pads = given.get("pads", [0] * 2 * spatial)
    padding = [(0, 0), (0, 0), *zip(pads[:spatial], pads[spatial:], strict=True)]
    windows = sliding_window_view(np.pad(z, padding, constant_values=-np.inf), kernel, axes)
    windows = windows[(slice(None), slice(None), *(slice(None, None, step) for step in strides))]
    ranked = np.partition(windows.reshape(*windows.shape[: 2 + spatial], -1), -2, axis=-1)
    return ranked[..., -1] - ranked[..., -2]


def _float32(model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in names:
        shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
