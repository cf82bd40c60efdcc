"""What converters write into a file about preprocessing, inputs and outputs."""

from types import SimpleNamespace

import numpy as np
import pytest

from models import photos
from onnxattr import GradientInput, Saliency
from onnxattr.errors import ParameterError
from onnxattr.loading.meaning import InputMeaning, OutputMeaning, read_meaning
from onnxattr.loading.preprocessing import read_preprocessing


def entries(model):
    return {entry.key: entry.value for entry in model.metadata_props}


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def small_network(keras, *before):
    x = image = keras.Input((16, 16, 3))
    for layer in before:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(image, keras.layers.Dense(3)(x), name="resnet50")


def test_layers_that_normalise_are_told(keras):
    from onnxattr.converters.keras import to_onnx

    normalization = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.4])
    model = small_network(keras, keras.layers.Rescaling(1 / 255), normalization)
    converted = to_onnx(model, verify=False)
    name = converted.graph.input[0].name
    assert read_meaning(entries(converted)).inputs == {
        name: InputMeaning("image", normalized_by=("Rescaling", "Normalization"))
    }
    assert read_preprocessing(entries(converted)) is None
    photo = photos.load("coffee")[None]
    with pytest.warns(UserWarning, match=r"normalises its input .* itself \(Rescaling, Normalization\)"):
        Saliency(converted, preprocess="keras-torch")
    method = Saliency(converted, preprocess={"antialias": False})
    resized = keras.ops.image.resize(photo.astype(np.float32), (16, 16))
    np.testing.assert_allclose(method.predict(photo), model(resized), rtol=1e-3, atol=1e-4)


def test_a_model_of_that_name_alone_is_no_network_of_keras(keras):
    from onnxattr.converters.keras import to_onnx

    converted = to_onnx(small_network(keras), verify=False)
    assert read_preprocessing(entries(converted)) is None
    assert not read_meaning(entries(converted)).inputs
    with pytest.raises(ParameterError, match="does not say what preprocessing it expects"):
        Saliency(converted, preprocess="model")


def test_networks_of_keras_bring_their_preprocessing(keras):
    from onnxattr.converters.keras import to_onnx

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None)
    converted = to_onnx(model, verify=False)
    spec = read_preprocessing(entries(converted))
    assert (spec.scale, spec.mean, spec.size, spec.in_graph) == (1 / 127.5, (1.0,), (32, 32), False)
    photo = photos.load("chelsea")[None]
    resized = keras.ops.convert_to_numpy(keras.ops.image.resize(photo.astype(np.float32), (32, 32)))
    image = keras.applications.mobilenet_v2.preprocess_input(resized)
    method = GradientInput(converted, preprocess="model", attributions_at="input", operator="classification")
    np.testing.assert_allclose(method.predict(photo), model(image), rtol=1e-3)
    right = GradientInput(converted, operator="classification").explain(image, [7])
    np.testing.assert_allclose(method.explain(photo, [7]), right, rtol=0, atol=2e-3 * np.abs(right).max())


def test_estimators_tell_tables_classes_and_probabilities():
    linear_model = pytest.importorskip("sklearn.linear_model")
    pytest.importorskip("skl2onnx")
    from onnxattr.converters.sklearn import to_onnx

    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    classifier = linear_model.LogisticRegression().fit(x, x[:, 0] > 0)
    found = read_meaning(entries(to_onnx(classifier, x)))
    assert found.inputs == {"X": InputMeaning("table")}
    assert found.outputs["probabilities"] == OutputMeaning("probabilities")
    found = read_meaning(entries(to_onnx(linear_model.LinearRegression().fit(x, x[:, 0]), x)))
    assert found.outputs["variable"] == OutputMeaning("value")


def test_weights_of_torchvision_bring_names_and_preprocessing():
    torch = pytest.importorskip("torch")
    from onnxattr.converters.torch import to_onnx

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    transforms = SimpleNamespace(
        crop_size=[32],
        resize_size=[36],
        mean=[0.5] * 3,
        std=[0.25] * 3,
        interpolation=SimpleNamespace(value="bicubic"),
    )
    weights = SimpleNamespace(meta={"categories": ["cat", "dog"]}, transforms=lambda: transforms)
    method = Saliency(to_onnx(module, torch.zeros(1, 3, 32, 32), weights=weights), preprocess="model")
    assert method.class_names == ("cat", "dog")
    spec = method.preprocessing
    assert (spec.size, spec.crop, spec.kernel, spec.std) == ((36, 36), (32, 32), "bicubic", (0.25,) * 3)
    assert method.explain(photos.load("coffee")[None], "dog").shape == (1, 400, 600, 1)
