"""A result that is NaN or infinite is said: the rows, the node that gave the first one, and what to try."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from support.methods import NEEDED, ON_ANY_MODEL
from support.small_models import build, mlp, node

import onnxattr
import onnxattr.attributions as attributions
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.cli import main
from onnxattr.errors import NonFiniteError, NonFiniteWarning, ParameterError

VECTORS = {"x": ["N", 2]}, {"y": ["N", 2]}
SOFTPLUS = build(
    [node("Exp", ["x"], ["e"], name="exp"), node("Add", ["e", "one"], ["s"]), node("Log", ["s"], ["y"])],
    *VECTORS, {"one": np.float32(1)},
)  # fmt: skip
ROOT = build([node("Sqrt", ["x"], ["y"], name="root")], *VECTORS)
HALF = build(
    [node("Exp", ["x"], ["y"], name="exp")],
    {"x": (["N", 2], TensorProto.FLOAT16)}, {"y": (["N", 2], TensorProto.FLOAT16)},
)  # fmt: skip
# A causal mask: the infinities are meant, and only a row in which all is masked is not a number.
MASKED = build(
    [node("Add", ["x", "mask"], ["s"], name="add"), node("Softmax", ["s"], ["y"], name="softmax", axis=1)],
    {"x": ["N", 2], "mask": ["N", 2]}, {"y": ["N", 2]},
)  # fmt: skip
# One against the rest, as scikit-learn normalises it.
SIGMOIDS = build(
    [node("Mul", ["x", "two"], ["z"]), node("Sigmoid", ["z"], ["p"]), node("ReduceSum", ["p", "axis"], ["s"]),
     node("Div", ["p", "s"], ["y"], name="share")],
    *VECTORS, {"two": np.float32(2), "axis": np.array([1])},
)  # fmt: skip
ROWS = np.array([[1, 2], [100, 1], [1, 2], [2, 200]], np.float32)


def heard(call):
    """What a call returns, and the messages of its warnings of this kind."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call()
    return result, [str(w.message) for w in found if w.category is NonFiniteWarning]


METHODS = [m for m in ON_ANY_MODEL if m not in ("DeconvNet", "GuidedBackprop")]


@pytest.mark.parametrize("method", METHODS)
def test_one_warning_names_the_rows_and_the_node(method):
    explain = getattr(attributions, method)(SOFTPLUS, **NEEDED.get(method, {})).explain
    _, messages = heard(lambda: explain(ROWS, [0, 0, 0, 1]))
    assert len(messages) == 1
    assert "the predictions of samples 1, 3" in messages[0]
    assert "value 'e' of the Exp node 'exp'" in messages[0]
    assert heard(lambda: explain(ROWS[[0, 2]], [0, 0]))[1] == []


CASES = {
    "overflow": (
        SOFTPLUS, ROWS, [0] * 4, {}, ["4 samples", "predictions of samples 1, 3", "in sample 1", "Exp node 'exp'"]
    ),
    "derivative": (
        ROOT, [[1, 4], [0, 4]], [0, 0], {}, ["attributions of sample 1 ", "gradient of the Sqrt node 'root'"]
    ),
    "half precision": (HALF, [[12, 1]], [0], {}, ["sample 0", "'exp'", "precision='float32'"]),
    "a row that is masked": (
        MASKED, {"x": np.ones((2, 2)), "mask": [[0, -np.inf], [-np.inf, -np.inf]]}, [0, 0], {"wrt": "x"},
        ["predictions of sample 1 ", "NaN in sample 1", "Softmax node 'softmax'", "mask"],
    ),
    "the logits help": (SIGMOIDS, [[-200, -300]], [0], {}, ["Div node 'share'", "output_layer='z'"]),
    "guessed": (SOFTPLUS, ROWS, None, {}, ["predicted class of samples 1, 3 is a guess", "targets"]),
    "guessed by request": (SOFTPLUS, ROWS, [0, 0, 0, -1], {}, ["predicted class of sample 3 is a guess"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case):
    model, x, targets, options, fragments = CASES[case]
    given = (
        {k: np.array(v, np.float32) for k, v in x.items()} if isinstance(x, dict) else np.array(x, np.float32)
    )
    _, (message,) = heard(lambda: Saliency(model, **options).explain(given, targets))
    assert [part for part in fragments if part not in message] == [], message
    assert ("guess" in message) == case.startswith("guess")


def test_infinities_that_the_model_takes_are_not_mentioned():
    mask = np.array([[0, -np.inf], [0, 0]], np.float32)
    maps, messages = heard(
        lambda: Saliency(MASKED, wrt="x").explain({"x": np.ones((2, 2)), "mask": mask}, [0, 0])
    )
    assert messages == []
    np.testing.assert_allclose(maps, [[0, 0], [0.25, 0.25]])


@pytest.mark.parametrize(
    ("method", "options", "x", "fragments"),
    [
        (IntegratedGradients, {"steps": 5}, [[1, 4]], ["at point 1 of 5", "baseline_value"]),
        (SmoothGrad, {"nb_samples": 4, "noise": 9.0}, [[1, 4]], ["of 4", "less noise"]),
    ],
)
def test_the_point_is_named(method, options, x, fragments):
    _, (message,) = heard(lambda: method(ROOT, **options).explain(np.array(x, np.float32), [0]))
    assert [part for part in ["'root'", *fragments] if part not in message] == [], message


def test_rows_of_a_dataset_are_counted_as_a_whole():
    batches = [ROWS[:2], ROWS[:1], ROWS]
    _, (message,) = heard(lambda: Saliency(SOFTPLUS).explain(iter(batches)))
    assert "of 7 samples" in message
    assert "predictions of samples 1, 4, 6 " in message
    many = heard(lambda: Saliency(SOFTPLUS).explain(iter([ROWS] * 9)))[1][0]
    assert "predictions of samples 1, 3, 5, 7, 9, ... " in many


@pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
def test_error_and_silence(method):
    for call in ("explain", "predict"):
        with pytest.raises(NonFiniteError, match=r"samples 1, 3.*Exp node 'exp'"):
            getattr(method(SOFTPLUS, check_finite="error"), call)(ROWS)
        quiet = method(SOFTPLUS, check_finite="ignore")
        loud, messages = heard(lambda call=call: getattr(method(SOFTPLUS), call)(ROWS))
        assert len(messages) == 1
        result, none = heard(lambda call=call, quiet=quiet: getattr(quiet, call)(ROWS))
        assert none == []
        np.testing.assert_array_equal(result, loud)
    with pytest.raises(ParameterError, match=r"check_finite='loud'.*'warn', 'error', 'ignore'"):
        method(SOFTPLUS, check_finite="loud")


def test_convergence_delta_is_looked_at():
    _, (message,) = heard(lambda: IntegratedGradients(SOFTPLUS).convergence_delta(ROWS))
    assert "predictions of samples 1, 3" in message


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_exported_files(rendering, tmp_path):
    IntegratedGradients(SOFTPLUS, steps=4, batch_size=2).export(tmp_path / "e.onnx", rendering)
    for call in ("explain", "predict", "convergence_delta"):
        _, (message,) = heard(lambda call=call: getattr(onnxattr.load(tmp_path / "e.onnx"), call)(ROWS))
        assert "the predictions of samples 1, 3" in message
        assert "Exp node 'exp'" in message
        with pytest.raises(NonFiniteError, match="samples 1, 3"):
            getattr(onnxattr.load(tmp_path / "e.onnx", check_finite="error"), call)(ROWS)
    assert heard(lambda: onnxattr.load(tmp_path / "e.onnx", check_finite="ignore").explain(ROWS))[1] == []


def test_the_gradient_in_an_exported_file(tmp_path):
    Saliency(ROOT).export(tmp_path / "e.onnx")
    _, (message,) = heard(
        lambda: onnxattr.load(tmp_path / "e.onnx").explain(np.array([[0, 1]], np.float32), [0])
    )
    assert "attributions of sample 0" in message
    assert "Sqrt node 'root'" in message


def test_the_layer_is_named():
    keras = pytest.importorskip("keras")
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2, name="first", kernel_initializer="identity")(inputs)
    grown = keras.layers.Activation("exponential", name="growing")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last", kernel_initializer="identity")(grown))
    x = np.array([[100, 1]], np.float32)
    _, (message,) = heard(lambda: GradientInput(model).explain(x, [0]))
    assert "(layer 'growing')" in message


@pytest.fixture
def folder(tmp_path, monkeypatch):
    onnx.save(SOFTPLUS, tmp_path / "m.onnx")
    onnx.save(mlp().model, tmp_path / "good.onnx")
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "good.npy", mlp().given)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients"])
def test_command_line(method, folder, capsys):
    arguments = ["explain", "m.onnx", "x.npy", "-o", "maps.npy", "--targets", "0", "--method", method]
    assert main(arguments) == 3
    out, err = capsys.readouterr()
    assert out.startswith("wrote maps.npy\n")
    assert "nan" not in out
    assert "samples 1, 3" in err
    assert "--allow-nonfinite" in err.splitlines()[-1]
    assert np.load("maps.npy").shape == (4, 2)
    assert main([*arguments, "--allow-nonfinite"]) == 0
    assert "samples 1, 3" in capsys.readouterr().err
    assert main(["explain", "good.onnx", "good.npy", "-o", "maps.npy", "--targets", "0"]) == 0


def test_command_line_with_an_explainer(folder, capsys):
    assert main(["export", "m.onnx", "-o", "e.onnx"]) == 0
    assert main(["explain", "e.onnx", "x.npy", "-o", "maps.npy"]) == 3
    assert "samples 1, 3" in capsys.readouterr().err


SUM = node("ReduceSum", ["x", "axis"], ["s"])
SUMMED = {"x": ["N", 2]}, {"y": ["N", 1]}, {"axis": np.array([1])}
ONE_UNIT = build([SUM, node("Sigmoid", ["s"], ["y"])], *SUMMED)
ONE_NUMBER = build([SUM, node("Neg", ["s"], ["y"])], *SUMMED)
PATH = {"tolerance": 1e-7, "max_steps": 9, "points": "adaptive", "progress": False}
CALLS = {
    "explain": lambda: Saliency(SOFTPLUS).explain(ROWS),
    "call": lambda: Saliency(SOFTPLUS)(ROWS),
    "dataset": lambda: Saliency(SOFTPLUS).explain(iter([ROWS])),
    "predict": lambda: Saliency(SOFTPLUS).predict(ROWS),
    "tunnel": lambda: attributions.NoiseTunnel(Saliency(SOFTPLUS), 2).explain(ROWS),
    "weights of 0 on one unit": lambda: Saliency(ONE_UNIT).explain(ROWS, np.zeros((4, 1), np.float32)),
    "labels of one number": lambda: Saliency(ONE_NUMBER).explain(ROWS, np.array([0, 0, 0, 0])),
    "a path that misses": lambda: IntegratedGradients(SOFTPLUS, **PATH).explain(ROWS[:1]),
    "its gap": lambda: IntegratedGradients(SOFTPLUS, **PATH).relative_gap(ROWS[:1]),
}


@pytest.mark.parametrize("name", CALLS)
def test_warnings_name_the_callers_code(name):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        CALLS[name]()
    assert {warning.filename for warning in found} == {__file__}
