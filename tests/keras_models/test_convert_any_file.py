"""`convert_file` of the command line: what a file is told by its name, and nothing runs code that is not trusted."""

import io
import json
import pickle
import zipfile

import joblib
import numpy as np
import onnx
import pytest

pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install 'onnxattr[sklearn]'")
skops = pytest.importorskip("skops.io", reason="skops is not installed: pip install skops")
from onnxattr.converters.files import convert_file  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402

from onnxattr.attributions import Saliency  # noqa: E402
from onnxattr.cli import main  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

IRIS, KINDS = load_iris(return_X_y=True)
DUMPS = {
    "model.pkl": lambda model, path: path.write_bytes(pickle.dumps(model)),
    "model.pickle": lambda model, path: path.write_bytes(pickle.dumps(model)),
    "model.joblib": joblib.dump,
    "model.skops": skops.dump,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", IRIS)
    return tmp_path


def pipeline():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS)


@pytest.mark.parametrize("name", DUMPS)
def test_estimators_from_files(name, folder):
    model, path = pipeline(), folder / name
    DUMPS[name](model, path)
    trust = [] if name.endswith(".skops") else ["--trust"]
    assert main(["convert", str(path), "--sample", "rows.npy", "--opset", "20", *trust]) == 0
    written = onnx.load(folder / "model.onnx")
    assert {entry.domain: entry.version for entry in written.opset_import}[""] == 20
    found = Saliency(written, output_layer="logits").predict(IRIS.astype(np.float32))
    np.testing.assert_allclose(found, model.decision_function(IRIS), atol=1e-5)


class Harmful:
    def __reduce__(self):
        return open, ("harm", "w")


@pytest.mark.parametrize("name", ["model.pkl", "model.pickle", "model.joblib"])
def test_pickles_are_not_opened_unless_they_are_trusted(name, folder):
    DUMPS[name](Harmful(), folder / name)
    with pytest.raises(ConversionError, match=r"run code.*--trust.*skops"):
        convert_file(name, "model.onnx", sample=IRIS)
    assert not (folder / "harm").exists()
    with pytest.raises(ConversionError, match=r"Fit the estimator|could not convert"):
        convert_file(name, "model.onnx", sample=IRIS, trust=True)
    assert (folder / "harm").exists()
    assert not (folder / "model.onnx").exists()


def damage_cut(data):
    return data[: len(data) // 2]


def damage_middle(data):
    return data[:200] + bytes(100) + data[300:]


def bomb(data):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("schema.json", b" " * (200 << 20) + b"{}")
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "damage", "match"),
    [
        ("model.skops", damage_cut, "cannot be loaded: BadZipFile"),
        ("model.skops", damage_middle, "cannot be loaded"),
        ("model.skops", lambda data: b"", "cannot be loaded"),
        ("model.skops", bomb, "unpacks to 200 MiB"),
        ("model.joblib", damage_cut, "cannot be loaded"),
        ("model.pkl", damage_cut, "cannot be loaded"),
    ],
)
def test_damaged_files_are_told(name, damage, match, folder):
    DUMPS[name](pipeline(), folder / name)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(ConversionError, match=match):
        convert_file(name, "model.onnx", sample=IRIS, trust=not name.endswith(".skops"))


def test_skops_files_of_unknown_functions_are_not_opened(folder):
    model = make_pipeline(FunctionTransformer(json.dumps), LogisticRegression())
    skops.dump(model, "model.skops")
    with pytest.raises(ConversionError, match=r"json.dumps.*--trust"):
        convert_file("model.skops", "model.onnx", sample=IRIS)


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("model.skops", {}, "--sample rows.npy"),
        ("model.skops", {"sample": "no.npy"}, "no.npy is not a .npy file"),
        ("model.skops", {"sample": IRIS, "keep_layers": "all"}, "every step of a pipeline stays"),
        ("no.skops", {"sample": IRIS}, "does not exist"),
        ("text.pkl", {"sample": IRIS, "trust": True}, "cannot be loaded: UnpicklingError"),
        ("text.pt2", {}, r"run code.*--trust.*converters.torch.to_onnx"),
        ("text.safetensors", {"trust": True}, r"module is not in it.*\.pt2"),
        ("model.onnx", {}, "ONNX already"),
    ],
)
def test_refusals(name, settings, match, folder):
    skops.dump(pipeline(), "model.skops")
    for text in ("text.pkl", "text.pt2", "text.safetensors"):
        (folder / text).write_text("text")
    with pytest.raises(ConversionError, match=match):
        convert_file(name, "out.onnx", **settings)
    assert not (folder / "out.onnx").exists()
