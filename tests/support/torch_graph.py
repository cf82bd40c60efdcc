"""The operators of the wheel's architectures in PyTorch, to hold their gradients to torch.autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch.nn import functional


def padded(x: torch.Tensor, attributes: dict, value: float = 0.0) -> torch.Tensor:
    """With what ONNX's pads, begins before ends, ask for."""
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return functional.pad(x, (left, right, top, bottom), value=value)


def convolve(attributes, x, w, b=None):
    return functional.conv2d(
        padded(x, attributes), w, b, attributes.get("strides", 1), groups=attributes.get("group", 1)
    )


def pool_max(attributes, x):
    x = padded(x, attributes, -math.inf)
    return functional.max_pool2d(x, attributes["kernel_shape"], attributes.get("strides", 1))


def pool_average(attributes, x):
    """Over what lies inside the image: the padding does not count."""
    sizes = (attributes["kernel_shape"], attributes.get("strides", 1))
    inside = padded(torch.ones_like(x), attributes)
    return functional.avg_pool2d(padded(x, attributes), *sizes) / functional.avg_pool2d(inside, *sizes)


def normalize(attributes, x, scale, bias, mean, variance):
    return functional.batch_norm(
        x, mean, variance, scale, bias, eps=attributes.get("epsilon", float(np.float32(1e-5)))
    )


def normalize_locally(attributes, x):
    return functional.local_response_norm(
        x, attributes["size"], attributes["alpha"], attributes["beta"], attributes["bias"]
    )


def reshape(attributes, x, shape):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def unsqueeze(attributes, x):
    for axis in attributes["axes"]:
        x = x.unsqueeze(axis)
    return x


OPERATORS = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": pool_average,
    "BatchNormalization": normalize,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": convolve,
    "Dropout": lambda a, x: x,
    "Gemm": lambda a, x, w, b: x @ (w.T if a.get("transB") else w) + b,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "LRN": normalize_locally,
    "MaxPool": pool_max,
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: x.relu(),
    "Reshape": reshape,
    "Sum": lambda a, *xs: sum(xs),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": unsqueeze,
}


def gradient(model: onnx.ModelProto, x: np.ndarray, cotangent: np.ndarray) -> Sequence[np.ndarray]:
    """The prediction of a model with one input and one output, and its gradient, in the precision of x."""
    source = torch.tensor(x, requires_grad=True)
    values = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer}
    values = {name: v.to(source.dtype) if v.is_floating_point() else v for name, v in values.items()}
    values[model.graph.input[0].name] = source
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](attributes, *(values[n] for n in node.input))
    y = values[model.graph.output[0].name]
    (xbar,) = torch.autograd.grad(y, source, torch.tensor(cotangent))
    return y.detach().numpy(), xbar.numpy()
