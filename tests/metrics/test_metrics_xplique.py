"""Metrics against Xplique's on the same Keras models, maps, masks and weights."""

import warnings

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
xmetrics = pytest.importorskip("xplique.metrics")
xrandom = pytest.importorskip("xplique.metrics.randomization")

import keras  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from xplique.attributions import Saliency as XpliqueSaliency  # noqa: E402

from onnxattr import metrics  # noqa: E402
from onnxattr.attributions import Saliency  # noqa: E402
from onnxattr.metrics.similarity import ssim  # noqa: E402

LAYERS = keras.layers
SHAPES = {"image": (8, 6, 3), "gray": (6, 7, 1), "series": (14, 2), "table": (7,)}


def network(kind):
    """A small network of four classes."""
    first = {
        "image": [LAYERS.Conv2D(5, 3, activation="relu"), LAYERS.GlobalAveragePooling2D()],
        "gray": [LAYERS.Conv2D(4, 3, strides=2), LAYERS.ReLU(), LAYERS.Flatten()],
        "series": [LAYERS.Conv1D(6, 3, activation="tanh"), LAYERS.GlobalAveragePooling1D()],
        "table": [LAYERS.Dense(9, activation="tanh")],
    }[kind]
    dense = [LAYERS.Dense(8, activation="relu"), LAYERS.Dense(4)]
    model = keras.Sequential([keras.Input(SHAPES[kind]), *first, *dense])
    generator = np.random.default_rng(5)
    model.set_weights([generator.normal(0, 0.6, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def cases():
    """By kind of input: the Keras model, its ONNX form, inputs, one-hot targets and signed maps."""
    keras.utils.clear_session(free_memory=False)
    made = {}
    for kind, shape in SHAPES.items():
        generator, model = np.random.default_rng(len(kind)), network(kind)
        x = generator.normal(size=(4, *shape)).astype(np.float32)
        maps = generator.normal(size=x.shape).astype(np.float32)
        made[kind] = model, to_onnx(model), x, np.eye(4, dtype=np.float32)[[2, 0, 3, 1]], maps
    return made


CAUSAL = {
    "plain": {},
    "one feature at a time": {"steps": -1},
    "a part": {"steps": 4, "max_percentage_perturbed": 0.6},
    "baseline": {"baseline_mode": 0.7},
    "baseline of the inputs": {"baseline_mode": lambda x: x * 0 + x.mean()},
    "softmax": {"activation": "softmax"},
    "sigmoid in small runs": {"activation": "sigmoid", "batch_size": 3},
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("options", CAUSAL)
@pytest.mark.parametrize("name", ["Deletion", "Insertion"])
def test_causal(name, options, kind, cases):
    model, proto, x, y, maps = cases[kind]
    theirs = getattr(xmetrics, name)(model, x, y, **CAUSAL[options])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of 7 features for 10 steps
        ours = getattr(metrics, name)(proto, x, y, **CAUSAL[options])
        curve, wanted = ours.detailed_evaluate(maps), theirs.detailed_evaluate(maps)
        assert list(curve) == [int(count) for count in wanted]
        np.testing.assert_allclose(list(curve.values()), list(wanted.values()), rtol=1e-5, atol=1e-5)
        theirs.detailed_evaluate = lambda explanations: wanted  # which their call would compute once more
        np.testing.assert_allclose(ours(maps), theirs(maps), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_causal_of_reduced_maps(tied, cases):
    """One channel, or none; where most attributions are 0 the order of equal ones is the same."""
    model, proto, x, y, maps = cases["image"]
    maps = np.maximum(maps[..., :1] - 0.8, 0) if tied else maps[..., :1]
    expected = xmetrics.Deletion(model, x, y)(maps)
    ours = metrics.Deletion(proto, x, y)
    np.testing.assert_allclose([ours(maps), ours(maps[..., 0])], expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"grid_size": 4, "subset_percent": 0.4}, {"batch_size": 50}])
@pytest.mark.parametrize("kind", SHAPES)
def test_mu_fidelity(kind, options, cases):
    """On the masks that Xplique drew; with small batches they differ from sample to sample."""
    model, proto, x, y, maps = cases[kind]
    options = {"batch_size": 4 * 60, "nb_samples": 60} | options
    theirs, drawn = xmetrics.MuFidelity(model, x, y, **options), []
    perturb = theirs._perturb_samples

    def noted(inputs, count):
        changed, masks = perturb(inputs, count)
        drawn.append(masks.numpy())
        return changed, masks

    theirs._perturb_samples = noted
    expected = theirs(maps)
    by_sample = options["batch_size"] == 50
    masks = (
        drawn[0][0]
        if not by_sample
        else np.concatenate([np.concatenate(drawn[i : i + 2], axis=1) for i in range(0, len(drawn), 2)])
    )
    ours = metrics.MuFidelity(proto, x, y, masks=masks, activation=None)
    np.testing.assert_allclose(ours(maps), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["Sparseness", "Complexity"])
@pytest.mark.parametrize("kind", SHAPES)
def test_concentration(kind, name, cases):
    maps = cases[kind][-1]
    np.testing.assert_allclose(
        getattr(metrics, name)()(maps), getattr(xmetrics, name)()(maps), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["AverageDropMetric", "AverageIncreaseMetric", "AverageGainMetric"])
@pytest.mark.parametrize("kind", SHAPES)
def test_average(kind, name, cases):
    model, proto, x, y, maps = cases[kind]
    theirs = getattr(xmetrics, name)(model, x, y, activation="softmax")
    ours = getattr(metrics, name)(proto, x, y, activation="softmax")
    np.testing.assert_allclose(ours(maps), theirs(maps), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_average_stability(distance, cases):
    model, proto, x, y, _ = cases["series"]
    theirs = xmetrics.AverageStability(model, x, y, distance=distance, nb_samples=6)
    ours = metrics.AverageStability(proto, x, y, distance=distance, nb_samples=6)
    ours.noisy_masks = theirs.noisy_masks.numpy()
    np.testing.assert_allclose(ours(Saliency(proto)), theirs(XpliqueSaliency(model)), rtol=1e-4)


@pytest.mark.parametrize("stop", [0.25, 0.5, 1.0, 2, "dense"])
@pytest.mark.parametrize("kind", ["image", "series", "table"])
def test_model_randomization(kind, stop, cases):
    """On the weights that Xplique drew."""
    model, proto, x, y, _ = cases[kind]
    stop = model.layers[-2].name if stop == "dense" else stop
    drawn = []

    class Noted(xrandom.ProgressiveLayerRandomization):
        def randomize(self, model):
            result = super().randomize(model)
            drawn.extend(model.get_weights())
            return result

    theirs = xmetrics.ModelRandomizationMetric(model, x, y, randomization_strategy=Noted(stop))
    expected = theirs(XpliqueSaliency(model))
    taken = []

    def draw(name, weights, generator):
        """Xplique's weights of that shape; the axes of a convolution's kernel stand in another order."""
        taken.append(name)
        shape = tuple(n for n in weights.shape if n > 1)
        turned = [
            array if array.shape == shape else array.T.swapaxes(-1, -2) if array.ndim > 3 else array.T
            for array in drawn
        ]
        return next(array for array in turned if array.shape == shape).reshape(weights.shape)

    strategy = metrics.ProgressiveLayerRandomization(stop, draw=draw)
    ours = metrics.ModelRandomizationMetric(proto, x, y, strategy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a quarter of three layers is none
        np.testing.assert_allclose(ours(Saliency(proto)), expected, atol=2e-4)
    layers = [layer for layer in model.layers if layer.weights]
    count = {0.25: 0, 0.5: 1, 1.0: len(layers), 2: 2}.get(stop, 1)
    assert len(taken) == sum(len(layer.weights) for layer in layers[len(layers) - count :])


@pytest.mark.parametrize("kind", ["image", "gray"])
def test_random_logit(kind, cases):
    model, proto, x, y, _ = cases[kind]
    classes = np.array([0, 3, 1, 2])
    theirs = xmetrics.RandomLogitMetric(model, x, y)
    other = np.eye(4, dtype=np.float32)[classes]
    theirs._get_perturbed_context = lambda inputs, targets, explainer: (inputs, other, explainer)
    ours = metrics.RandomLogitMetric(proto, x, y, classes=classes)
    np.testing.assert_allclose(ours(Saliency(proto)), theirs(XpliqueSaliency(model)), atol=2e-4)


@pytest.mark.parametrize("shape", [(3, 20, 17, 1), (2, 8, 30, 3), (2, 1, 5, 1)])
def test_ssim(shape):
    generator = np.random.default_rng(1)
    a = generator.normal(size=shape).astype(np.float32)
    b = (a + generator.normal(0, 0.4, shape)).astype(np.float32)
    expected = xrandom.ssim(tf.constant(a), tf.constant(b), batched=True).numpy()
    np.testing.assert_allclose(ssim(a, b), expected, atol=1e-5)
    np.testing.assert_array_equal(ssim(a * 0, a * 0), 1)
