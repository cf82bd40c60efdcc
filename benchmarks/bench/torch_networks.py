"""The networks in PyTorch: convolutional ones read from the ONNX file, so that both compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

Attributes = Mapping[str, Any]


class ViT(nn.Module):
    """A vision transformer of the size "tiny"."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 192, 16, 16)
        self.place = nn.Parameter(torch.randn(1, 196, 192) * 0.02)
        layer = nn.TransformerEncoderLayer(
            192, 3, 768, activation="gelu", batch_first=True, norm_first=True, dropout=0.0
        )
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(192, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The logits."""
        tokens = self.patch(image).flatten(2).transpose(1, 2) + self.place
        return self.head(self.encoder(tokens).mean(1))


class Lstm(nn.Module):
    """Two layers of 64 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(16, 64, 2, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.head(self.cells(series)[0][:, -1])


class MiniLM(nn.Module):
    """transformers' BertModel with the weights of the package, at the embedding of the words."""

    def __init__(self) -> None:
        super().__init__()
        from support import minilm
        from transformers import BertModel

        self.bert = BertModel(minilm.bert_config(), add_pooling_layer=False)
        held = minilm.weights()
        self.bert.load_state_dict({k: torch.tensor(np.array(held[k])) for k in self.bert.state_dict()})

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """The embedding of each sentence."""
        return self.bert(inputs_embeds=words).last_hidden_state.mean(1)


class Read(nn.Module):
    """A convolutional network as the Keras converter writes it; images have their channels first.

    Convolutions and activations are modules, which Captum's hooks need.
    """

    def __init__(self, path: Path):
        super().__init__()
        graph = onnx.load(path).graph
        self.output = graph.output[0].name
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self.input, nodes = self._start(graph)
        self.parts = nn.ModuleList()
        self.steps: list[tuple[Callable[..., torch.Tensor], list[str], str]] = []
        self.names: dict[str, str] = {}
        sizes: set[str] = set()
        for node in nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
            elif node.op_type == "Shape" or (sizes.intersection(node.input) and node.op_type != "Reshape"):
                sizes.update(node.output)  # the number of rows, of which a Reshape is made
            else:
                flat = node.op_type == "Reshape" and node.input[1] in sizes
                self._add(node, attributes, flat)

    def _start(self, graph: onnx.GraphProto) -> tuple[str, list[onnx.NodeProto]]:
        """The first value that has its channels first, and the nodes from there on."""
        first = graph.node[0]
        if first.op_type == "Transpose" and len(graph.input[0].type.tensor_type.shape.dim) == 4:
            return first.output[0], list(graph.node)[1:]
        return graph.input[0].name, list(graph.node)

    def _add(self, node: onnx.NodeProto, attributes: Attributes, flat: bool) -> None:
        step: Callable[..., torch.Tensor]
        inputs = list(node.input)
        if node.op_type == "Conv":
            weights = [self.constants[name] for name in inputs[1:]]
            step, inputs = _Convolution(weights, attributes), inputs[:1]
        elif node.op_type in ("Relu", "Clip"):
            step, inputs = (nn.ReLU() if node.op_type == "Relu" else nn.ReLU6()), inputs[:1]
        elif flat:
            step, inputs = (lambda x: x.flatten(1)), inputs[:1]
        elif node.op_type in _WITH_SIZES:
            sizes = [int(n) for n in self.constants[inputs[1]].ravel()]
            step, inputs = _WITH_SIZES[node.op_type](sizes), inputs[:1]
        else:
            step = _OPERATORS[node.op_type](attributes)
        if isinstance(step, nn.Module):
            self.parts.append(step)
        for name in inputs:
            if name in self.constants and name not in self.names:
                self.names[name] = f"weight{len(self.names)}"
                self.register_buffer(self.names[name], torch.from_numpy(self.constants[name].copy()))
        self.steps.append((step, inputs, node.output[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the ONNX file."""
        values = {self.input: x}
        for step, inputs, output in self.steps:
            given = (values[i] if i in values else getattr(self, self.names[i]) for i in inputs)
            values[output] = step(*given)
        return values[self.output]

    def last_convolution(self) -> nn.Module:
        """Where Grad-CAM looks."""
        return [part for part in self.parts if isinstance(part, _Convolution)][-1]


def _padded(x: torch.Tensor, attributes: Attributes, size: list[int], value: float = 0.0) -> Any:
    """The input, padded where both ends differ, and what the operator itself is to pad."""
    strides = attributes.get("strides", [1] * len(size))
    begins, ends = [], []
    if attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID"):
        pads = attributes.get("pads", [0] * 2 * len(size))
        begins, ends = list(pads[: len(size)]), list(pads[len(size) :])
    else:
        for n, k, s in zip(x.shape[2:], size, strides, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            begins.append(total // 2)
            ends.append(total - total // 2)
    if begins == ends and (value == 0.0 or all(2 * n <= k for n, k in zip(begins, size, strict=True))):
        return x, begins
    pairs = [n for pair in reversed(list(zip(begins, ends, strict=True))) for n in pair]
    return functional.pad(x, pairs, value=value), [0] * len(size)


class _Convolution(nn.Module):
    def __init__(self, weights: list[np.ndarray], attributes: Attributes):
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weights[0].copy()))
        self.bias = nn.Parameter(torch.from_numpy(weights[1].copy())) if len(weights) > 1 else None
        self.attributes, self.size = attributes, list(weights[0].shape[2:])
        self.run = functional.conv2d if len(self.size) == 2 else functional.conv1d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, pads = _padded(x, self.attributes, self.size)
        strides = self.attributes.get("strides", [1] * len(self.size))
        return self.run(x, self.weight, self.bias, strides, pads, 1, self.attributes.get("group", 1))


def _pool(run2d: Any, run1d: Any, value: float) -> Callable[[Attributes], Any]:
    def make(attributes: Attributes) -> Any:
        size = list(attributes["kernel_shape"])
        run = run2d if len(size) == 2 else run1d

        def pool(x: torch.Tensor) -> torch.Tensor:
            x, pads = _padded(x, attributes, size, value)
            return run(x, size, list(attributes.get("strides", [1] * len(size))), pads)

        return pool

    return make


def _normalization(attributes: Attributes) -> Any:
    epsilon = attributes.get("epsilon", 1e-5)
    return lambda x, scale, bias, mean, var: functional.batch_norm(
        x, mean, var, scale, bias, False, 0.0, epsilon
    )


def _reshape(sizes: list[int]) -> Any:
    return lambda x: x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(sizes)])


def _pad(sizes: list[int]) -> Any:
    half = len(sizes) // 2
    pairs = [n for i in reversed(range(2, half)) for n in (sizes[i], sizes[half + i])]
    return lambda x: functional.pad(x, pairs)


#: Operators whose second input is constant.
_WITH_SIZES: dict[str, Callable[[list[int]], Any]] = {
    "Reshape": _reshape,
    "Pad": _pad,
    "Squeeze": lambda axes: lambda x: x.squeeze(tuple(axes)),
    "Unsqueeze": lambda axes: lambda x: x.unsqueeze(axes[0]),
}
_OPERATORS: dict[str, Callable[[Attributes], Any]] = {
    "BatchNormalization": _normalization,
    "Add": lambda a: torch.add,
    "Mul": lambda a: torch.mul,
    "MatMul": lambda a: torch.matmul,
    "Concat": lambda a: lambda *xs: torch.cat(xs, a["axis"]),
    "Transpose": lambda a: lambda x: x.permute(a["perm"]),
    "GlobalAveragePool": lambda a: lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "MaxPool": _pool(functional.max_pool2d, functional.max_pool1d, float("-inf")),
    "AveragePool": _pool(functional.avg_pool2d, functional.avg_pool1d, 0.0),
}


def load(name: str | None, path: Path) -> nn.Module:
    """The module of a case, ready to explain."""
    module = Read(path) if name is None else {"ViT": ViT, "Lstm": Lstm, "MiniLM": MiniLM}[name]()
    return module.eval().requires_grad_(False)
