"""Tables beside tables, and rows one by one: columns in other orders are matched by name."""

import csv
import json

import numpy as np
import pytest
from support.small_models import mlp, named

import onnxattr
from onnxattr import ExpectedGradients, GradientInput, IntegratedGradients
from onnxattr.cli import main
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.inputs.csv_rows import Table
from onnxattr.loading.meaning.features import KEY, features_text
from onnxattr.metrics import Deletion, Infidelity, Insertion, MuFidelity

NAMES = ["a", "b", "c", "d", "e", "f"]
ORDER = [5, 1, 2, 3, 0, 4]
OTHER = [NAMES[k] for k in ORDER]
ROWS = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """A classifier of four classes whose columns have names."""
    found = mlp().model
    entry = found.metadata_props.add()
    entry.key, entry.value = KEY, features_text({found.graph.input[0].name: NAMES})
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    return str(tmp_path / "m.onnx")


def write_csv(path, names, rows):
    lines = [",".join(names)] if names else []
    path.write_text("\n".join([*lines, *(",".join(map(repr, row)) for row in rows.tolist())]) + "\n")
    return str(path)


FIRST = {"in the model's order": (NAMES, list(range(6))), "in another": (OTHER, ORDER)}
SECOND = {"with names": OTHER, "the model's": NAMES, "without names": None}


def test_predictions_of_several_tables(model, tmp_path):
    one = write_csv(tmp_path / "one.csv", NAMES, ROWS[:4])
    two = write_csv(tmp_path / "two.csv", OTHER, ROWS[4:, ORDER])
    method = GradientInput(model)
    np.testing.assert_allclose(method.predict([one, two]), method.predict(ROWS), rtol=1e-5)
    three = write_csv(tmp_path / "three.csv", [*NAMES[:5], "z"], ROWS[4:])
    with pytest.raises(ShapeError, match=r"samples of different columns, .*'z'"):
        method.predict([one, three])


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".json"])
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_maps_of_several_files_have_the_columns_of_the_first(first, second, suffix, model, tmp_path):
    (names, order), others = FIRST[first], SECOND[second]
    one = write_csv(tmp_path / "one.csv", names, ROWS[:4, order])
    two = write_csv(tmp_path / "two.csv", others, ROWS[4:, ORDER if others == OTHER else range(6)])
    out = tmp_path / f"maps{suffix}"
    assert main(["explain", model, one, two, "--method", "GradientInput", "-o", str(out)]) == 0
    expected = GradientInput(model).explain(ROWS)[:, order]
    if suffix == ".npy":
        found = np.load(out)
    elif suffix == ".json":
        told = json.loads(out.read_text())
        found = [next(iter(sample["attributions"].values())) for sample in told["samples"]]
        assert next(iter(told["features"].values())) == names
    else:
        lines = list(csv.DictReader(out.open()))
        found = [[float(line[name]) for name in names] for line in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(GradientInput(model).explain([one, two]), expected, rtol=1e-5, atol=1e-7)


def test_tables_with_other_columns_for_a_model_without_names(tmp_path):
    """Columns of the same names are those, and others are refused: they would be taken for one another."""
    case = mlp()
    (tmp_path / "plain.onnx").write_bytes(case.model.SerializeToString())
    one = write_csv(tmp_path / "one.csv", NAMES, ROWS[:4])
    two = write_csv(tmp_path / "two.csv", OTHER, ROWS[4:, ORDER])
    method = GradientInput(case.model)
    np.testing.assert_allclose(method.explain([one, two]), method.explain(ROWS), rtol=1e-5, atol=1e-7)
    write_csv(tmp_path / "two.csv", ["x", *NAMES[1:]], ROWS[4:])
    with pytest.raises(ShapeError, match=r"two.csv has the columns \['x', .* no names of columns"):
        method.explain([one, two])
    batches = (Table(names, ROWS[:, order]) for names, order in ((NAMES, range(6)), (OTHER, ORDER)))
    with pytest.raises(ShapeError, match="no names of columns"):
        method.explain(batches)


def rows_of(frame):
    return [row for _, row in frame.iterrows()]


GIVEN = {
    "rows": lambda frame: frame,
    "named tuples": lambda frame: list(frame.itertuples(index=False)),
    "a dataset of named tuples": lambda frame: frame.itertuples(index=False),
    "dicts": lambda frame: frame.to_dict("records"),
    "a dataset of dicts": lambda frame: iter(frame.to_dict("records")),
    "pairs of dicts": lambda frame: ((row, 1) for row in frame.to_dict("records")),
    "a list of rows": rows_of,
    "a dataset of rows": lambda frame: iter(rows_of(frame)),
    "pairs": lambda frame: ((row, 1) for row in rows_of(frame)),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_rows_with_names_are_matched_by_them(kind, model, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=NAMES)[OTHER]
    labels = [1] * 6 if kind.startswith("pairs") else None
    method = GradientInput(model)
    method.export(tmp_path / "e.onnx")
    for explainer in (method, onnxattr.load(tmp_path / "e.onnx")):
        found = np.asarray(explainer.explain(GIVEN[kind](frame)))
        np.testing.assert_allclose(found, method.explain(ROWS, labels)[:, ORDER], rtol=1e-5, atol=1e-7)
    wrong = rows_of(frame)
    wrong[2] = wrong[2].rename({"a": "z"})
    with pytest.raises(ShapeError, match="Row 2 has the names"):
        method.explain(wrong)


ONE = dict(zip(NAMES, ROWS[0].tolist(), strict=True))


@pytest.mark.parametrize("given", [ONE, {**{name: [1.0] for name in NAMES}, "c": [1.0, 2.0]}])
def test_columns_that_are_no_columns(given, model):
    for call in (GradientInput(model).explain, GradientInput(model).predict):
        with pytest.raises(ShapeError, match=r"column '[ac]' has the shape"):
            call(given)
    if given is ONE:  # a row by itself
        np.testing.assert_allclose(
            GradientInput(model).explain(iter([given])), GradientInput(model).explain(ROWS[:1]), rtol=1e-5
        )
        return
    with pytest.raises(ShapeError, match=r"column '[ac]' has the shape"):
        GradientInput(model).explain(iter([given]))


@pytest.mark.parametrize("labels", [False, True])
def test_loaders_of_pytorch(labels, model):
    """They give lists: of the batch, or of it and its targets."""
    torch = pytest.importorskip("torch")
    y = np.arange(6) % 4
    parts = [torch.tensor(ROWS), *([torch.tensor(y)] if labels else [])]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*parts), batch_size=4)
    expected = GradientInput(model).explain(ROWS, y if labels else None)
    np.testing.assert_allclose(GradientInput(model).explain(loader), expected, rtol=1e-5, atol=1e-7)
    two = [[row, 2 * row] for row in ROWS]  # batches of two samples
    found = GradientInput(model).explain(iter(two))
    np.testing.assert_allclose(found, GradientInput(model).explain(np.concatenate(two)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("metric", [Deletion, Insertion, MuFidelity, Infidelity])
@pytest.mark.parametrize("kind", ["series", "frame", "function"])
def test_baselines_of_metrics_are_matched_by_name(metric, kind, model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=NAMES)[OTHER]
    mean = frame.mean()
    start = {"series": mean, "frame": mean.to_frame().T, "function": lambda x: mean}[kind]
    maps = GradientInput(model).explain(ROWS)
    expected = metric(model, ROWS, baseline_mode=ROWS.mean(axis=0))(maps)
    assert metric(model, frame, baseline_mode=start)(maps[:, ORDER]) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ParameterError, match=r"missing: \['a'\]"):
        metric(model, frame, baseline_mode=mean.rename({"a": "z"}))


def test_background_and_groups_are_matched_by_name(model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=NAMES)[OTHER]
    expected = ExpectedGradients(model, background=ROWS).explain(ROWS)
    for background in (rows_of(frame), frame):
        found = ExpectedGradients(model, background=background).explain(ROWS)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    groups = np.array([0, 1, 1, 2, 0, 2])
    expected = IntegratedGradients(model, feature_mask=groups).explain(ROWS)
    mask = pandas.DataFrame([groups], columns=NAMES)[OTHER]
    for given in (mask, mask.iloc[0], pandas.concat([mask] * 6)):
        found = IntegratedGradients(model, feature_mask=given).explain(frame)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_masked_rows_in_a_list_are_missing(model):
    rows = [np.ma.array(row, mask=[0, 0, 1, 0, 0, 0]) for row in ROWS]
    with pytest.raises(ShapeError, match="6 NaN or infinite values"):
        GradientInput(model).explain(rows)


@pytest.mark.parametrize("command", ["explain", "evaluate"])
@pytest.mark.parametrize("files", [1, 2])
def test_columns_of_weights_in_a_file_are_classes(command, files, tmp_path):
    (tmp_path / "m.onnx").write_bytes(named("cat", "dog", "emu", "fox").SerializeToString())
    parts = np.split(ROWS, files)
    inputs = [write_csv(tmp_path / f"x{k}.csv", None, part) for k, part in enumerate(parts)]
    weights = np.zeros((6, 4), np.float32)
    weights[:, 2] = 1
    columns = [2, 0, 3, 1]
    shuffled = write_csv(tmp_path / "w.csv", ["emu", "cat", "fox", "dog"], weights[:, columns])
    common = [str(tmp_path / "m.onnx"), *inputs]
    found = {}
    for key, targets in (("table", shuffled), ("name", "emu")):
        if command == "explain":
            out = tmp_path / f"{key}.npy"
            more = ["--method", "GradientInput"]
        else:
            out = tmp_path / f"{key}.json"
            more = ["--methods", "GradientInput", "--metrics", "Deletion", "--no-controls"]
        assert main([command, *common, "--targets", targets, "-o", str(out), *more]) == 0
        found[key] = np.load(out) if command == "explain" else _scores(json.loads(out.read_text()))
    np.testing.assert_allclose(found["table"], found["name"], rtol=1e-5, atol=1e-7)


def test_names_of_classes_that_are_folders_and_arrays_in_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(named("cat", "dog", "emu", "fox").SerializeToString())
    (tmp_path / "emu").mkdir()
    np.save("x.npy", ROWS)
    np.savez("one.npz", y=np.full(6, 2))
    np.savez("two.npz", y=np.full(6, 2), z=np.full(6, 2))
    command = ["explain", "m.onnx", "x.npy", "--method", "GradientInput", "-o", "maps.npy", "--targets"]
    expected = GradientInput("m.onnx").explain(ROWS, 2)
    for given in ("emu", "one.npz"):
        assert main([*command, given]) == 0
        np.testing.assert_array_equal(np.load("maps.npy"), expected)
    assert main([*command, "two.npz"]) == 2
    assert "two.npz holds several arrays, ['y', 'z']; give a .npy file of one" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 6])
def test_records_in_a_file_are_rows(count, model, tmp_path):
    records = np.array([tuple(row) for row in ROWS[:count, ORDER]], [(name, "f4") for name in OTHER])
    np.save(tmp_path / "x.npy", records)
    out = tmp_path / "maps.npy"
    assert main(["explain", model, str(tmp_path / "x.npy"), "--method", "GradientInput", "-o", str(out)]) == 0
    np.testing.assert_allclose(np.load(out), GradientInput(model).explain(ROWS[:count])[:, ORDER], rtol=1e-5)


def _scores(told):
    return told["methods"]["GradientInput"]["scores"]["Deletion"]


@pytest.mark.parametrize("mixed", [0, 1])
def test_lines_of_a_table_have_its_columns_whatever_is_known_of_them(mixed, model, tmp_path):
    """Weights on two classes have no label; one-hot weights, those of the other file, have one."""
    weights = np.eye(4, dtype=np.float32)[[1] * 6]
    weights[3 * mixed, 0] = 0.5
    np.save(tmp_path / "w.npy", weights)
    parts = [write_csv(tmp_path / f"{k}.csv", NAMES, ROWS[3 * k : 3 * k + 3]) for k in range(2)]
    out = tmp_path / "maps.csv"
    command = ["explain", model, *parts, "--method", "GradientInput", "-o", str(out)]
    assert main([*command, "--targets", str(tmp_path / "w.npy")]) == 0
    lines = list(csv.DictReader(out.open()))
    expected = GradientInput(model).explain(ROWS, weights)
    found = [[float(line[name]) for name in NAMES] for line in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert [line["target"] for line in lines] == [*([""] * 3 + ["1"] * 3)][:: 1 - 2 * mixed]


def test_gaps_are_those_of_all_files(model, tmp_path, capsys):
    method = IntegratedGradients(model, steps=3)
    method.explain(ROWS)
    worst = int(np.argmax(method.gaps))
    ordered = ROWS[[worst, *(k for k in range(6) if k != worst)]]
    one, two = (
        write_csv(tmp_path / "1.csv", None, ordered[:2]),
        write_csv(tmp_path / "2.csv", None, ordered[2:]),
    )
    assert main(["explain", model, one, two, "--steps", "3", "-o", str(tmp_path / "maps.npy")]) == 0
    median, most = np.median(method.gaps), method.gaps.max()
    line = f"gap: {median:.2g} of f(x) - f(b) in the median, at most {most:.2g}, in sample 0"
    assert line in capsys.readouterr().out
