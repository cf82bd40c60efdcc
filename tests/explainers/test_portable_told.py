"""What a run of exported files in another runtime wrote before it was killed is read again, and nothing else is."""

import json

import pytest
from portable.run_python import arguments, still_true
from portable.told import key_of, told

VERSION = "runtime 2.0"


@pytest.mark.parametrize(
    ("words", "runtime", "light", "resume"),
    [
        ([], "cpu", False, False),
        (["--resume"], "cpu", False, True),
        (["webgpu", "--light"], "webgpu", True, False),
        (["openvino", "--resume"], "openvino", False, True),
    ],
)
def test_options_are_no_runtime(words, runtime, light, resume):
    found = arguments(["folder", "1.15.0", *words])
    assert (found.runtime, found.light, found.resume) == (runtime, light, resume)


def test_lines_of_changed_files_and_other_versions_and_cut_lines_are_run_again(tmp_path):
    entries = []
    for name in ("same", "changed", "older", "refused", "cut", "left"):
        (tmp_path / name).write_text(name)
        entries.append({"name": name, "key": key_of([tmp_path / name])})
    lines = [one | {"version": VERSION} for one in entries[:5]]
    lines[1] = lines[1] | {"key": key_of([tmp_path / "same"])}
    lines[2] = lines[2] | {"version": "runtime 1.0"}
    lines[3] = lines[3] | {"refused": "no kernel"}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "runtime").mkdir()
    path = tmp_path / "runtime" / "told.jsonl"
    path.write_text(text[:-5])
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    assert [one["name"] for one in still_true(path, entries, VERSION)] == ["same", "refused"]
    # A table of what there is takes the version as it is.
    assert list(told(tmp_path, "runtime")) == ["same", "older", "refused"]
    assert told(tmp_path, "another") == {}
    assert still_true(tmp_path / "none.jsonl", entries, VERSION) == []


def test_the_key_is_of_the_content_of_every_file(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text("x")
    before = key_of(paths)
    paths[1].write_text("y")
    assert key_of(paths) != before
    assert key_of(paths[::-1]) != key_of(paths)
