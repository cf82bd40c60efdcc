"""Columns of CSV files by their names, broken files, and what is said."""

import warnings

import numpy as np
import pytest

from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.cli import main
from onnxattr.errors import ModelError, ShapeError
from onnxattr.inputs.csv_rows import Table, read_csv
from onnxattr.inspection import inspect

pytest.importorskip("skl2onnx")

from support.named_columns import DATA, NAMES, ORDER

CSV = {
    "names": "age,height,weight,pulse\n1,2,3,4\n5,6,7,8\n",
    "another order": "pulse,weight,age,height\n4,3,1,2\n8,7,5,6\n",
    "semicolons": "age;height;weight;pulse\n1;2;3;4\n5;6;7;8\n",
    "quoted, with a mark": '\ufeff"age","height","weight","pulse"\r\n1,2,3,4\r\n5,6,7,8\r\n',
    "no names": "1,2,3,4\n5,6,7,8\n",
    "separator named": "sep=;\r\nage;height;weight;pulse\r\n1;2;3;4\r\n5;6;7;8\r\n",
}


@pytest.mark.parametrize("case", CSV)
def test_command_line(case, table_model, tmp_path, monkeypatch, capsys):
    import onnx

    monkeypatch.chdir(tmp_path)
    onnx.save(table_model, "m.onnx")
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
    "a first row with a missing value": ("NA,2\n3,4\n", ["line 1, field 1", "'NA'", "Leave the fields"]),
    "a first row with thousands": (
        '2,"1,000"\n3,4\n',
        ["line 1, field 2", "'1,000'", "a point for decimals"],
    ),
    "truth values and numbers": (
        "a,b\n1,2\n3,True\n",
        ["line 3, column 'b'", "'True'", "'2' too", "one kind"],
    ),
    "such a first row": ("1,True\n3,2\n", ["line 1, field 2", "'True'", "one kind"]),
    "behind a named separator": ("sep=;\na;b\n1;x\n", ["line 3, column 'b'", "'x'"]),
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


TWICE = {
    "twice": ("age,height,age,pulse", "age"),
    "a score": ("age,score,weight,pulse", "score"),
    "a gap": ("gap,height,weight,pulse", "gap"),
}


@pytest.mark.parametrize("case", TWICE)
def test_two_columns_of_one_name_are_found_before_the_work(case, tmp_path, monkeypatch, capsys):
    import onnx
    from support.small_models import build, node

    monkeypatch.chdir(tmp_path)
    header, name = TWICE[case]
    onnx.save(build([node("Relu", ["x"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 4]}), "plain.onnx")
    (tmp_path / "x.csv").write_text(f"{header}\n1,2,3,4\n")
    arguments = ["--method", "IntegratedGradients", "-o", "maps.csv"]
    monkeypatch.setattr(IntegratedGradients, "__call__", None)
    assert main(["explain", "plain.onnx", "x.csv", *arguments]) == 2
    assert f"there would be two columns '{name}'" in capsys.readouterr().err


def test_a_first_line_of_decimals_that_is_read_as_names_is_said(tmp_path):
    (tmp_path / "x.csv").write_text("1.5kg,0.5\n1,2\n")
    with pytest.warns(UserWarning, match="read as names of columns.*write '1.5kg' as a number"):
        assert read_csv(tmp_path / "x.csv").columns == ["1.5kg", "0.5"]


@pytest.mark.parametrize(
    ("text", "columns", "values"),
    [
        ("a,b\nTrue,1\nFalse,2\n", ["a", "b"], [[1, 1], [0, 2]]),
        ("a\nTRUE\nfalse\n true\n", ["a"], [[1], [0], [1]]),
        ("a,b\nTrue,1\n,2\n", ["a", "b"], [[1, 1], [np.nan, 2]]),
        ("True,1\nFalse,2\n", None, [[1, 1], [0, 2]]),
        ("False,True\n0.5,1\n", ["False", "True"], [[0.5, 1]]),
    ],
)
def test_truth_values(text, columns, values, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    table = read_csv(tmp_path / "x.csv")
    assert getattr(table, "columns", None) == columns
    np.testing.assert_array_equal(np.asarray(table), values)


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
def test_damaged_names(text, table_model):
    import onnx

    damaged = onnx.ModelProto()
    damaged.CopyFrom(table_model)
    for entry in damaged.metadata_props:
        if entry.key == "onnxattr.features":
            entry.value = text
    with pytest.raises(ModelError, match=r"onnxattr\.features.*damaged"):
        Saliency(damaged).explain(Table(NAMES, DATA[:2]))


def test_nothing_is_said_where_names_match(table_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Saliency(table_model, operator="classification").explain(Table(NAMES, DATA[:2]))


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
