"""Tables with columns of text on the command line: .csv and .parquet files, results as tables, jobs, layers by name."""

import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxattr import GradientInput, IntegratedGradients, load
from onnxattr.cli import main
from onnxattr.errors import ParameterError

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
pytest.importorskip("pyarrow")
from onnxattr.converters.sklearn import to_onnx  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

RNG = np.random.default_rng(0)
COUNT = 80
ROWS = pd.DataFrame(
    {
        "age": RNG.normal(40, 9, COUNT).round(2).astype(np.float32),
        "city": RNG.choice(["Rome", "Oslo, north", "007"], COUNT),
        "floor space (m²)": RNG.normal(3, 1, COUNT).round(2).astype(np.float32),
        "job": RNG.choice(["a", "b"], COUNT),
    }
)
NUMBERS, TEXTS = ["age", "floor space (m²)"], ["city", "job"]
PRICE = ROWS.age / 40 + 2 * (ROWS.city == "Rome") - ROWS[NUMBERS[1]] * (ROWS.job == "a")
FIVE = ROWS[:5].assign(city=["Rome", "007", "Oslo, north", "Bonn", "Rome"])


def fitted(last, target):
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((StandardScaler(), NUMBERS), (encoder, TEXTS))
    return make_pipeline(columns, last).fit(ROWS, target)


@pytest.fixture(scope="module")
def linear():
    return to_onnx(fitted(LinearRegression(), PRICE), ROWS)


@pytest.fixture
def files(linear, tmp_path, monkeypatch):
    """A model, five rows with a city that is unknown, and the same in another order of columns."""
    monkeypatch.chdir(tmp_path)
    onnx.save(linear, "m.onnx")
    FIVE.to_csv("rows.csv", index=False)
    FIVE.to_csv("rows.tsv.csv", index=False, sep="\t")
    FIVE[[*TEXTS, *NUMBERS]].to_csv("turned.csv", index=False)
    FIVE.to_parquet("rows.parquet")
    FIVE.set_index(np.arange(5) * 3).astype({"city": "category"}).to_parquet("indexed.parquet")
    FIVE.assign(age=[Decimal(f"{age:.2f}") for age in FIVE.age]).to_parquet("decimals.parquet")
    with pytest.warns(UserWarning, match="was not run"):
        GradientInput("m.onnx").export("e.onnx")
    return tmp_path


def expected_of(rows=FIVE):
    """Each column's own term of the sum: weight times value, or the weight of the category, 0 of an unknown one."""
    model = fitted(LinearRegression(), PRICE)
    scaler, encoder = model[0].named_transformers_.values()
    found = {
        name: rows[name] * weight
        for name, weight in zip(NUMBERS, model[-1].coef_[:2] / scaler.scale_, strict=True)
    }
    codes = encoder.transform(rows[TEXTS]).toarray() * model[-1].coef_[2:]
    ends = np.cumsum([0, *map(len, encoder.categories_)])
    found |= {name: codes[:, ends[k] : ends[k + 1]].sum(1) for k, name in enumerate(TEXTS)}
    return pd.DataFrame(found)[list(rows)]


def read(path):
    return (pd.read_csv if path.endswith(".csv") else pd.read_parquet)(path)


@pytest.mark.parametrize("output", ["maps.csv", "maps.parquet"])
@pytest.mark.parametrize(
    "source",
    ["rows.csv", "rows.tsv.csv", "turned.csv", "rows.parquet", "indexed.parquet", "decimals.parquet"],
)
@pytest.mark.parametrize("model", ["m.onnx", "e.onnx"])
def test_tables_of_files_give_a_column_for_each_column(model, source, output, files):
    method = ["--method", "GradientInput"] if model == "m.onnx" else []
    assert main(["explain", model, source, *method, "-o", output]) == 0
    found = read(output)
    assert [name for name in found if name in ROWS] == list(ROWS)
    np.testing.assert_allclose(found[list(ROWS)], expected_of(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.score, fitted(LinearRegression(), PRICE).predict(FIVE), rtol=1e-4)


def test_several_files_with_columns_in_other_orders(files):
    FIVE[2:].to_parquet("rest.parquet")
    arguments = ["rows.csv", "turned.csv", "rest.parquet", "--method", "GradientInput", "-o", "maps.csv"]
    assert main(["explain", "m.onnx", *arguments]) == 0
    found, expected = read("maps.csv"), expected_of()
    np.testing.assert_allclose(
        found[list(ROWS)], pd.concat([expected, expected, expected[2:]]), rtol=1e-4, atol=1e-6
    )
    assert found["sample"].tolist()[-2:] == ["rest.parquet, 1", "rest.parquet, 2"]


@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet"])
def test_jobs(source, files):
    assert main(["explain", "e.onnx", source, "-o", "maps/"]) == 0
    found, expected = read(f"maps/{source}"), expected_of()
    for name in ROWS:
        own = (
            found[name] if source.endswith(".csv") else np.concatenate(found[f"attribution_{name}"].to_list())
        )
        np.testing.assert_allclose(own, expected[name], rtol=1e-4, atol=1e-6)


REFUSED = {
    "missing": (FIVE.drop(columns="job"), ["missing: ['job']"]),
    "unknown text": (FIVE.assign(name="Ann"), ["unknown: ['name']"]),
    "an index": (FIVE.rename_axis("id").reset_index(), ["unknown: ['id']"]),
    "text for a number": (FIVE.assign(age="old"), ["'age'"]),
    "a missing text": (FIVE.assign(job=["a", None, "b", "a", "a"]), ["'job'", "None", "Fill missing values in"]),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("case", REFUSED)
def test_other_tables_are_refused_by_name(case, suffix, files, capsys):
    rows, fragments = REFUSED[case]
    (rows.to_csv if suffix == ".csv" else rows.to_parquet)(f"wrong{suffix}", index=False)
    assert main(["explain", "m.onnx", f"wrong{suffix}", "-o", "maps.csv"]) == 2
    said = capsys.readouterr().err
    assert [part for part in fragments if part not in said] == [], said


def test_a_text_that_pandas_reads_as_missing_is_said(files):
    FIVE.assign(job=["a", "NA", "b", "a", "a"]).to_csv("na.csv", index=False)
    with pytest.warns(UserWarning, match="na.csv, column 'job': 'NA' is read as a text.*Fill missing"):
        GradientInput("m.onnx").explain(Path("na.csv"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GradientInput("m.onnx").explain(Path("rows.csv"))


def test_inspect_and_check_take_a_table(files, capsys):
    assert main(["check", "m.onnx", "rows.csv"]) == 0
    assert main(["inspect", "m.onnx"]) == 0
    said = capsys.readouterr().out
    assert "onnxattr explain m.onnx rows.csv -o maps.csv" in said
    assert "the columns age, city (text), floor space (m²), job (text)" in said


LASTS = {
    "logits": LogisticRegression(),
    "decision_function": RidgeClassifier(),
    "hidden1": MLPClassifier((6,), max_iter=50, random_state=0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [COUNT, 1], ids=["rows", "one row"])
@pytest.mark.parametrize("layer", LASTS)
def test_layers_of_models_with_text(layer, count):
    """One row of a sample does not tell a ReLU's outputs from its inputs: further rows do."""
    model = fitted(LASTS[layer], PRICE > 1)
    method = GradientInput(to_onnx(model, ROWS[:count]), output_layer=layer)
    inner = model[0].transform(FIVE)
    expected = (
        np.maximum(inner @ model[-1].coefs_[0] + model[-1].intercepts_[0], 0)
        if layer == "hidden1"
        else model.decision_function(FIVE)[:, None]
    )
    np.testing.assert_allclose(method.predict(FIVE)[:, -expected.shape[1] :], expected, rtol=1e-4, atol=1e-5)


def test_logits_add_up_by_column():
    model = fitted(LogisticRegression(), PRICE > 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = IntegratedGradients(to_onnx(model, ROWS), output_layer="logits", steps=2)
    found = method(FIVE, np.ones((5, 1)))
    start = (
        -(model[0].transformers_[0][1].mean_ / model[0].transformers_[0][1].scale_) @ model[-1].coef_[0, :2]
    )
    total = sum(array[:, 0] for array in found.attributions.values())
    np.testing.assert_allclose(total, model.decision_function(FIVE) - start - model[-1].intercept_, rtol=1e-4)


STARTS = {
    "a dict": lambda rows: rows.iloc[0].to_dict(),
    "a row of the table": lambda rows: rows[:1],
    "a Series": lambda rows: rows.iloc[0],
    "rows": lambda rows: rows,
    "a dict of rows": lambda rows: {name: rows[name].tolist() for name in rows},
}


@pytest.mark.parametrize("call", ["at once", "for a call", "exported"])
@pytest.mark.parametrize("case", STARTS)
def test_paths_start_at_what_encodes_a_row(case, call, linear, tmp_path):
    rows = ROWS[10:15]
    later = {"baselines": STARTS[case](rows)} if call == "for a call" else {}
    given = {} if later else {"baseline_value": STARTS[case](rows)}
    method = IntegratedGradients(linear, steps=2, **given)
    if call == "exported" and method.per_sample is None:
        method.export(tmp_path / "e.onnx")
        method = load(tmp_path / "e.onnx")
    start = expected_of(rows if method.per_sample or "rows" in case else rows[:1]).to_numpy()
    found = method.explain(FIVE, **later)
    np.testing.assert_allclose(
        np.hstack([found[name] for name in FIVE]), expected_of() - start, rtol=1e-4, atol=1e-5
    )


ROW = ROWS.iloc[0].to_dict()
NO_STARTS = {
    "a column alone": ({"city": "Rome"}, r"names columns, and not .*'age'.*Name all of"),
    "unknown": (ROW | {"name": "Ann"}, r"names \['name'\]; the columns of the model are"),
    "a missing text": (ROW | {"city": None}, "Input 'city' holds None; expected text"),
    "a number for a text": (ROW | {"city": 7}, "Input 'city' holds 7; expected text"),
    "text for a number": (ROW | {"age": "old"}, "Input 'age' holds object values such as 'old'"),
    "a table without a column": (ROWS[:1].drop(columns="job"), r"missing: \['job'\]"),
    "text alone": ("Rome", "expected finite numbers"),
}


@pytest.mark.parametrize("case", NO_STARTS)
def test_what_is_no_row_to_start_at(case, linear):
    given, message = NO_STARTS[case]
    with pytest.raises(ParameterError, match=message):
        IntegratedGradients(linear, baseline_value=given)


def test_a_category_that_the_encoder_does_not_know_is_no_start():
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), TEXTS))
    model = to_onnx(make_pipeline(columns, LinearRegression()).fit(ROWS, PRICE), ROWS)
    with pytest.raises(ParameterError, match="no number for 'Bonn' in column 'city'"):
        IntegratedGradients(model, baseline_value=ROW | {"city": "Bonn"})


@pytest.mark.parametrize("option", ["--baseline-value", "--background"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_files_to_start_at(suffix, option, files):
    rows = ROWS[10:11] if option == "--baseline-value" else ROWS[10:13]
    write = pd.DataFrame.to_csv if suffix == ".csv" else pd.DataFrame.to_parquet
    write(rows[[*TEXTS, *NUMBERS]], f"start{suffix}", index=False)
    arguments = ["--steps", "2", option, f"start{suffix}", "-o", "maps.csv"]
    assert main(["explain", "m.onnx", "rows.csv", *arguments]) == 0
    start = expected_of(rows).mean().to_numpy()
    np.testing.assert_allclose(read("maps.csv")[list(ROWS)], expected_of() - start, rtol=1e-4, atol=1e-5)
