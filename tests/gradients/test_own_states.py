"""Each state of a Loop in an exported file starts from a value of its own, and the numbers stay the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.parser import parse_model
from support.small_models import cnn_nchw, mlp

from onnxattr import IntegratedGradients, NoiseTunnel, SquareGrad, VarGrad
from onnxattr.compile.own_states import own_states
from onnxattr.graph.subgraphs import nodes_in

METHODS = {
    "VarGrad": lambda model: VarGrad(model, nb_samples=3, batch_size=2),
    "SquareGrad": lambda model: SquareGrad(model, nb_samples=3, batch_size=2),
    "IntegratedGradients": lambda model: IntegratedGradients(model, steps=3, batch_size=2),
    "adaptive points": lambda model: IntegratedGradients(model, tolerance=0.01, points="adaptive"),
    "tunnel": lambda model: NoiseTunnel(
        IntegratedGradients(model, steps=3, batch_size=2), nb_samples=2, kind="variance"
    ),
}


def starts(graph):
    """The starts of the states of each Loop."""
    return [list(node.input[2:]) for node in nodes_in(graph) if node.op_type == "Loop"]


@pytest.mark.parametrize("small", [mlp, cnn_nchw])
@pytest.mark.parametrize("method", METHODS)
def test_exported_loops(method, small, tmp_path):
    given = small()
    made = METHODS[method](given.model)
    made.export(tmp_path / "e.onnx", "loop")
    found = starts(onnx.load(tmp_path / "e.onnx").graph)
    assert found
    assert all(len(set(names)) == len(names) for names in found)
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx", providers=["CPUExecutionProvider"])
    rows = given.given
    feeds = {session.get_inputs()[0].name: rows, "target": np.full(len(rows), -1), "seed": np.array(0)}
    (attribution,) = session.run(["attribution"], {v.name: feeds[v.name] for v in session.get_inputs()})
    expected = made.explain(rows)
    np.testing.assert_allclose(attribution, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


STARTS = {"an input": "x", "an initializer": "w", "a computed value": "n"}


@pytest.mark.parametrize("start", STARTS)
def test_any_start(start):
    """1 + 3 * 2 = 7 and 1 * 2**3 = 8, from one start of 1, in a loop inside a branch too."""
    value = STARTS[start]
    model = parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]> g (float[1] x, bool on) => (float[1] sum, float[1] product)
        <float[1] w = {{1}}, int64 steps = {{3}}, bool go = {{1}}, float two = {{2}}> {{
          n = Abs (x)
          sum, product = If (on) <
            then_branch = a () => (float[1] s, float[1] p) {{
              s, p = Loop (steps, go, {value}, {value}) <body = b (int64 i, bool c, float[1] u, float[1] v) =>
                (bool d, float[1] k, float[1] l) {{ d = Identity (c) k = Add (u, two) l = Mul (v, two) }}> }},
            else_branch = e () => (float[1] q, float[1] r) {{ q = Neg (x) r = Neg (x) }}>
        }}"""
    )
    own_states(model.graph)
    ((first, second),) = starts(model.graph)
    assert first == value != second
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(1, np.float32), "on": np.array(True)}) == [7, 8]
