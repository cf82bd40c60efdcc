"""Recurrent Keras layers: written as ONNX recurrent operators, equal to Keras for any mask, length and batch size."""

import collections
import warnings
import zipfile

import numpy as np
import pytest
from onnx import ModelProto

keras = pytest.importorskip("keras")
L = keras.layers
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import by_path, run, values  # noqa: E402

from onnxattr.attributions import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

FEATURES = 3
TOLERANCE = (
    2e-6  # float32 rounding of a dozen steps; outputs are below 1 in magnitude for bounded activations
)


pytestmark = pytest.mark.usefixtures("fresh_keras")


def randomised(model):
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    return model


def sequences(batch, time, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, FEATURES)).astype("float32")


def operators(model: ModelProto) -> collections.Counter:
    return collections.Counter(node.op_type for node in model.graph.node)


def assert_same(model, converted, *arrays, tolerance=TOLERANCE):
    expected = model(arrays[0] if len(arrays) == 1 else list(arrays), training=False)
    expected = [np.asarray(y) for y in (expected if isinstance(expected, (list, tuple)) else [expected])]
    actual = run(converted, *arrays)
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, atol=tolerance, rtol=tolerance)


UNMASKED = {
    "lstm": (lambda: L.LSTM(4), {"LSTM": 1}),
    "lstm sequences": (lambda: L.LSTM(4, return_sequences=True), {"LSTM": 1}),
    "lstm state": (lambda: L.LSTM(4, return_state=True), {"LSTM": 1}),
    "lstm backwards": (
        lambda: L.LSTM(4, go_backwards=True, return_sequences=True, return_state=True),
        {"LSTM": 1},
    ),
    "lstm no bias": (lambda: L.LSTM(4, use_bias=False), {"LSTM": 1}),
    "lstm relu": (lambda: L.LSTM(4, activation="relu"), {"LSTM": 1}),
    "lstm hard sigmoid": (lambda: L.LSTM(4, recurrent_activation="hard_sigmoid"), {"LSTM": 1}),
    "lstm linear": (lambda: L.LSTM(4, activation=None), {"LSTM": 1}),
    "lstm dropout": (lambda: L.LSTM(4, dropout=0.3, recurrent_dropout=0.2), {"LSTM": 1}),
    "lstm implementation 1": (lambda: L.RNN(L.LSTMCell(4, implementation=1)), {"LSTM": 1}),
    "gru": (lambda: L.GRU(4), {"GRU": 1}),
    "gru sequences": (lambda: L.GRU(4, return_sequences=True, return_state=True), {"GRU": 1}),
    "gru reset before": (lambda: L.GRU(4, reset_after=False), {"GRU": 1}),
    "gru reset before backwards": (lambda: L.GRU(4, reset_after=False, go_backwards=True), {"GRU": 1}),
    "gru no bias": (lambda: L.GRU(4, use_bias=False), {"GRU": 1}),
    "gru softsign elu": (lambda: L.GRU(4, activation="elu", recurrent_activation="softsign"), {"GRU": 1}),
    "rnn": (lambda: L.SimpleRNN(4), {"RNN": 1}),
    "rnn sequences": (lambda: L.SimpleRNN(4, return_sequences=True, return_state=True), {"RNN": 1}),
    "rnn elu": (lambda: L.SimpleRNN(4, activation="elu"), {"RNN": 1}),
    "rnn leaky": (lambda: L.SimpleRNN(4, activation="leaky_relu", go_backwards=True), {"RNN": 1}),
    "rnn of cells": (
        lambda: L.RNN([L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(2)]),
        {"LSTM": 1, "GRU": 1, "RNN": 1},
    ),
    "rnn of cells, state": (
        lambda: L.RNN([L.GRUCell(4), L.GRUCell(3)], return_sequences=True, go_backwards=True),
        {"GRU": 2},
    ),
    "bidirectional concat": (lambda: L.Bidirectional(L.LSTM(4)), {"LSTM": 2}),
    "bidirectional sum": (
        lambda: L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode="sum"),
        {"GRU": 2},
    ),
    "bidirectional mul": (lambda: L.Bidirectional(L.SimpleRNN(4), merge_mode="mul"), {"RNN": 2}),
    "bidirectional ave": (
        lambda: L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="ave"),
        {"LSTM": 2},
    ),
    "bidirectional none": (
        lambda: L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=None),
        {"GRU": 2},
    ),
    "bidirectional state": (lambda: L.Bidirectional(L.LSTM(4, return_state=True)), {"LSTM": 2}),
    "bidirectional two kinds": (
        lambda: L.Bidirectional(L.LSTM(4), backward_layer=L.GRU(4, go_backwards=True)),
        {"LSTM": 1, "GRU": 1},
    ),
}


@pytest.mark.parametrize("name", UNMASKED)
def test_layer_without_mask_is_one_operator_with_dynamic_time(name):
    make, expected = UNMASKED[name]
    inputs = keras.Input((None, FEATURES), name="x")
    model = randomised(keras.Model(inputs, make()(inputs)))
    converted = to_onnx(model)
    found = operators(converted)
    assert {op: found[op] for op in ("LSTM", "GRU", "RNN") if found[op]} == expected
    assert not found["Loop"] + found["Scan"]
    for batch, time in ((1, 1), (2, 7), (5, 12)):
        assert_same(model, converted, sequences(batch, time))


# Kept steps of six sequences of six steps: all, right and left padding, holes, one step, none at all.
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    bool,
)

MASKED = {
    "lstm": lambda: L.LSTM(4, return_state=True),
    "lstm sequences": lambda: L.LSTM(4, return_sequences=True, return_state=True),
    "lstm zero output": lambda: L.LSTM(4, return_sequences=True, zero_output_for_mask=True),
    "lstm zero last output": lambda: L.LSTM(4, return_state=True, zero_output_for_mask=True),
    "lstm backwards": lambda: L.LSTM(4, go_backwards=True, return_sequences=True, return_state=True),
    "lstm unrolled": lambda: L.LSTM(4, unroll=True, return_sequences=True),
    "gru": lambda: L.GRU(4, return_sequences=True, return_state=True),
    "gru reset before": lambda: L.GRU(4, reset_after=False),
    "rnn": lambda: L.SimpleRNN(4, return_sequences=True, return_state=True),
    "rnn of cells": lambda: L.RNN(
        [L.LSTMCell(4), L.GRUCell(3)], return_sequences=True, zero_output_for_mask=True
    ),
    "bidirectional lstm": lambda: L.Bidirectional(L.LSTM(4, return_sequences=True)),
    "bidirectional gru": lambda: L.Bidirectional(L.GRU(4), merge_mode="sum"),
}


@pytest.mark.parametrize("name", MASKED)
def test_any_mask_gives_what_keras_gives(name):
    x = keras.Input((6 if "unrolled" in name else None, FEATURES), name="x")
    mask = keras.Input((6 if "unrolled" in name else None,), dtype="bool", name="mask")
    model = randomised(keras.Model([x, mask], MASKED[name]()(x, mask=mask)))
    converted = to_onnx(model)
    assert not operators(converted)["Loop"]
    data = sequences(6, 6)
    assert_same(model, converted, data, MASK)
    generator = np.random.default_rng(1)
    for batch, time in ((1, 6), (2, 6), (5, 6)) if "unrolled" in name else ((1, 2), (2, 9), (5, 17)):
        assert_same(
            model, converted, sequences(batch, time), generator.integers(0, 2, (batch, time)).astype(bool)
        )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("layer", "states"), [("LSTM", 2), ("GRU", 1), ("SimpleRNN", 1)])
def test_initial_state_is_an_input_of_the_operator(layer, states, masked):
    x = keras.Input((None, FEATURES), name="x")
    mask = keras.Input((None,), dtype="bool", name="mask")
    first = [keras.Input((4,), name=f"state{i}") for i in range(states)]
    outputs = getattr(L, layer)(4, return_sequences=True, return_state=True)(
        x, initial_state=first, mask=mask if masked else None
    )
    inputs = [x, *([mask] if masked else []), *first]
    model = randomised(keras.Model(inputs, outputs))
    converted = to_onnx(model)
    generator = np.random.default_rng(2)
    arrays = [sequences(6, 6), *([MASK] if masked else [])]
    assert_same(model, converted, *arrays, *[generator.normal(size=(6, 4)).astype("float32") for _ in first])


def test_encoder_state_reaches_the_decoder():
    source, target = (
        keras.Input((None, FEATURES), name="source"),
        keras.Input((None, FEATURES), name="target"),
    )
    _, h, c = L.LSTM(4, return_state=True)(source)
    model = randomised(
        keras.Model([source, target], L.LSTM(4, return_sequences=True)(target, initial_state=[h, c]))
    )
    converted = to_onnx(model)
    assert operators(converted)["LSTM"] == 2
    expected = np.asarray(model([sequences(2, 9), sequences(2, 5, 1)]))
    np.testing.assert_allclose(
        run(converted, sequences(2, 9), sequences(2, 5, 1))[0], expected, atol=TOLERANCE
    )


@pytest.mark.parametrize("recurrent", ["LSTM", "GRU"])
def test_embedding_mask_reaches_stacked_layers(recurrent):
    layer = getattr(L, recurrent)
    model = randomised(
        keras.Sequential(
            [
                L.Input((None,), dtype="int32"),
                L.Embedding(7, FEATURES, mask_zero=True),
                layer(4, return_sequences=True),
                L.Bidirectional(layer(4)),
            ]
        )
    )
    converted = to_onnx(model)
    assert operators(converted)[recurrent] == 3
    ids = np.where(MASK, np.random.default_rng(0).integers(1, 7, MASK.shape), 0).astype("int32")
    assert_same(model, converted, ids)


def test_layer_table_names_the_outputs_of_recurrent_layers():
    model = randomised(
        keras.Sequential(
            [
                L.Input((None, FEATURES)),
                L.LSTM(4, return_sequences=True, name="first"),
                L.GRU(3, name="second"),
            ]
        )
    )
    converted = to_onnx(model)
    rows = by_path(converted)
    assert [rows[name]["index"] for name in ("first", "second")] == [0, 1]
    assert rows["second"]["output"] == converted.graph.output[0].name
    x = sequences(3, 5)
    (found,) = values(converted, [rows["first"]["output"]], [x])
    np.testing.assert_allclose(found, np.asarray(model.layers[0](x)), atol=TOLERANCE)


ACTIVATIONS = {
    "leaky relu": lambda x: keras.ops.leaky_relu(x, 0.15),
    "elu": lambda x: keras.ops.elu(x, 0.4),
    "leaky relu layer": L.LeakyReLU(0.05),
    "elu layer": L.ELU(1.5),
    "hard sigmoid": lambda x: keras.ops.clip(0.3 * x + 0.4, 0.0, 1.0),
    "affine": lambda x: 0.5 * x - 0.1,
}


@pytest.mark.parametrize(
    ("name", "layer"),
    [*((name, "LSTM") for name in ACTIVATIONS), ("leaky relu", "GRU"), ("elu", "SimpleRNN")],
)
def test_parameters_of_activations_are_those_of_the_operator(name, layer):
    gates = {} if layer == "SimpleRNN" else {"recurrent_activation": ACTIVATIONS["hard sigmoid"]}
    inputs = keras.Input((None, FEATURES), name="x")
    recurrent = getattr(L, layer)(4, activation=ACTIVATIONS[name], **gates)
    model = randomised(keras.Model(inputs, recurrent(inputs)))
    converted = to_onnx(model)
    assert not operators(converted)["Loop"] + operators(converted)["Scan"]
    x = sequences(3, 7)
    assert_same(model, converted, x, tolerance=1e-5)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        score = model(tensor)[:, 1]
    expected = x * tape.gradient(score, tensor).numpy()
    found = GradientInput(converted).explain(x, np.ones(3, int))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_cell_without_operator_is_unrolled_with_a_warning():
    class Halving(L.SimpleRNNCell):
        def call(self, sequence, states, training=False):
            output, states = super().call(sequence, states)
            return output / 2, [states[0] / 2]

    model = randomised(keras.Sequential([L.Input((5, FEATURES)), L.RNN(Halving(4), name="own")]))
    with pytest.warns(UserWarning, match=r"'own' .*no ONNX recurrent operator.*unrolled"):
        converted = to_onnx(model)
    found = operators(converted)
    assert [found[op] for op in ("Loop", "RNN", "Tanh")] == [0, 0, 5]
    assert_same(model, converted, sequences(3, 5))


def test_activation_without_counterpart_becomes_a_loop_when_time_is_dynamic():
    model = randomised(
        keras.Sequential([L.Input((None, FEATURES)), L.GRU(4, activation="swish", name="own")])
    )
    with pytest.warns(UserWarning, match=r"'own' .*as a Loop"):
        converted = to_onnx(model)
    assert operators(converted)["Loop"] == 1
    x = sequences(3, 5)
    assert_same(model, converted, x)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        score = tf.reduce_sum(model(inputs)[:, 1])
    expected = x * tape.gradient(score, inputs).numpy()
    found = GradientInput(converted).explain(x, [1, 1, 1])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
@pytest.mark.parametrize("time", [None, 5])
def test_softplus_stays_finite_at_large_values(cell, time):
    """ONNX Runtime's recurrent operators compute log(1 + exp(x)), which overflows above 88."""
    layer = getattr(L, cell)(4, activation="softplus")
    model = randomised(keras.Sequential([L.Input((time, FEATURES)), layer]))
    with pytest.warns(UserWarning, match="no ONNX recurrent operator"):
        converted = to_onnx(model)
    for scale in (1, 300, -300):
        x = (scale * np.abs(sequences(3, 5))).astype(np.float32)
        expected = np.asarray(model(x))
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(
            run(converted, x)[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )


SAVED = {
    # layer -> the operator in the file when tf_keras saved the model, and when Keras exported it
    "LSTM": (lambda layers: layers.LSTM(4), "LSTM", "LSTM"),
    "GRU": (lambda layers: layers.GRU(4), "GRU", "Loop"),
    "GRU, reset before": (lambda layers: layers.GRU(4, reset_after=False), "GRU", "Loop"),
    "SimpleRNN": (lambda layers: layers.SimpleRNN(4), "RNN", "Loop"),
    "Bidirectional": (lambda layers: layers.Bidirectional(layers.LSTM(4)), "LSTM", "LSTM"),
}


def side_by_side(package, builds):
    """One model of several layers: a file takes seconds to save, however many there are in it."""
    x = package.Input((None, FEATURES), name="series")
    return randomised(package.Model(x, [build(package.layers)(x) for build in builds]))


@pytest.mark.parametrize(
    ("names", "save_traces"),
    [(["GRU"], True), (SAVED, False), pytest.param(SAVED, True, marks=pytest.mark.slow)],
    ids=["one", "all, without their functions", "all"],
)
def test_saved_model_of_tf_keras_keeps_its_recurrent_layers(names, save_traces, tmp_path):
    tf_keras = pytest.importorskip("tf_keras")
    model = side_by_side(tf_keras, [SAVED[name][0] for name in names])
    model.save(tmp_path / "saved", save_format="tf", save_traces=save_traces)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*Loop")
        converted = to_onnx(tmp_path / "saved")
    found = operators(converted)
    expected = collections.Counter(SAVED[name][1] for name in names)
    expected["LSTM"] += "Bidirectional" in names  # its second direction
    assert {name: found[name] for name in (*expected, "Loop")} == {**expected, "Loop": 0}
    assert_same(model, converted, sequences(3, 5))


@pytest.mark.parametrize("operator", ["LSTM", "Loop"])
def test_saved_model_of_keras_warns_of_loops(operator, tmp_path):
    builds = [build for build, _, exported in SAVED.values() if exported == operator]
    model = side_by_side(keras, builds)
    model.export(tmp_path / "exported", verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = to_onnx(tmp_path / "exported")
    found = operators(converted)
    assert {name: found[name] for name in ("LSTM", "Loop")} == {"LSTM": 0, "Loop": 0} | {
        operator: len(builds)
    }
    assert any("'exported' holds loops" in str(w.message) for w in caught) == (operator == "Loop")
    assert_same(model, converted, sequences(3, 5))


def test_stateful_layer_is_refused_by_name():
    model = keras.Sequential(
        [L.Input(batch_shape=(2, 5, FEATURES)), L.LSTM(4, stateful=True, name="remembers")]
    )
    with pytest.raises(ConversionError, match=r"'remembers' is stateful.*stateful=False"):
        to_onnx(model)


def test_layers_work_as_before_after_a_conversion():
    calls = [(layer, layer.__dict__.get("inner_loop")) for layer in (L.RNN, L.LSTM, L.GRU, L.SimpleRNN)]
    model = randomised(
        keras.Sequential([L.Input((5, FEATURES)), L.LSTM(4), L.RepeatVector(3), L.ConvLSTM1D(2, 1)][:3])
    )
    before = np.asarray(model(sequences(2, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_onnx(model)
    assert [(layer, layer.__dict__.get("inner_loop")) for layer, _ in calls] == calls
    np.testing.assert_array_equal(np.asarray(model(sequences(2, 5))), before)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-2), ("float64", 1e-5)])
def test_other_precisions_are_cast_around_the_operator(dtype, tolerance):
    inputs = keras.Input((None, FEATURES), dtype=dtype)
    model = randomised(keras.Model(inputs, L.LSTM(4, dtype=dtype)(inputs)))
    converted = to_onnx(model)
    assert_same(model, converted, sequences(2, 6).astype(dtype), tolerance=tolerance)


LEGACY = {
    "lstm": lambda K: K.LSTM(4, return_sequences=True, return_state=True),
    "gru": lambda K: K.GRU(4, go_backwards=True, return_sequences=True),
    "gru reset before": lambda K: K.GRU(4, reset_after=False),
    "rnn": lambda K: K.SimpleRNN(4, return_state=True),
    "cells": lambda K: K.RNN([K.LSTMCell(4), K.GRUCell(3)]),
    "bidirectional": lambda K: K.Bidirectional(K.LSTM(4, return_sequences=True), merge_mode="ave"),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", LEGACY)
def test_tf_keras_layers(name, masked):
    tf_keras = pytest.importorskip("tf_keras")
    K = tf_keras.layers
    inputs = tf_keras.Input((None, FEATURES))
    x = K.Masking(0.0)(inputs) if masked else inputs
    model = randomised(tf_keras.Model(inputs, LEGACY[name](K)(x)))
    converted = to_onnx(model)
    found = operators(converted)
    assert found["LSTM"] + found["GRU"] + found["RNN"] > 0
    assert not found["Loop"]
    data = sequences(6, 6)
    if masked:
        data[~MASK] = 0
    assert_same(model, converted, data)


LONG = {
    "lstm": (lambda: L.LSTM(4, unroll=True), 10**6, r"'lstm' has unroll=True and 1000000 steps"),
    "gru": (lambda: L.GRU(4, unroll=True), 2001, "'gru' has unroll=True and 2001 steps"),
    "both ways": (lambda: L.Bidirectional(L.SimpleRNN(3, unroll=True)), 10**6, "has unroll=True"),
    "stacked": (
        lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)]), unroll=True),
        10**6,
        "unroll",
    ),
    "without an operator": (lambda: L.LSTM(3, activation="gelu", unroll=True), 10**6, "has unroll=True"),
    "not unrolled": (lambda: L.LSTM(4), 10**7, r"'lstm' would take 10000000 steps.*--no-verify"),
}


@pytest.mark.parametrize("name", LONG)
def test_more_steps_than_can_be_taken_are_refused_before_they_are(name, tmp_path):
    """The number of steps is text in the file: this one is edited."""
    layer, steps, said = LONG[name]
    keras.Sequential([keras.Input((FEATURES,)), L.RepeatVector(7), layer()]).save(tmp_path / "short.keras")
    with (
        zipfile.ZipFile(tmp_path / "short.keras") as short,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as long,
    ):
        for member in short.namelist():
            long.writestr(member, short.read(member).replace(b'"n": 7', b'"n": %d' % steps))
    with pytest.raises(ConversionError, match=said):
        to_onnx(tmp_path / "m.keras")
