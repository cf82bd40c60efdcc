"""The contract of a pass: what it needs to be true of a model, what it makes true, and whether it changed anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxattr.autodiff.registry import RuleTable
from onnxattr.loading.passes.bridge import as_proto


class Fact(Enum):
    """What passes require and ensure; the value says it in words."""

    WELL_FORMED = "names are text, types exist, tensors have the bytes of their shape"
    DENSE = "weights are dense"
    DETACHED = "large weights are inputs of the graph, kept beside the model"
    VERSIONS = "opset and IR version are supported"
    IMPORTED = "the domains of all operators are imported, ai.onnx among them"
    CALLS = "functions do not call themselves and make a bounded number of nodes"
    FREE_SIZES = "no declared size is negative"
    VALID = "onnx's checker accepts the model"
    INLINED = "only functions that have a rule are called"
    BOUNDED = "no value has a negative size, or one that memory can't hold"
    BODIES = "subgraphs give values of their own, each once"
    OUTPUTS = "outputs that are inputs or initializers are declared as those"
    IN_IR = "the model is an onnx_ir model"
    LENGTHS = "equal names stand for equal lengths"
    DEFAULTS = "attributes are stated whose defaults onnx's inference forgets"
    IN_WINDOW = "the opset is one for which there are rules and runtimes"
    NO_CONSTANTS = "constants are initializers of the main graph"
    STANDARD = "what has a decomposition and no rule is written in ai.onnx operators"
    HAVE_RULES = "what ONNX defines by other operators and no rule differentiates is written in those"
    RESOLVED = "branches, sequences and optional values that are decided before a run are gone"
    TYPED = "values have the types and shapes that follow from their nodes, and names of their own"
    COMPLETE = "weights are initializers"
    NAMED = "nodes have names"


@dataclass
class Draft:
    """A model on its way through the passes.

    Attributes:
        proto: The model as the file holds it, until it is read into onnx_ir; passes may change and replace it. Later
            the same as ``model``, until a pass changes that: what needs protobuf asks for ``protobuf``.
        folder: The folder of its external data.
        rules: The rule table that it is going to be differentiated with.
        rows: Whether equal names of first axes stand for equal numbers of rows.
        weights: The detached weights by name.
        kept: The values that stay, of a part that is cut out: those that are asked for.
        model: The model as onnx_ir holds it; passes change it in place.
    """

    proto: onnx.ModelProto | None
    folder: Path | None
    rules: RuleTable
    rows: bool = True
    weights: dict[str, ir.TensorProtocol] = field(default_factory=dict)
    kept: frozenset[ir.Value] = frozenset()
    model: ir.Model = field(init=False)

    @property
    def is_read(self) -> bool:
        """Whether the model is one of onnx_ir."""
        return hasattr(self, "model")

    @property
    def file(self) -> onnx.ModelProto:
        """The model as protobuf, before it is read."""
        assert self.proto is not None
        return self.proto

    def protobuf(self, why: str) -> onnx.ModelProto:
        """The model as protobuf, not to be changed; it is serialised only if a pass has changed it since."""
        if self.proto is None:
            with as_proto(self.model, why) as crossing:
                self.proto = crossing.proto
        return self.proto


@dataclass(frozen=True)
class Pass:
    """One step of preparing a model.

    Attributes:
        name: What it does.
        run: Changes a draft in place; returns whether it changed anything. Raises a ``ModelError`` for what it refuses.
        requires: What has to be true before.
        ensures: What is true afterwards.
    """

    name: str
    run: Callable[[Draft], bool]
    requires: frozenset[Fact]
    ensures: frozenset[Fact]


def step(
    name: str, run: Callable[[Draft], bool], requires: Iterable[Fact], ensures: Iterable[Fact] = ()
) -> Pass:
    """A pass, written in one line of a list."""

    def run_once(draft: Draft) -> bool:
        was_read = draft.is_read
        changed = run(draft)
        if changed and was_read:
            draft.proto = None
        return changed

    return Pass(name, run_once, frozenset(requires), frozenset(ensures))


def check(
    name: str, run: Callable[[Draft], None], requires: Iterable[Fact], ensures: Iterable[Fact] = ()
) -> Pass:
    """A pass that refuses models, or notes what is known of them, and changes none."""

    def unchanged(draft: Draft) -> bool:
        run(draft)
        return False

    return step(name, unchanged, requires, ensures)


def run_passes(passes: Sequence[Pass], draft: Draft) -> tuple[str, ...]:
    """Runs passes in order; returns the names of those that changed the model."""
    return tuple(each.name for each in passes if each.run(draft))


def table(*lists: Sequence[Pass]) -> str:
    """The passes of lists in order, one a line, with what they require and ensure, and the facts in words."""
    lines: list[str] = []
    for passes in lists:
        lines += ["| pass | requires | ensures |", "| --- | --- | --- |"]
        for each in passes:
            needs, gives = (
                ", ".join(f.name for f in Fact if f in facts) for facts in (each.requires, each.ensures)
            )
            lines.append(f"| {each.name} | {needs} | {gives} |")
        lines.append("")
    facts = ["| fact | meaning |", "| --- | --- |", *(f"| {fact.name} | {fact.value} |" for fact in Fact)]
    return "\n".join([*lines, *facts])
