"""What is measured, in which order: the tables that matter most come first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bench.cases import CASES, Case, case
from benchmarks.bench.worker import SIDES

ALL_SIDES = tuple(SIDES)
METHOD_SIDES = ("onnxattr", "TensorFlow", "PyTorch")
#: Longest estimated seconds of one side's run.
LONGEST = 120.0


@dataclass(frozen=True)
class Cell:
    """One measurement: a task of a network for so many rows."""

    task: str
    case: Case
    rows: int
    threads: int
    sides: tuple[str, ...]
    points: int = 50

    @property
    def key(self) -> str:
        """Its name in the results."""
        task = f"{self.task}-{self.points}" if self.task in ("IG", "SquareGrad") else self.task
        threads = "1 thread" if self.threads == 1 else "all threads"
        return f"{task}/{self.case.name}/{self.rows} rows/{threads}"

    @property
    def words(self) -> set[str]:
        """What `ONLY=` may name, in lower case."""
        return {word.lower() for word in (self.task, self.case.name, *self.key.split("/"))}

    @property
    def seconds(self) -> float:
        """A rough estimate for one run."""
        points = self.points if self.task in ("IG", "SquareGrad") else 1
        return self.rows * points * self.case.weighs


def headline() -> Iterator[list[Cell]]:
    """Gradients of all networks, then Integrated Gradients and SquareGrad of one sample; one thread."""
    for network in CASES.values():
        yield [Cell("gradient", network, network.rows, 1, ALL_SIDES)]
    for network in CASES.values():
        yield [Cell(task, network, 1, 1, METHOD_SIDES) for task in ("IG", "SquareGrad")]


def others() -> Iterator[list[Cell]]:
    """One pass methods, other numbers of rows, all threads."""
    for network in CASES.values():
        tasks = ["saliency", *["DeconvNet"] * network.relu, *["GradCAM"] * network.cam]
        yield [Cell(task, network, network.rows, 1, METHOD_SIDES) for task in tasks]
    for network in CASES.values():
        rows = [n for n in (1, 8, 32) if n != network.rows]
        cells = [Cell("gradient", network, n, 1, ALL_SIDES) for n in rows]
        tasks = [*["DeconvNet"] * network.relu, *["GradCAM"] * network.cam]
        yield [*cells, *(Cell(task, network, n, 1, METHOD_SIDES) for n in rows for task in tasks)]
    for network in CASES.values():
        yield [Cell("gradient", network, n, 0, ALL_SIDES) for n in dict.fromkeys((1, network.rows))]
    for network in CASES.values():
        yield [Cell(t, network, 1, 0, METHOD_SIDES) for t in ("IG", "SquareGrad")]
    for network in CASES.values():
        rows = dict.fromkeys((network.rows, 8, 32))
        yield [Cell(t, network, n, 1, METHOD_SIDES) for n in rows for t in ("IG", "SquareGrad")]


def growth() -> Iterator[list[Cell]]:
    """Steps, rows and image sizes, this project alone."""
    ours = ("onnxattr",)
    for name in ("MobileNetV2", "wide MLP", "overlapping pools"):
        yield [Cell("IG", CASES[name], 1, 1, ours, points) for points in (10, 20, 50, 100, 200)]
        yield [Cell("gradient", CASES[name], rows, 1, ours) for rows in (1, 2, 4, 8, 16, 32, 64)]
    for name in ("MobileNetV2", "ResNet50"):
        for side in (112, 224, 336, 448):
            yield [Cell("gradient", case(f"{name}@{side}"), 1, 1, ours)]
