"""The models of models/ predict what their table says, and the committed files agree with each other."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # models/ is a folder of the repository, not of the installed package

from models import digits, efficientnet_lite0, emotion, gunpoint, photos, tabular  # noqa: E402

SMALL_MODELS = [
    pytest.param(digits, 0.973, id="digits"),
    pytest.param(gunpoint, 0.993, id="gunpoint"),
    pytest.param(tabular, 0.967, id="tabular"),
]


def session(model) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model_session, x):
    return model_session.run(None, {model_session.get_inputs()[0].name: x})[0]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite0.build()


@pytest.fixture(scope="module")
def lite0_session(lite0):
    return session(lite0.SerializeToString())


@pytest.mark.parametrize(
    ("photo", "score"),
    [
        ("chelsea", 0.384),
        ("coffee", 0.940),
        ("motorcycle", 0.722),
        ("rocket", 0.224),
        ("grace_hopper", 0.397),
        ("china", 0.300),
        ("flower", 0.227),
    ],
)
def test_lite0_recognises_photo(lite0_session, photo, score):
    x = efficientnet_lite0.preprocess(photos.centre_crop(photo))[None]
    probabilities = softmax(run(lite0_session, x)[0])
    assert efficientnet_lite0.class_names()[probabilities.argmax()] == photos.PHOTOS[photo].shows
    assert probabilities.max() == pytest.approx(score, abs=0.01)


def test_lite0_batch_is_dynamic_and_rows_are_independent(lite0_session):
    crops = np.stack([photos.centre_crop(name) for name in ("chelsea", "coffee", "flower")])
    x = efficientnet_lite0.preprocess(crops)
    assert x.shape == (3, 3, 224, 224)
    assert x.dtype == np.float32
    rows = np.concatenate([run(lite0_session, row[None]) for row in x])
    np.testing.assert_allclose(run(lite0_session, x), rows, atol=1e-4 * np.abs(rows).max())


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("stem", (32, 112, 112)),
        ("block1a", (16, 112, 112)),
        ("block2b/expand", (144, 56, 56)),
        ("block3a/depthwise", (144, 28, 28)),
        ("block6d", (192, 7, 7)),
        ("block7a", (320, 7, 7)),
        ("head", (1280, 7, 7)),
        ("pooled", (1280, 1, 1)),
    ],
)
def test_lite0_values_are_named_after_their_blocks(lite0, value, shape):
    dimensions = {info.name: info.type.tensor_type.shape.dim for info in lite0.graph.value_info}[value]
    assert dimensions[0].dim_param == "N"
    assert tuple(dimension.dim_value for dimension in dimensions[1:]) == shape


def test_lite0_versions_and_ops(lite0):
    ops = [node.op_type for node in lite0.graph.node]
    counts = {op: ops.count(op) for op in set(ops)}
    expected = {"Conv": 49, "BatchNormalization": 49, "Clip": 33, "Add": 9}
    assert counts == expected | {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert (lite0.opset_import[0].version, lite0.ir_version) == (17, 8)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, [0, 0, 1, 1]),
        (112, 3, 1, [1, 1, 1, 1]),
        (56, 5, 2, [1, 1, 2, 2]),
        (7, 5, 1, [2, 2, 2, 2]),
        (7, 1, 1, [0, 0, 0, 0]),
    ],
)
def test_same_padding(size, kernel, stride, pads):
    assert efficientnet_lite0.same_padding(size, kernel, stride) == pads


def test_lite0_script_writes_the_model(lite0, tmp_path):
    script = ROOT / "models" / "efficientnet_lite0.py"
    subprocess.run([sys.executable, script, "-o", tmp_path / "lite0.onnx"], check=True, capture_output=True)
    assert [file.name for file in tmp_path.iterdir()] == ["lite0.onnx"]
    expected = onnx.ModelProto.FromString(lite0.SerializeToString())
    assert onnx.load(tmp_path / "lite0.onnx") == efficientnet_lite0.with_description(expected)


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_checkpoint_cannot_run_code(tmp_path):
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(pickle.UnpicklingError, match=r"asks for _?io\.open, which is refused"):
        efficientnet_lite0.read_checkpoint(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_checkpoint_with_wrong_magic_number(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"".join(pickle.dumps(number) for number in range(5)))
    with pytest.raises(ValueError, match="not a PyTorch checkpoint"):
        efficientnet_lite0.read_checkpoint(tmp_path / "other.pth")


def test_emotion_model_sees_a_happy_astronaut():
    probabilities = run(session(emotion.ONNX_FILE), emotion.preprocess(photos.face())[None])[0]
    assert probabilities.shape == (7,)
    assert emotion.LABELS[probabilities.argmax()] == "happy"
    assert probabilities.max() > 0.99


@pytest.mark.parametrize(("module", "accuracy"), SMALL_MODELS)
def test_accuracy_on_held_out_data(module, accuracy):
    _, _, x, labels = module.data()
    predicted = run(session(module.ONNX_FILE), x).argmax(axis=-1)
    assert (predicted == labels).mean() == pytest.approx(accuracy, abs=0.002)


@pytest.mark.parametrize("module", [digits, gunpoint, tabular, emotion], ids=lambda module: module.__name__)
def test_onnx_file_equals_keras_file(module):
    keras = pytest.importorskip("keras")
    if module is emotion:
        file, x = emotion.keras_file(), emotion.preprocess(photos.face())[None]
    else:
        file, x = module.KERAS_FILE, module.data()[2]
    expected = keras.models.load_model(file, compile=False).predict(x, verbose=0)
    np.testing.assert_allclose(run(session(module.ONNX_FILE), x), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "accuracy"), SMALL_MODELS)
def test_training_again_is_as_good(module, accuracy):
    pytest.importorskip("keras")
    _, _, x, labels = module.data()
    predicted = module.train().predict(x, verbose=0).argmax(axis=-1)
    assert (predicted == labels).mean() == pytest.approx(accuracy, abs=0.02)


def test_committed_files_stay_small():
    files = [file for file in (ROOT / "models").iterdir() if file.suffix in (".keras", ".onnx")]
    assert len(files) == 7
    assert sum(file.stat().st_size for file in files) < 3e6


@pytest.mark.parametrize(
    ("name", "shape"), [("chelsea", (300, 451, 3)), ("astronaut", (512, 512, 3)), ("flower", (427, 640, 3))]
)
def test_photos_are_whole_rgb_images(name, shape):
    photo = photos.load(name)
    assert photo.shape == shape
    assert photo.dtype == np.uint8
    assert photos.centre_crop(name, 96).shape == (96, 96, 3)
