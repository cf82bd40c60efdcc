"""Hostile ONNX files, each in a process of its own: nothing acts, nothing hangs, every error is one of ours."""

import os
import re
from collections import Counter
from pathlib import Path

import onnx
import pytest

import onnxattr
from hostile.onnx_crafting import sliced
from hostile.onnx_files import FILES
from hostile.onnx_mutants import MODELS, write_mutants
from hostile.opened import fingerprint, open_each
from onnxattr.errors import ModelError

TESTS = Path(__file__).parent.parent
IMPORTS = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]
import onnxattr
from hostile.onnx_actions import everything
from support.quiet_sessions import use_quiet_sessions
use_quiet_sessions()
"""
#: Megabytes that a file of some kilobytes may take, ONNX Runtime's sessions included.
MEMORY = 600


def opened(paths, folder, seconds=30):
    """What became of files; nothing may have been written beside them."""
    before = fingerprint(folder)
    outcomes = open_each(paths, "everything(path)", imports=IMPORTS, seconds=seconds, folder=folder)
    assert fingerprint(folder) == before
    return outcomes


def failures(outcomes, done):
    """Those that are no clean end, each with what was done to the file."""
    bad = [o for o in outcomes if not o.harmless or o.megabytes > MEMORY or "UnforeseenError" in o.message]
    return [f"{Path(o.path).name} ({done[o.path]}): {o.kind}, {o.megabytes:.0f} MB: {o.message}" for o in bad]


@pytest.fixture(scope="module")
def crafted(tmp_path_factory):
    """The outcome of every crafted file, by its name."""
    folder = tmp_path_factory.mktemp("crafted")
    paths = [folder / f"{number}.onnx" for number in range(len(FILES))]
    for path, (data, _) in zip(paths, FILES.values(), strict=True):
        path.write_bytes(data)
    return dict(zip(FILES, opened(paths, folder), strict=True))


@pytest.mark.parametrize("case", FILES)
def test_crafted_files(case, crafted):
    outcome, words = crafted[case], FILES[case][1]
    assert outcome.kind == ("refused" if words else "opened"), outcome
    assert re.search(words, outcome.message), outcome
    assert "UnforeseenError" not in outcome.message
    assert outcome.megabytes < MEMORY


def test_every_prefix_of_a_file(tmp_path):
    """Cut off anywhere, it is either refused or, cut between fields, opened as far as it goes."""
    data = MODELS["control flow"]().SerializeToString()
    done = {}
    for end in range(0, len(data), max(1, len(data) // 25)):
        path = tmp_path / f"{end}.onnx"
        path.write_bytes(data[:end])
        done[str(path)] = f"cut at {end} of {len(data)}"
    assert failures(opened(done, tmp_path), done) == []


def mutated(folder, count, seed):
    done = write_mutants(folder, count, seed)
    outcomes = opened(done, folder)
    assert failures(outcomes, done) == []
    return Counter(outcome.kind for outcome in outcomes)


def test_the_models_that_are_mutated_can_be_opened(tmp_path):
    """Else their mutants would be refused for what the models are, at the door."""
    for name, make in MODELS.items():
        (tmp_path / f"{name}.onnx").write_bytes(make().SerializeToString())
    found = {Path(o.path).stem: o for o in opened([tmp_path / f"{name}.onnx" for name in MODELS], tmp_path)}
    refused = {name: outcome.message for name, outcome in found.items() if outcome.kind != "opened"}
    # What has several outputs, or tokens for inputs, is refused by the parts that need a name, and opened by others.
    assert all(re.search(r"output_layer=|wrt|float outputs", text) for text in refused.values())
    assert set(refused) <= {"tokens", "an explainer", "an explainer with noise"}


def test_mutated_files(tmp_path):
    counts = mutated(tmp_path, 100, seed=1)
    assert min(counts["opened"], counts["refused"]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_thousands_of_mutated_files(seed, tmp_path):
    mutated(tmp_path, int(os.environ.get("MUTANTS", "4000")) // 4, seed)


def test_a_model_of_python_deeper_than_any_file():
    """Objects are bound by no limit of protobuf's, and would end the process in a library's recursion."""
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=18)
    graph = model.graph
    for _ in range(3000):
        graph = graph.node.add(op_type="If", output=["y"]).attribute.add(name="then_branch", type=5).g
    with pytest.raises(ModelError, match="nested more than 32 deep"):
        onnxattr.Saliency(model)


def test_a_size_of_minus_one_is_one_that_is_free(tmp_path):
    """Some exporters write it for the batch; ONNX's inference of Slice would end the process on it."""
    (tmp_path / "m.onnx").write_bytes(sliced([-1, 4], []))
    action = "assert onnxattr.vjp(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 0"
    (outcome,) = open_each([tmp_path / "m.onnx"], action, folder=tmp_path)
    assert outcome.kind == "opened", outcome


def test_a_file_larger_than_protobuf_reads_is_not_read(tmp_path):
    with open(tmp_path / "large.onnx", "wb") as file:
        file.truncate(3 * 2**30)
    with open(tmp_path / "zeros.onnx", "wb") as file:
        file.truncate(2**31 - 1)
    large, zeros = opened([tmp_path / "large.onnx", tmp_path / "zeros.onnx"], tmp_path)
    assert "3221225472 bytes; a file of protobuf has up to 2147483647" in large.message
    assert "is not an ONNX model" in zeros.message
    assert max(large.megabytes, zeros.megabytes) < 50
