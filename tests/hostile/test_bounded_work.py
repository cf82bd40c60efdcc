"""Small files that ask for much are refused in words, before memory or time is taken."""

import pytest

from hostile.models_of_few_bytes import CALLS, LOOPS, SEQUENCES, SIZES
from hostile.opened import open_each

EXPLAIN = """
method = onnxattr.Saliency(path)
x = numpy.ones((2, 4), numpy.float32)
method.explain(x, numpy.ones(method.predict(x).shape, numpy.float32))
"""
LIMITS = {"imports": "import numpy, onnxruntime, onnxattr", "seconds": 30, "megabytes": 1024}


@pytest.mark.parametrize("kind", ["sizes", "calls"])
def test_refused(kind, tmp_path):
    """Each names the node or function, the size and the limit."""
    cases = SIZES if kind == "sizes" else CALLS
    paths = {tmp_path / f"{number}.onnx": case for number, case in enumerate(cases)}
    for path, case in paths.items():
        path.write_bytes(cases[case][0]().SerializeToString())
    outcomes = open_each(paths, EXPLAIN, folder=tmp_path, **LIMITS)
    wrong = {}
    for outcome, case in zip(outcomes, paths.values(), strict=True):
        fragments = ["ModelError", *cases[case][1]]
        if outcome.kind != "refused" or any(f not in outcome.message for f in fragments):
            wrong[case] = outcome
        assert outcome.megabytes < 400, (case, outcome)
    assert wrong == {}


def test_sequences(tmp_path):
    paths = {tmp_path / f"{number}.onnx": case for number, case in enumerate(SEQUENCES)}
    for path, case in paths.items():
        path.write_bytes(SEQUENCES[case]().SerializeToString())
    outcomes = dict(zip(paths.values(), open_each(paths, EXPLAIN, folder=tmp_path, **LIMITS), strict=True))
    assert {case for case, outcome in outcomes.items() if not outcome.harmless} == set(), outcomes
    assert outcomes["of 5000"].kind == "opened"
    nested = outcomes["60 steps at each of 4 levels"]
    assert f"takes {60**4} steps over sequences (60 times those of the Loops in it)" in nested.message


def test_loops_are_not_run_when_they_are_read(tmp_path):
    """Where it is not known that they end soon, predictions are compared only if that is asked for."""
    paths = {tmp_path / f"{number}.onnx": case for number, case in enumerate(LOOPS)}
    for path, case in paths.items():
        path.write_bytes(LOOPS[case]().SerializeToString())
    outcomes = open_each(paths, "onnxattr.vjp(path)", folder=tmp_path, **LIMITS)
    assert {case: o.kind for case, o in zip(paths.values(), outcomes, strict=True)} == dict.fromkeys(
        LOOPS, "opened"
    )
