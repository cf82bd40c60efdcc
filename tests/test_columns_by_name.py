"""Columns of tables are matched by name with those a model was converted with, or refused with the names."""

import warnings

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
from onnxattr.cli import main
from onnxattr.errors import ConversionError, ModelError, ParameterError, ShapeError
from onnxattr.inputs.csv_rows import Table, read_csv
from onnxattr.inspection import inspect

pytest.importorskip("skl2onnx")
from onnxattr.converters.sklearn import to_onnx

NAMES = ["age", "height", "weight", "pulse"]
DATA = np.random.default_rng(0).normal(size=(40, 4)) * [10, 1, 5, 3] + [40, 2, 70, 60]
CLASSES = (DATA @ [0.1, -1, 0.05, 0.02] > 6.6).astype(int)
ORDER = [2, 0, 3, 1]


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
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression())


@pytest.fixture(scope="module")
def model():
    """A pipeline that was fitted on an array and converted with a table."""
    return to_onnx(PIPELINE.fit(DATA, CLASSES), Table(NAMES, DATA))


@pytest.mark.parametrize("kind", FRAMES)
def test_columns_in_another_order_are_those_columns(kind, model, tmp_path):
    make = FRAMES[kind]
    method = IntegratedGradients(model, output_layer="logits", steps=5)
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
def test_other_columns_are_refused(case, kind, model, tmp_path):
    names, fragments = WRONG[case]
    method = Saliency(model)
    method.export(tmp_path / "e.onnx")
    given = FRAMES[kind](names, np.ones((2, len(names))))
    for call in (method.explain, method.predict, onnxattr.load(tmp_path / "e.onnx").explain):
        with pytest.raises(ShapeError) as error:
            call(given)
        assert [part for part in fragments if part not in str(error.value)] == [], error.value


def test_datasets_of_tables_have_the_order_of_the_first(model):
    method = GradientInput(model)
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


def test_kinds_of_columns(model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DATA[:3].round(), columns=NAMES)
    mixed = frame.assign(
        age=frame["age"].astype(int), height=[True, False, True], weight=frame["weight"].astype("Int64")
    )
    plain = mixed.astype(float).to_numpy()
    method = Saliency(model)
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
    with pytest.warns(UserWarning, match="have no names.*'age', 'height'") as said:
        np.testing.assert_array_equal(method.explain(pandas.DataFrame(plain)), method.explain(plain))
    assert {warning.filename for warning in said} == {__file__}


def test_a_baseline_with_names(model):
    pandas = pytest.importorskip("pandas")
    means = pandas.Series(DATA.mean(0), NAMES)
    expected = IntegratedGradients(model, baseline_value=DATA.mean(0).astype(np.float32)).explain(DATA[:3])
    found = IntegratedGradients(model, baseline_value=means[[NAMES[i] for i in ORDER]]).explain(DATA[:3])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    one = means.to_frame("mean").T  # a table whose index is text
    np.testing.assert_array_equal(
        IntegratedGradients(model, baseline_value=one).explain(DATA[:1]), expected[:1]
    )
    with pytest.raises(ParameterError, match=r"baseline_value.*missing: \['pulse'\]"):
        IntegratedGradients(model, baseline_value=means[:3])


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


CSV = {
    "names": "age,height,weight,pulse\n1,2,3,4\n5,6,7,8\n",
    "another order": "pulse,weight,age,height\n4,3,1,2\n8,7,5,6\n",
    "semicolons": "age;height;weight;pulse\n1;2;3;4\n5;6;7;8\n",
    "quoted, with a mark": '\ufeff"age","height","weight","pulse"\r\n1,2,3,4\r\n5,6,7,8\r\n',
    "no names": "1,2,3,4\n5,6,7,8\n",
}


@pytest.mark.parametrize("case", CSV)
def test_command_line(case, model, tmp_path, monkeypatch, capsys):
    import onnx

    monkeypatch.chdir(tmp_path)
    onnx.save(model, "m.onnx")
    (tmp_path / "x.csv").write_text(CSV[case], encoding="utf-8")
    arguments = ["-o", "maps.npy", "--targets", "1"]
    assert main(["explain", "m.onnx", "x.csv", "--method", "GradientInput", *arguments]) == 0
    expected = GradientInput("m.onnx").explain(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), [1, 1])
    order = [3, 2, 0, 1] if case == "another order" else [0, 1, 2, 3]
    np.testing.assert_allclose(np.load("maps.npy"), expected[:, order], rtol=1e-6)
    assert "Features of X" in inspect("m.onnx")
    assert "age, height, weight, pulse" in inspect("m.onnx")
    assert main(["export", "m.onnx", "--method", "GradientInput", "-o", "e.onnx"]) == 0
    assert main(["explain", "e.onnx", "x.csv", *arguments, "--picture", "why.svg"]) == 0
    np.testing.assert_allclose(np.load("maps.npy"), expected[:, order], rtol=1e-5)
    assert "age, height, weight, pulse" in inspect("e.onnx")
    capsys.readouterr()
    (tmp_path / "y.csv").write_text("age,height,weight\n1,2,3\n")
    assert main(["explain", "m.onnx", "y.csv", *arguments]) == 2
    assert "missing: ['pulse']" in capsys.readouterr().err
    (tmp_path / "z.csv").write_text(",age,height,weight,pulse\n0,1,2,3,4\n")
    assert main(["explain", "m.onnx", "z.csv", *arguments]) == 2
    assert "to_csv(..., index=False) leaves it out" in capsys.readouterr().err


BROKEN = {
    "text": ("a,b\n1,x\n", ["line 2", "column 'b'", "'x'"]),
    "decimals with a comma": ("a;b\n1;0,5\n", ["line 2", "'0,5'", "a point for decimals"]),
    "thousands": ('a,b\n1,"1,000"\n', ["line 2", "'1,000'", "nothing between thousands"]),
    "another encoding": ("größe,b\n1,2\n".encode("utf-16"), ["Save it as UTF-8"]),
    "short line": ("a,b\n1,2\n1\n", ["line 3", "1 fields", "expected 2"]),
    "names alone": ("a,b\n", ["no rows"]),
    "numbers of columns": (
        "0,1,2\n1,2,3\n",
        ["the first line is 0, 1, 2, ..., 2", "header=False", "0.0, 1.0"],
    ),
    "numbers of two columns": ("0,1\n0.5,2.5\n1e3,\n", ["the first line is 0, 1, 2, ..., 1", "header=False"]),
    "number of a column": ("0\n0.5\n", ["the first line is 0"]),
    "numbers behind an index": (",0,1\n0,0.5,2.5\n", ["the first line is 0", "index=False"]),
    "line behind empty ones": ('a,b\n\n1,"2"\n\n1\n', ["line 5", "1 fields"]),
    "missing values of R": ("a,b\n1,NA\n", ["line 2", "'NA'", "Leave the fields of missing values empty"]),
    "codes that Python reads as numbers": (
        "a,b\n1,2021_01\n",
        ["line 2", "'2021_01'", "Encode text", ".npz"],
    ),
    "empty": ("", ["no rows"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_csv_files(case, tmp_path):
    text, fragments = BROKEN[case]
    (tmp_path / "x.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ShapeError) as error:
        read_csv(tmp_path / "x.csv")
    assert [part for part in ["x.csv", *fragments] if part not in str(error.value)] == []
    with pytest.raises(ShapeError, match="no such file"):
        read_csv(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2019,2020,2021\n0.5,1.5,2.5\n", True),
        ("3,1\n0.5,1.5\n,1e4\n", True),
        ("3,1\n0.5,2\n", False),
        ("0,1\n2,3\n", False),
        ("0,0\n0.5,1.5\n", False),
        ("3.0,1.0\n0.5,1.5\n", False),
        ("3,1\n", False),
    ],
)
def test_a_first_line_that_may_name_columns_is_said(text, said, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        rows = read_csv(tmp_path / "x.csv")
    assert len(rows) == text.count("\n")
    assert ["read as a row of numbers" in str(warning.message) for warning in heard] == [True] * said


def test_names_that_python_reads_as_numbers(tmp_path):
    (tmp_path / "x.csv").write_text("0_1,0_2\n0.5,1.5\n")
    table = read_csv(tmp_path / "x.csv")
    assert table.columns == ["0_1", "0_2"]
    np.testing.assert_array_equal(np.asarray(table), [[0.5, 1.5]])


def test_empty_fields_are_missing_values(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,\n")
    table = read_csv(tmp_path / "x.csv")
    np.testing.assert_array_equal(np.asarray(table), [[1, np.nan]])


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"X": 3}', '{"X": [1, 2]}'])
def test_damaged_names(text, model):
    import onnx

    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    for entry in damaged.metadata_props:
        if entry.key == "onnxattr.features":
            entry.value = text
    with pytest.raises(ModelError, match=r"onnxattr\.features.*damaged"):
        Saliency(damaged).explain(Table(NAMES, DATA[:2]))


def test_nothing_is_said_where_names_match(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Saliency(model, operator="classification").explain(Table(NAMES, DATA[:2]))


def test_keras_keeps_the_names_of_a_sample(tmp_path):
    keras = pytest.importorskip("keras")
    from onnxattr.converters import keras as converter

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="tanh")(inputs))
    converted = converter.to_onnx(model, sample=Table(NAMES, DATA / 50))
    method = GradientInput(converted)
    other = Table([NAMES[i] for i in ORDER], DATA[:3, ORDER])
    np.testing.assert_allclose(
        method.predict(other), model(DATA[:3].astype(np.float32)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(method.explain(other), method.explain(DATA[:3])[:, ORDER], rtol=1e-5)
    with pytest.raises(ShapeError, match=r"missing: \['pulse'\]"):
        method.explain(Table(NAMES[:3], DATA[:, :3]))
