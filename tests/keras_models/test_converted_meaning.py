"""What converters write into a file about preprocessing, inputs and outputs."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from models import photos
from onnxattr import GradientInput, Saliency
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, OutputMeaning, read_meaning
from onnxattr.loading.preprocessing.spec import read_preprocessing


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


FILMS = ["a good film", "a bad film", "very nice"]


def text_networks(keras):
    """By name a network that begins with a table of words, and what it takes in place of texts."""
    words = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=5, name="words")
    words.adapt(FILMS)
    lookup = keras.layers.StringLookup(vocabulary=["red", "green"], output_mode="one_hot", name="colour")
    numbers = keras.layers.IntegerLookup(vocabulary=[50, 70], name="code")
    text, extra = keras.Input((1,), dtype="string", name="text"), keras.Input((2,), name="extra")
    embedded = keras.layers.Embedding(20, 4, name="embedded")(words(text))
    pooled = keras.layers.GlobalAveragePooling1D()(embedded)
    colour, code = keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int64")
    coded = keras.layers.Flatten()(keras.layers.Embedding(3, 2)(numbers(code)))
    stacked = [keras.layers.Embedding(20, 4, name="embedded"), keras.layers.GlobalAveragePooling1D()]
    dense = keras.layers.Dense
    return {
        "functional": (keras.Model(text, dense(2)(pooled)), words),
        "sequential": (
            keras.Sequential([keras.Input((1,), dtype="string"), words, *stacked, dense(2)]),
            words,
        ),
        "beside numbers": (
            keras.Model([text, extra], dense(2)(keras.layers.Concatenate()([pooled, extra]))),
            words,
        ),
        "one-hot": (keras.Model(colour, dense(2)(lookup(colour))), lookup),
        "numbers": (keras.Model(code, dense(2)(coded)), numbers),
    }


@pytest.mark.parametrize("name", ["functional", "sequential", "beside numbers", "one-hot", "numbers"])
def test_tables_of_words_stay_outside(name, keras):
    """The file takes what the layer gives, predicts what the model predicts for the texts, and holds the words."""
    import tensorflow as tf
    from onnxattr.converters.keras import to_onnx

    model, layer = text_networks(keras)[name]
    given = {"one-hot": [["red"], ["blue"]], "numbers": [[70], [3]]}.get(name, [["good film"], ["nice one"]])
    given = np.array(given)
    inputs = {"text": given, "extra": np.ones((2, 2), np.float32)} if name == "beside numbers" else given
    with pytest.warns(UserWarning, match=f"{layer.name!r} is a table of words, which ONNX does not have"):
        converted = to_onnx(model, sample=inputs)
    ids = np.asarray(layer(tf.constant(given)))
    feeds = {layer.name: ids} | ({"extra": inputs["extra"]} if name == "beside numbers" else {})
    method = GradientInput(converted, wrt=None if name == "one-hot" else _first_embedding(converted))
    expected = model(
        {k: tf.constant(v) for k, v in inputs.items()} if name == "beside numbers" else tf.constant(given)
    )
    np.testing.assert_allclose(method.predict(feeds), expected, rtol=1e-5, atol=1e-6)
    own = [str(word) or "[PAD]" for word in layer.get_vocabulary()]
    if name == "one-hot":
        assert method(feeds).features == {layer.name: tuple(own)}
        return
    assert method.prepared.vocabularies == {layer.name: tuple(own)}
    assert method.meaning.inputs[layer.name].kind == "tokens"
    assert method(feeds).tokens == tuple(tuple(own[k] for k in row) for row in ids.tolist())


def _first_embedding(converted):
    return next(node.output[0] for node in converted.graph.node if node.op_type == "Gather")


def test_layers_and_texts_as_vocabularies(keras):
    from onnxattr.converters.keras import to_onnx

    model, layer = text_networks(keras)["functional"]
    behind = keras.Model(model.get_layer("words").output, model.outputs)
    found = Saliency(to_onnx(behind, verify=False), wrt="embedded", vocabulary=layer)
    (words,) = found.prepared.vocabularies.values()
    assert words == tuple(str(word) or "[PAD]" for word in layer.get_vocabulary())


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("mse", "value"),
        ("MeanAbsoluteError", "value"),
        ("logits", "logits"),
        ("sparse_categorical_crossentropy", None),
        (None, None),
    ],
)
def test_losses_tell_what_outputs_give(loss, kind, keras):
    from onnxattr.converters.keras import to_onnx

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    losses = keras.losses
    given = {
        "logits": losses.CategoricalCrossentropy(from_logits=True),
        "MeanAbsoluteError": losses.MeanAbsoluteError(),
    }
    if loss is not None:
        model.compile(loss=given.get(loss, loss))
    found = read_meaning(entries(to_onnx(model, verify=False))).outputs
    assert [one.kind for one in found.values()] == ([] if kind is None else [kind])


def test_tables_that_layers_normalise(keras):
    from onnxattr.converters.keras import to_onnx

    normalization = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])
    model = keras.Sequential([keras.Input((3,), name="rows"), normalization, keras.layers.Dense(2)])
    converted = to_onnx(model, verify=False)
    (name,) = [value.name for value in converted.graph.input]
    assert read_meaning(entries(converted)).inputs == {
        name: InputMeaning("table", normalized_by=("Normalization",))
    }


LAYERS = {
    "0 to 1 from pixels": (lambda L: [L.Rescaling(1 / 255)], True),
    "-1 to 1 from pixels": (lambda L: [L.Rescaling(1 / 127.5, offset=-1)], True),
    "pixels of a data set": (lambda L: [L.Normalization(mean=[99.0] * 3, variance=[3e3] * 3)], True),
    "channels": (lambda L: [L.Rescaling([1 / 255, 1 / 250, 1 / 200], [-0.4, -0.5, -0.4])], True),
    "behind contrast": (lambda L: [L.RandomContrast(0.1), L.Rescaling(1 / 255)], True),
    "behind brightness": (lambda L: [L.RandomFlip(), L.RandomBrightness(0.1), L.Rescaling(1 / 255)], True),
    "-1 to 1 from 0 to 1": (lambda L: [L.Rescaling(2.0, offset=-1)], False),
    "0 to 1 from -1 to 1": (lambda L: [L.Rescaling(0.5, offset=0.5)], False),
    "0 to 1 of a data set": (lambda L: [L.Normalization(mean=[0.4] * 3, variance=[0.05] * 3)], False),
    "0 to 1, scaled first": (
        lambda L: [L.Rescaling(2.0, offset=-1), L.Normalization(mean=[0.1] * 3, variance=[0.2] * 3)], False,
    ),
    "16 bits": (lambda L: [L.Rescaling(1 / 65535)], False),
    "16 bits of a data set": (lambda L: [L.Normalization(mean=[2e4] * 3, variance=[1e8] * 3)], False),
    "0 to 16": (lambda L: [L.Rescaling(1 / 16)], False),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Layers of model")
@pytest.mark.parametrize("case", LAYERS)
def test_photos_go_into_layers_that_expect_pixels_alone(keras, case):
    from onnxattr.converters.keras import to_onnx

    layers, pixels = LAYERS[case]
    model = small_network(keras, *layers(keras.layers))
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    method = Saliency(to_onnx(model, verify=False))
    if pixels:
        found = method.predict(Image.fromarray(photo))
        np.testing.assert_allclose(found, model.predict(photo[None].astype(np.float32)), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(ShapeError, match="does not say how a photo becomes its input"):
            method.predict(Image.fromarray(photo))
