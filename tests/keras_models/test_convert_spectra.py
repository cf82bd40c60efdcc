"""Fourier transforms and complex numbers of TensorFlow and Keras, and gradients through them beside a tape's."""

import numpy as np
import pytest
from support import kept

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from onnxattr.converters.keras import to_onnx  # noqa: E402

from onnxattr import vjp  # noqa: E402
from onnxattr.errors import ConversionError  # noqa: E402
from onnxattr.loading.layers import read_layers  # noqa: E402
from onnxattr.session import Session  # noqa: E402

L, ops, signal = keras.layers, keras.ops, tf.signal
RNG = np.random.default_rng(3)
SHIFT = RNG.normal(size=(6, 8)).astype(np.float32)
FACTORS = (RNG.normal(size=(1, 5)) + 1j * RNG.normal(size=(1, 5))).astype(np.complex64)
FRAMES = L.STFTSpectrogram(frame_length=4, frame_step=2, fft_length=8)
MELS = L.MelSpectrogram(
    fft_length=16,
    sequence_stride=4,
    sequence_length=16,
    sampling_rate=100,
    num_mel_bins=6,
    max_freq=50,
    min_freq=5,
)


def both(z):
    return tf.complex(z, 2 * z + SHIFT)


def squares(parts):
    return ops.add(*map(ops.square, parts))


#: Functions of series, (rows, 6, 8).
SPECTRA = {
    "rfft": lambda z: tf.abs(signal.rfft(z)),
    "rfft, continued": lambda z: tf.abs(signal.rfft(z, [13])),
    "rfft, cut": lambda z: tf.abs(signal.rfft(z, [5])),
    "rfft2d": lambda z: tf.abs(signal.rfft2d(z)),
    "rfft2d, continued and cut": lambda z: tf.abs(signal.rfft2d(z, [9, 7])),
    "irfft": lambda z: signal.irfft(signal.rfft(z) * FACTORS),
    "irfft, odd and cut": lambda z: signal.irfft(signal.rfft(z), [5]),
    "irfft, continued": lambda z: signal.irfft(signal.rfft(z), [11]),
    "irfft2d": lambda z: signal.irfft2d(signal.rfft2d(z) * FACTORS, [6, 8]),
    "fft": lambda z: tf.math.imag(signal.fft(both(z))),
    "fft of real numbers": lambda z: tf.abs(signal.fft(tf.cast(z, tf.complex64))),
    "fft2d": lambda z: tf.math.real(signal.fft2d(both(z))),
    "ifft": lambda z: tf.math.real(signal.ifft(signal.fft(both(z)) * tf.cast(SHIFT, tf.complex64))),
    "ifft2d": lambda z: tf.math.imag(signal.ifft2d(both(z))),
    "phase": lambda z: tf.math.angle(signal.rfft(z + SHIFT)),
    "phase of negative constants": lambda z: tf.math.angle(signal.rfft(0 * z - 1)[..., :1]) + z[..., :1],
    "stft": lambda z: tf.abs(signal.stft(z, 3, 2)),
    "stft, longer transform": lambda z: tf.abs(signal.stft(z, 4, 2, fft_length=16)),
    "inverse stft": lambda z: signal.inverse_stft(signal.stft(z, 4, 2), 4, 2),
    "dct": signal.dct,
    "mfcc": signal.mfccs_from_log_mel_spectrograms,
    "product": lambda z: tf.math.real(both(z) * tf.math.conj(both(z + SHIFT))),
    "quotient": lambda z: tf.math.imag(both(z) / (both(SHIFT) + 9)),
    "square": lambda z: tf.math.imag(tf.square(both(z))),
    "exponential": lambda z: tf.math.real(tf.exp(both(z) / 4)),
    "double": lambda z: tf.cast(tf.abs(signal.fft(tf.cast(both(z), tf.complex128))), tf.float32),
    "moved": lambda z: tf.abs(tf.transpose(tf.concat([both(z)[:, 1:], both(z)[..., ::-1]], 1), [0, 2, 1])),
    "real part by a cast": lambda z: tf.cast(signal.fft(both(z)), tf.float32),
    "keras.ops.fft": lambda z: ops.fft((z, 2 * z))[1],
    "keras.ops.fft2": lambda z: ops.fft2((z, ops.zeros_like(z)))[0],
    "keras.ops.rfft": lambda z: squares(ops.rfft(z)),
    "keras.ops.irfft": lambda z: ops.irfft(ops.rfft(z)),
    "keras.ops.stft": lambda z: squares(ops.stft(z, 4, 2, 8)),
    "STFTSpectrogram": lambda z: FRAMES(ops.reshape(z, (-1, 48, 1))),
    "MelSpectrogram": lambda z: MELS(ops.reshape(z, (-1, 48))),
    "euclidean norm": lambda z: tf.math.reduce_euclidean_norm(z + SHIFT, [1, 2], keepdims=True),
}


class Computed(L.Layer):
    """What a function makes of an input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


#: Of these TensorFlow has no gradient: the same with a cut of its own.
TAPED = {
    "rfft, cut": lambda z: tf.abs(signal.rfft(z[..., :5], [5])),
    "rfft2d, continued and cut": lambda z: tf.abs(signal.rfft2d(z[..., :7], [9, 7])),
    "irfft, odd and cut": lambda z: signal.irfft(signal.rfft(z)[..., :3], [5]),
}


@pytest.fixture(scope="module")
def gradient():
    """The gradient of a model with all of them as outputs."""

    def made():
        x = keras.Input((6, 8), name="x")
        outputs = {f"y{place}": Computed(function)(x) for place, function in enumerate(SPECTRA.values())}
        return vjp(to_onnx(keras.Model(x, outputs)), ["x"])

    return Session(kept.once("gradient of spectra", "", made))


@pytest.mark.parametrize("name", SPECTRA)
def test_spectrum(gradient, name):
    """Silence included: the gradient of the size of 0 is 0."""
    x = np.random.default_rng(0).normal(size=(3, 6, 8)).astype(np.float32)
    x[1, 2] = 0
    given, cotangents = tf.constant(x), {}
    for place, (other, function) in enumerate(SPECTRA.items()):
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = TAPED.get(other, function)(given)
            cotangent = np.random.default_rng(1).normal(size=y.shape).astype(np.float32) * (other == name)
            score = tf.reduce_sum(y * cotangent)
        cotangents[f"y{place}_cotangent"] = cotangent
        if other == name:
            primal, expected = y.numpy(), tape.gradient(score, given).numpy()
    found = dict(zip(gradient.outputs, gradient.run({"x": x} | cotangents), strict=True))
    close = np.testing.assert_allclose
    close(found[f"y{list(SPECTRA).index(name)}"], primal, atol=2e-6 * np.abs(primal).max())
    close(found["x_gradient"], expected, atol=2e-6 * np.abs(expected).max())


def test_layers_around_a_complex_value():
    x = keras.Input((64,), name="x")
    spectrum = Computed(lambda z: signal.stft(z, 16, 8))
    size = Computed(lambda z: tf.abs(z)[..., None])
    y = L.Dense(2)(L.Flatten()(L.Conv2D(3, 3, activation="relu")(size(spectrum(x)))))
    converted = to_onnx(keras.Model(x, y))
    layers = {
        layer.path: layer.outputs for layer in read_layers({p.key: p.value for p in converted.metadata_props})
    }
    assert layers[spectrum.name] == ()
    assert layers[size.name]


@pytest.mark.parametrize("inverse", [False, True])
def test_a_transform_over_time_of_any_length(inverse):
    """As FNet mixes its tokens."""
    transform = signal.ifft2d if inverse else signal.fft2d
    x = keras.Input((None, 4), name="x")
    mixed = Computed(lambda z: tf.math.real(transform(tf.cast(z, tf.complex64))))(x)
    gradient = Session(vjp(to_onnx(keras.Model(x, L.Activation("tanh", name="y")(mixed))), ["x"]))
    for time in (1, 6, 37):
        given = tf.constant(np.random.default_rng(time).normal(size=(2, time, 4)).astype(np.float32))
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = tf.tanh(tf.math.real(transform(tf.cast(given, tf.complex64))))
        expected = tape.gradient(y, given).numpy()
        found = gradient.run({"x": given.numpy(), f"{gradient.outputs[0]}_cotangent": np.ones_like(y)})
        np.testing.assert_allclose(found[1], expected, atol=5e-6 * np.abs(expected).max())


ERRORS = {
    "a complex output": (signal.rfft, r"outputs \['computed.*'\] are complex; .*absolute value"),
    "a long transform": (
        lambda z: tf.abs(signal.rfft(z, [5000])),
        r"rfft' \(RFFT\) is a Fourier transform of 5000 points; supported: up to 4096",
    ),
    "another operator": (
        lambda z: tf.abs(tf.sin(tf.cast(z, tf.complex64))),
        r"\(Sin\) computes with complex numbers.*These are written in real ones: Add,",
    ),
    "a size that is not known": (
        lambda z: tf.abs(signal.rfft(z, [8])),
        r"\(RFFT\) transforms axis -1, whose size is not known",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    function, message = ERRORS[name]
    x = keras.Input((None if "not known" in name else 8,))
    with pytest.raises(ConversionError, match=message):
        to_onnx(keras.Model(x, Computed(function)(x)))
