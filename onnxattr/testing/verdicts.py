"""What a check of a model at hand has found, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from onnxattr.testing.slopes import BESIDE, DIFFERS, ROUNDED, TOO_SMALL, ZERO, Slope

#: What the columns of the table are.
_NOTES = {
    "evaluator": (
        "slopes: the gradient in float64 against slopes of the file's own graph, by onnx's evaluator\n"
        "float32: the gradient in ONNX Runtime, which methods use, against float64; predictions: {prediction:.0e}"
    ),
    "onnxruntime": (
        "slopes: the gradient against slopes of the file's own graph, both in ONNX Runtime in float32, as {reason}"
    ),
}


@dataclass(frozen=True)
class ModelCheck:
    """What ``check_model`` found.

    Attributes:
        slopes: An entry for each input.
        arithmetic: What computed the slopes: "evaluator" in float64, or "onnxruntime" in float32.
        prediction: Largest difference of ONNX Runtime's prediction, in float32, from that of the slopes' arithmetic,
            of the largest value.
        rounds: Operators of the file that round, whose slopes are steps; gradients pass them straight through.
        reason: Why slopes are in float32; empty where they are in float64.
    """

    slopes: tuple[Slope, ...]
    arithmetic: str
    prediction: float
    rounds: tuple[str, ...]
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether no gradient differs from the slope."""
        return not any(slope.verdict in (DIFFERS, ROUNDED) for slope in self.slopes)

    def __str__(self) -> str:
        """A table, and what may explain a difference."""
        width = max(len("input"), *(len(slope.name) for slope in self.slopes))
        lines = [f"{'input':{width}}  slopes   float32  gradient"]
        lines += [
            f"{slope.name:{width}}  {slope.difference:.1e}  {_shown(slope.single, self.arithmetic)}  {slope.verdict}"
            for slope in self.slopes
        ]
        lines += _NOTES[self.arithmetic].format(prediction=self.prediction, reason=self.reason).split("\n")
        if self.rounds and not self.agrees:
            lines.append(
                f"The file rounds ({', '.join(self.rounds)}): it has no slopes between its steps, and gradients pass "
                "roundings straight through. Check the file before quantisation."
            )
        if any(slope.verdict == ZERO for slope in self.slopes):
            lines.append("On these inputs nothing changes the outputs: give others where something should.")
        if any(slope.verdict == BESIDE for slope in self.slopes):
            lines.append(
                "On a kink the slope is between the gradients of both sides, of which a gradient is one."
            )
        lines += [
            f"{slope.name}: the gradient in float64 changes by {slope.unsteady:.0e} where inputs change by 1e-6: "
            "ReLUs, max-pools or roundings decide."
            for slope in self.slopes
            if slope.unsteady > 0
        ]
        if any(slope.verdict == TOO_SMALL for slope in self.slopes):
            lines.append(
                "Take an output before the softmax or sigmoid (outputs=, --output), or other inputs."
            )
        return "\n".join(lines)


def _shown(single: float, arithmetic: str) -> str:
    """How far float32 is from float64; a dash where slopes are in float32, and there is nothing to compare with."""
    return f"{single:<7.1e}" if arithmetic == "evaluator" else "-".ljust(7)
