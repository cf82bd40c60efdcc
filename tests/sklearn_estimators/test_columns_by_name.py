"""Columns of tables are matched by name with those a model was converted with, or refused with the names."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from support.small_models import build, mlp, node

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.errors import ConversionError, ParameterError, ShapeError
from onnxattr.inputs.csv_rows import Table

pytest.importorskip("skl2onnx")
from onnxattr.converters.sklearn import to_onnx
from support.named_columns import CLASSES, DATA, NAMES, ORDER, PIPELINE


def frames():
    """Kinds of tables, each made of names and values."""
    kinds = {"table of a file": Table}
    pandas = pytest.importorskip("pandas") if _has("pandas") else None
    if pandas is not None:
        kinds["pandas"] = lambda names, values: pandas.DataFrame(values, columns=list(names))
    if _has("polars"):
        import polars

        kinds["polars"] = lambda names, values: polars.DataFrame(
            dict(zip(names, np.asarray(values).T, strict=True))
        )
    kinds["structured array"] = lambda names, values: np.array(
        [tuple(row) for row in values], dtype=[(name, "f8") for name in names]
    )
    kinds["dict of columns"] = lambda names, values: dict(zip(names, np.asarray(values).T, strict=True))
    return kinds


def _has(package):
    try:
        __import__(package)
    except ImportError:
        return False
    return True


FRAMES = frames()


@pytest.mark.parametrize("kind", FRAMES)
def test_columns_in_another_order_are_those_columns(kind, table_model, tmp_path):
    make = FRAMES[kind]
    method = IntegratedGradients(table_model, output_layer="logits", steps=5)
    expected = method.explain(DATA[:3])
    method.export(tmp_path / "e.onnx")
    same, other = make(NAMES, DATA[:3]), make([NAMES[i] for i in ORDER], DATA[:3, ORDER])
    for explainer in (method, onnxattr.load(tmp_path / "e.onnx")):
        np.testing.assert_allclose(explainer.explain(same), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(explainer.explain(other), expected[:, ORDER], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            explainer.predict(other), PIPELINE.decision_function(DATA[:3])[:, None], rtol=1e-4
        )
        np.testing.assert_allclose(
            explainer.convergence_delta(other), explainer.convergence_delta(DATA[:3]), atol=1e-5
        )


WRONG = {
    "missing": (["age", "height", "weight"], ["missing: ['pulse']", "'age', 'height', 'weight', 'pulse'"]),
    "unknown": ([*NAMES, "label"], ["unknown: ['label']"]),
    "an index": (["Unnamed: 0", *NAMES], ["unknown: ['Unnamed: 0']", "index=False"]),
    "another name": (["age", "height", "weight", "Pulse"], ["missing: ['pulse']", "unknown: ['Pulse']"]),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("case", WRONG)
def test_other_columns_are_refused(case, kind, table_model, tmp_path):
    names, fragments = WRONG[case]
    method = Saliency(table_model)
    method.export(tmp_path / "e.onnx")
    given = FRAMES[kind](names, np.ones((2, len(names))))
    for call in (method.explain, method.predict, onnxattr.load(tmp_path / "e.onnx").explain):
        with pytest.raises(ShapeError) as error:
            call(given)
        assert [part for part in fragments if part not in str(error.value)] == [], error.value


def test_datasets_of_tables_have_the_order_of_the_first(table_model):
    method = GradientInput(table_model)
    expected = method.explain(DATA[:6])
    batches = [
        (Table([NAMES[i] for i in ORDER], DATA[:2, ORDER]), None),
        (Table(NAMES, DATA[2:4]), None),
        (DATA[4:6], None),
    ]
    np.testing.assert_allclose(method.explain(iter(batches)), expected[:, ORDER], rtol=1e-5)


@pytest.mark.parametrize("names", ["abcdef", "aabcda"])
@pytest.mark.parametrize("kind", ["table of a file", "csv", "pandas", "pyarrow"])
def test_a_model_without_names_takes_columns_in_order(kind, names, tmp_path):
    """Two columns of one name too: each is the one at its place."""
    case = mlp()
    if kind == "pyarrow":
        arrow = pytest.importorskip("pyarrow")
        table = arrow.Table.from_arrays([arrow.array(column) for column in case.given.T], names=list(names))
    elif kind == "csv":
        lines = [",".join(names), *(",".join(map(str, row)) for row in case.given.tolist())]
        (tmp_path / "rows.csv").write_text("\n".join(lines))
        table = str(tmp_path / "rows.csv")
    elif kind in FRAMES:
        table = FRAMES[kind](names, case.given)
    else:
        pytest.skip(f"needs {kind}")
    np.testing.assert_array_equal(
        Saliency(case.model).explain(table), Saliency(case.model).explain(case.given)
    )


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_an_index_is_no_feature_of_a_model_without_names(first, tmp_path):
    """Such a table has as many columns as the model where it lacks one of the features."""
    case, names = mlp(), [first, *"abcde"]
    lines = [",".join(names), *(",".join(map(str, row)) for row in case.given.tolist())]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    with pytest.raises(ShapeError, match=r"first column of the table, '.*', has no name.*index=False"):
        Saliency(case.model).explain(str(tmp_path / "rows.csv"))


def test_the_names_of_the_estimator_come_first():
    pandas = pytest.importorskip("pandas")
    fitted = make_pipeline(StandardScaler(), Ridge()).fit(pandas.DataFrame(DATA, columns=NAMES), CLASSES)
    for sample in (DATA, pandas.DataFrame(DATA, columns=NAMES)[[NAMES[i] for i in ORDER]]):
        method = GradientInput(to_onnx(fitted, sample))
        assert method.prepared.features == {"X": tuple(NAMES)}
        np.testing.assert_allclose(
            method.predict(DATA)[:, 0], fitted[1].predict(fitted[0].transform(DATA)), rtol=1e-4
        )
    with pytest.raises(ConversionError, match=r"missing: \['age'\].*unknown: \['years'\]"):
        to_onnx(fitted, pandas.DataFrame(DATA, columns=["years", *NAMES[1:]]))


def test_columns_chosen_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DATA, columns=NAMES)
    frame["pulse"] = (frame["pulse"] > 60).astype(float)
    chosen = make_column_transformer(
        (OneHotEncoder(), ["pulse"]), (make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "age"])
    )
    estimator = make_pipeline(chosen, LogisticRegression()).fit(frame, CLASSES)
    with pytest.warns(UserWarning, match="'X' by way of"):
        method = GradientInput(to_onnx(estimator, frame), operator="classification")
    holes = frame.iloc[:6].copy()
    holes.iloc[0, 2] = np.nan
    np.testing.assert_allclose(method.predict(holes[NAMES[::-1]]), estimator.predict_proba(holes), atol=1e-5)
    maps = method.explain(holes[NAMES[::-1]])
    assert np.abs(maps[:, NAMES[::-1].index("age")]).min() > 0
    assert maps[0, NAMES[::-1].index("weight")] == 0
    assert hasattr(chosen.fit(frame), "feature_names_in_")


def test_kinds_of_columns(table_model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DATA[:3].round(), columns=NAMES)
    mixed = frame.assign(
        age=frame["age"].astype(int), height=[True, False, True], weight=frame["weight"].astype("Int64")
    )
    plain = mixed.astype(float).to_numpy()
    method = Saliency(table_model)
    np.testing.assert_array_equal(method.explain(mixed), method.explain(plain))
    with pytest.raises(ShapeError, match=r"'X' holds 1 NaN.*\[1, 2\]"):
        method.explain(mixed.assign(weight=pandas.array([1, None, 3], "Int64")))
    for column in (
        ["a", "b", "c"],
        pandas.to_datetime(["2020-01-01"] * 3),
        pandas.Categorical(["a", "b", "a"]),
        ["1_0", "1_1", "1_2"],
        pandas.Categorical(["2021_01", "2021_02", "2021_01"]),
    ):
        with pytest.raises(ShapeError, match=r"Column 'age' holds .* expected numbers"):
            method.explain(mixed.assign(age=column))
    twice = pandas.concat([frame, frame[["age"]]], axis=1)
    with pytest.raises(ShapeError, match=r"named twice: \['age'\]"):
        method.explain(twice)
    levels = frame[NAMES[::-1]].set_axis(pandas.MultiIndex.from_product([["a"], NAMES[::-1]]), axis=1)
    with pytest.raises(ShapeError, match=r"names of several levels.*get_level_values\(-1\)"):
        method.explain(levels)
    with pytest.warns(UserWarning, match="have no names.*'age', 'height'") as said:
        np.testing.assert_array_equal(method.explain(pandas.DataFrame(plain)), method.explain(plain))
    assert {warning.filename for warning in said} == {__file__}


def test_a_baseline_with_names(table_model):
    pandas = pytest.importorskip("pandas")
    means = pandas.Series(DATA.mean(0), NAMES)
    expected = IntegratedGradients(table_model, baseline_value=DATA.mean(0).astype(np.float32)).explain(
        DATA[:3]
    )
    found = IntegratedGradients(table_model, baseline_value=means[[NAMES[i] for i in ORDER]]).explain(
        DATA[:3]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    one = means.to_frame("mean").T  # a table whose index is text
    np.testing.assert_array_equal(
        IntegratedGradients(table_model, baseline_value=one).explain(DATA[:1]), expected[:1]
    )
    with pytest.raises(ParameterError, match=r"baseline_value.*missing: \['pulse'\]"):
        IntegratedGradients(table_model, baseline_value=means[:3])


COLUMNS = build(
    [node("Mul", ["age", "weight"], ["m"]), node("Cast", ["kind"], ["k"], to=1), node("Add", ["m", "k"], ["y"])],
    {"age": ["N", 1], "weight": ["N", 1], "kind": (["N", 1], 7)}, {"y": ["N", 1]},
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:The score depends on integers:UserWarning")
@pytest.mark.parametrize("kind", FRAMES)
def test_a_model_with_an_input_for_each_column(kind):
    names, values = ["kind", "weight", "age"], np.array([[1, 2, 3], [4, 5, 6]], float)
    maps = GradientInput(COLUMNS).explain(FRAMES[kind](names, values))
    assert list(maps) == ["age", "weight"]
    for array in maps.values():
        np.testing.assert_array_equal(array, [[6], [30]])
    with pytest.raises(ShapeError, match=r"missing: \['age'\].*unknown: \['years'\]"):
        GradientInput(COLUMNS).explain(FRAMES[kind](["kind", "weight", "years"], values))
