"""Kinks and ties against TensorFlow's own gradients, exactly.

Cotangents are small integers, so that sums are exact and only a different subgradient can make a difference.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import onnxruntime
import pytest
from support.small_models import build, node

tf = pytest.importorskip("tensorflow", reason="the comparison needs TensorFlow")
tf2onnx = pytest.importorskip("tf2onnx", reason="the comparison needs the converter")

import keras  # noqa: E402
from keras import activations  # noqa: E402

from onnxattr.compile.gradient import vjp  # noqa: E402

LINE = np.array([[-7, -6, -5, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 5, 5.5, 6, 7]], np.float32)
FROM_ZERO = np.array([[0, 0.25, 1, 4]], np.float32)
ROWS = np.array([[0, 0, 0], [3, 4, 0], [0, 0, 2]], np.float32)


def ties(*shape: int) -> np.ndarray:
    """Values with many ties, within windows and across them."""
    return np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)


PRELU = keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25))
PRELU.build(LINE.shape)

#: Name, function, points, and the operators that tf2onnx makes of it (so that a new converter is noticed).
CONVERTED = [
    ("relu", tf.nn.relu, LINE, "Relu"),
    ("relu6", tf.nn.relu6, LINE, "Clip"),
    ("ReLU(max_value=6)", keras.layers.ReLU(max_value=6.0), LINE, "Clip"),
    ("ReLU(max_value=5)", keras.layers.ReLU(max_value=5.0), LINE, "Relu Min Max"),
    ("ReLU(negative_slope)", keras.layers.ReLU(negative_slope=0.25), LINE, "LeakyRelu"),
    ("ReLU(max_value, negative_slope)", keras.layers.ReLU(5.0, 0.25), LINE, "Relu Neg Relu Mul Min Max Sub"),
    ("ReLU(threshold)", keras.layers.ReLU(threshold=1.0), LINE, None),
    ("clip_by_value(0, 6)", lambda x: tf.clip_by_value(x, 0.0, 6.0), LINE, "Min Max"),
    ("clip_by_value(-1, 1)", lambda x: tf.clip_by_value(x, -1.0, 1.0), LINE, "Min Max"),
    ("keras clip(0, 6)", lambda x: keras.ops.clip(x, 0.0, 6.0), LINE, "Min Max"),
    ("leaky_relu", lambda x: tf.nn.leaky_relu(x, 0.25), LINE, "LeakyRelu"),
    ("PReLU", PRELU, LINE, "Relu Neg Relu Mul Add"),
    ("elu", tf.nn.elu, LINE, "Elu"),
    ("ELU(alpha)", keras.layers.ELU(0.5), LINE, None),
    ("selu", tf.nn.selu, LINE, "Selu"),
    ("maximum(x, 0)", lambda x: tf.maximum(x, 0.0), LINE, "Max"),
    ("maximum(0, x)", lambda x: tf.maximum(0.0, x), LINE, "Max"),
    ("minimum(x, 1)", lambda x: tf.minimum(x, 1.0), LINE, "Min"),
    ("minimum(1, x)", lambda x: tf.minimum(1.0, x), LINE, "Min"),
    ("maximum of parts", lambda x: tf.maximum(x[:, :3], x[:, 3:]), ties(4, 6), None),
    ("Maximum layer", lambda x: keras.layers.Maximum()([x[:, :2], x[:, 2:4], x[:, 4:]]), ties(4, 6), None),
    ("Minimum layer", lambda x: keras.layers.Minimum()([x[:, :2], x[:, 2:4], x[:, 4:]]), ties(4, 6), None),
    ("abs", tf.abs, LINE, "Abs"),
    ("sign", lambda x: tf.sign(x) * x, LINE, "Sign Mul"),
    ("round", lambda x: tf.round(x) * x, LINE, "Round Mul"),
    ("floormod", lambda x: tf.math.floormod(x, 2.0), LINE, "Div Floor Mul Sub"),
    ("hard_sigmoid", activations.hard_sigmoid, LINE, "Add Clip Mul"),
    ("hard_silu", activations.hard_silu, LINE, "Add Clip Mul Mul"),
    ("hard_tanh", activations.hard_tanh, LINE, "Min Max"),
    ("hard_shrink", activations.hard_shrink, LINE, None),
    ("soft_shrink", activations.soft_shrink, LINE, None),
    ("threshold", lambda x: activations.threshold(x, 1.0, 0.0), LINE, None),
    ("sparse_plus", activations.sparse_plus, LINE, None),
    ("sparse_sigmoid", activations.sparse_sigmoid, LINE, None),
    ("sqrt at 0", tf.sqrt, FROM_ZERO, "Sqrt"),
    ("rsqrt at 0", tf.math.rsqrt, FROM_ZERO, "Sqrt Reciprocal"),
    ("x ** 0 at 0", lambda x: tf.pow(x, 0.0), LINE, "Pow"),
    ("x ** 0.5 at 0", lambda x: tf.pow(x, 0.5), FROM_ZERO, "Pow"),
    ("x ** 1 at 0", lambda x: tf.pow(x, 1.0), LINE, "Pow"),
    ("x ** 2 at 0", lambda x: x**2, LINE, "Pow"),
    ("0 ** x", lambda x: tf.pow(tf.zeros_like(x), x), FROM_ZERO[:, 1:], None),
    ("norm of zeros", lambda x: tf.norm(x, axis=-1), ROWS, "Mul ReduceSum Sqrt Squeeze"),
    ("l2_normalize of zeros", lambda x: tf.math.l2_normalize(x, -1), ROWS, None),
    ("max_pool2d VALID 2/2", lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), ties(2, 6, 6, 3), None),
    ("max_pool2d SAME 2/2", lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), ties(2, 7, 7, 3), None),
    ("max_pool2d SAME 3/2", lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), ties(2, 7, 6, 3), None),
    ("max_pool2d VALID 3/1", lambda x: tf.nn.max_pool2d(x, 3, 1, "VALID"), ties(2, 6, 6, 3), None),
    ("max_pool2d SAME 3/1", lambda x: tf.nn.max_pool2d(x, 3, 1, "SAME"), ties(2, 6, 6, 3), None),
    ("max_pool1d VALID 2/2", lambda x: tf.nn.max_pool1d(x, 2, 2, "VALID"), ties(2, 8, 3), None),
    ("MaxPooling1D SAME 3/2", keras.layers.MaxPooling1D(3, 2, padding="same"), ties(2, 8, 3), None),
    ("max_pool3d VALID 2/2", lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID"), ties(1, 4, 4, 4, 2), None),
    ("max_pool3d SAME 2/1", lambda x: tf.nn.max_pool3d(x, 2, 1, "SAME"), ties(1, 3, 4, 3, 2), None),
    ("reduce_max", lambda x: tf.reduce_max(x, [1, 2]), ties(2, 4, 4, 3), "ReduceMax"),
    ("reduce_min", lambda x: tf.reduce_min(x, 1), ties(2, 4, 4, 3), "ReduceMin"),
    ("GlobalMaxPooling2D", keras.layers.GlobalMaxPooling2D(), ties(2, 4, 4, 3), "ReduceMax"),
    ("GlobalMaxPooling1D", keras.layers.GlobalMaxPooling1D(), ties(2, 6, 3), "ReduceMax"),
    ("reduce_prod with zeros", lambda x: tf.reduce_prod(x, 1), ties(6, 4), "ReduceProd"),
    ("top_k", lambda x: tf.math.top_k(x, 2)[0], ties(4, 6), "TopK"),
    (
        "unsorted_segment_max",
        lambda x: tf.math.unsorted_segment_max(x, [0, 2, 2, 0, 2, 2], 3),
        ties(6, 4),
        None,
    ),
    ("scatter_nd_max", lambda x: tf.tensor_scatter_nd_max(x[:3], [[0], [2], [2]], x[3:]), ties(6, 4), None),
    ("scatter_nd_min", lambda x: tf.tensor_scatter_nd_min(x[:3], [[0], [2], [2]], x[3:]), ties(6, 4), None),
]


def volumes_by_planes(x):
    """Volumes (N, C, D, H, W) pooled by 2, the gradient to the first winner of each plane and column."""
    n, c, d, h, w = x.shape
    planes = tf.nn.max_pool2d(tf.reshape(x, [n * c * d, h, w, 1]), 2, 2, "VALID")
    columns = tf.nn.max_pool2d(tf.reshape(planes, [n * c, d, -1, 1]), [2, 1], [2, 1], "VALID")
    return tf.reshape(columns, [n, c, d // 2, h // 2, w // 2])


#: Operators that tf2onnx does not make, or whose gradient is another where it does, beside the TensorFlow function they
#: stand for.
BY_HAND = [
    ("Clip", {}, {"low": 0.0, "high": 5.0}, lambda x: tf.clip_by_value(x, 0.0, 5.0), LINE),
    ("Clip", {}, {"low": -1.0, "high": 1.0}, lambda x: tf.clip_by_value(x, -1.0, 1.0), LINE),
    ("Clip", {}, {"low": 0.0, "high": 6.0}, tf.nn.relu6, LINE),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.5}, {}, lambda x: tf.nn.relu6(1.5 * x + 3) / 6, LINE),
    ("HardSwish", {}, {}, activations.hard_silu, LINE),
    ("Elu", {"alpha": 0.5}, {}, lambda x: tf.where(x > 0, x, 0.5 * tf.nn.elu(x)), LINE),
    ("Celu", {"alpha": 1.0}, {}, tf.nn.elu, LINE),
    ("ThresholdedRelu", {"alpha": 1.0}, {}, lambda x: activations.threshold(x, 1.0, 0.0), LINE),
    ("Shrink", {"lambd": 0.5}, {}, activations.hard_shrink, LINE),
    ("Shrink", {"lambd": 0.5, "bias": 0.5}, {}, activations.soft_shrink, LINE),
    ("ReduceL1", {}, {"axes": [-1]}, lambda x: tf.reduce_sum(tf.abs(x), -1, keepdims=True), LINE),
    ("Softsign", {}, {}, tf.nn.softsign, LINE),
    (
        "ScatterElements",
        {"axis": 1, "reduction": "max"},
        {"indices": [[0, 1, 1, 3, 3]], "updates": [[0.0, 0.25, 0.25, 5.0, 5.0]]},
        lambda x: tf.tensor_scatter_nd_max(
            x, [[0, 0], [0, 1], [0, 1], [0, 3], [0, 3]], [0, 0.25, 0.25, 5, 5]
        ),
        FROM_ZERO,
    ),
    (
        "MaxPool",
        {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]},
        {},
        volumes_by_planes,
        ties(2, 3, 4, 6, 4),
    ),
    (
        "GlobalMaxPool",
        {},
        {},
        lambda x: tf.transpose(tf.nn.max_pool2d(tf.transpose(x, [0, 2, 3, 1]), 4, 4, "VALID"), [0, 3, 1, 2]),
        ties(2, 3, 4, 4),
    ),
    (
        "GlobalMaxPool",
        {},
        {},
        lambda x: tf.transpose(tf.nn.max_pool1d(tf.transpose(x, [0, 2, 1]), 5, 5, "VALID"), [0, 2, 1]),
        ties(2, 3, 5),
    ),
]


def taped(function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A cotangent of small integers, and TensorFlow's gradient for it."""
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = function(point)
    cotangent = np.random.default_rng(1).integers(1, 5, y.shape).astype(np.float32)
    return cotangent, tf.convert_to_tensor(tape.gradient(y, point, output_gradients=cotangent)).numpy()


def gradient_in_ort(model: onnx.ModelProto, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    gradient = vjp(model)
    session = onnxruntime.InferenceSession(gradient.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(["x_gradient"], dict(zip(names, (x, cotangent), strict=True)))[0]


#: Where TensorFlow multiplies 0 by infinity: the derivative of x^0 is 0, and 0 is a subgradient of a norm of zeros.
ZERO_FOR_NAN = ("x ** 0 at 0", "norm of zeros")


def assert_same_subgradient(found: np.ndarray, expected: np.ndarray) -> None:
    # Rounding of the last bits apart: a wrong subgradient is off by a good part of the slope.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("name", "function", "x", "operators"), CONVERTED, ids=[row[0] for row in CONVERTED])
def test_converted_function(name, function, x, operators):
    spec = tf.TensorSpec([None, *x.shape[1:]], tf.float32, name="x")
    model, _ = tf2onnx.convert.from_function(
        tf.function(lambda x: function(x)), input_signature=[spec], opset=18
    )
    if operators is not None:
        assert [node.op_type for node in model.graph.node] == operators.split()
    cotangent, expected = taped(function, x)
    if name in ZERO_FOR_NAN:
        assert np.isnan(expected).any()
        expected = np.nan_to_num(expected, nan=0.0)
    assert_same_subgradient(gradient_in_ort(model, x, cotangent), expected)


def test_tensorflow_takes_what_is_near_the_largest_of_a_volume_for_it():
    """Its gradient of a pool of volumes adds the cotangent where less than 1e-5 is missing; here it is the slope."""
    x = np.zeros((1, 2, 2, 2, 1), np.float32)
    x[0, 0, 0, 0], x[0, 0, 1, 1], x[0, 1, 1, 1] = 1, 1 - 5e-6, 1 - 2e-5

    def function(x):
        return tf.nn.max_pool3d(x, 2, 2, "VALID")

    spec = tf.TensorSpec([None, *x.shape[1:]], tf.float32, name="x")
    model, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=[spec], opset=18)
    cotangent, theirs = taped(function, x)
    assert np.argwhere(theirs.ravel()).ravel().tolist() == [0, 3]
    np.testing.assert_array_equal(gradient_in_ort(model, x, cotangent), (x == 1) * cotangent)


def test_global_pool_of_tensorflow():
    """tf2onnx writes it at opsets up to 17, for a reduce_max, of which the winners share the gradient."""
    x = ties(2, 3, 4, 4)

    def function(x):
        return 2 * tf.reduce_max(x, [2, 3], keepdims=True)

    spec = tf.TensorSpec([None, *x.shape[1:]], tf.float32, name="x")
    model, _ = tf2onnx.convert.from_function(tf.function(function), input_signature=[spec], opset=13)
    assert [node.op_type for node in model.graph.node] == ["GlobalMaxPool", "Mul"]
    cotangent, expected = taped(function, x)
    assert_same_subgradient(gradient_in_ort(model, x, cotangent), expected)


@pytest.mark.parametrize(
    ("operator", "attributes", "constants", "function", "x"),
    BY_HAND,
    ids=[f"{row[0]}{row[1] or ''}{row[2] or ''}" for row in BY_HAND],
)
def test_operator(operator, attributes, constants, function, x):
    cotangent, expected = taped(function, x)
    weights = {
        k: np.array(v, np.int64 if k in ("axes", "indices") else np.float32) for k, v in constants.items()
    }
    made = node(operator, ["x", *constants], ["y"], **attributes)
    model = build([made], {"x": list(x.shape)}, {"y": list(cotangent.shape)}, weights)
    assert_same_subgradient(gradient_in_ort(model, x, cotangent), expected)


def test_prelu_node_takes_its_slope_at_zero():
    """Keras never makes this node (its PReLU has gradient 0 at 0, above); PyTorch does, with the slope."""
    x = np.array([[-1, 0, 1]], np.float32)
    slope = {"slope": np.array([0.25], np.float32)}
    model = build([node("PRelu", ["x", "slope"], ["y"])], {"x": [1, 3]}, {"y": [1, 3]}, slope)
    np.testing.assert_array_equal(
        gradient_in_ort(model, x, np.full((1, 3), 4, np.float32)), [[1.0, 1.0, 4.0]]
    )


OPERATION = "pkg.torch.onnx.fx_node"
#: Producer, the operation that is named in the metadata of the node, and the share of the first and of a later winner.
PRODUCERS = [
    ("pytorch", "%m : call_function[target=torch.ops.aten.max.dim](args = (%x, 1), kwargs = {})", 1, 0),
    (
        "pytorch",
        "%m : call_function[target=torch.ops.aten.amax.default](args = (%x, [1]), kwargs = {})",
        0.5,
        0.5,
    ),
    ("pytorch", None, 1, 0),
    ("tf2onnx", None, 0.5, 0.5),
    ("", None, 0.5, 0.5),
]


@pytest.mark.parametrize(("producer", "operation", "first", "later"), PRODUCERS)
@pytest.mark.parametrize(("operator", "attributes"), [("ReduceMax", {"keepdims": 0}), ("ReduceMin", {})])
def test_ties_of_a_reduction(operator, attributes, producer, operation, first, later):
    sign = 1 if operator == "ReduceMax" else -1
    x = sign * np.array([[1, 3, 2, 3], [0, -1, -2, -1]], np.float32)
    made = node(operator, ["x", "axes"], ["y"], **attributes)
    shape = [2] if attributes else [2, 1]
    model = build([made], {"x": [2, 4]}, {"y": shape}, {"axes": np.array([-1])})
    model.producer_name = producer
    if operation is not None:
        model.graph.node[0].metadata_props.add(key=OPERATION, value=operation)
    found = gradient_in_ort(model, x, np.array([2, 3], np.float32).reshape(shape))
    np.testing.assert_array_equal(found, [[0, 2 * first, 0, 2 * later], [3, 0, 0, 0]])
