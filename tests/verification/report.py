"""The table of the comparison, as aligned text and as markdown."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """One line of the table: largest error over samples and batch sizes, relative to each map's maximum."""

    method: str
    model: str
    variant: str
    reference: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # False for NaN


def render(header: list[str], body: list[list[str]], markdown: bool) -> str:
    """A table as aligned text or as markdown."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    left, between, right = ("| ", " | ", " |") if markdown else ("", "  ", "")
    lines = [
        left + between.join(map(str.ljust, line, widths)) + right
        for line in [header, ["-" * width for width in widths], *body]
    ]
    return "\n".join(line.rstrip() for line in lines)


def full_table(rows: list[Row], markdown: bool = False) -> str:
    """One line per row."""
    header = ["method", "model", "variant", "reference", "error", "tolerance", "ok", "note"]
    body = [
        [
            row.method,
            row.model,
            row.variant,
            row.reference,
            f"{row.error:.1e}",
            f"{row.tolerance:.0e}",
            "yes" if row.ok else "NO",
            row.note,
        ]
        for row in rows
    ]
    return render(header, body, markdown)


def summary_table(rows: list[Row], markdown: bool = False) -> str:
    """Largest error by method and model, over variants, references and batch sizes."""
    models = list(dict.fromkeys(row.model for row in rows))
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        cells = [[row for row in rows if (row.method, row.model) == (method, model)] for model in models]
        body.append([method, *(worst_cell(cell) for cell in cells)])
    return render(["method", *models], body, markdown)


def worst_cell(rows: list[Row]) -> str:
    """The largest error of some rows, marked when any of them failed."""
    if not rows:
        return ""
    worst = max(np.nan_to_num(row.error, nan=np.inf) for row in rows)
    return f"{worst:.1e}" + ("" if all(row.ok for row in rows) else " FAILED")
