"""What it costs to derive the rules that are written by hand: nodes of the gradient, and processor time of one thread.

Each operator's gradient is built by its own rule and by the pullback of a definition in other operators: columns added
onto an image, a determinant by its first row, a Scan over the steps of a recurrent layer. Times are medians of
interleaved runs; ratios above 1 mean that the derived gradient is slower. A rule stays written by hand where the
derived one is more than 10 % slower or has more than twice the nodes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from onnxattr import vjp
from onnxattr.autodiff.derived import pulled_back
from onnxattr.autodiff.node import NodeView
from onnxattr.autodiff.standard import STANDARD
from onnxattr.graph.builder import OpBuilder

STEPS, BATCH, FEATURES, UNITS = 100, 4, 16, 64
_HEAD = '<ir_version: 8, opset_import: ["" : 20]> g '
_COLUMNS = "(float[4,72,1024] x) => (float[4,8,32,32] y) <int64[2] i = {32,32}, int64[2] b = {3,3}> "
#: By operator: its gates, the states and the body of its step, and what a step gives.
_CELLS = {
    "LSTM": (
        4,
        "float[b,h] hp, float[b,h] cp",
        """g = Add(gx, gh) i0, o0, f0, c0 = Split<axis = -1, num_outputs = 4>(g) i = Sigmoid(i0) o = Sigmoid(o0)
        f = Sigmoid(f0) c = Tanh(c0) kept = Mul(f, cp) new = Mul(i, c) cn = Add(kept, new) t = Tanh(cn)
        hn = Mul(o, t)""",
        "float[b,h] hn, float[b,h] cn",
    ),
    "GRU": (
        3,
        "float[b,h] hp",
        """zx, rx, nx = Split<axis = -1, num_outputs = 3>(gx) zh, rh, nh = Split<axis = -1, num_outputs = 3>(gh)
        z0 = Add(zx, zh) z = Sigmoid(z0) r0 = Add(rx, rh) reset = Sigmoid(r0) m = Mul(reset, nh) n0 = Add(nx, m)
        n = Tanh(n0) d = Sub(hp, n) e = Mul(z, d) hn = Add(n, e)""",
        "float[b,h] hn",
    ),
    "RNN": (1, "float[b,h] hp", "g = Add(gx, gh) hn = Tanh(g)", "float[b,h] hn"),
}


def columns_added(op: OpBuilder, node: NodeView) -> ir.Value:
    """Col2Im of 3 x 3 windows with a border of 1: columns added onto a padded image."""
    along = op.Add(op.Unsqueeze(op.Range(0, 3, 1), [1]), op.Range(0, 32, 1))
    places = op.Add(op.Mul(op.Unsqueeze(along, [1, 3]), 34), op.Unsqueeze(along, [0, 2]))
    rows = op.Transpose(op.Reshape(node.x, [32, -1]), perm=[1, 0])
    empty = op.Expand(op.constant(0, node.x.dtype), [34 * 34, 32])
    image = op.ScatterND(empty, op.Reshape(places, [-1, 1]), rows, reduction="add")
    padded = op.Reshape(op.Transpose(image, perm=[1, 0]), [4, 8, 34, 34])
    return op.Slice(padded, [1, 1], [33, 33], [2, 3])


def expanded_by_row(op: OpBuilder, node: NodeView) -> ir.Value:
    """The determinant of 3 x 3 matrices by their first row."""

    def at(row: int, column: int) -> ir.Value:
        return op.Gather(op.Gather(node.x, row, axis=1), column, axis=1)

    def minor(a: int, b: int) -> ir.Value:
        return op.Sub(op.Mul(at(1, a), at(2, b)), op.Mul(at(1, b), at(2, a)))

    first, second = op.Mul(at(0, 0), minor(1, 2)), op.Mul(at(0, 1), minor(0, 2))
    return op.Add(op.Sub(first, second), op.Mul(at(0, 2), minor(0, 1)))


def by_definition(text: str, operator: str, define: Callable[..., ir.Value]) -> dict[str, Any]:
    """The gradients of a model by the operator's rule and by a definition."""
    model = onnx.parser.parse_model(_HEAD + text)
    rules = STANDARD | {operator: lambda op, node, ct: pulled_back(op, node, define)}
    return {"hand": vjp(model), "derived": vjp(model, rules=rules)}


def recurrent(kind: str) -> dict[str, Any]:
    """The gradients of a recurrent layer by its rule, and of the Scan over its steps."""
    gates, states, step, given = _CELLS[kind]
    rng = np.random.default_rng(0)
    w, r = (rng.normal(size=(1, gates * UNITS, size)).astype(np.float32) / size for size in (FEATURES, UNITS))
    signature = f"(float[{STEPS},{BATCH},{FEATURES}] x) => (float[1,{BATCH},{UNITS}] y) "
    count = states.count("float")
    states, given = (part.replace("b,h", f"{BATCH},{UNITS}") for part in (states, given))
    reset = ", linear_before_reset = 1" if kind == "GRU" else ""
    layer = f"{signature}{{ all, y = {kind}<hidden_size = {UNITS}{reset}>(x, w, r) }}"
    scan = f"""{signature}{{ {", ".join(["last", "other"][:count])} = Scan<num_scan_inputs = 1, body = b
        ({states}, float[{BATCH},{FEATURES}] xt) => ({given}) {{ gx = MatMul(xt, wt) gh = MatMul(hp, rt) {step} }}>
        ({", ".join(["zeros"] * count)}, x) y = Unsqueeze(last, axis) }}"""
    constants = {"w": w, "r": r, "wt": w[0].T, "rt": r[0].T, "axis": np.array([0])}
    constants["zeros"] = np.zeros((BATCH, UNITS), np.float32)
    found = {}
    for name, text in (("hand", layer), ("derived", scan)):
        model = onnx.parser.parse_model(_HEAD + text)
        tensors = [onnx.numpy_helper.from_array(array, key) for key, array in constants.items()]
        model.graph.initializer.extend(tensors)
        found[name] = vjp(model)
    return found


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "Col2Im, 4 x 8 x 32 x 32": lambda: by_definition(
        f"{_COLUMNS} {{ y = Col2Im<pads = [1,1,1,1]>(x, i, b) }}", "Col2Im", columns_added
    ),
    "Det, 512 x 3 x 3": lambda: by_definition(
        "(float[512,3,3] x) => (float[512] y) { y = Det(x) }", "Det", expanded_by_row
    ),
    **{f"{kind}, {STEPS} steps": lambda kind=kind: recurrent(kind) for kind in _CELLS},  # type: ignore[misc]
}


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)


def runner(gradient: onnx.ModelProto) -> Callable[[], list[np.ndarray]]:
    """Runs a gradient on drawn numbers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        gradient.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(1)
    feeds = {each.name: rng.normal(size=each.shape).astype(np.float32) for each in session.get_inputs()}
    return lambda: session.run(None, feeds)  # type: ignore[no-any-return]


def main() -> None:
    """Prints one row for each operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    print(
        f"{'operator':26} {'nodes by hand':>13} {'derived':>8}   CPU time derived / by hand   largest difference"
    )
    for name, build in CASES.items():
        gradients = build()
        runs = {key: runner(gradient) for key, gradient in gradients.items()}
        hand, derived = (run() for run in runs.values())
        difference = max(float(np.abs(a - b).max()) for a, b in zip(hand, derived, strict=True))
        times: dict[str, list[float]] = {key: [] for key in runs}
        for _ in range(options.repeats):
            for key, run in runs.items():
                start = time.process_time()
                run()
                times[key].append(time.process_time() - start)
        ratio = statistics.median(times["derived"]) / statistics.median(times["hand"])
        counts = [sum(1 for _ in nodes(gradient.graph)) for gradient in gradients.values()]
        print(f"{name:26} {counts[0]:13} {counts[1]:8}   {ratio:26.2f}   {difference:18.1e}")


if __name__ == "__main__":
    main()
