"""Gradients at noisy points and of branches and layers: what points of a sample share is computed once for it."""

import numpy as np
import onnx
import pytest
from support.affine_starts import (
    MODELS,
    ROWS,
    inputs,
    largest_difference,
    run,
    two_inputs,
    weights,
)
from support.explained import in_chunks
from support.small_models import build, node

from onnxattr import GradientInput, IntegratedGradients, NoiseTunnel, SmoothGrad, SquareGrad, VarGrad
from onnxattr.attributions import ExpectedGradients


@pytest.mark.parametrize("name", MODELS)
def test_gradients_at_noisy_points_are_summed_before_the_prefix(name):
    build_model, frontier = MODELS[name]
    model = build_model()
    plain, shared = (
        SmoothGrad(model, nb_samples=7, seed=3, reducer=None, progress=False, share=share)
        for share in (False, True)
    )
    # Beside a way around the cut, gradients are those by the explained value; a wide concatenation saves nothing.
    tail, expected = shared._plan.request.tail, {"h x": [], "c": ["a"]}.get(" ".join(frontier), frontier)
    assert ([] if tail is None else sorted(tail.cut.summed)) == expected
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    for chunk in (1, 4, 32):
        in_chunks(plain, chunk), in_chunks(shared, chunk)
        assert largest_difference(shared.explain(x, labels), plain.explain(x, labels)) <= 2e-6


@pytest.mark.parametrize(("rendering", "chunk"), [("batch", 32), ("loop", 1), ("loop", 4), ("loop", 32)])
@pytest.mark.parametrize("name", MODELS)
def test_files_sum_gradients_before_the_prefix(name, rendering, chunk, tmp_path):
    model = MODELS[name][0]()
    plain, shared = (
        SmoothGrad(model, batch_size=chunk, nb_samples=7, reducer=None, progress=False, share=share)
        for share in (False, True)
    )
    x, labels = inputs(model), np.array([0, 1, 2, -1, 1])
    shared.export(tmp_path / "shared.onnx", rendering, check=False)
    found = run(tmp_path / "shared.onnx", x, labels, seed=np.array(0))
    assert largest_difference(found["attribution"], plain.explain(x, labels)) <= 2e-6
    np.testing.assert_allclose(found["prediction"], plain.predict(x), rtol=1e-6, atol=1e-6)


#: By method: how often a file goes forth and back through the prefix, outside of its Loop and in it.
PASSES = {
    IntegratedGradients: ((1, 1), (0, 0)),  # the prediction is computed from the end at x
    SmoothGrad: ((1, 1), (1, 0)),
    SquareGrad: ((1, 0), (1, 1)),
}


@pytest.mark.parametrize("kind", PASSES)
def test_how_often_a_file_goes_through_the_prefix(kind, tmp_path):
    model = MODELS["MatMul and Add"][0]()
    kind(model, batch_size=4, share=True).export(tmp_path / "file.onnx", "loop", check=False)
    graph = onnx.load(tmp_path / "file.onnx").graph
    (body,) = [n.attribute[0].g for n in graph.node if n.op_type == "Loop"]
    found = []
    for part in (graph, body):
        turned = {o for n in (*graph.node, *part.node) if [*n.input] == ["w"] for o in n.output}
        products = [n for n in part.node if n.op_type in ("MatMul", "Gemm") and {"w", *turned} & {*n.input}]
        back = [
            n for n in products if turned & {*n.input} or any(a.name == "transB" and a.i for a in n.attribute)
        ]
        found.append((len(products) - len(back), len(back)))
    assert tuple(found) == PASSES[kind]


#: The method, what is explained, and the values that are computed once for each sample.
ONCE = {
    "a branch": (IntegratedGradients, "x", {"h", "branch", "mask"}),
    "a branch and what is before a layer": (IntegratedGradients, "layer", {"j", "mask"}),
    "a layer that nothing affine reads": (IntegratedGradients, "j", {"j", "mask"}),
    "a branch, with noise": (SmoothGrad, "x", {"x", "branch", "mask"}),
    "a branch, with noise at a layer": (VarGrad, "layer", {"layer", "branch", "mask"}),
    "squares of gradients": (SquareGrad, "layer", {"layer", "branch", "mask"}),
    "a background": (ExpectedGradients, "x", {"x", "branch", "mask"}),
}


@pytest.mark.parametrize("case", ONCE)
def test_what_does_not_depend_on_the_explained_value(case, tmp_path):
    kind, wrt, once = ONCE[case]
    model = two_inputs()
    x = {name: inputs(model) for name in "xz"}
    x["z"] = x["z"][::-1]
    x["open"] = (np.random.default_rng(7).uniform(size=(ROWS, 8)) > 0.3).astype(np.float32)
    options = {"steps": 7, "baseline_value": 0.25} if kind is IntegratedGradients else {"nb_samples": 7}
    options |= (
        {"background": np.random.default_rng(8).normal(size=(4, 6))} if kind is ExpectedGradients else {}
    )
    plain, shared = (
        kind(model, wrt=wrt, reducer=None, progress=False, share=share, **options) for share in (False, True)
    )
    tail = shared._plan.request.tail
    assert {*tail.cut.frontier, *tail.cut.given} == once
    for chunk in (2, 32):
        in_chunks(plain, chunk), in_chunks(shared, chunk)
        expected, found = (m.explain(x, np.array([0, 1, 2, -1, 1])) for m in (plain, shared))
        assert largest_difference(found, expected) <= 1e-5
        for rendering in ("batch", "loop"):
            shared.export(tmp_path / "shared.onnx", rendering, check=False)
            others = {name: x[name] for name in ("z", "open")}
            seed = {} if kind is IntegratedGradients else {"seed": np.array(0)}
            file = run(tmp_path / "shared.onnx", x["x"], np.array([0, 1, 2, -1, 1]), **others | seed)
            assert largest_difference(file["attribution"], expected) <= 1e-5


@pytest.mark.parametrize("rendering", [None, "batch", "loop"])
def test_an_explained_value_among_those_whose_gradients_are_summed(rendering, tmp_path):
    """The gradients by z, which is read behind the cut as well, are summed beside those by x w."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("MatMul", ["z", "w"], ["g"]),
        node("Tanh", ["h"], ["t"]),
        node("Sigmoid", ["g"], ["s"]),
        node("Mul", ["t", "s"], ["m"]),
        node("MatMul", ["m", "v"], ["p"]),
        node("Mul", ["z", "z"], ["q"]),
        node("MatMul", ["q", "u"], ["r"]),
        node("Add", ["p", "r"], ["y"]),
    ]
    tensors = {"w": weights(6, 8), "v": weights(8, 3), "u": weights(6, 3)}
    model = build(nodes, {"x": ["N", 6], "z": ["N", 6]}, {"y": ["N", 3]}, tensors)
    plain, shared = (
        SmoothGrad(model, nb_samples=5, wrt=["x", "z"], reducer=None, progress=False, share=share)
        for share in (False, True)
    )
    assert "z" in shared._plan.request.tail.cut.summed
    x, labels = {name: inputs(model) for name in "xz"}, np.array([0, 1, 2, -1, 1])
    expected = plain.explain(x, labels)
    if rendering is None:
        found = shared.explain(x, labels)
    else:
        shared.export(tmp_path / "file.onnx", rendering, check=False)
        file = run(tmp_path / "file.onnx", x["x"], labels, z=x["z"], seed=np.array(0))
        found = {name: file[f"attribution_{name}"] for name in "xz"}
    for name in "xz":
        assert largest_difference(found[name], expected[name]) <= 2e-6


#: The method inside, what it explains, and the kind of the tunnel; noise is at x in each.
TUNNELS = {
    "a path": (IntegratedGradients, {"wrt": "x", "steps": 3}, "mean"),
    "a path at a layer": (IntegratedGradients, {"wrt": "layer", "steps": 3}, "square"),
    "a gradient": (GradientInput, {"wrt": "x"}, "variance"),
    "noise inside": (SmoothGrad, {"wrt": "x", "nb_samples": 3}, "mean"),
}


@pytest.mark.parametrize("case", TUNNELS)
def test_a_branch_is_computed_once_around_a_tunnel(case, tmp_path):
    kind, options, statistic = TUNNELS[case]
    model, labels = two_inputs(), np.array([0, 1, 2, -1, 1])
    x = {name: inputs(model) for name in "xz"}
    x["z"] = x["z"][::-1]
    x["open"] = (np.random.default_rng(7).uniform(size=(ROWS, 8)) > 0.3).astype(np.float32)
    plain, shared = (
        NoiseTunnel(kind(model, reducer=None, progress=False, share=share, **options), 5, kind=statistic)
        for share in (False, True)
    )
    assert plain._plan.request.tail is None
    assert {"branch", "mask"} <= set(shared._plan.request.tail.cut.given)
    for chunk in (2, 32):
        in_chunks(plain, chunk), in_chunks(shared, chunk)
        expected, found = (m.explain(x, labels) for m in (plain, shared))
        assert largest_difference(found, expected) <= 1e-5
    for rendering in ("batch", "loop"):
        shared.export(tmp_path / "shared.onnx", rendering, check=False)
        others = {name: x[name] for name in ("z", "open")}
        file = run(tmp_path / "shared.onnx", x["x"], labels, seed=np.array(0), **others)
        assert largest_difference(file["attribution"], expected) <= 1e-5
