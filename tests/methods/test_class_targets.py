"""Targets and names of classes: tables of weights are matched by name, a label that is another class's name is said."""

import warnings

import numpy as np
import onnx
import pytest
from support.small_models import mlp, named

import onnxattr
from onnxattr import GradientInput
from onnxattr.errors import ShapeError, TargetError
from onnxattr.inspection import inspect

SMALL = mlp()
X = SMALL.inputs["x"]


@pytest.fixture(params=["driven", "file"])
def explain(request, tmp_path):
    """Explains by a method, and by its file."""

    def run(model, targets, inputs=X):
        method = GradientInput(model)
        if request.param == "file":
            weights = np.ndim(targets) == 2
            method.export(tmp_path / "e.onnx", **({"target": "weights"} if weights else {}))
            method = onnxattr.load(tmp_path / "e.onnx")
        return np.asarray(method.explain(inputs, targets))

    return run


WEIGHTS = np.array([[1, 0, 0, 0], [0, 0.5, 0, -1], [0, 0, 2, 0]], np.float32)
ORDER = [2, 0, 3, 1]


@pytest.mark.parametrize("names", [("cat", "dog", "emu", "fox"), ("10", "20", "30", "40"), ()])
@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_columns_of_weights_are_classes(names, package, explain):
    frames = pytest.importorskip(package)
    columns = [(names or "0123")[i] for i in ORDER]
    table = frames.DataFrame(dict(zip(columns, WEIGHTS[:, ORDER].T, strict=True)))
    model = named(*names)
    np.testing.assert_allclose(explain(model, table), explain(model, WEIGHTS), rtol=1e-6)


def test_columns_of_a_plain_array_and_unknown_names_are_in_order(explain):
    pandas = pytest.importorskip("pandas")
    expected = explain(named(), WEIGHTS)
    for model, columns in ((named("a", "b", "c", "d"), range(4)), (named(), list("wxyz"))):
        table = pandas.DataFrame(WEIGHTS, columns=columns)
        np.testing.assert_allclose(explain(model, table), expected, rtol=1e-6)


def test_numbers_that_are_names_beyond_the_last_class(explain):
    with pytest.raises(
        TargetError, match=r"Label 30 is out of range: .* The class called '30' is 2: give that, or"
    ):
        explain(named("10", "20", "30", "40"), [0, 30, 1])


@pytest.mark.parametrize("columns", [["a", "b", "c", "e"], ["a", "b", "c", "c"], [1, 2, 3, 4]])
def test_columns_that_are_other_classes_are_refused(columns):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TargetError, match=r"The columns of the targets, .* are not the model's classes"):
        GradientInput(named("a", "b", "c", "d")).explain(X, pandas.DataFrame(WEIGHTS, columns=columns))


@pytest.mark.parametrize(
    ("names", "labels", "said"),
    [
        (
            "1234",
            [1, 0, 1],
            r"Label 1 is the class at place 1, counted from 0: '2'; another class is named '1'",
        ),
        (("-1", "0", "1", "2"), [-1, 2, 2], "Label -1 is the predicted class; another class is named '-1'"),
        ("1032", [3, 3, 1], "Label 1 .*: '0'; another class is named '1'"),
        ("0123", [0, 1, 3], None),
        ("abcd", [0, 1, -1], None),
        ("1234", None, None),
        ("1234", ["2", "1", "4"], None),
    ],
)
def test_labels_beside_names_that_are_numbers(names, labels, said, explain):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explain(named(*names), labels)
    told = [str(w.message) for w in caught if str(w.message).startswith("Label")]
    assert bool(told) == (said is not None), told
    if said:
        with pytest.warns(UserWarning, match=said):
            explain(named(*names), labels)


def test_labels_of_other_types():
    """Truth values are labels of two classes, and an error says which type was given."""
    model, x = GradientInput(named()), X
    for labels in ([True, False, True], [0.0, 1.0, 1.0]):
        with pytest.raises(TargetError, match=rf"targets are {np.array(labels).dtype} of shape \(3,\)"):
            model.explain(x, np.array(labels))


def test_truth_values_are_labels_of_two_classes(explain):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[N,3] x) => (float[N,2] y) <float[3,2] w = {1,2,3,4,5,6}> '
        "{ y = MatMul(x, w) }"
    )
    truth, x = np.array([True, False, True]), X[:, :3]
    np.testing.assert_array_equal(explain(model, truth, x), explain(model, truth.astype(int), x))


def test_masked_values_are_missing():
    masked = np.ma.masked_array(X, mask=np.eye(3, 6) > 0)
    with pytest.raises(ShapeError, match=r"holds 3 NaN or infinite values.*\[0, 0\], \[1, 1\], \[2, 2\]"):
        GradientInput(named()).explain(masked)
    plain = np.ma.masked_array(X, mask=False)
    method = GradientInput(named())
    np.testing.assert_array_equal(method.explain(plain), method.explain(X))
    with pytest.raises(TargetError, match=r"Labels that are NaN or masked are none"):
        method.explain(X, np.ma.masked_array([0, 1, 2], mask=[False, True, False]))


def test_sparse_matrices_are_their_values():
    sparse = pytest.importorskip("scipy.sparse")
    x, method = np.where(X > 0, X, 0).astype(np.float32), GradientInput(named())
    for make in (sparse.csr_matrix, sparse.coo_array):
        np.testing.assert_array_equal(method.explain(make(x), [0, 1, 2]), method.explain(x, [0, 1, 2]))


@pytest.mark.parametrize("dims", [(2, 2), (4, 1), (1, 4)])
def test_names_where_classes_are_no_columns(dims):
    """Of a detector or a segmentation, whose files name classes too, or of (N, C, 1)."""
    model = named("cat", "dog", "emu", "fox")
    scores = model.graph.output[0].name
    shape = onnx.numpy_helper.from_array(np.array([0, *dims]), "to")
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node("Reshape", [scores, "to"], ["parts"]))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("parts", 1, ["N", *dims]))
    said = rf"names classes, which are columns .*'parts' is none.*weights of shape \({len(X)}, {dims[0]}, {dims[1]}\)"
    with pytest.raises(TargetError, match=said):
        GradientInput(model).explain(X, ["dog"] * len(X))
    assert "Classes (4)" in inspect(model)
    assert "Classes (4, which --targets takes by name)" in inspect(named("cat", "dog", "emu", "fox"))
