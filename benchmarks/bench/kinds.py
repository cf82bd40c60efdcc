"""A profile by kind of work: what the kernels of a gradient take, by ONNX Runtime's profiler.

`python -m benchmarks.bench.kinds CASE ROWS` prints the shares of one network.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from benchmarks.bench import cases, files
from benchmarks.bench.results import Results

KINDS = ("convolutions forth", "convolutions back", "masks", "reorders", "pools forth", "pools back", "rest")
#: Of each session: at least, at most, and seconds until they are enough.
FEWEST, MOST, ENOUGH = 8, 200, 3.0
_PRODUCTS = {
    "Conv",
    "FusedConv",
    "ConvTranspose",
    "MatMul",
    "Gemm",
    "FusedMatMul",
    "FusedGemm",
    "LSTM",
    "GRU",
}
_POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
_REORDERS = {"ReorderInput", "ReorderOutput", "Transpose"}
_MASKS = {"HardSigmoid", "Clip", "Sign", "Where", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"}
#: What a max-pool's way back consists of, between the comparison with the maximum and the next convolution.
_PASSING = {
    "Cast",
    "Mul",
    "Sub",
    "Add",
    "Sum",
    "Pad",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Where",
    "Not",
    "And",
}
#: The slope of the step that compares in convolutions' layout.
_COMPARING = -(2.0**127)
_BEFORE = {"Slice", "Pad", "Transpose", "MaxPool"}


def measure(results: Results, names: Sequence[str], fresh: bool) -> None:
    """Profiles every network that is not profiled yet."""
    for case in (cases.case(name) for name in names):
        key = f"profile/{case.name}/{case.rows} rows"
        if results.current(key) and not fresh:
            continue
        files.make_apart(case)
        command = [sys.executable, "-m", "benchmarks.bench.kinds", case.name, str(case.rows)]
        done = subprocess.run(command, cwd=files.ROOT, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        results.add(key, {"profile": found, "load": round(os.getloadavg()[0], 1)})
        print(f"{key}: {found}", flush=True)


def main() -> None:
    """Prints the shares of a gradient's kernel time, and what bounds it from below."""
    from onnxattr import vjp

    case, rows = cases.case(sys.argv[1]), int(sys.argv[2])
    model = onnx.load(files.onnx_file(case))
    gradient = vjp(model)
    (forward_times, forward), (times, optimized) = profiled([model, gradient], rows)
    kind_of = kinds(gradient, optimized)
    shares: collections.Counter[str] = collections.Counter()
    for name, seconds in times.items():
        shares[kind_of.get(name, "rest")] += seconds
    total, own = sum(times.values()), sum(forward_times.values())
    operators = {node.name: node.op_type for node in forward.graph.node}
    products = sum(t for name, t in forward_times.items() if operators.get(name) in _PRODUCTS)
    found = {
        "gradient / prediction": round(total / own, 3),
        # Forward pass, and each of its convolutions and products once more.
        "bound": round(1 + products / own, 3),
        "shares": {kind: round(shares[kind] / total, 4) for kind in KINDS},
        "kernels": len(times),
    }
    print(json.dumps(found))


def profiled(models: Sequence[onnx.ModelProto], rows: int) -> list[tuple[dict[str, float], onnx.ModelProto]]:
    """Least seconds of each kernel in runs in turn on one thread, and the model as it was optimised."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = [opened(model, f"{folder}/{index}") for index, model in enumerate(models)]
        given = [feeds(session, rows) for session in sessions]
        runs, begin = 0, time.perf_counter()
        while runs < FEWEST or (runs < MOST and time.perf_counter() - begin < ENOUGH):
            for session, inputs in zip(sessions, given, strict=True):
                session.run(None, inputs)
            runs += 1
        return [
            (seconds(Path(session.end_profiling()), runs), onnx.load(f"{folder}/{index}.onnx"))
            for index, session in enumerate(sessions)
        ]


def opened(model: onnx.ModelProto, place: str) -> onnxruntime.InferenceSession:
    """A session that profiles its kernels and leaves the model as it was optimised."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.enable_mem_pattern = False
    options.optimized_model_filepath = f"{place}.onnx"
    options.enable_profiling, options.profile_file_prefix = True, place
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def feeds(session: onnxruntime.InferenceSession, rows: int) -> dict[str, np.ndarray]:
    """Random numbers for every input."""
    rng, found = np.random.default_rng(0), {}
    for value in session.get_inputs():
        shape = [dim if isinstance(dim, int) else rows for dim in value.shape]
        found[value.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return found


def seconds(file: Path, runs: int) -> dict[str, float]:
    """Least seconds of each kernel in a run."""
    per_node = collections.defaultdict(list)
    for event in json.loads(file.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            per_node[event["name"].removesuffix("_kernel_time")].append(event["dur"] * 1e-6)
    # A node inside a body runs several times in each run.
    return {name: min(v[1:] or v) * len(v) / runs for name, v in per_node.items()}


def kinds(gradient: onnx.ModelProto, optimized: onnx.ModelProto) -> dict[str, str]:
    """The kind of each node of the optimised gradient by name."""
    pools = pools_back(gradient.graph)
    weights = {tensor.name: list(tensor.dims) for tensor in optimized.graph.initializer}
    back: set[str] = set()
    found = {}
    for node in optimized.graph.node:
        backward = any(name.endswith("_cotangent") or name in back for name in node.input)
        if backward:
            back.update(node.output)
        found[node.name] = kind(node, backward, pools, weights)
    return found


def kind(node: onnx.NodeProto, backward: bool, pools: set[str], weights: Mapping[str, Sequence[int]]) -> str:
    """The kind of one node."""
    op, way = node.op_type, "back" if backward else "forth"
    if node.name.removesuffix("_nchwc") in pools:
        return "pools back"
    if op in _REORDERS:
        return "reorders"
    if op in _PRODUCTS:
        depthwise = _attribute(node, "group", 1) > 1
        one_by_one = list(weights.get(node.input[1], [0, 0, 0, 0])[2:]) == [1, 1]
        # A convolution of single elements with one channel each is a scale or a mask.
        return "masks" if depthwise and one_by_one and backward else f"convolutions {way}"
    if op in _POOLS:
        return f"pools {way}"
    if op in _MASKS or (backward and op == "Mul"):
        return "masks" if node.name.startswith("vjp/") or backward else "rest"
    return "rest"


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    values = [onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return values[0] if values else default


def pools_back(graph: onnx.GraphProto) -> set[str]:
    """Nodes of max-pools' way back: what is between a comparison with the maxima and convolutions or masks.

    Convolutions of one tap, which only move elements, belong to it, and what compares in their form.
    """
    producers = {output: node for node in graph.node for output in node.output}
    taps = one_tap(graph)
    wins = [n for n in graph.node if n.op_type == "HardSigmoid" and _attribute(n, "alpha", 0.2) == _COMPARING]
    masks = {o for node in graph.node if node.op_type == "HardSigmoid" for o in node.output}
    masks -= {output for node in wins for output in node.output}
    moved = [
        n for n in graph.node if n.op_type == "Conv" and n.name.startswith("vjp/") and n.input[1] in taps
    ]
    equal = [n for n in graph.node if n.op_type == "Equal" and n.name.startswith("vjp/")]
    found = {node.name for node in equal}
    waiting = [name for node in equal for name in node.input]
    while waiting:
        node = producers.get(waiting.pop())
        if (
            node is not None
            and node.name.startswith("vjp/")
            and node.op_type in _BEFORE
            and node.name not in found
        ):
            found.add(node.name)
            waiting += node.input
    found |= {node.name for node in (*wins, *moved)}
    found |= {node.name for node in graph.node if node.op_type == "MaxPool" and node.name.startswith("vjp/")}
    reached = {output for node in (*equal, *wins, *moved) for output in node.output}
    for node in graph.node:
        passing = node.op_type in _PASSING and not masks.intersection(node.input)
        if passing and reached.intersection(node.input):
            found.add(node.name)
            reached.update(node.output)
    # ONNX Runtime names the nodes of its blocked layout by what they give.
    return found | {output for node in graph.node if node.name in found for output in node.output}


def one_tap(graph: onnx.GraphProto) -> set[str]:
    """Depthwise kernels of one 1 or -1 for each channel."""
    found = set()
    for tensor in graph.initializer:
        if len(tensor.dims) == 4 and tensor.dims[1] == 1:
            kernel = np.abs(onnx.numpy_helper.to_array(tensor)).reshape(tensor.dims[0], -1)
            if kernel.max() == 1 and (kernel.sum(1) == 1).all() and (kernel.max(1) == 1).all():
                found.add(tensor.name)
    return found


if __name__ == "__main__":
    main()
