"""Time to write a gradient and to start its session, against the number of nodes of the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.bench.files import ROOT
from benchmarks.bench.results import Results

#: Nodes of the models of each kind. Sessions of more than a few thousand are not started.
SIZES = {
    "convolutions": (50, 500, 5_000, 50_000),
    "products": (50, 500, 5_000, 50_000),
    "all layers before": (50, 150, 500),
}
MOST_IN_A_SESSION = 5_000


def measure(results: Results, fresh: bool) -> None:
    """Measures every size that is not measured yet, each in a process of its own."""
    for kind, sizes in SIZES.items():
        for nodes in sizes:
            key = f"preparation/{kind}/{nodes} nodes"
            if results.current(key) and not fresh:
                continue
            command = [sys.executable, "-m", "benchmarks.bench.preparation", kind, str(nodes)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            results.add(key, {"preparation": found, "load": round(os.getloadavg()[0], 1)})
            print(f"{key}: {found}", flush=True)


def main() -> None:
    """Prints processor seconds of one size."""
    from benchmarks.bench.sides.ours import with_threads
    from onnxattr import vjp
    from onnxattr.providers import runtime
    from onnxattr.session import Session

    kind, nodes = sys.argv[1], int(sys.argv[2])
    with_threads(1)
    runtime()
    vjp(stack("products", 2))  # what is loaded at first use
    model = stack(kind, nodes)
    found: dict[str, float] = {"nodes": len(model.graph.node)}

    def timed(name: str, run: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
        begin = time.process_time()
        result = run()
        found[name] = round(time.process_time() - begin, 4)
        return result

    gradient = timed("vjp", lambda: vjp(model))
    found["gradient nodes"] = len(gradient.graph.node)
    if nodes <= MOST_IN_A_SESSION:
        timed("session", lambda: Session(model))
        timed("gradient session", lambda: Session(gradient))
    print(json.dumps(found))


def stack(kind: str, nodes: int) -> onnx.ModelProto:
    """A chain of so many nodes: Conv, Relu, Add; or MatMul, Tanh; or Concat of all before, Conv, Relu."""
    write = {"convolutions": _convolutions, "products": _products, "all layers before": _dense}[kind]
    weights: list[onnx.TensorProto] = []
    written = [*_until(nodes, write(weights))]
    shape = ["N", 16] if kind == "products" else ["N", 16, 8, 8]
    last = [2 if kind == "all layers before" and i == 1 else n for i, n in enumerate(shape)]
    graph = helper.make_graph(
        written,
        "stack",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(written[-1].output[0], TensorProto.FLOAT, last)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


Blocks = Iterator[list[onnx.NodeProto]]


def _until(nodes: int, blocks: Blocks) -> list[onnx.NodeProto]:
    found: list[onnx.NodeProto] = []
    for block in blocks:
        found += block
        if len(found) >= nodes:
            break
    return found


def _weight(weights: list[onnx.TensorProto], shape: tuple[int, ...]) -> str:
    array = np.random.default_rng(len(weights)).normal(0, 0.05, shape).astype(np.float32)
    weights.append(numpy_helper.from_array(array, f"w{len(weights)}"))
    return weights[-1].name


def _node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _convolutions(weights: list[onnx.TensorProto]) -> Blocks:
    x, index = "x", 0
    while True:
        c, r, a = (f"{letter}{index}" for letter in "cra")
        w = _weight(weights, (16, 16, 3, 3))
        yield [_node("Conv", [x, w], c, pads=[1] * 4), _node("Relu", [c], r), _node("Add", [r, x], a)]
        x, index = a, index + 1


def _products(weights: list[onnx.TensorProto]) -> Blocks:
    x, index = "x", 0
    while True:
        p, t = f"p{index}", f"t{index}"
        yield [_node("MatMul", [x, _weight(weights, (16, 16))], p), _node("Tanh", [p], t)]
        x, index = t, index + 1


def _dense(weights: list[onnx.TensorProto]) -> Blocks:
    before = ["x"]
    while True:
        index = len(before) - 1
        k, c, r = (f"{letter}{index}" for letter in "kcr")
        w = _weight(weights, (2, 16 + 2 * index, 1, 1))
        yield [_node("Concat", [*before], k, axis=1), _node("Conv", [k, w], c), _node("Relu", [c], r)]
        before.append(r)


if __name__ == "__main__":
    main()
