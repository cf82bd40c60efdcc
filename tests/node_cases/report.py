"""The support table, docs/operators.md, made from the verdicts on the node cases."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import onnx

from node_cases.cases import NodeCase, collect
from node_cases.judge import OPEN, PASSED, WITHOUT, Verdict
from node_cases.reasons import INPUTS, OPERATORS, RESTRICTIONS
from onnxattr.autodiff.registry import NON_DIFFERENTIABLE
from onnxattr.autodiff.standard import STANDARD
from onnxattr.decompositions.standard import DECOMPOSITIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
Verdicts = Mapping[str, Verdict]

HEAD = """# Operators

`make coverage-ops` generates this page from the {total} backend node tests that onnx {version} ships. Every case is
differentiated with respect to all its float inputs at once, with random cotangents on all its float outputs. The
gradient is compared with central differences in float64 along random directions.

- **passed**: gradient and differences agree to 1e-5 (relative; 5e-3 where only float32 can run).
- **no derivative**: for the mathematical reason given below. Where the reason is that the derivative is 0, the
  differences and the gradient graph were checked to give 0.
- **open**: not supported, with the error a user gets.

{summary}
"""


def operators() -> list[str]:
    """Every operator with a case or in the default domain, in alphabetical order, other domains last."""
    names = {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    names |= {case.op for case in collect().values()}
    return sorted(names, key=lambda name: ("::" in name, name))


def how(op: str) -> str:
    """How an operator is differentiated."""
    domain, _, name = op.rpartition("::")
    schema = onnx.defs.get_schema(name, domain)
    if op in STANDARD:
        return "rule"
    if op in NON_DIFFERENTIABLE or op in OPERATORS or not _carries_floats(schema):
        return "no derivative"
    if op in DECOMPOSITIONS or schema.has_function or schema.has_context_dependent_function:
        return "decomposition"
    if schema.deprecated:
        return "newer form"
    return "resolved" if _holds_tensors(schema) else "open"


def _carries_floats(schema: onnx.defs.OpSchema) -> bool:
    """Whether an operator takes and gives float tensors."""

    def floats(formals: Iterable[onnx.defs.OpSchema.FormalParameter]) -> bool:
        kinds = {"tensor(float)", "seq(tensor(float))", "optional(tensor(float))"}
        return any(kinds & set(formal.types) for formal in formals)

    return floats(schema.outputs) and floats(schema.inputs)


def _holds_tensors(schema: onnx.defs.OpSchema) -> bool:
    """Whether an operator is about sequences or optional values."""
    formals = [*schema.inputs, *schema.outputs]
    return any(kind.startswith(("seq", "optional")) for formal in formals for kind in formal.types)


def cases_of() -> dict[str, list[NodeCase]]:
    """The cases of each operator."""
    found = defaultdict(list)
    for case in collect().values():
        found[case.op].append(case)
    return found


def counts(verdicts: Verdicts, names: Iterable[str], differentiable: Container[str]) -> str:
    """Passed / differentiable / all."""
    names = list(names)
    passed = sum(verdicts[name].status == PASSED for name in names)
    return f"{passed} / {sum(name in differentiable for name in names)} / {len(names)}"


def with_derivative(verdicts: Verdicts) -> set[str]:
    """The names of the cases that have a derivative."""
    return {name for name, verdict in verdicts.items() if verdict.status != WITHOUT}


def summary(runs: Mapping[tuple[str, bool], Verdicts]) -> str:
    """One line per package and form of the cases."""
    lines = [
        "| package | integer inputs | passed | differentiable | all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (package, constants), verdicts in runs.items():
        form = "constants in the model" if constants else "fed at run time, as in the cases"
        cells = counts(verdicts, verdicts, with_derivative(runs["onnxattr", False])).split(" / ")
        lines.append(f"| {package} | {form} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(runs: Mapping[tuple[str, bool], Verdicts]) -> str:
    """One row per operator."""
    verdicts, peer, by_op = runs["onnxattr", False], runs["onnx-ad", True], cases_of()
    differentiable = with_derivative(verdicts)
    lines = [
        "| operator | how | passed / differentiable / all | onnx-ad, constants | opsets of the cases | ORT | remarks |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for op in operators():
        names = [case.name for case in by_op[op]]
        opsets = sorted({case.opset for case in by_op[op]})
        runtime = Counter(verdicts[n].onnxruntime == "agrees" for n in names if verdicts[n].status == PASSED)
        cells = [
            op,
            how(op),
            counts(verdicts, names, differentiable) if names else "no case",
            counts(peer, names, differentiable).rpartition(" / ")[0] if names else "",
            ", ".join(map(str, opsets)),
            f"{runtime[True]} / {runtime.total()}" if runtime else "",
            remarks(op),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def remarks(op: str) -> str:
    """Restrictions, and inputs without a derivative."""
    fixed = [f"`{name}`: {reason}" for (owner, name), reason in INPUTS.items() if owner == op]
    return "; ".join([*([RESTRICTIONS[op]] if op in RESTRICTIONS else []), *fixed])


def listing(verdicts: Verdicts, status: str) -> str:
    """The reasons or errors of a status, most frequent first, with the cases that have them."""
    groups = defaultdict(list)
    for name, verdict in verdicts.items():
        if verdict.status == status:
            groups[verdict.detail].append(name)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return "\n".join(f"- {detail} ({len(names)}): {', '.join(names)}" for detail, names in ordered) or "None."


def errors(verdicts: Verdicts) -> str:
    """The errors of the open cases, most frequent first, names and numbers left out."""
    found = Counter(
        re.sub(r"'[^']*'|-?\d[\d.e+-]*", "...", verdict.detail)[:160]
        for verdict in verdicts.values()
        if verdict.status == OPEN
    )
    return "\n".join(f"- {count}: {error}" for error, count in found.most_common(20))


def page(runs: Mapping[tuple[str, bool], Verdicts]) -> str:
    """The whole page."""
    verdicts = runs["onnxattr", False]
    passed = [verdict for verdict in verdicts.values() if verdict.status == PASSED]
    oracles = Counter(verdict.oracle for verdict in passed)
    moved = [name for name, verdict in verdicts.items() if verdict.moved]
    differing = [f"{n}: {v.onnxruntime}" for n, v in verdicts.items() if v.onnxruntime.startswith("differs")]
    parts = [
        HEAD.format(total=len(verdicts), version=onnx.__version__, summary=summary(runs)),
        "## By operator\n",
        "`rule`: has a VJP rule; `decomposition`: written in operators that have one, mostly by its function in ONNX; "
        "`newer form`: converted to the operator that replaced it; `resolved`: sequences and optional values whose "
        "content is known before the model runs are replaced by their content. *ORT* counts the passed cases whose "
        "gradient graph gives the same numbers in ONNX Runtime, in the precision of the case.\n",
        table(runs),
        "\n## Open cases\n",
        listing(verdicts, OPEN),
        "\n## Where onnx-ad stops, with constants in the model\n",
        errors(runs["onnx-ad", True]),
        "\n## Cases without a derivative\n",
        listing(verdicts, WITHOUT),
        "\n## How the passed cases were compared\n",
        "What computed the forward pass of the differences (the first of these that gives the stored outputs): "
        + ", ".join(f"{name} {count}" for name, count in oracles.most_common())
        + ".\n",
        "Their data lie at a kink or a tie, and were moved to generic position by seeded noise: "
        + (", ".join(moved) or "none")
        + ".\n",
        "ONNX Runtime gives other numbers in the case's own precision: "
        + ("; ".join(differing) or "none")
        + ".",
    ]
    return "\n".join(parts) + "\n"


def write(runs: Mapping[tuple[str, bool], Verdicts]) -> None:
    """Writes the page and prints the counts by operator."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(runs), encoding="utf-8")
    verdicts, by_op = runs["onnxattr", False], cases_of()
    differentiable = with_derivative(verdicts)
    for op in operators():
        if by_op[op]:
            print(f"{op:40s}{counts(verdicts, [case.name for case in by_op[op]], differentiable)}")
    print(f"{'passed / differentiable / all':40s}{counts(verdicts, verdicts, differentiable)}")
    print(f"written to {PAGE}")
