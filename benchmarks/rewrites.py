"""What each rewrite of the backward graph gains: nodes, and processor time of one thread.

For each network the gradient is built with all rewrites, without one of them in turn, and without any. Times are
process CPU time of one thread, medians of interleaved runs, divided by that with all rewrites: ratios above 1 mean that
the gradient without the rewrite is slower. Networks that a rewrite does not change are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from onnxattr.converters.keras import to_onnx

from benchmarks.bench.networks import transformer
from onnxattr import vjp
from onnxattr.autodiff.rewrites import REWRITES

L, applications = keras.layers, keras.applications

MODELS: dict[str, Callable[[], keras.Model]] = {
    "ResNet50": lambda: applications.ResNet50(weights=None),
    "MobileNetV2": lambda: applications.MobileNetV2(weights=None),
    "VGG16": lambda: applications.VGG16(weights=None, input_shape=(64, 64, 3), classes=10),
    "transformer": transformer,
    "LSTM, 100 steps": lambda: keras.Sequential([keras.Input((100, 16)), L.LSTM(64)]),
}


def main() -> None:
    """Prints one row for each rewrite and network that it changes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    print(f"{'network':20} {'without':18} {'nodes':>6} {'with all':>8}   CPU time without / with all")
    for name in options.models:
        keras.utils.set_random_seed(1)
        model = to_onnx(MODELS[name](), verify=False)
        gradients = dict(variants(model))
        times = measured({key: runner(g, options.rows) for key, g in gradients.items()}, options.repeats)
        everything = count(gradients[""].graph)
        for key, gradient in gradients.items():
            if key:
                ratio = times[key] / times[""]
                print(
                    f"{name:20} {key:18} {count(gradient.graph):6} {everything:8}   {ratio:.2f}", flush=True
                )


def variants(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The gradient with all rewrites, without each that changes it, and without any."""
    full = vjp(model, verify=False)
    yield "", full
    for name in REWRITES:
        others = vjp(model, rewrites=[other for other in REWRITES if other != name], verify=False)
        if written(others) != written(full):
            yield name, others
    yield "any", vjp(model, rewrites=[], verify=False)


def written(model: onnx.ModelProto) -> list[tuple[str, int]]:
    """The operators of a gradient, with the number of inputs that the model itself gives."""
    return [(n.op_type, sum(not name.startswith("vjp/") for name in n.input)) for n in model.graph.node]


def count(graph: onnx.GraphProto) -> int:
    """The number of nodes, those inside bodies included."""
    bodies = [a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
    return len(graph.node) + sum(map(count, bodies))


def runner(model: onnx.ModelProto, rows: int) -> Callable[[], object]:
    """A run of a gradient on random numbers with one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    rng, feeds = np.random.default_rng(0), {}
    for value in session.get_inputs():
        shape = [dim if isinstance(dim, int) else rows for dim in value.shape]
        feeds[value.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    outputs = [value.name for value in session.get_outputs() if value.name.endswith("_gradient")]
    return lambda: session.run(outputs, feeds)


def measured(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, run in turn after a first run that counts nothing."""
    times: dict[str, list[float]] = {key: [] for key in runs}
    for repeat in range(repeats + 1):
        for key, run in runs.items():
            start = time.process_time()
            run()
            if repeat:
                times[key].append(time.process_time() - start)
    return {key: statistics.median(values) for key, values in times.items()}


if __name__ == "__main__":
    main()
