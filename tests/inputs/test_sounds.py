"""Sounds are read and explained as their samples."""

import wave

import numpy as np
import pytest
from support.small_models import build, node

from onnxattr import GradientInput
from onnxattr.errors import ShapeError
from onnxattr.inputs.sounds import read_sound
from onnxattr.loading.meaning import inputs_outputs as meaning
from onnxattr.loading.meaning.inputs_outputs import InputMeaning, Meaning


def sound(path, samples, width, rate=16_000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        whole = np.rint(samples * (2 ** (8 * width - 1) - 1)).astype("<i8")
        whole = whole + 128 if width == 1 else whole
        file.writeframes(whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes())
    return path


WAVE = 0.5 * np.sin(np.arange(400) / 7)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds(width, tmp_path):
    found, rate = read_sound(sound(tmp_path / "a.wav", WAVE, width))
    assert (found.shape, found.dtype, rate) == ((400, 1), np.float32, 16_000)
    np.testing.assert_allclose(found[:, 0], WAVE, rtol=0, atol=2.0 ** (2 - 8 * width) + 1e-7)
    stereo = np.stack([WAVE, -WAVE / 2], 1)
    found, _ = read_sound(sound(tmp_path / "b.wav", stereo, width, channels=2))
    np.testing.assert_allclose(found, stereo, rtol=0, atol=2.0 ** (2 - 8 * width) + 1e-7)


def sound_model(shape, rate=None):
    nodes = [
        node("Mul", ["sound", "sound"], ["power"]),
        node("ReduceMean", ["power"], ["y"], keepdims=0, axes=[1]),
    ]
    nodes[1:] = [node("Flatten", ["power"], ["flat"]), node("ReduceMean", ["flat", "one"], ["y"])]
    model = build(nodes, {"sound": shape}, {"y": ["N", 1]}, {"one": np.array([1])})
    entry = model.metadata_props.add()
    entry.key, entry.value = meaning.KEY, Meaning({"sound": InputMeaning("audio", sampling_rate=rate)}).text()
    return model


@pytest.mark.parametrize("shape", [["N", "T"], ["N", 400, 1], ["N", 1, "T"]])
def test_a_sound_is_explained(shape, tmp_path):
    path = sound(tmp_path / "a.wav", np.stack([WAVE, WAVE], 1), 2, channels=2)
    found = GradientInput(sound_model(shape, 16_000), operator="regression")(path)
    x = found.inputs["sound"].reshape(400)
    np.testing.assert_allclose(x, WAVE, atol=1e-4)
    np.testing.assert_allclose(np.asarray(found).reshape(400), 2 * x * x / 400, rtol=1e-5, atol=1e-9)


SOUNDS = {
    "rate": (lambda p: sound(p, WAVE, 2, 8_000), "8000 samples for each second; the model takes 16000"),
    "length": (lambda p: sound(p, WAVE[:300], 2), "300 samples .*; the model takes 400"),
    "five bytes": (lambda p: p.write_bytes(b"hello"), "cannot be read as a WAV file: it is cut off"),
    "64 bits": (
        lambda p: (sound(p, WAVE, 2), p.write_bytes(p.read_bytes()[:34] + b"\x40\0" + p.read_bytes()[36:])),
        "it has integers of 64 bits. Save it again as a WAV file of 16-bit integers",
    ),
    "cut off": (lambda p: (sound(p, WAVE, 2), p.write_bytes(p.read_bytes()[:100])), "cut off: it holds"),
    "no sound": (lambda p: p.write_text("no sound"), "cannot be read as a WAV file"),
    "empty": (lambda p: sound(p, WAVE[:0], 2), "no sample of sound"),
}


def test_sounds_of_two_rates_are_not_of_one_model(tmp_path):
    paths = [sound(tmp_path / f"{rate}.wav", WAVE, 2, rate) for rate in (16_000, 8_000)]
    method = GradientInput(sound_model(["N", 400], None))
    assert method.explain(paths[1:]).shape == (1, 400)
    with pytest.raises(
        ShapeError, match=r"8000\.wav has 8000 samples for each second, and the first sound 16000"
    ):
        method.explain(paths)


@pytest.mark.parametrize("case", SOUNDS)
def test_sounds_that_do_not_fit(case, tmp_path):
    make, says = SOUNDS[case]
    make(tmp_path / "a.wav")
    with pytest.raises(ShapeError, match=says):
        GradientInput(sound_model(["N", 400], 16_000)).explain(tmp_path / "a.wav")
