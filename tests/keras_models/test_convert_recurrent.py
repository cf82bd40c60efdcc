"""Recurrent Keras layers: written as ONNX recurrent operators, equal to Keras for any mask, length and batch size."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
L = keras.layers
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import by_path, run, values  # noqa: E402
from support.recurrent_layers import FEATURES, MASK, TOLERANCE, assert_same, operators, randomised, sequences  # noqa: E402

from onnxattr.attributions import GradientInput  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_keras")


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
