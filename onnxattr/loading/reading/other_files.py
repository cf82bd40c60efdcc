"""Files that people have in the place of an ONNX file, known by their first bytes, and what to do with each."""

from __future__ import annotations

_MADE_OF = "give the ONNX file that it was made of"
#: First bytes, after the given number of others; what they are of, and what to do.
_STARTS = (
    (0, b"version https://git-lfs", "a pointer of Git LFS, which stands for the file: run `git lfs pull`"),
    (0, b"\x1f\x8b", "compressed by gzip: unpack it"),
    (
        0,
        b"PK\x03\x04",
        "a ZIP archive: unpack it if an ONNX file is in it; a PyTorch or Keras model is converted, docs/models.md",
    ),
    (0, b"\x89HDF", "an HDF5 file: if Keras wrote it, name it .h5, and it is converted"),
    (0, b"\x80", "a pickle, as of PyTorch, joblib: convert the model that is in it, docs/models.md"),
    (4, b"TFL3", "a TensorFlow Lite model: convert the Keras model or SavedModel that it was made of"),
    (4, b"ORTM", f"in ONNX Runtime's own format: {_MADE_OF}"),
    (8, b'{"', "a safetensors file, which holds weights alone: load them into their model, and convert that"),
)
#: The same of text, in small letters.
_TEXTS = (
    (b"<!doctype", "a web page, as a download gives that failed or asks to log in: download the file itself"),
    (b"<html", "a web page, as a download gives that failed or asks to log in: download the file itself"),
    (b"<?xml", f"XML, as of OpenVINO: {_MADE_OF}"),
    (b"{", "JSON: if it is ONNX as text, give onnx.load(path, format='json')"),
    (b"ir_version", "ONNX as text: give onnx.load(path, format='textproto')"),
    (b"<", "text: if it is ONNX as text, give onnx.load(path, format='onnxtxt')"),
)


def told_by_content(data: bytes) -> str:
    """What a file is that is no ONNX model, and what to do, as the rest of a sentence; empty if that is not known."""
    for offset, start, kind in _STARTS:
        if data[offset : offset + len(start)] == start:
            return kind
    text = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((kind for start, kind in _TEXTS if text.startswith(start)), "")
