"""Models of a photo and a table: files by the names of inputs, and how their samples are matched."""

import json

import numpy as np
import onnx
import pytest
from support.small_models import build, node

from onnxattr import GradientInput, load
from onnxattr.cli import main
from onnxattr.errors import ShapeError
from onnxattr.inputs.named import named_files

Image = pytest.importorskip("PIL.Image")
COLUMNS = ["age", "height", "weight"]
FILES = ["a.png", "b.png", "c.png"]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
ROWS = np.arange(9, dtype=np.float32).reshape(3, 3) / 4 - 1
WEIGHTS = np.array([[1, -2], [0.5, 1], [3, 0.25]], np.float32)
TURNED = [2, 0, 1]


def two(names=True):
    """Table times weights, times the mean of the photo: that of pixels between 0 and 1, one for each row."""
    nodes = [
        node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        node("Unsqueeze", ["mean", "last"], ["column"]),
        node("MatMul", ["table", "w"], ["rows"]),
        node("Mul", ["rows", "column"], ["y"]),
    ]
    weights = {"axes": np.array([1, 2, 3]), "last": np.array([1]), "w": WEIGHTS}
    model = build(nodes, {"image": ["N", 4, 4, 3], "table": ["N", 3]}, {"y": ["N", 2]}, weights)
    if names:
        model.metadata_props.add(key="onnxattr.features", value=json.dumps({"table": COLUMNS}))
    return model


OPTIONS = {"preprocess": "0..1", "wrt": ["pixels", "table"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(two(), "two.onnx")
    for place in ("photos", "others", "shifted"):
        (tmp_path / place).mkdir()
    for name, pixels in zip(FILES, PIXELS, strict=True):
        Image.fromarray(pixels).save(f"photos/{name}")
    for name in ("b.png", "c.png", "d.png"):
        Image.fromarray(PIXELS[0]).save(f"shifted/{name}")
    plain = [",".join(map(str, row)) for row in ROWS.tolist()]
    named = [f"{name},{row}" for name, row in zip(FILES, plain, strict=True)]
    text = {
        "ordered": [",".join(COLUMNS), *plain],
        "by_name": ["file," + ",".join(COLUMNS), *(named[k] for k in TURNED)],
        "by_path": [",".join(COLUMNS) + ",photo"] + [f"{plain[k]},data\\x/{FILES[k]}" for k in TURNED],
        "by_stem": ["id," + ",".join(COLUMNS), *(named[k].replace(".png", "") for k in TURNED)],
        "short": [",".join(COLUMNS), *plain[:2]],
        "without": ["file," + ",".join(COLUMNS), *named[:2]],
        "beyond": ["file," + ",".join(COLUMNS), *named, "d.png,1,2,3"],
        "twice": ["file," + ",".join(COLUMNS), *named, named[0]],
        "two_names": ["file,photo," + ",".join(COLUMNS), *(f"{n.split(',')[0]},{n}" for n in named)],
        "unknown": ["file," + ",".join(COLUMNS), *(f"x{line}" for line in named)],
        "nameless": plain,
    }
    for name, lines in text.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    np.save("rows.npy", ROWS)
    return tmp_path


MATCHED = {
    "in order": "ordered.csv",
    "by names": "by_name.csv",
    "by names behind folders": "by_path.csv",
    "by names without suffixes": "by_stem.csv",
    "without names of columns": "nameless.csv",
    "an array": "rows.npy",
}


@pytest.mark.parametrize("case", MATCHED)
def test_samples_are_matched(case, folder):
    method = GradientInput("two.onnx", **OPTIONS)
    given = {"pixels": "photos", "table": MATCHED[case]}
    scores = ROWS @ WEIGHTS * (PIXELS / 255).mean((1, 2, 3))[:, None]
    np.testing.assert_allclose(method.predict(given), scores, rtol=1e-5)
    expected = method.explain({"pixels": PIXELS, "table": ROWS})
    found = method.explain(given)
    for name in OPTIONS["wrt"]:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    winners = scores.argmax(1)
    np.testing.assert_allclose(
        found["table"], ROWS * WEIGHTS.T[winners] * (PIXELS / 255).mean((1, 2, 3))[:, None], rtol=1e-5
    )


def test_a_table_in_another_order_of_columns_and_rows(folder):
    """The maps have the table's columns, and the photos' order."""
    lines = ["weight,file,age,height"]
    lines += [f"{ROWS[k, 2]},{FILES[k]},{ROWS[k, 0]},{ROWS[k, 1]}" for k in TURNED]
    (folder / "turned.csv").write_text("\n".join(lines))
    method = GradientInput("two.onnx", **OPTIONS)
    found = method.explain({"pixels": "photos", "table": "turned.csv"})
    expected = method.explain({"pixels": PIXELS, "table": ROWS})
    np.testing.assert_allclose(found["table"], expected["table"][:, [2, 0, 1]], rtol=1e-6)


REFUSED = {
    "fewer rows": ("short.csv", "different numbers of samples.*3 files of 'pixels'.*: 3, short.csv: 2"),
    "a file without a row": ("without.csv", r"column 'file'.*files without a row: \['c.png'\]"),
    "a row without a file": ("beyond.csv", r"rows without a file: \['d.png'\]"),
    "a file twice": ("twice.csv", r"more than once: \['a.png'\]"),
    "two columns of names": ("two_names.csv", r"columns \['file', 'photo'\] hold names"),
    "other names": ("unknown.csv", "line 2, column 'file': 'xa.png' is no number"),
    "a folder of photos": ("photos", "'table' takes no photo"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_samples_that_do_not_match(case, folder):
    given, message = REFUSED[case]
    with pytest.raises(ShapeError, match=message):
        GradientInput("two.onnx", **OPTIONS).explain({"pixels": "photos", "table": given})


def test_photos_of_two_inputs_have_the_same_names(folder):
    kind = onnx.TensorProto.UINT8
    nodes = [node("Cast", [n], [f"{n}_f"], to=1) for n in ("left", "right")]
    nodes += [
        node("Sub", ["left_f", "right_f"], ["d"]),
        node("ReduceMean", ["d", "axes"], ["mean"], keepdims=0),
        node("Unsqueeze", ["mean", "last"], ["y"]),
    ]
    inputs = {name: (["N", 4, 4, 3], kind) for name in ("left", "right")}
    weights = {"axes": np.array([1, 2, 3]), "last": np.array([1])}
    method = GradientInput(build(nodes, inputs, {"y": ["N", 1]}, weights), wrt="left_f")
    for name, pixels in zip(FILES, PIXELS[::-1], strict=True):
        Image.fromarray(pixels).save(f"others/{name}")
    found = method.predict({"left": "photos", "right": "others"})
    np.testing.assert_allclose(
        found[:, 0], PIXELS.mean((1, 2, 3)) - PIXELS[::-1].mean((1, 2, 3)), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(ShapeError, match="'a' stands beside 'b'"):
        method.predict({"left": "photos", "right": "shifted"})


def test_batches_hold_the_rows_of_their_photos(folder):
    found = named_files(
        {"pixels": "photos", "table": "by_name.csv"}, GradientInput("two.onnx", **OPTIONS).prepared
    )
    batches = list(found.batches(2))
    assert [names for _, names in batches] == [("a.png", "b.png"), ("c.png",)]
    np.testing.assert_array_equal(
        np.concatenate([np.asarray(inputs["table"]) for inputs, _ in batches]), ROWS
    )
    assert "by their names in the column 'file'" in found.told


@pytest.mark.parametrize("model", ["two.onnx", "e.onnx"])
def test_command_line(model, folder, capsys):
    pytest.importorskip("matplotlib")
    given = ["--preprocess", "0..1", "--wrt", "pixels", "--wrt", "table", "--method", "GradientInput"]
    GradientInput("two.onnx", **OPTIONS).export("e.onnx")
    command = ["explain", model, *(given if model == "two.onnx" else [])]
    files = ["pixels=photos/", "table=by_name.csv"]
    assert main([*command, *files, "-o", "maps.npz", "--picture", "why.png"]) == 0
    said = capsys.readouterr().out
    assert "matched rows of by_name.csv with files by their names in the column 'file'" in said
    expected = load("e.onnx").explain({"pixels": PIXELS, "table": ROWS})
    found = np.load("maps.npz")
    for name in OPTIONS["wrt"]:
        for row, file in enumerate(FILES):
            np.testing.assert_allclose(found[f"{file}/{name}"], expected[name][row], rtol=1e-5)
    assert {path.name for path in folder.glob("why*")} == {"why.pixels.png", "why.table.png"}
    assert main([*command, "pixels=photos/", "table=ordered.csv", "-o", "maps.json"]) == 0
    assert "in their order: sample 0 is a.png, 1 is b.png" in capsys.readouterr().out
    assert [each["sample"] for each in json.loads((folder / "maps.json").read_text())["samples"]] == FILES


WRONG = {
    "one without an input": (["photos/", "table=ordered.csv"], "photos/: name the input of each file"),
    "an input without a file": (["pixels=photos/"], "missing: ['table']"),
    "an unknown input": (["image=photos/", "table=ordered.csv"], "unknown: ['image']"),
    "photos alone": (["photos/"], "pixels=photos/ table=FILE"),
    "nothing there": (["pixels=photos/", "table=nowhere.csv"], "nowhere.csv cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case, folder, capsys):
    files, message = WRONG[case]
    command = ["explain", "two.onnx", *files, "--preprocess", "0..1", "-o"]
    assert main([*command, "maps.npz"]) == 2
    assert message in capsys.readouterr().err
    if case != "photos alone":
        assert main([*command, "jobs/"]) == 2
        assert not (folder / "jobs").exists()
