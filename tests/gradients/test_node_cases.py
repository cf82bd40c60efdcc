"""onnx's own node tests, differentiated: one case per operator here, all of them in the slow run."""

import re

import pytest
from node_cases import report
from node_cases.cases import collect
from node_cases.judge import OPEN, PASSED
from node_cases.run import judge_all, judge_named

#: Of the cases of an operator, the last that is not an expansion: the first is often the plainest.
CHOSEN = {case.op: name for name, case in collect().items() if not case.expanded}
ROW = re.compile(
    r"\| ([\w.:]+) \| (rule|decomposition|no derivative|newer form|resolved|open) \| (?:no case|\d+ / \d+ / (\d+)) \|"
)


def rows() -> dict[str, tuple[str, int]]:
    """The support table as it stands in the docs: how each operator is differentiated, and its number of cases."""
    found = ROW.findall(report.PAGE.read_text(encoding="utf-8"))
    return {op: (how, int(total or 0)) for op, how, total in found}


def open_cases() -> set[str]:
    """The cases that the docs list as open."""
    section = report.PAGE.read_text(encoding="utf-8").partition("## Open cases")[2].partition("\n## ")[0]
    return {name for line in section.splitlines() for name in line.rpartition("): ")[2].split(", ") if name}


#: A size of -1 in a branch that is never taken.
NEGATIVE = ["affine_grid_3d_expanded", "affine_grid_3d_align_corners_expanded"]


@pytest.mark.parametrize("name", sorted(CHOSEN.values()) + NEGATIVE)
def test_case(name: str):
    verdict = judge_named("onnxattr", False, name)
    assert verdict.status != OPEN or name in open_cases(), verdict.detail


@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "affine_grid_2d_expanded",
        "affine_grid_3d_align_corners_expanded",
        "attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
    ],
)
def test_case_in_onnx_runtime(name: str, constants: bool):
    """Ends of a Range that are vectors; masked scores that the runtime writes as its lowest number."""
    verdict = judge_named("onnxattr", constants, name)
    assert (verdict.status, verdict.onnxruntime) == (PASSED, "agrees"), verdict


@pytest.mark.slow
def test_every_case():
    verdicts = judge_all(list(collect()))
    found = {name: verdict.detail for name, verdict in verdicts.items() if verdict.status == OPEN}
    assert set(found) == open_cases() - {"None."}, found


def test_docs_are_up_to_date():
    """The table of `make coverage-ops` has every operator, as it is differentiated now, and every case."""
    by_op = report.cases_of()
    assert rows() == {op: (report.how(op), len(by_op[op])) for op in report.operators()}
