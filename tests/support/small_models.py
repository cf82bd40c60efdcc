"""Tiny ONNX models with seeded weights, one per kind of input that users bring, with rows to explain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxattr.loading.meaning.class_names import KEY, class_names_text

OPSET, IR_VERSION = 18, 8
node = helper.make_node


@dataclass(frozen=True)
class Small:
    """A model together with three rows of each input; its only output has the shape (N, ``classes``)."""

    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    classes: int

    @property
    def given(self):
        """What ``explain`` takes: an array for one input, a dict for several."""
        return self.inputs if len(self.inputs) > 1 else next(iter(self.inputs.values()))


def build(nodes, inputs, outputs, weights=(), opset=OPSET, **options) -> onnx.ModelProto:
    """A model of the given nodes.

    Args:
        nodes: The nodes in order.
        inputs: Shape by name, or (shape, element type); or declarations of values.
        outputs: The same for the outputs.
        weights: Arrays or tensors by name.
        opset: The ai.onnx opset.
        **options: Further arguments of ``helper.make_model``, such as ``ir_version``.
    """

    def values(specs):
        if not isinstance(specs, Mapping):
            return list(specs)
        typed = {
            n: spec if isinstance(spec, tuple) else (spec, TensorProto.FLOAT) for n, spec in specs.items()
        }
        return [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in typed.items()]

    initializers = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(np.asarray(array), name)
        for name, array in dict(weights).items()
    ]
    graph = helper.make_graph(nodes, "small", values(inputs), values(outputs), initializers)
    options = {"ir_version": IR_VERSION, "opset_imports": [helper.make_opsetid("", opset)]} | options
    return helper.make_model(graph, **options)


def random(seed, *shape, dtype=np.float32):
    """Normal numbers, scaled so that a product with them keeps the variance."""
    fan_in = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
    return (np.random.default_rng(seed).normal(size=shape) / np.sqrt(fan_in)).astype(dtype)


def rows(seed, *shape, dtype=np.float32):
    """Three rows of normal numbers."""
    return np.random.default_rng(seed).normal(size=(3, *shape)).astype(dtype)


def mlp(dtype=np.float32, head=None) -> Small:
    """Six features, ten hidden ReLUs, four logits; ``head`` names an operator on top, such as Softmax."""
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["hidden"], name="dense_1"),
        node("Relu", ["hidden"], ["active"], name="relu_1"),
        node("Gemm", ["active", "w2", "b2"], ["logits"], name="dense_2"),
    ]
    if head:
        nodes.append(node(head, ["logits"], ["probabilities"], name="head"))
    arrays = {"w1": random(1, 6, 10), "b1": random(2, 10), "w2": random(3, 10, 4), "b2": random(4, 4)}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    output = "probabilities" if head else "logits"
    model = build(
        nodes,
        {"x": (["N", 6], kind)},
        {output: (["N", 4], kind)},
        {name: array.astype(dtype) for name, array in arrays.items()},
    )
    return Small(model, {"x": rows(5, 6, dtype=dtype)}, 4)


def named(*names) -> onnx.ModelProto:
    """The dense network of four classes, with names for them."""
    model = mlp().model
    if names:
        helper.set_model_props(model, {KEY: class_names_text(names)})
    return model


def cnn_nchw() -> Small:
    """Convolution, BatchNormalization, ReLU, average pooling and ReLU6 on images (N, 3, 8, 9)."""
    nodes = [
        node("Conv", ["image", "k1"], ["c1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("AveragePool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "k2", "b2"], ["c2"]),
        node("Clip", ["c2", "zero", "six"], ["r2"]),
        node("Flatten", ["r2"], ["flat"]),
        node("Gemm", ["flat", "w"], ["logits"]),
    ]
    weights = {
        "k1": 2 * random(1, 4, 3, 3, 3),
        "scale": np.linspace(0.6, 1.4, 4, dtype=np.float32),
        "shift": random(2, 4),
        "mean": random(3, 4),
        "variance": np.linspace(0.5, 1.5, 4, dtype=np.float32),
        "k2": 2 * random(4, 6, 4, 3, 3),
        "b2": random(5, 6),
        "zero": np.float32(0),
        "six": np.float32(6),
        "w": random(6, 24, 5),
    }
    return Small(
        build(nodes, {"image": ["N", 3, 8, 9]}, {"logits": ["N", 5]}, weights), {"image": rows(7, 3, 8, 9)}, 5
    )


def cnn_nhwc() -> Small:
    """The same kind of network on channels-last images (N, 8, 9, 3), with max pooling and a global mean."""
    nodes = [
        node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "k2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["g"]),
        node("Flatten", ["g"], ["flat"]),
        node("Gemm", ["flat", "w"], ["logits"]),
    ]
    weights = {
        "k1": 2 * random(1, 4, 3, 3, 3),
        "b1": random(2, 4),
        "k2": 2 * random(3, 6, 4, 3, 3),
        "w": random(4, 6, 5),
    }
    return Small(
        build(nodes, {"image": ["N", 8, 9, 3]}, {"logits": ["N", 5]}, weights), {"image": rows(5, 8, 9, 3)}, 5
    )


def two_inputs() -> Small:
    """An image (N, 3, 6, 6) and four features, joined before the logits."""
    nodes = [
        node("Conv", ["image", "k"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["g"]),
        node("Flatten", ["g"], ["seen"]),
        node("Concat", ["seen", "features"], ["both"], axis=1),
        node("Gemm", ["both", "w1"], ["h"]),
        node("Relu", ["h"], ["a"]),
        node("Gemm", ["a", "w2"], ["logits"]),
    ]
    weights = {"k": random(1, 5, 3, 3, 3), "w1": random(2, 9, 8), "w2": random(3, 8, 3)}
    model = build(nodes, {"image": ["N", 3, 6, 6], "features": ["N", 4]}, {"logits": ["N", 3]}, weights)
    return Small(model, {"image": rows(4, 3, 6, 6), "features": rows(5, 4)}, 3)


def series() -> Small:
    """One-dimensional convolutions over 20 time steps of two channels, channels last."""
    nodes = [
        node("Transpose", ["series"], ["t"], perm=[0, 2, 1]),
        node("Conv", ["t", "k1"], ["c1"], pads=[2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2], strides=[2]),
        node("Conv", ["p1", "k2"], ["c2"], dilations=[2]),
        node("Relu", ["c2"], ["r2"]),
        node("ReduceMean", ["r2", "time"], ["m"], keepdims=0),
        node("Gemm", ["m", "w"], ["logits"]),
    ]
    weights = {
        "k1": 2 * random(1, 4, 2, 5),
        "k2": 2 * random(2, 6, 4, 3),
        "time": np.array([2]),
        "w": random(3, 6, 3),
    }
    return Small(
        build(nodes, {"series": ["N", 20, 2]}, {"logits": ["N", 3]}, weights), {"series": rows(4, 20, 2)}, 3
    )


def embedding() -> Small:
    """Seven tokens out of eleven, embedded in five dimensions, averaged, classified: no float input."""
    nodes = [
        node("Gather", ["table", "tokens"], ["embedded"], axis=0, name="embed"),
        node("Tanh", ["embedded"], ["squashed"]),
        node("ReduceMean", ["squashed", "time"], ["m"], keepdims=0),
        node("Gemm", ["m", "w"], ["logits"]),
    ]
    weights = {"table": random(1, 11, 5), "time": np.array([1]), "w": random(2, 5, 3)}
    model = build(nodes, {"tokens": (["N", 7], TensorProto.INT64)}, {"logits": ["N", 3]}, weights)
    return Small(model, {"tokens": np.random.default_rng(3).integers(0, 11, (3, 7))}, 3)


def elementwise(shape, dtype=np.float32) -> onnx.ModelProto:
    """f = x^3, elementwise, on inputs (N, *shape): the output has the input's rank, whatever it is."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [node("Mul", ["x", "x"], ["square"]), node("Mul", ["square", "x"], ["cube"])]
    return build(nodes, {"x": (["N", *shape], kind)}, {"cube": (["N", *shape], kind)})


SMALL: dict[str, Callable[[], Small]] = {
    "cnn_nhwc": cnn_nhwc,
    "cnn_nchw": cnn_nchw,
    "mlp": mlp,
    "two_inputs": two_inputs,
    "series": series,
}
