"""The gradient of every converted zoo model equals TensorFlow's: of float inputs or, without one, of the embedding."""

import numpy as np
import onnx
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
import zoo  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from support.gradient_graphs import backward_part, with_outputs  # noqa: E402
from zoo import conversions  # noqa: E402

from onnxattr import vjp  # noqa: E402
from onnxattr.session import Session  # noqa: E402
from onnxattr.testing import CORRECTED, as_double  # noqa: E402

SLOW = pytest.mark.slow
#: Names, and the rewrites of the gradient: all, and for small models none as well.
CASES = [
    pytest.param(name, None, id=name, marks=SLOW if case.slow else ()) for name, case in zoo.CASES.items()
]
CASES += [
    pytest.param(name, (), id=f"{name}, no rewrites", marks=SLOW)
    for name, case in zoo.CASES.items()
    if not case.slow
]
#: Half precision rounds at 5e-4.
TOLERANCE = {"float16": 2e-3, "mixed precision": 2e-3}


def flat_call(model, tensors):
    structure = getattr(model, "_inputs_struct", None)
    given = tensors[0] if structure is None else keras.tree.pack_sequence_as(structure, tensors)
    return keras.tree.flatten(model(given, training=False))


def tape_gradients(model, arrays, compiled=False):
    """Cotangents drawn for the outputs, and the gradients of the inputs (of the embedding if none is float).

    A small model runs faster than TensorFlow compiles it.
    """
    tensors = [tf.constant(array) for array in arrays]
    floats = [tensor for tensor in tensors if tensor.dtype.is_floating]
    watched_model = model
    if not floats:
        embedding = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding))
        watched_model = keras.Model(model.inputs, [embedding.output, model.outputs[0]])

    def run(values):
        with tf.GradientTape() as tape:
            tape.watch([value for value in values if value.dtype.is_floating])
            outputs = flat_call(watched_model, values)
            sources = [value for value in values if value.dtype.is_floating] or [outputs[0]]
            scores = outputs if floats else outputs[1:]
            score = tf.add_n(
                [tf.reduce_sum(y * cotangent(i, y.shape, y.dtype)) for i, y in enumerate(scores)]
            )
        return tape.gradient(score, sources), scores

    gradients, scores = (tf.function(run) if compiled else run)(tensors)
    return [g.numpy() for g in gradients], [cotangent(i, y.shape, y.dtype) for i, y in enumerate(scores)]


def cotangent(index, shape, dtype):
    return np.random.default_rng(index).normal(size=shape).astype(tf.as_dtype(dtype).as_numpy_dtype)


def in_float64(case, model):
    """The same network with the same weights in float64."""
    weights = [weight.astype(np.float64) for weight in model.get_weights()]
    try:
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        wide = case.build()
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    wide.set_weights(weights)
    assert wide.outputs[0].dtype == "float64"
    return wide


def assert_close(found, expected, tolerance, what=""):
    difference = np.abs(found.astype(np.float64) - expected).max()
    assert difference <= tolerance * np.abs(expected).max(), what


def check_large(gradient, feeds, cotangents, expected):
    """Compares a gradient of a large network with TensorFlow's in float64.

    Among the millions of ReLUs and max-pools of such a network a few decide within the rounding of float32, and one of
    them can move a whole map: on VGG16 two of the 100,000 windows of a pool have another largest element in float32, in
    ONNX Runtime and in TensorFlow, and both maps are off by 2 % of their largest element. So the graph itself is
    compared in float64; of the run in float32 the values of the forward pass are, and the gradient with what the
    backward part gives for these very values in float64.
    """
    count = len(cotangents)
    behind, read = backward_part(gradient, count)
    names = list(dict.fromkeys([*(output.name for output in gradient.graph.output), *read]))
    gradients, told = names[count : count + len(expected)], with_outputs(gradient, names)
    found = dict(zip(names, Session(told).run(feeds), strict=True))
    wide = ReferenceEvaluator(as_double(told), new_ops=CORRECTED)
    exact = dict(zip(names, wide.run(None, doubled(feeds) | cotangents), strict=True))
    taken = doubled(feeds | {name: found[name] for name in read}) | cotangents
    decided = ReferenceEvaluator(as_double(behind), new_ops=CORRECTED).run(gradients, taken)
    for name, reference in zip(gradients, expected, strict=True):
        # Conversion folds normalisations in float32, and these weights decide as float32 does: a few pixels differ.
        difference = np.abs(exact[name] - reference)
        assert difference.mean() <= 1e-3 * np.abs(reference).mean(), f"{name} in float64"
        assert np.quantile(difference, 0.95) <= 1e-4 * np.abs(reference).max(), f"{name} in float64"
    for name in set(names).difference(gradients):
        if found[name].dtype.kind == "f":
            assert_close(found[name], exact[name], 1e-5, name)
    for name, reference in zip(gradients, decided, strict=True):
        assert_close(found[name], reference, 1e-5, name)


def doubled(arrays):
    return {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in arrays.items()
    }


@pytest.mark.parametrize(("name", "rewrites"), CASES)
@pytest.mark.filterwarnings("ignore:Layer 'conv_lstm2d'")
def test_gradient_equals_tensorflow(name, rewrites):
    case = zoo.CASES[name]
    model = case.model()
    arrays = case.inputs(model, 3 if not case.slow else 1)
    if case.signature:
        flat_call(model, [tf.constant(array) for array in arrays])
    converted = conversions.converted(name, model)
    if case.slow:
        wide = in_float64(case, model)
        expected, cotangents = tape_gradients(
            wide, [array.astype(np.float64) for array in arrays], compiled=True
        )
    else:
        expected, cotangents = tape_gradients(model, arrays)
    names = [value.name for value in converted.graph.input]
    sources = [name for name, array in zip(names, arrays, strict=True) if array.dtype.kind == "f"]
    if not sources:
        sources = [next(layer.name for layer in model.layers if isinstance(layer, keras.layers.Embedding))]
    gradient = vjp(converted, sources, rewrites=rewrites)
    onnx.checker.check_model(gradient, full_check=True)
    feeds = dict(zip(names, arrays, strict=True))
    given = {
        f"{value.name}_cotangent": ct for value, ct in zip(converted.graph.output, cotangents, strict=True)
    }
    feeds |= {name: ct.astype(np.float32) if case.slow else ct for name, ct in given.items()}
    if case.slow:
        check_large(gradient, feeds, given, expected)
        return
    found = Session(gradient).run(feeds)[-len(sources) :]
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, TOLERANCE.get(name, 1e-5))
