"""Explainers of models with quantised weights, of whose products runtimes make products of integers.

The products are those for which no runtime rounds in the forward pass: predictions are the same in all.
"""

from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from support.small_models import build, node

from onnxattr import IntegratedGradients, Saliency
from portable.accelerators import write_manifest
from portable.photo_cases import exported

SAMPLES = 3


def convolutions(along: int | None) -> onnx.ModelProto:
    """Two convolutions of as many channels as they read, one with strides: scores (N, 4) of images (N, 4, 8, 8)."""
    weights = _Weights(along)
    nodes = [
        *weights.reading("w1", 4, 4, 3, 3),
        *weights.reading("w2", 4, 4, 3, 3),
        node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
        node("Tanh", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        node("Tanh", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["pooled"]),
        node("Flatten", ["pooled"], ["y"]),
    ]
    return build(nodes, {"x": ["N", 4, 8, 8]}, {"y": ["N", 4]}, weights.constants, opset=17)


def products(along: int | None) -> onnx.ModelProto:
    """Three products with transposed matrices, one of them square: scores (N, 5) of rows (N, 16)."""
    weights, nodes, value = _Weights(along), [], "x"
    for number, (rows, columns) in enumerate(((24, 16), (24, 24), (5, 24))):
        nodes += weights.reading(f"w{number}", rows, columns)
        nodes.append(node("Gemm", [value, f"w{number}"], [f"p{number}"], transB=1))
        value = "y" if number == 2 else f"t{number}"
        nodes.append(node("Tanh", [f"p{number}"], [value]))
    return build(nodes, {"x": ["N", 16]}, {"y": ["N", 5]}, weights.constants, opset=17)


def products_of_four_bits(symmetric: bool) -> onnx.ModelProto:
    """Two products with weights of 4 bits in blocks, by ONNX Runtime's own tool: scores (N, 5) of rows (N, 64)."""
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=shape) / 8).astype(np.float32)
        for name, shape in (("w0", (64, 96)), ("w1", (96, 5)))
    }
    nodes = [
        node("MatMul", ["x", "w0"], ["p"]),
        node("Tanh", ["p"], ["t"]),
        node("MatMul", ["t", "w1"], ["y"]),
    ]
    tool = MatMulNBitsQuantizer(
        build(nodes, {"x": ["N", 64]}, {"y": ["N", 5]}, weights, opset=17),
        block_size=32,
        is_symmetric=symmetric,
    )
    tool.process()
    made: onnx.ModelProto = tool.model.model
    return made


class _Weights:
    """Weights of int8 by name, those of several axes without zero points, and the nodes that read them."""

    def __init__(self, along: int | None):
        self.constants: dict[str, np.ndarray] = {}
        self._along, self._rng = along, np.random.default_rng(0)

    def reading(self, name: str, *shape: int) -> list[onnx.NodeProto]:
        scales = () if self._along is None else (shape[self._along],)
        self.constants[f"{name}_numbers"] = self._rng.integers(-128, 128, shape).astype(np.int8)
        self.constants[f"{name}_scale"] = self._rng.uniform(0.004, 0.008, scales).astype(np.float32)
        parts = ["numbers", "scale"]
        if len(shape) == 2:
            self.constants[f"{name}_zero"] = self._rng.integers(-9, 9, scales).astype(np.int8)
            parts.append("zero")
        inputs = [f"{name}_{part}" for part in parts]
        axis = {} if self._along is None else {"axis": self._along}
        return [node("DequantizeLinear", inputs, [name], **axis)]


def write_quantised_cases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Writes the files and their manifest; returns what ONNX Runtime gives on the CPU, by name and output."""
    rng, cases = np.random.default_rng(1), {}
    models = {
        "convolutions, one scale": convolutions(None),
        "convolutions, a scale a channel": convolutions(0),
        "products, one scale": products(None),
        "products, a scale a unit": products(0),
        "products, 4 bits": products_of_four_bits(True),
        "products, 4 bits and zero points": products_of_four_bits(False),
    }
    for name, model in models.items():
        shape = [dim.dim_value or SAMPLES for dim in model.graph.input[0].type.tensor_type.shape.dim]
        feeds = {"x": rng.normal(size=shape).astype(np.float32), "target": np.array([0, 1, 2])}
        cases[name] = exported(Saliency(model)), feeds
        if "products" in name:  # the gap of so few steps is rounding where pixels are averaged
            cases[f"{name}, a loop"] = (
                exported(IntegratedGradients(model, batch_size=6, steps=4), "loop"),
                feeds,
            )
    return write_manifest(folder, cases)
