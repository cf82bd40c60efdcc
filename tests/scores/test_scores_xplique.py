"""Scores by name against Xplique 2.0.2's, in every rendering: each map to 1e-5 of its maximum."""

import numpy as np
import pytest
from onnxattr.converters.keras import to_onnx
from support.explained import close

import onnxattr

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
operators = pytest.importorskip("xplique.commons.operators_operations")
xplique = pytest.importorskip("xplique.attributions")

RNG = np.random.default_rng(5)
STEPS = 4
OPTIONS = {"IntegratedGradients": {"steps": STEPS, "baseline_value": 0.1}}
GRADIENTS = ("Saliency", "GradientInput", "IntegratedGradients", "DeconvNet", "GuidedBackprop")


def segmenter():
    layers, inputs = keras.layers, keras.Input((12, 10, 3))
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Conv2D(4, 3, padding="same", activation="softmax")(hidden))
    masks = (RNG.random((3, 12, 10, 4)) > 0.7).astype(np.float32)
    return model, masks * RNG.choice([1.0, 0.5, -1.0], masks.shape).astype(np.float32)


class Boxes(keras.layers.Layer):
    """(N, boxes, 8) logits as boxes x1, y1, x2, y2, probability, classes; the last box is padding."""

    def call(self, raw):
        corner, size = tf.sigmoid(raw[..., :2]) * 6, tf.sigmoid(raw[..., 2:4]) * 6 + 0.5
        found = tf.concat(
            [corner, corner + size, tf.sigmoid(raw[..., 4:5]), tf.nn.softmax(raw[..., 5:])], axis=-1
        )
        return found * tf.constant([1.0, 1, 1, 1, 0])[:, None]


def detector():
    layers, inputs = keras.layers, keras.Input((12, 10, 3))
    hidden = layers.Flatten()(layers.Conv2D(6, 3, strides=2, activation="relu")(inputs))
    model = keras.Model(inputs, Boxes()(layers.Reshape((5, 8))(layers.Dense(40)(hidden))))
    found = model(IMAGES).numpy()
    references = found[:, [0, 2, 3]] + np.array([0.3, 0.2, 0.4, 0.1, 0, 0.1, 0, 0], np.float32)
    references[0, 1:] = 0  # one box, two rows of padding
    references[1, 0] = 0
    return model, references


IMAGES = RNG.random((3, 12, 10, 3)).astype(np.float32)
TASKS = {
    "semantic segmentation": segmenter,
    "object detection": detector,
    "object detection box position": detector,
    "object detection box proba": detector,
    "object detection box class": detector,
}


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(3)
    made = {build: build() for build in (segmenter, detector)}
    return {build: (model, to_onnx(model), y) for build, (model, y) in made.items()}


def integrated(gradient, x, baseline, steps):
    """(x - b) times the trapezoidal mean of the gradients on the path."""
    alphas = np.linspace(0, 1, steps)
    gradients = [gradient(np.float32(baseline + alpha * (x - baseline))) for alpha in alphas]
    return (x - baseline) * np.trapezoid(gradients, alphas, axis=0)


@pytest.mark.parametrize("task", TASKS)
def test_maps_follow_the_gradient_of_the_operator_of_xplique(models, tmp_path, task):
    """Xplique's own operator under the tape, which its methods call; in every rendering."""
    model, onnx_model, targets = models[TASKS[task]]
    operator = getattr(
        operators.Tasks.from_string(task), "python_function", operators.Tasks.from_string(task)
    )

    def gradient(points):
        with tf.GradientTape() as tape:
            x = tf.constant(points)
            tape.watch(x)
            found = operator(model, x, tf.constant(targets))
        return tape.gradient(found, x).numpy().astype(np.float64)

    expected = {"GradientInput": IMAGES * gradient(IMAGES)}
    if task in ("semantic segmentation", "object detection"):  # the others differ from it by factors alone
        expected["IntegratedGradients"] = integrated(gradient, IMAGES.astype(np.float64), 0.1, STEPS)
    for method, maps in expected.items():
        ours = getattr(onnxattr, method)(
            onnx_model, batch_size=4, operator=task, reducer=None, **OPTIONS.get(method, {})
        )
        close(ours.explain(IMAGES, targets), maps, 1e-5)
        for rendering in ("batch", "loop") if method == "IntegratedGradients" else ("batch",):
            ours.export(tmp_path / "e.onnx", rendering)
            close(onnxattr.load(tmp_path / "e.onnx").explain(IMAGES, targets), maps, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", GRADIENTS)
@pytest.mark.parametrize("task", TASKS)
def test_maps_are_those_of_xplique(models, tmp_path, task, method):
    model, onnx_model, targets = models[TASKS[task]]
    options = OPTIONS.get(method, {}) | {"reducer": None, "operator": task}
    expected = getattr(xplique, method)(model, **options).explain(IMAGES, targets).numpy()
    ours = getattr(onnxattr, method)(onnx_model, batch_size=4, **options)
    close(ours.explain(IMAGES, targets), expected, 1e-5)
    for rendering in ("batch", "loop") if method == "IntegratedGradients" else ("batch",):
        ours.export(tmp_path / "e.onnx", rendering)
        close(onnxattr.load(tmp_path / "e.onnx").explain(IMAGES, targets), expected, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_xplique(models, task):
    model, onnx_model, targets = models[TASKS[task]]
    expected = operators.Tasks.from_string(task)(model, tf.constant(IMAGES), tf.constant(targets)).numpy()
    close(onnxattr.Saliency(onnx_model, operator=onnxattr.Tasks(task)).score(IMAGES, targets), expected, 1e-5)


def test_operators_of_xplique_are_known(models):
    _, onnx_model, targets = models[detector]
    tasks = operators.Tasks
    for given, name in ((tasks.OBJECT_DETECTION, ""), (tasks.OBJECT_DETECTION_BOX_CLASS, " box class")):
        method = onnxattr.Saliency(onnx_model, operator=given)
        named = onnxattr.Saliency(onnx_model, operator="object detection" + name)
        close(method.score(IMAGES, targets), named.score(IMAGES, targets), 0)


def test_one_box_needs_no_axis(models):
    _, onnx_model, targets = models[detector]
    method = onnxattr.Saliency(onnx_model, operator="object detection")
    close(method.explain(IMAGES, targets[:, 0]), method.explain(IMAGES, targets[:, :1]), 0)


def of_tensorflow(f, x, y):
    """Calls the model on the image and on its mirror image."""
    both = tf.square(f(x)) - 0.5 * tf.nn.relu(f(tf.reverse(x, axis=[2])) - 0.2)
    return tf.reduce_sum(both * y, axis=(1, 2, 3))


@pytest.mark.parametrize("decorated", [False, True])
def test_functions_of_tensorflow_are_converted(models, tmp_path, decorated):
    model, onnx_model, targets = models[segmenter]
    x = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = of_tensorflow(model, x, tf.constant(targets))
    expected = IMAGES * tape.gradient(scores, x).numpy()
    operator = tf.function(of_tensorflow) if decorated else of_tensorflow
    method = onnxattr.GradientInput(onnx_model, operator=operator)
    close(method.explain(IMAGES, targets), expected, 1e-5)
    close(method.score(IMAGES, targets), scores.numpy(), 1e-5)
    method.export(tmp_path / "e.onnx")
    close(onnxattr.load(tmp_path / "e.onnx").explain(IMAGES, targets), expected, 1e-5)


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        (lambda f, x, y: tf.reduce_sum(f(x) * y), "one number for each sample"),
        (
            lambda f, x, y: tf.reduce_sum(f(x) - tf.reduce_mean(f(x), 0), (1, 2, 3)),
            "computes samples together",
        ),
        (
            lambda f, x, y: float(tf.reduce_sum(f(x))) * y,
            "calls tensorflow, whose .*onnxattr.xp .*could not be converted",
        ),
    ],
)
def test_functions_of_tensorflow_that_are_no_scores_are_refused(models, operator, said):
    with pytest.raises(onnxattr.OnnxAttrError, match=said):
        onnxattr.Saliency(models[segmenter][1], operator=operator)
