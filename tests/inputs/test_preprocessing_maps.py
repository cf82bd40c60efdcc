"""Maps of models with preprocessing in front: at the pixels those of TensorFlow, at the input those without it."""

import numpy as np
import onnx
import pytest
from support import photo_reference as reference

from models import efficientnet_lite0, photos
from onnxattr import attributions, vjp
from onnxattr.errors import ParameterError
from onnxattr.results.photos import drawn_photos
from onnxattr.running.explainers.explainer import load
from onnxattr.session import Session

tf = pytest.importorskip("tensorflow")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIDE, EDGE = 24, 32
SPECS = {
    "imagenet": {"preset": "imagenet", "size": EDGE, "crop": SIDE},
    "keras-caffe": "keras-caffe",
    "letterbox": {"resize": "letterbox", "pad": 114, "scale": 1 / 127.5, "mean": 1.0},
}
METHODS = {
    "Saliency": ("Saliency", {"reducer": None}),
    "GradientInput": ("GradientInput", {}),
    "IntegratedGradients": ("IntegratedGradients", {"steps": 5, "reducer": None}),
    "from-mean": ("IntegratedGradients", {"steps": 4, "baseline_value": "mean"}),
    "from-blur": ("IntegratedGradients", {"steps": 4, "baseline_value": "blur", "sigma": 3.0}),
    "from-uniform": ("IntegratedGradients", {"steps": 4, "baseline_value": "uniform", "seed": 3}),
    "adaptive": ("IntegratedGradients", {"steps": 12, "points": "adaptive"}),
    "BlurIG": ("BlurIG", {"steps": 4}),
    "SmoothGrad": ("SmoothGrad", {"nb_samples": 3, "noise": 0.3}),
    "SquareGrad": ("SquareGrad", {"nb_samples": 3, "noise": 0.3}),
    "VarGrad": ("VarGrad", {"nb_samples": 3, "noise": 0.3}),
    "DeconvNet": ("DeconvNet", {}),
    "GuidedBackprop": ("GuidedBackprop", {}),
    "GradCAM": ("GradCAM", {"conv_layer": "second"}),
    "GuidedGradCAM": ("GuidedGradCAM", {"conv_layer": "second"}),
}
RENDERINGS = ("batch", "loop")


@pytest.fixture(scope="module")
def network():
    """A small network of random weights, and the same as ONNX."""
    from onnxattr.converters.keras import to_onnx

    tf.keras.utils.set_random_seed(3)
    x = image = tf.keras.Input((SIDE, SIDE, 3))
    x = tf.keras.layers.Conv2D(6, 5, strides=2, activation="relu", name="first")(x)
    x = tf.keras.layers.Conv2D(8, 3, activation="relu", name="second")(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    model = tf.keras.Model(image, tf.keras.layers.Dense(5)(x))
    return model, to_onnx(model, verify=False)


def small(name, height=50, width=67):
    """A part of a photo."""
    return photos.load(name)[100 : 100 + height, 120 : 120 + width]


def by_tensorflow(name, x):
    """The preprocessing of a name in TensorFlow."""
    height, width = x.shape[1:3]
    if name == "keras-caffe":
        return tf.image.resize(x, (SIDE, SIDE))[..., ::-1] - [103.939, 116.779, 123.68]
    if name == "imagenet":
        new = reference.torchvision_sizes(height, width, EDGE)
        top, left = round((new[0] - SIDE) / 2), round((new[1] - SIDE) / 2)
        resized = tf.image.resize(x, new, antialias=True)[:, top : top + SIDE, left : left + SIDE]
        return (resized / 255 - MEAN) / STD
    ratio = min(SIDE / height, SIDE / width)
    new = round(height * ratio), round(width * ratio)
    top, left = round((SIDE - new[0]) / 2 - 0.1), round((SIDE - new[1]) / 2 - 0.1)
    space = [[0, 0], [top, SIDE - new[0] - top], [left, SIDE - new[1] - left], [0, 0]]
    return tf.pad(tf.image.resize(x, new, antialias=True), space, constant_values=114.0) / 127.5 - 1


def tape_gradient(model, name, x, label):
    pixels = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        score = tf.reduce_sum(model(by_tensorflow(name, pixels))[:, label])
    return tape.gradient(score, pixels).numpy()


def close(found, right, tolerance=1e-5):
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= tolerance * np.abs(right).max()


@pytest.mark.parametrize("name", SPECS)
def test_gradients_at_the_pixels_are_those_of_the_tape(network, name):
    model, converted = network
    x = np.stack([small("chelsea"), small("coffee")])
    g = np.concatenate(
        [tape_gradient(model, name, row[None], label) for row, label in zip(x, (2, 4), strict=True)]
    )
    saliency = attributions.Saliency(converted, preprocess=SPECS[name], reducer=None)
    assert saliency.prepared.rows.kind == "proven"
    close(saliency.explain(x, [2, 4]), np.abs(g), 1e-4)
    close(attributions.GradientInput(converted, preprocess=SPECS[name]).explain(x, [2, 4]), x * g, 1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_paths_at_the_pixels_are_those_of_the_tape(network, name):
    model, converted = network
    x, b, steps = small("chelsea")[None].astype(np.float32), 90.0, 9
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    points = [b + alpha * (x - b) for alpha in np.linspace(0, 1, steps)]
    total = sum(w * tape_gradient(model, name, z, 1) for w, z in zip(weights, points, strict=True))
    method = attributions.IntegratedGradients(
        converted, preprocess=SPECS[name], steps=steps, baseline_value=b, reducer=None
    )
    maps = method.explain(x, [1])
    close(maps, (x - b) * total, 1e-4)
    f = lambda z: model(by_tensorflow(name, tf.constant(z, tf.float32))).numpy()[0, 1]  # noqa: E731
    assert maps.sum() - method.convergence_delta(x, [1])[0] == pytest.approx(
        f(x) - f(np.full_like(x, b)), rel=1e-4
    )


@pytest.mark.parametrize("key", METHODS)
def test_pixels_are_explained_as_by_a_network_with_the_layers_inside(network, key):
    """The same numbers, noise and baselines included, as where Keras' layers resize and scale."""
    from onnxattr.converters.keras import to_onnx

    model, converted = network
    x = small("coffee")
    image = tf.keras.Input(x.shape)
    inside = tf.keras.layers.Rescaling(1 / 127.5, -1)(tf.keras.layers.Resizing(SIDE, SIDE)(image))
    whole = to_onnx(tf.keras.Model(image, model(inside)), verify=False)
    name, given = METHODS[key]
    make = getattr(attributions, name)
    if "conv_layer" in given:
        given = given | {"upsampling": "bilinear"}
    given = given | ({"noise": 9.0} if "noise" in given else {})
    found = make(converted, preprocess="keras-tf", batch_size=4, **given).explain(x[None], [3])
    if "conv_layer" in given:
        given = given | {"conv_layer": make(whole).layer}
    right = make(whole, batch_size=4, **given).explain(x[None].astype(np.float32), [3])
    close(found, right, 1e-4)


@pytest.mark.parametrize("name", ["imagenet", "letterbox"])
@pytest.mark.parametrize("key", METHODS)
def test_the_input_is_explained_as_without_preprocessing(network, name, key):
    _, converted = network
    x = np.stack([small("coffee"), small("chelsea")])
    seen = np.concatenate([by_tensorflow(name, row[None].astype(np.float32)).numpy() for row in x])
    kind, given = METHODS[key]
    make = getattr(attributions, kind)
    right = make(converted, batch_size=4, **given).explain(seen.astype(np.float32), [3, 0])
    method = make(converted, batch_size=4, preprocess=SPECS[name], attributions_at="input", **given)
    # A variance of few draws takes differences of gradients that are nearly the same.
    close(method.explain(x, [3, 0]), right, 2e-3 if kind == "VarGrad" else 2e-4)


@pytest.mark.parametrize("place", ["pixels", "input"])
@pytest.mark.parametrize("key", METHODS)
def test_files_give_what_methods_give(network, key, place, tmp_path):
    _, converted = network
    x = np.stack([small("coffee"), small("chelsea")])
    name, given = METHODS[key]
    make = getattr(attributions, name)
    method = make(converted, batch_size=4, preprocess=SPECS["imagenet"], attributions_at=place, **given)
    right, prediction = method.explain(x, [3, 0]), method.predict(x)
    single = method._plan.request.method.single
    for rendering in ("batch",) if single else ("loop",) if key == "adaptive" else RENDERINGS:
        method.export(tmp_path / "explainer.onnx", rendering)
        pixels = onnx.load(tmp_path / "explainer.onnx").graph.input[0]
        assert (pixels.name, pixels.type.tensor_type.elem_type) == ("pixels", onnx.TensorProto.UINT8)
        explainer = load(tmp_path / "explainer.onnx", seed=given.get("seed", 0))
        assert explainer.preprocessing.attributions_at == place
        close(explainer.explain(x, [3, 0]), right, 1e-4)
        np.testing.assert_allclose(explainer.predict(x), prediction, rtol=1e-4, atol=1e-6)


def spread(cells, shape, name):
    """A map of a layer laid over a photo, bilinear, by the place of each pixel; 0 where the network does not look."""
    if name == "imagenet":
        new = reference.torchvision_sizes(*shape, EDGE)
        shift = [round((n - SIDE) / 2) for n in new]
    else:
        ratio = min(SIDE / shape[0], SIDE / shape[1])
        new = [round(n * ratio) for n in shape]
        shift = [-round((SIDE - n) / 2 - 0.1) for n in new]
    found = np.zeros(shape)
    rows, columns = cells.shape

    def at(position, count):
        """The two nearest cells and the weight of the second."""
        place = position / SIDE * count - 0.5
        low = int(np.floor(place))
        return max(low, 0), min(low + 1, count - 1), place - low

    for y in range(shape[0]):
        for x in range(shape[1]):
            v = (y + 0.5) * new[0] / shape[0] - shift[0]
            u = (x + 0.5) * new[1] / shape[1] - shift[1]
            if 0 <= v < SIDE and 0 <= u < SIDE:
                (t, d, a), (n, m, b) = at(v, rows), at(u, columns)
                found[y, x] = (1 - a) * ((1 - b) * cells[t, n] + b * cells[t, m]) + a * (
                    (1 - b) * cells[d, n] + b * cells[d, m]
                )
    return found


@pytest.mark.parametrize("name", ["imagenet", "letterbox"])
@pytest.mark.parametrize("shape", [(50, 67), (40, 31)])
def test_class_activation_maps_lie_where_the_network_looks(network, name, shape):
    _, converted = network
    x = small("chelsea", *shape)[None]
    given = {"conv_layer": "second", "preprocess": SPECS[name]}
    cells = attributions.GradCAM(converted, upsampling=None, **given).explain(x, [1])[0, ..., 0]
    found = attributions.GradCAM(converted, upsampling="bilinear", **given).explain(x, [1])
    assert found.shape == (1, *shape, 1)
    close(found[0, ..., 0], spread(cells, shape, name), 1e-4)


@pytest.mark.parametrize("place", ["pixels", "input"])
def test_noise_of_a_tunnel_is_added_where_it_is_explained(network, place):
    """GradCAM of noisy copies: with the noise of the network's input as on the preprocessed image itself."""
    _, converted = network
    x = small("chelsea")[None]
    noise = {"kind": "mean", "nb_samples": 3, "noise": 20.0 if place == "pixels" else 0.2}
    inner = attributions.GradCAM(
        converted, conv_layer="second", preprocess=SPECS["imagenet"], attributions_at=place, upsampling=None
    )
    tunnel = attributions.NoiseTunnel(inner, **noise)
    found = tunnel.explain(x, [1])
    if place == "input":
        seen = by_tensorflow("imagenet", x.astype(np.float32)).numpy().astype(np.float32)
        plain = attributions.GradCAM(converted, conv_layer="second", upsampling=None)
        close(found, attributions.NoiseTunnel(plain, **noise).explain(seen, [1]), 1e-4)
    else:
        plain = inner.explain(x, [1])
        assert 0 < np.abs(found - plain).max() < 0.5 * np.abs(plain).max()


@pytest.mark.parametrize(("wrt", "place"), [("pixels", "input"), ("input_layer", "pixels")])
def test_two_places_are_refused(network, wrt, place):
    _, converted = network
    wrt = converted.graph.input[0].name if wrt == "input_layer" else wrt
    with pytest.raises(ParameterError, match="name two places"):
        attributions.Saliency(converted, preprocess="keras-tf", wrt=wrt, attributions_at=place)


def test_noise_that_no_pixel_shows_is_said(network):
    _, converted = network
    with pytest.warns(UserWarning, match=r"noise=0.2 is added to pixels of 0 to 255"):
        attributions.SmoothGrad(converted, preprocess="keras-tf")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("given", [{"noise": 25.0}, {"attributions_at": "input"}])
def test_noise_of_the_right_size_is_not_said(network, given):
    attributions.SmoothGrad(network[1], preprocess="keras-tf", **given)


def test_a_network_for_imagenet_on_photographs():
    """EfficientNet-Lite0: logits of Pillow's resize, and the gradient at the pixels that of TensorFlow's resize."""
    spec = {"resize": "shortest_edge", "mean": 127, "std": 128}
    model = efficientnet_lite0.build()
    plain, gradient = attributions.GradientInput(model), Session(vjp(model), ["CPUExecutionProvider"])
    pixels = attributions.GradientInput(model, preprocess=spec, labels=efficientnet_lite0.class_names())
    seen = attributions.Saliency(model, preprocess=spec, attributions_at="input", reducer=None)
    front = Session(pixels.prepared.part(["image"]), ["CPUExecutionProvider"])
    for name in ("chelsea", "coffee", "grace_hopper", "flower"):
        photo = photos.load(name)
        new = reference.torchvision_sizes(*photo.shape[:2], 256)
        top, left = (round((n - 224) / 2) for n in new)
        image = (reference.centre(reference.pillow_resized(photo, *new), 224, 224) - 127) / 128
        # A rounding turns some of the network's ReLUs: the gradient is taken at the very image that it sees.
        (x,) = front.run({"pixels": photo[None].astype(np.float32)})
        np.testing.assert_allclose(x[0], np.moveaxis(image, -1, 0), rtol=0, atol=5e-5)
        prediction = pixels.predict(photo[None])
        np.testing.assert_allclose(prediction, plain.predict(x), rtol=0, atol=1e-4)
        label = int(prediction.argmax())
        assert photos.PHOTOS[name].shows in (pixels.class_names[k] for k in prediction[0].argsort()[::-1][:3])
        one_hot = np.eye(1000, dtype=np.float32)[[label]]
        g = dict(zip(gradient.outputs, gradient.run({"image": x, "logits_cotangent": one_hot}), strict=True))[
            "image_gradient"
        ]
        floats = tf.constant(photo[None].astype(np.float32))
        with tf.GradientTape() as tape:
            tape.watch(floats)
            resized = tf.image.resize(floats, new, antialias=True)[:, top : top + 224, left : left + 224]
            total = tf.reduce_sum(resized / 128 * np.moveaxis(g, 1, -1))
        right = tape.gradient(total, floats).numpy()
        found = pixels.explain(photo[None], [label]) / np.maximum(photo[None], 1)
        shown = photo[None] > 0
        assert np.abs(found - right)[shown].max() <= 1e-4 * np.abs(right).max()
        close(seen.explain(photo[None], [label]), np.abs(g), 1e-4)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, True),
        ({"attributions_at": "input"}, True),
        ({"wrt": "second"}, False),
        ({"wrt": "second", "preprocess": "keras-tf"}, True),
        ({"attributions_at": "input", "preprocess": "keras-tf"}, True),
    ],
)
def test_maps_are_drawn_over_photos_that_they_lie_over(network, given, shown, tmp_path):
    """What a network sees of a photo that is cut is not drawn over the whole photo, but over the part."""
    method = attributions.Saliency(network[1], **({"preprocess": SPECS["imagenet"]} | given))
    found = method(small("chelsea")[None], [1])
    assert ("pixels" in found.inputs) == shown
    if "attributions_at" in given:
        (image,) = drawn_photos(found, *found.attributions, {}).images
        top, left, bottom, right = found.seen
        np.testing.assert_array_equal(image, small("chelsea")[top:bottom, left:right])
    found.plot(path=tmp_path / "map.png")
    cam = attributions.GradCAM(network[1], conv_layer="second", preprocess=SPECS["imagenet"])
    assert "pixels" in cam(small("chelsea")[None], [1]).inputs
