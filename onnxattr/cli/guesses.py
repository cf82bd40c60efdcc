"""What is printed of photos: the first classes with what the model gives for them, and the gap."""

from __future__ import annotations

from collections.abc import Sequence

from onnxattr.results import Explanation

#: The classes that are told of each sample, and most samples of which more than one is told.
_CLASSES, _SAMPLES = 5, 12


def lines(found: Sequence[Explanation]) -> str:
    """A paragraph for each sample; a line for each where there are many."""
    many = sum(each.sample_count for each in found) > _SAMPLES
    return "\n".join(line for each in found for line in (_short(each) if many else _long(each)))


def _long(explanation: Explanation) -> list[str]:
    told = []
    for row in range(explanation.sample_count):
        told.append(_name(explanation, row))
        guesses = explanation.sample(row).top(_CLASSES)[0] if explanation.predictions is not None else []
        width = max((len(guess.name) for guess in guesses), default=0)
        for guess in guesses:
            share = "" if guess.probability is None else f"{guess.probability:8.1%}"
            value = "" if share and guess.probability == guess.value else f"{guess.value:10.4g}"
            told.append(f"  {guess.name:{width}}{value}{share}")
        told.append(f"  {_explained(explanation, row)}")
    return told


def _short(explanation: Explanation) -> list[str]:
    return [
        f"{_name(explanation, row)}: {_explained(explanation, row)}"
        for row in range(explanation.sample_count)
    ]


def _name(explanation: Explanation, row: int) -> str:
    return explanation.sample_names[row] if explanation.sample_names else f"sample {row}"


def _explained(explanation: Explanation, row: int) -> str:
    """What is explained, its score, and the gap as a share of f(x) - f(b)."""
    name = explanation.target_names[row] if explanation.target_names else ""
    unit = (
        f" {explanation.score_unit}" if explanation.score_unit and explanation.score_name == "score" else ""
    )
    text = f"explained: {name or 'the score'}, {explanation.score_name} {explanation.scores[row]:.4g}{unit}"
    if explanation.relative_gap is not None:
        text += f"; gap: {explanation.relative_gap[row]:.2g} of f(x) - f(b)"
    return text
