"""The helper of these tests tells every end that a file can have: a judge that can't fail proves nothing."""

import pytest

from hostile.opened import fingerprint, open_each

ENDS = {
    "opened": "",
    "refused": "raise onnxattr.OnnxAttrError('in words')",
    "raw": "1 / 0",
    "hung": "time.sleep(60)",
    "died": "os.abort()",
}


@pytest.mark.parametrize("kind", ENDS)
def test_every_end_is_told(kind, tmp_path):
    (outcome,) = open_each(["x"], ENDS[kind], imports="import onnxattr, time, os", seconds=3, folder=tmp_path)
    assert outcome.kind == kind, outcome
    assert outcome.harmless == (kind in ("opened", "refused"))


def test_memory_is_bounded_and_measured(tmp_path):
    taken = "x = bytearray(int(path.split('/')[-1]) << 20); x[::4096] = bytes(b'1' * (len(x) >> 12))"
    small, large = open_each(["100", "4000"], taken, megabytes=2000, folder=tmp_path)
    assert small.kind == "opened"
    assert 95 < small.megabytes < 150
    assert (large.kind, large.message[:11]) == ("raw", "MemoryError")


def test_command_line_and_canary(tmp_path):
    before = fingerprint(tmp_path)
    action = "open('mark', 'w').close(); raise SystemExit(onnxattr.cli.main(['inspect', path]))"
    (outcome,) = open_each(["no.onnx"], action, imports="import onnxattr.cli", folder=tmp_path)
    assert outcome.kind == "refused"
    assert "no.onnx" in outcome.message
    assert fingerprint(tmp_path) != before
