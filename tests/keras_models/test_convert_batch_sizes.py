"""Keras models that compute batches of one size only, as those of one graph: the file has that size."""

import re

import numpy as np
import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.small_keras import seeded  # noqa: E402

from onnxattr import GradientInput, IntegratedGradients  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

L = keras.layers
NODES = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
SOURCES, ENDS = [1, 0, 2, 3, 1], [0, 1, 1, 2, 3]


class Neighbours(L.Layer):
    """The nodes of one graph, beside the sum of their neighbours."""

    def call(self, nodes):
        return tf.concat([nodes, tf.math.unsorted_segment_sum(tf.gather(nodes, SOURCES), ENDS, 4)], 1)


class Network(keras.Model):
    def __init__(self):
        super().__init__()
        self.between, self.last = Neighbours(), L.Dense(3)

    def call(self, nodes):
        return self.last(self.between(nodes))


def graph(**size):
    nodes = keras.Input((5,), name="nodes", **size)
    return seeded(keras.Model(nodes, L.Dense(3)(Neighbours()(L.Dense(5, activation="tanh")(nodes)))))


def subclassed():
    model = Network()
    model(NODES)
    return seeded(model)


def pairs():
    rows = keras.Input(batch_shape=(4, 5))
    joined = L.Lambda(lambda t: tf.reshape(t, (2, 10)) * 1.0, output_shape=(10,))(rows)
    return seeded(keras.Model(rows, L.Dense(3, activation="tanh")(joined)))


CASES = {
    "declared": (lambda: graph(batch_size=4), {}),
    "of the sample": (graph, {"sample": NODES}),
    "of the signature": (subclassed, {"input_signature": tf.TensorSpec((4, 5), "float32")}),
    "joined rows": (pairs, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_one_size_is_one_sample(case):
    make, options = CASES[case]
    model = make()
    with pytest.warns(UserWarning, match=r"batches of 4 rows only: .*one sample\. .*reshape with -1"):
        converted = to_onnx(model, **options)
    assert [dim.dim_value for dim in converted.graph.input[0].type.tensor_type.shape.dim] == [4, 5]
    weights = np.random.default_rng(1).normal(size=model(NODES).shape).astype(np.float32)

    def slopes(x):
        leaf = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            score = tf.reduce_sum(model(leaf) * weights)
        return tape.gradient(score, leaf).numpy()

    found = GradientInput(converted)(NODES, weights)
    path = IntegratedGradients(converted, steps=3, reducer=None)(NODES, weights)
    expected = NODES * slopes(NODES)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    expected = NODES * (slopes(0 * NODES) + 2 * slopes(NODES / 2) + slopes(NODES)) / 4
    np.testing.assert_allclose(path, expected, atol=1e-6 * np.abs(expected).max())


#: What a model does with the only row of a batch, (1, 4, 3), in a way that holds for one row alone.
OF_ONE_ROW = {
    "the first": lambda x: x[0][None] ** 2,
    "reshaped": lambda x: tf.reshape(tf.reshape(x, (4, 3)) ** 2, (1, 4, 3)),
    "all together": lambda x: x * tf.reduce_sum(x),
    "without the axis": lambda x: tf.expand_dims(tf.squeeze(x, 0) ** 2, 0),
}


@pytest.mark.filterwarnings("error:The model 'functional")
@pytest.mark.parametrize("name", OF_ONE_ROW)
def test_a_declared_batch_of_one_row_stays_one(name):
    """Files with any size mixed the rows of larger batches, or left all but the first out."""
    row = keras.Input(batch_shape=(1, 4, 3))
    model = keras.Model(row, L.Lambda(OF_ONE_ROW[name], output_shape=(4, 3))(row))
    converted = to_onnx(model)
    assert converted.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    rows = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    found = GradientInput(converted)(rows, np.ones_like(rows))
    np.testing.assert_allclose(
        found,
        2 * rows * (rows.sum((1, 2), keepdims=True) if name == "all together" else rows),
        rtol=1e-5,
        atol=1e-6,
    )


def test_rows_of_their_own_have_any_size_where_one_is_declared():
    row = keras.Input(batch_shape=(1, 4))
    converted = to_onnx(keras.Model(row, L.Dense(3)(row)))
    assert converted.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_nodes_and_edges_of_one_graph_have_sizes_of_their_own():
    nodes, edges = keras.Input((3,), batch_size=4), keras.Input((2,), batch_size=5)

    class Sums(L.Layer):
        def call(self, nodes, edges):
            sent = tf.math.unsorted_segment_sum(edges, ENDS, 4)
            return tf.concat([nodes, sent], 1)

    model = seeded(keras.Model([nodes, edges], L.Dense(2)(Sums()(nodes, edges))))
    with pytest.warns(UserWarning, match=r"first axes of different sizes, .*: 4, .*: 5}"):
        converted = to_onnx(model)
    sizes = [value.type.tensor_type.shape.dim[0].dim_value for value in converted.graph.input]
    assert sizes == [4, 5]


def test_edges_that_are_given_have_the_size_of_the_sample():
    """Both first axes were called N, and the runtime stopped at the second size."""

    class Sums(L.Layer):
        def call(self, nodes, edges):
            sent = tf.gather(tf.tanh(nodes), edges[:, 0])
            return tf.concat([nodes, tf.math.unsorted_segment_sum(sent, edges[:, 1], tf.shape(nodes)[0])], 1)

    nodes, edges = keras.Input((5,), name="nodes"), keras.Input((2,), dtype="int32", name="edges")
    model = seeded(keras.Model([nodes, edges], L.Dense(2)(Sums()(nodes, edges))))
    given = {"nodes": NODES, "edges": np.stack([SOURCES, ENDS], 1).astype(np.int32)}
    with pytest.warns(UserWarning, match=r"first axes of different sizes, {'nodes': 4, 'edges': 5}"):
        converted = to_onnx(model, sample=given)
    leaf = tf.constant(NODES)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        score = tf.reduce_sum(model([leaf, tf.constant(given["edges"])])[:, 1])
    expected = NODES * tape.gradient(score, leaf).numpy()
    with pytest.warns(UserWarning, match="explained as one sample"):
        found = GradientInput(converted)(given, np.eye(2, dtype=np.float32)[[1] * 4])
    np.testing.assert_allclose(found["nodes"] if isinstance(found, dict) else found, expected, atol=1e-6)


def test_the_refusal_says_how_to_give_the_size():
    with pytest.raises(
        ConversionError, match=r"any size N: .*Declared=N [^\n]*batch_size=4.*sample=<one batch>"
    ) as caught:
        to_onnx(graph())
    assert not re.search(r"79\d\d", str(caught.value))
