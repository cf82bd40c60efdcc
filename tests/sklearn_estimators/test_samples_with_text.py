"""`onnxattr convert` of estimators of tables: .csv and .parquet samples with columns of text, and `--by-column`."""

import numpy as np
import pytest

from onnxattr import GradientInput
from onnxattr.cli import main

pd = pytest.importorskip("pandas")
pytest.importorskip("skl2onnx")
pytest.importorskip("pyarrow")
skops = pytest.importorskip("skops.io", reason="skops is not installed: pip install skops")
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

RNG = np.random.default_rng(0)
COUNT = 60
ROWS = pd.DataFrame(
    {
        "age": RNG.normal(size=COUNT).round(3),
        "city": RNG.choice(["Rome", "Oslo, north", "Bonn"], COUNT),
        "zip": RNG.choice(["007", "0123"], COUNT),
        "kind": RNG.integers(0, 3, COUNT),
        "member": RNG.choice([True, False], COUNT),
    }
)
PRICE = ROWS.age + 2 * (ROWS.city == "Rome") + (ROWS.zip == "007") - (ROWS.kind == 2) + ROWS.member
PLAIN, FILLED = OneHotEncoder(), make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
#: The encoder, the columns that it encodes, and options.
CASES = {
    "text": (PLAIN, ["city"], ()),
    "text that looks like numbers": (PLAIN, ["city", "zip"], ()),
    "such text alone, behind an imputer": (FILLED, ["zip"], ()),
    "text and whole numbers": (PLAIN, ["city", "kind"], ()),
    "text and truth values": (PLAIN, ["city", "member"], ()),
    "whole numbers by column": (PLAIN, ["kind"], ("--by-column",)),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("case", CASES)
def test_terms_of_a_sum_by_column(case, suffix, tmp_path, monkeypatch):
    """Of a number the weight times the value; of a category the weight of what encodes it."""
    monkeypatch.chdir(tmp_path)
    encoder, columns, options = CASES[case]
    rows = ROWS[["age", *columns]]
    model = make_pipeline(make_column_transformer((StandardScaler(), ["age"]), (encoder, columns)), Ridge())
    skops.dump(model.fit(rows, PRICE), "m.skops")
    shout = {True: "TRUE", False: "FALSE"}  # as R spells them; pandas reads them, too
    rows.assign(**{name: rows[name].map(shout) for name in columns if name == "member"}).to_csv(
        "rows.csv", index=False
    )
    rows.to_parquet("rows.parquet")
    given = ["convert", "m.skops", "--trust", "--sample", f"rows{suffix}", "-o", "m.onnx", *options]
    assert main(given) == 0
    found = GradientInput("m.onnx").explain(rows[:5])
    inner = model[0].transform(rows[:5])
    inner = getattr(inner, "toarray", lambda: inner)() * model[-1].coef_
    number = rows.age[:5] * model[-1].coef_[0] / model[0].transformers_[0][1].scale_[0]
    np.testing.assert_allclose(found["age"][:, 0], number, rtol=1e-4, atol=1e-6)
    total = sum(found[name][:, 0] for name in columns)
    np.testing.assert_allclose(total, inner[:, 1:].sum(1), rtol=1e-4, atol=1e-6)


REFUSED = {
    "a column twice": ("age,city,age\n1,Rome,2\n", (), "two columns of one name"),
    "not of scikit-learn": ("", ("m.keras", "--by-column"), "--by-column is for scikit-learn"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text, given, message = REFUSED[case]
    model = make_pipeline(make_column_transformer((StandardScaler(), ["age"]), (PLAIN, ["city"])), Ridge())
    skops.dump(model.fit(ROWS, PRICE), "m.skops")
    (tmp_path / "rows.csv").write_text(text)
    given = given or ("m.skops", "--trust", "--sample", "rows.csv")
    assert main(["convert", *given, "-o", "m.onnx"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
