"""Arrow batches in, Arrow batches out: the numbers of explain, whatever the columns and however rows are cut."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support.small_models import build, mlp, node, random

from onnxattr import GradientInput, IntegratedGradients, OnnxAttrError, Saliency
from onnxattr.bulk import mapper
from onnxattr.errors import ParameterError, TargetError
from onnxattr.loading.meaning.features import KEY, features_text

ROWS = np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)
NAMES = ["age", "pulse", "height", "weight", "sleep", "steps"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """An explainer of six features, without names."""
    found = tmp_path_factory.mktemp("bulk") / "explainer.onnx"
    IntegratedGradients(mlp().model, steps=5).export(found)
    return str(found)


@pytest.fixture(scope="module")
def expected():
    return IntegratedGradients(mlp().model, steps=5)(ROWS)


def maps(table, column="attribution"):
    return np.array([np.reshape(a, s) for a, s in zip(
        table[column].to_pylist(), table[column.replace("attribution", "attribution_shape", 1)].to_pylist(), strict=True
    )], np.float32)  # fmt: skip


def lists(kind):
    return pa.array(ROWS.tolist(), kind)


COLUMNS = {
    "lists": lists(pa.list_(pa.float32())),
    "double lists": lists(pa.list_(pa.float64())),
    "large lists": lists(pa.large_list(pa.float32())),
    "lists of one size": lists(pa.list_(pa.float32(), 6)),
    "nested lists": pa.array(ROWS.reshape(10, 2, 3).tolist()),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS.copy()),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_columns_of_arrays(column, path, expected):
    found = mapper(path)(pa.table({"id": np.arange(10), "values": column}))
    assert found["id"].to_pylist() == list(range(10))
    assert found.column_names == ["id", "attribution", "attribution_shape", "score", "target", "gap"]
    np.testing.assert_allclose(maps(found), np.asarray(expected), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["score"].to_numpy(), expected.scores, rtol=1e-6)
    np.testing.assert_array_equal(found["target"].to_numpy(), expected.targets)
    np.testing.assert_allclose(found["gap"].to_numpy(), expected.relative_gap, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_cuts_change_nothing(size, chunk, path, expected):
    table = pa.table({"id": np.arange(10), "values": COLUMNS["lists"]})
    empty = table.slice(0, 0).combine_chunks()
    batches = [*table.slice(0, 5).to_batches(size), *empty.to_batches(), *table.slice(5).to_batches(size)]
    found = list(mapper(path, chunk=chunk)(iter(batches)))
    assert all(isinstance(batch, pa.RecordBatch) for batch in found)
    whole = pa.Table.from_batches(found)
    assert whole["id"].to_pylist() == list(range(10))
    np.testing.assert_allclose(maps(whole), np.asarray(expected), rtol=1e-5, atol=1e-7)


def test_empty_tables_have_the_columns(path):
    table = pa.table({"id": np.arange(10), "values": COLUMNS["lists"]})
    found = mapper(path)
    assert found(table.slice(0, 0)).schema == found(table).schema == found.schema(table.schema)
    assert found(pa.RecordBatch.from_pylist([], table.schema)).schema == found.schema(table.schema)
    assert found(table.combine_chunks().to_batches()[0]).equals(found(table).combine_chunks().to_batches()[0])


def test_pickled_mappers_load_the_model_where_they_are(path, expected):
    found = mapper(path)
    found.method  # noqa: B018 - a session cannot be pickled
    table = pickle.loads(pickle.dumps(found))(pa.table({"values": COLUMNS["lists"]}))
    np.testing.assert_allclose(maps(table), np.asarray(expected), rtol=1e-6, atol=1e-7)


def test_columns_are_matched_by_the_names_of_features(tmp_path):
    model = mlp().model
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, features_text({"x": NAMES})
    GradientInput(model).export(tmp_path / "e.onnx")
    columns = {name: ROWS[:, k] for k, name in enumerate(NAMES)}
    shuffled = pa.table({"who": list("abcdefghij"), **{n: columns[n] for n in NAMES[::-1]}})
    found = mapper(tmp_path / "e.onnx")(shuffled)
    assert found.column_names[0] == "who"
    np.testing.assert_allclose(maps(found), GradientInput(model).explain(ROWS), rtol=1e-6, atol=1e-7)
    assert (
        found.schema.field("attribution").metadata[b"onnxattr.features"]
        == str(NAMES).replace("'", '"').encode()
    )
    kept = mapper(tmp_path / "e.onnx", keep="all")(shuffled)
    assert set(NAMES) < set(kept.column_names)


def test_inputs_by_name(tmp_path):
    nodes = [node("Mul", ["a", "b"], ["p"]), node("ReduceSum", ["p", "axes"], ["y"], keepdims=1)]
    model = build(nodes, {"a": ["N", 3], "b": ["N", 3]}, {"y": ["N", 1]}, {"axes": np.array([1])})
    GradientInput(model).export(tmp_path / "e.onnx")
    a, b = ROWS[:, :3], ROWS[:, 3:]
    found = mapper(tmp_path / "e.onnx")(pa.table({"b": b.tolist(), "a": a.tolist()}))
    for name in ("attribution_a", "attribution_b"):
        np.testing.assert_allclose(maps(found, name), a * b, rtol=1e-6, atol=1e-7)
    other = mapper(tmp_path / "e.onnx", {"a": "left", "b": "right"})
    found = other(pa.table({"left": a.tolist(), "right": b.tolist()}))
    np.testing.assert_allclose(maps(found, "attribution_b"), a * b, rtol=1e-6, atol=1e-7)


def test_labels_in_a_column(path):
    labels = np.arange(10) % 4
    table = pa.table({"label": labels, "values": COLUMNS["lists"]})
    found = mapper(path, "values", target_column="label", chunk=3)(table)
    expected = IntegratedGradients(mlp().model, steps=5).explain(ROWS, labels)
    np.testing.assert_allclose(maps(found), expected, rtol=1e-5, atol=1e-7)
    assert found["target"].to_pylist() == found["label"].to_pylist() == labels.tolist()
    one = mapper(path, "values", targets=2)(table)
    assert one["target"].to_pylist() == [2] * 10


@pytest.mark.parametrize(("options", "others"), [
    ({}, {"name": [f"row {k}" for k in range(10)]}),
    ({"target_column": "label"}, {"label": np.arange(10) % 4}),
    ({"keep": ["id"]}, {"id": np.arange(10)}),
])  # fmt: skip
def test_columns_of_numbers_go_into_a_model_without_names(path, options, others):
    """In their order, if they are as many as the input has; what is named apart is none of them."""
    numbers = {f"c{k}": ROWS[:, k] for k in range(6)}
    found = mapper(path, chunk=3, **options)(pa.table(others | numbers))
    labels = others.get("label")
    np.testing.assert_allclose(
        maps(found), IntegratedGradients(mlp().model, steps=5).explain(ROWS, labels), rtol=1e-5, atol=1e-7
    )
    assert set(others) <= set(found.column_names)
    assert not set(numbers) & set(found.column_names)


LABELS = {
    "numbers in a dictionary": lambda: pa.array([1, 0] * 5).dictionary_encode(),
    "names": lambda: pa.array(["b", "a"] * 5),
    "names in a dictionary": lambda: pa.array(["b", "a"] * 5).dictionary_encode(),
    "views of names": lambda: pa.array(["b", "a"] * 5, pa.string_view()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_kinds_of_labels_in_a_column(kind, tmp_path):
    method = IntegratedGradients(mlp().model, steps=5, labels=list("abcd"))
    method.export(tmp_path / "e.onnx")
    table = pa.table({"label": LABELS[kind](), "values": COLUMNS["lists"]})
    found = mapper(tmp_path / "e.onnx", "values", target_column="label", chunk=3)(table)
    assert found["target"].to_pylist() == [1, 0] * 5
    np.testing.assert_allclose(maps(found), method.explain(ROWS, [1, 0] * 5), rtol=1e-5, atol=1e-7)


def test_arrays_in_a_dictionary(path):
    values = COLUMNS["lists"]
    coded = pa.DictionaryArray.from_arrays(pa.array(np.arange(10)[::-1]), values)
    found = mapper(path, "values")(pa.table({"values": coded}))
    np.testing.assert_allclose(maps(found), maps(mapper(path, "values")(pa.table({"values": values})))[::-1])


def test_rows_without_label_and_lists_of_columns_are_told(path):
    table = pa.table({"label": pa.array([1, None] * 5), "values": COLUMNS["lists"]})
    with pytest.raises(TargetError, match=r"no label in 5 of 10 rows.*-1 for the predicted class"):
        mapper(path, "values", target_column="label")(table)
    with pytest.raises(ParameterError, match="side by side into one column of lists"):
        mapper(path, ["values", "label"])(table)


def test_pictures_in_a_column(tmp_path):
    """Bytes of PNG files, alone or with their path as dataset libraries store them."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 3), np.uint8)
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    model = build(nodes, {"x": ["N", 4, 5, 3]}, {"y": ["N", 2]}, {"w": random(2, 60, 2)})
    method = GradientInput(model, preprocess="0..255")
    method.export(tmp_path / "e.onnx")
    expected = method.explain(pixels)
    np.testing.assert_allclose(
        expected, GradientInput(model).explain(pixels.astype(np.float32)), rtol=1e-4, atol=1e-4
    )
    files = []
    for picture in pixels:
        Image.fromarray(picture).save(file := io.BytesIO(), "PNG")
        files.append(file.getvalue())
    for column in (pa.array(files), pa.array([{"bytes": f, "path": "a.png"} for f in files])):
        found = mapper(tmp_path / "e.onnx")(pa.table({"image": column}))
        np.testing.assert_allclose(maps(found), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(OnnxAttrError, match="column 'image', row 1 cannot be read as a photo"):
        mapper(tmp_path / "e.onnx")(pa.table({"image": [files[0], files[1][:40]]}))


values = COLUMNS["lists"]
REFUSED = {
    "no such column": ({"column": "nothing"}, {"values": values}, "no column 'nothing'; the table has 'values'"),
    "no arrays": ({}, {"a": np.arange(10)}, "'a' do not tell what the model takes"),
    "not as many numbers as the input has": (
        {}, {name: np.arange(10) for name in "abcde"}, "taken in their order if there are 6; here are 5"
    ),
    "two columns of arrays": ({}, {"a": values, "b": values}, "2 columns hold arrays. Name it"),
    "null": ({}, {"a": pa.array([[1.0] * 6, None])}, "'a': row 1 is null"),
    "ragged": ({}, {"a": pa.array([[1.0] * 6, [1.0] * 5])}, "different lengths, 6 and 5"),
    "too many axes": (
        {}, {"a": pa.array([[[1.0], [1.0]]])}, r"'a' has arrays of the shape \[2, 1\]; the input 'x' takes \[6\]"
    ),
    "text": ({}, {"a": pa.array([["b"] * 6])}, "holds string; expected numbers"),
    "too few": ({}, {"a": pa.array([[1.0] * 5])}, r"has shape \(1, 5\); the model expects"),
    "columns twice": (
        {}, pa.table([values, values], names=["x", "x"]), "has 2 columns 'x'; leave out or rename them"
    ),
    "names twice": ({}, {"score": np.arange(10), "a": values}, "has a column 'score' already"),
    "no target column": ({"target_column": "y"}, {"a": values}, "no column 'y'"),
    "unknown to keep": ({"keep": ["b"]}, {"a": values}, "no column 'b'"),
    "targets twice": ({"targets": 1, "target_column": "y"}, {}, "not both"),
    "labels of rows": ({"targets": [1] * 10}, {"a": values}, "one label or name of a class for all rows"),
    "chunk": ({"chunk": 0}, {}, "at least 1"),
    "keep": ({"keep": "none"}, {}, "'others', 'all' or a list"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "columns", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(options, columns, message, path):
    with pytest.raises(OnnxAttrError, match=message):
        mapper(path, **options)(columns if isinstance(columns, pa.Table) else pa.table(columns))


def test_arrays_are_not_laid_out_along_a_flat_input_of_any_length():
    """Nobody says in which order; into six features they go row by row."""
    series = build([node("Tanh", ["x"], ["y"])], {"x": ["N", "T"]}, {"y": ["N", "T"]})
    method, rows = GradientInput(series), np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    found = mapper(method, targets=0)(pa.table({"x": pa.array(rows.tolist())}))
    np.testing.assert_allclose(maps(found), method.explain(rows, [0] * 4), rtol=1e-6)
    with pytest.raises(
        OnnxAttrError, match=r"'x' has arrays of the shape \[2, 3\]; the input 'x' takes \['\?'\]"
    ):
        mapper(method, targets=0)(pa.table({"x": pa.array(rows.reshape(4, 2, 3).tolist())}))


IMAGES = np.random.default_rng(5).normal(size=(4, 2, 5, 3)).astype(np.float32)
FIRST = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
STORED = pa.FixedSizeListArray.from_arrays(pa.array(FIRST.ravel()), 30)
LAYOUTS = {
    "flat": pa.array(IMAGES.reshape(4, 30).tolist()),
    "nested": pa.array(IMAGES.tolist()),
    "with an axis of 1": pa.array(IMAGES[:, None].tolist()),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray(IMAGES),
    "tensors stored in another order": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [3, 2, 5], permutation=[1, 2, 0]), STORED
    ),
}
OTHERS = {
    "channels first": pa.FixedShapeTensorArray.from_numpy_ndarray(FIRST),
    "nested, channels first": pa.array(FIRST.tolist()),
    "pixels in a line": pa.array(FIRST.reshape(4, 3, 10).tolist()),
}


@pytest.mark.parametrize("column", [*LAYOUTS, *OTHERS])
def test_layouts_of_images(column):
    """Values go where the column says that they are; an array of another shape is not made to fit."""
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    model = build(nodes, {"x": ["N", 2, 5, 3]}, {"y": ["N", 2]}, {"w": random(2, 30, 2)})
    method = GradientInput(model)
    if column in LAYOUTS:
        found = mapper(method)(pa.table({"x": LAYOUTS[column]}))
        np.testing.assert_allclose(maps(found), method.explain(IMAGES), rtol=1e-6, atol=1e-7)
        return
    with pytest.raises(OnnxAttrError, match=r"shape .*3, (2, 5|10)"):
        mapper(method)(pa.table({"x": OTHERS[column]}))


def test_rows_that_are_one_sample_are_refused(tmp_path):
    """Softmax over the first axis: rows of a table would not be samples."""
    nodes = [node("Softmax", ["x"], ["s"], axis=0), node("Mul", ["s", "x"], ["y"])]
    with pytest.warns(UserWarning, match="one sample"):
        Saliency(build(nodes, {"x": ["T", 3]}, {"y": ["T", 3]})).export(tmp_path / "e.onnx", target="weights")
    with pytest.raises(OnnxAttrError, match="are one sample"):
        mapper(tmp_path / "e.onnx")(pa.table({"x": [[1.0, 2.0, 3.0]]}))
