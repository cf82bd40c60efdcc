"""Explainers of models whose layers read the same sequences: bidirectional ones, and others beside each other."""

from pathlib import Path

import numpy as np
import onnx
from support.small_models import build, node

from onnxattr import IntegratedGradients, Saliency
from portable.accelerators import write_manifest
from portable.photo_cases import exported

STEPS, SAMPLES, FEATURES, HIDDEN = 7, 3, 5, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
#: By case: operator, direction and what is read of each layer; "Transpose" stands for a product with exchanged axes.
LAYERS = {
    "bidirectional LSTM": [("LSTM", "forward", "states"), ("LSTM", "reverse", "states")],
    "bidirectional GRU, one last state": [("GRU", "forward", "last"), ("GRU", "reverse", "states")],
    "three layers": [("RNN", "forward", "states"), ("LSTM", "reverse", "states"), ("GRU", "forward", "last")],
    "beside a transpose": [("LSTM", "forward", "states"), ("Transpose", "", "states")],
}


#: Layers of as many units as features, whose matrix one product takes as it is and another one transposed.
SQUARE = {
    f"a square {name}, {direction}": [(name, direction, "states")]
    for name, direction in (("RNN", "forward"), ("RNN", "reverse"), ("GRU", "forward"), ("LSTM", "reverse"))
}


def network(layers: list[tuple[str, str, str]], features: int = FEATURES) -> onnx.ModelProto:
    """Scores of two classes from layers that read the same sequences (N, steps, features)."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.5, size=shape).astype(np.float32)

    weights = {"one": np.array([1]), "zero": np.array([0]), "dense": weight(HIDDEN * len(layers), 2)}
    nodes = [node("Transpose", ["x"], ["sequences"], perm=[1, 0, 2])]
    for number, (operator, direction, read) in enumerate(layers):
        w, r, states, last, mean = (f"{name}{number}" for name in ("w", "r", "states", "last", "mean"))
        if operator == "Transpose":
            weights[w] = weight(features, HIDDEN)
            nodes += [
                node("Transpose", ["sequences"], [last], perm=[1, 0, 2]),
                node("MatMul", [last, w], [states]),
            ]
            nodes.append(node("ReduceMean", [states], [mean], axes=[1], keepdims=0))
            continue
        weights[w], weights[r] = (
            weight(1, GATES[operator] * HIDDEN, features),
            weight(1, GATES[operator] * HIDDEN, HIDDEN),
        )
        outputs = [states] if read == "states" else ["", last]
        nodes.append(node(operator, ["sequences", w, r], outputs, hidden_size=HIDDEN, direction=direction))
        if read == "states":
            nodes.append(node("ReduceMean", [states], [mean], axes=[0, 1], keepdims=0))
        else:
            nodes.append(node("Squeeze", [last, "zero"], [mean]))
    found = [f"mean{number}" for number in range(len(layers))]
    nodes += [node("Concat", found, ["all"], axis=-1), node("MatMul", ["all", "dense"], ["y"])]
    return build(nodes, {"x": ["N", STEPS, features]}, {"y": ["N", 2]}, weights, opset=17)


def sequences(features: int = FEATURES) -> np.ndarray:
    """Rows to explain: (N, steps, features)."""
    return np.random.default_rng(1).normal(size=(SAMPLES, STEPS, features)).astype(np.float32)


def write_recurrent_cases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Writes the files and their manifest; returns what ONNX Runtime gives on the CPU, by name and output."""
    cases = {}
    for name, layers in (LAYERS | SQUARE).items():
        features = HIDDEN if name in SQUARE else FEATURES
        model, feeds = network(layers, features), {"x": sequences(features), "target": np.array([0, 1, 0])}
        cases[name] = exported(Saliency(model)), feeds
        cases[f"{name}, a loop"] = exported(IntegratedGradients(model, batch_size=6, steps=4), "loop"), feeds
    return write_manifest(folder, cases)
