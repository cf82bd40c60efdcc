"""Recurrent layers without an operator of ONNX, saved models, other precisions and tf_keras."""

import collections
import warnings
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
L = keras.layers
import tensorflow as tf  # noqa: E402
from onnxattr.converters.keras import to_onnx  # noqa: E402
from support.converted import run  # noqa: E402
from support.recurrent_layers import FEATURES, MASK, assert_same, operators, randomised, sequences  # noqa: E402

from onnxattr.attributions import GradientInput  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402

pytestmark = pytest.mark.usefixtures("fresh_keras")


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


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_stateful_layer_is_refused_by_name(library):
    layers = pytest.importorskip(library).layers
    start = layers.Input(batch_shape=(2, 5, FEATURES))
    model = pytest.importorskip(library).Model(start, layers.LSTM(4, stateful=True, name="remembers")(start))
    with pytest.raises(
        ConversionError, match=r"^Layer 'remembers' is stateful.*stateful=False.*initial_state\.$"
    ):
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
