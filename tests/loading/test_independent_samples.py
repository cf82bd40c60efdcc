"""Which models have their rows apart, and that what is explained together equals what is explained alone."""

import warnings

import numpy as np
import onnx
import pytest
from support.row_models import (
    METHODS,
    MIXED,
    PROVEN,
    UNDECIDED,
    by_differences,
    inputs,
    model,
    run,
    weights,
)
from support.small_models import SMALL, embedding

import onnxattr.attributions as attributions
from models import digits, emotion, gunpoint, tabular
from onnxattr import GradientInput, IntegratedGradients
from onnxattr.cli import main
from onnxattr.compile.explainer_file import describe
from onnxattr.inspection import inspect
from onnxattr.loading.prepared import prepare

pytestmark = pytest.mark.filterwarnings(
    "ignore:The samples of a batch are not", "ignore:The model ends in prob", "ignore:BatchNormalization node"
)


@pytest.mark.parametrize("name", PROVEN)
def test_proven(name):
    """What is proven holds: rows alone give what they give among others."""
    rows = prepare(model(name)).rows
    assert (rows.kind, rows.why) == ("proven", "")
    x = inputs(name)
    together = run(model(name), x=x)[0]
    for k in range(len(x)):
        np.testing.assert_allclose(run(model(name), x=x[k : k + 1])[0][0], together[k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_mixed(name):
    rows = prepare(model(name)).rows
    assert rows.kind == "mixed"
    assert "mixes samples" in rows.why or "along its first axis" in rows.why


@pytest.mark.parametrize("name", SMALL)
def test_small_models_are_proven(name):
    assert prepare(SMALL[name]().model).rows.kind == "proven"


@pytest.mark.parametrize("module", [digits, emotion, gunpoint, tabular])
def test_real_models_are_proven(module):
    for layer in (None, -2):
        assert prepare(str(module.ONNX_FILE), layer).rows.kind == "proven"


def test_explained_inside():
    assert prepare(embedding().model, wrt="embedded").rows.kind == "proven"
    # A value whose first axis is time is seen with the batch first.
    assert prepare(model("time first, inside"), wrt="t").rows.kind == "proven"
    # Where the batch is merged with heads, rows cannot be taken apart.
    assert prepare(model("heads merged with the batch"), wrt="m").rows.kind == "mixed"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PROVEN)
def test_each_row_alone_is_each_row_among_others(name, method):
    x = inputs(name)
    target = weights(name, x)
    make = lambda **more: getattr(attributions, method)(model(name), reducer=None, **METHODS[method], **more)  # noqa: E731
    together = make(batch_size=4).explain(x, target)
    if "Grad" in method and method != "IntegratedGradients" and method != "GradientInput":
        # The noise of a row depends on its place.
        np.testing.assert_allclose(make(batch_size=1).explain(x, target), together, rtol=1e-4, atol=1e-5)
        return
    for k in range(len(x)):
        alone = make().explain(x[k : k + 1], target[k : k + 1])
        np.testing.assert_allclose(alone[0], together[k], rtol=1e-4, atol=1e-5 * np.abs(together).max())


@pytest.mark.parametrize("name", UNDECIDED)
def test_undecided_models_are_measured(name, tmp_path):
    _, mixed = UNDECIDED[name]
    x = inputs(name)
    target, proto = weights(name, x), model(name)
    assert prepare(proto).rows.kind == "undecided"
    for size in (1, 5):
        method = GradientInput(proto, batch_size=2)
        if mixed:
            with pytest.warns(UserWarning, match="The samples of a batch are not computed independently"):
                prediction = method.predict(x[:size])
        else:
            prediction = method.predict(x[:size])
        np.testing.assert_allclose(prediction, run(proto, x=x[:size])[0], rtol=1e-6)
        assert method.prepared.rows.kind == ("mixed" if mixed else "measured")
    expected = x * by_differences(proto, x, target)
    np.testing.assert_allclose(
        method.explain(x, target), expected, rtol=0, atol=5e-3 * np.abs(expected).max()
    )
    fresh = IntegratedGradients(proto, reducer=None)
    if mixed:
        with pytest.warns(UserWarning, match="The samples of a batch are not computed independently"):
            fresh.export(tmp_path / "e.onnx", target="weights")
    else:
        fresh.export(tmp_path / "e.onnx", target="weights")
    metadata = describe({entry.key: entry.value for entry in onnx.load(tmp_path / "e.onnx").metadata_props})
    assert metadata["rows"] == ("mixed" if mixed else "measured")
    np.testing.assert_allclose(
        run(onnx.load(tmp_path / "e.onnx"), x=x, target=target)[1],
        fresh.explain(x, target),
        rtol=1e-4,
        atol=1e-5,
    )


def test_said_in_warning_inspect_and_file(tmp_path, monkeypatch, capsys):
    proto = model("unbatched")
    x, target = inputs("unbatched"), np.ones((1, 1), np.float32)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        method = IntegratedGradients(proto, reducer=None)
        maps = method.explain(x, target)
    assert [" mixes samples" in str(warning.message) for warning in heard] == [True]
    monkeypatch.chdir(tmp_path)
    method.export("e.onnx", target="weights")
    metadata = describe({entry.key: entry.value for entry in onnx.load("e.onnx").metadata_props})
    assert metadata["rows"] == "mixed"
    assert "LSTM node" in metadata["rows_why"]
    assert "rows: mixed" in inspect("e.onnx")
    onnx.save(proto, "m.onnx")
    assert "one sample: LSTM node" in inspect("m.onnx")
    assert "independent of each other, by proof" in inspect(model("elementwise"))
    assert "not known: run alone" in inspect(model("number of rows"))
    np.save("x.npy", x)
    assert main(["explain", "e.onnx", "x.npy", "-o", "maps.npy", "--targets", "0"]) == 2
    np.save("t.npy", target)
    assert main(["explain", "e.onnx", "x.npy", "-o", "maps.npy", "--targets", "t.npy"]) == 0
    np.testing.assert_allclose(np.load("maps.npy"), maps, rtol=1e-5)
    assert main(["explain", "m.onnx", "x.npy", "-o", "maps.npy", "--targets", "0", "--reducer", "none"]) == 0
    np.testing.assert_allclose(np.load("maps.npy"), maps, rtol=1e-5)


@pytest.mark.parametrize(("width", "kind"), [(12, "measured"), (24, "mixed")])
def test_rows_that_a_reshape_fills_are_compared_at_the_sizes_given(width, kind):
    """(N, A) as (-1, 12) holds a row each for A = 12, and halves of rows for A = 24."""
    filled = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[N,A] x) => (float[?,?] y) <int64[2] shape = {-1, 12}> {
          r = Reshape(x, shape)
          y = Tanh(r)
        }"""
    )
    method = attributions.GradientInput(filled)
    assert method.prepared.rows.kind == "undecided"
    x = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    found = method.explain(x, np.ones((x.size // 12, 12), np.float32))
    assert method.prepared.rows.kind == kind
    np.testing.assert_allclose(found, x / np.cosh(x) ** 2, rtol=1e-5)


def test_a_branch_that_looks_at_all_rows_mixes_them():
    """A comparison of some rows may see one branch only; the bias fits no size but the one that is given."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        g (float[N,K] x) => (float[?,?] y) <float[1,5] b = {0, 0, 0, 0, 0}, int64[2] axes = {0, 1}, float zero = {0}> {
          s = Add(x, b)
          t = ReduceSum<keepdims = 0>(s, axes)
          c = Greater(t, zero)
          y = If(c) <then_branch = a () => (float[?,?] p) { p = Sin(s) },
                     else_branch = b () => (float[?,?] q) { q = Neg(s) }>
        }"""
    )
    method = attributions.IntegratedGradients(model, steps=3, reducer=None)
    x = np.full((2, 5), 0.5, np.float32)
    with pytest.warns(UserWarning, match="mixes samples"):
        found = method.explain(x, np.ones_like(x))
    assert method.prepared.rows.kind == "mixed"
    # At 0 the other branch is taken, whose derivative is -1.
    np.testing.assert_allclose(found, x * (-1 / 4 + np.cos(x / 2) / 2 + np.cos(x) / 4), rtol=1e-5)
