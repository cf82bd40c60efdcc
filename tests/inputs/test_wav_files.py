"""WAV files as programs write them hold the samples that were written, or are refused in a sentence."""

import struct

import numpy as np
import pytest

from onnxattr.errors import ShapeError
from onnxattr.inputs.sounds import read_sound

FLOATS = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
WHOLE = np.random.default_rng(1).integers(-(2**15), 2**15, (9, 2))
SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
LIST = b"LIST\x09\0\0\0INFOISFT\x01\0"  # an odd size, with the byte that follows it


def form(kind, bits, frame=None, extra=b"", channels=2, order="<"):
    frame = channels * ((bits + 7) // 8) if frame is None else frame
    content = struct.pack(f"{order}HHIIHH", kind, channels, 8_000, 8_000 * frame, frame, bits) + extra
    return b"fmt " + struct.pack(f"{order}I", len(content)) + content


def extended(kind, bits, valid):
    return form(0xFFFE, bits, extra=struct.pack("<HHIH", 22, valid, 3, kind) + SUBFORMAT)


def chunk(data, size=None, order="<"):
    return b"data" + struct.pack(f"{order}I", len(data) if size is None else size) + data


def riff(*chunks, size=None, magic=b"RIFF", order="<"):
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack(f"{order}I", len(body) if size is None else size) + body


SHORT = WHOLE.astype("<i2").tobytes()
LONG = struct.pack("<4sIQQQI", b"ds64", 28, 100, len(SHORT), 9, 0)
READ = {
    "float32": (riff(form(3, 32), chunk(FLOATS.tobytes())), FLOATS),
    "float64": (riff(form(3, 64), chunk(FLOATS.astype("<f8").tobytes())), FLOATS),
    "louder than 1": (riff(form(3, 32), chunk((3 * FLOATS).tobytes())), 3 * FLOATS),
    "extensible float32": (riff(extended(3, 32, 32), chunk(FLOATS.tobytes())), FLOATS),
    "extensible int16": (riff(extended(1, 16, 16), chunk(SHORT)), WHOLE / 2**15),
    "24 bits in 32": (riff(extended(1, 32, 24), chunk((WHOLE << 16).astype("<i4").tobytes())), WHOLE / 2**15),
    "12 bits in 16": (riff(form(1, 12), chunk((WHOLE & ~15).astype("<i2").tobytes())), (WHOLE & ~15) / 2**15),
    "a list in front": (riff(LIST, form(1, 16), LIST, chunk(SHORT), LIST), WHOLE / 2**15),
    "a pipe": (riff(form(1, 16), chunk(SHORT, 0xFFFFFFFF), size=0xFFFFFFFF), WHOLE / 2**15),
    "a pipe of sox": (riff(form(1, 16), chunk(SHORT, 0x7FFFF000), size=0x7FFFF024), WHOLE / 2**15),
    "a pipe of zeros": (riff(form(1, 16), chunk(SHORT, 0), size=0), WHOLE / 2**15),
    "RF64": (riff(LONG, form(1, 16), chunk(SHORT, 0xFFFFFFFF) + LIST, size=0xFFFFFFFF, magic=b"RF64"), WHOLE / 2**15),
    "RIFX": (
        riff(form(1, 16, order=">"), chunk(WHOLE.astype(">i2").tobytes(), order=">"), magic=b"RIFX", order=">"),
        WHOLE / 2**15,
    ),
}  # fmt: skip
REFUSED = {
    "bits and bytes that differ": (riff(form(1, 24, frame=8), chunk(SHORT)), "2 channels of 24 bits, and 8 bytes"),
    "no channels": (riff(form(1, 16, frame=2, channels=0), chunk(SHORT)), "0 channels of 16 bits"),
    "half floats": (riff(form(3, 16), chunk(SHORT)), "floats of 16 bits"),
    "cut off": (riff(form(1, 16), chunk(SHORT, 400)), "cut off: it holds 9 of the 100 samples"),
    "2**62 bytes": (
        riff(LONG[:16] + struct.pack("<Q", 2**62) + LONG[24:], form(1, 16), chunk(SHORT, 2**32 - 1), magic=b"RF64"),
        "cut off: it holds 9 of the 1152921504606846976 samples",
    ),
    "2**64 - 1 bytes": (
        riff(LONG[:16] + b"\xff" * 8 + LONG[24:], form(1, 16), chunk(SHORT, 2**32 - 1), magic=b"RF64"),
        "cut off: it holds 9 of the",
    ),
    "a chunk of odd size": (riff(form(1, 16), LIST[:-1], chunk(SHORT)), "no samples"),
    "two chunks of samples": (riff(form(1, 16), chunk(SHORT[:-1]) + b"\0", LIST, chunk(SHORT)), "two chunks"),
    "an empty chunk in front": (riff(form(1, 16), chunk(b""), chunk(SHORT)), "two chunks"),
    "samples first": (riff(chunk(SHORT), form(1, 16)), "stand before"),
    "a short form": (riff(b"fmt \x08\0\0\0" + bytes(8), chunk(SHORT)), "has 8 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read(case, tmp_path):
    data, expected = READ[case]
    (tmp_path / "a.wav").write_bytes(data)
    found, rate = read_sound(tmp_path / "a.wav")
    assert (found.dtype, rate) == (np.float32, 8_000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    data, says = REFUSED[case]
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(ShapeError, match=f"{says}.* Save it again as a WAV file of 16-bit integers"):
        read_sound(tmp_path / "a.wav")
