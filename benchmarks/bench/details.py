"""Tables of this project alone: profile, start, memory, preparation, growth."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bench.cases import CASES
from benchmarks.bench.kinds import KINDS
from benchmarks.bench.preparation import SIZES

Data = Mapping[str, Any]


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or that there is none yet."""
    if not rows:
        return "Not measured yet."
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def profile(data: Data) -> str:
    """Shares of the kernels' time by kind of work, and the bound."""
    lines = []
    for case in CASES.values():
        measured = data["measured"].get(f"profile/{case.name}/{case.rows} rows")
        if measured:
            found = measured["profile"]
            shares = [f"{100 * found['shares'][kind]:.0f} %" for kind in KINDS]
            ends = [f"{found['gradient / prediction']:.2f}", f"{found['bound']:.2f}"]
            lines.append([case.name, str(case.rows), *shares, *ends, measured["machine"]])
    return markdown(["network", "rows", *KINDS, "gradient / own prediction", "bound", "machine"], lines)


def started(data: Data) -> list[tuple[str, dict[str, Any], str]]:
    """What was measured in fresh processes, by network, and on which machine."""
    found = [(case.name, data["measured"].get(f"start/{case.name}")) for case in CASES.values()]
    return [(name, measured["start"], measured["machine"]) for name, measured in found if measured]


def number(found: Mapping[str, Any], who: str, name: str, digits: int = 2) -> str:
    """One number, or a dash."""
    value = found.get(who, {}).get(name)
    return "-" if value is None else f"{value:.{digits}f}"


def over(found: Mapping[str, Any], above: tuple[str, str], below: tuple[str, str]) -> str:
    """The ratio of two numbers, or a dash."""
    a, b = (found.get(who, {}).get(name) for who, name in (above, below))
    return "-" if a is None or not b else f"{a / b:.1f}"


def start(data: Data) -> str:
    """Seconds until the first gradient is there."""
    lines = []
    for name, found, machine in started(data):
        seconds = [number(found, "vjp", "seconds"), number(found, "forward", "session")]
        seconds += [number(found, "gradient", "session"), number(found, "gradient", "first")]
        seconds.append(number(found, "gradient", "later"))
        for who in ("TensorFlow", "PyTorch"):
            seconds += [number(found, who, "session"), number(found, who, "first")]
        lines.append([name, *seconds, machine])
    titles = [
        "network",
        "`vjp`",
        "session of the model",
        "session of the gradient",
        "first gradient",
        "a later one",
    ]
    rivals = [f"{who}, {what}" for who in ("TensorFlow", "PyTorch") for what in ("load", "first gradient")]
    return markdown([*titles, *rivals, "machine"], lines)


def memory(data: Data) -> str:
    """MiB that a process takes beyond its imports."""
    lines = []
    for name, found, machine in started(data):
        rows = str(CASES[name].rows)
        own = [
            f"{found['file']:.0f}",
            number(found, "forward", "resident", 0),
            number(found, "gradient", "resident", 0),
        ]
        peaks = [number(found, "forward", "peak", 0), number(found, "gradient", "peak", 0)]
        peaks.append(over(found, ("gradient", "peak"), ("forward", "peak")))
        chunk = [
            number(found, "IG", "rows", 0),
            number(found, "IG", "peak", 0),
            number(found, "IG", "peak later", 0),
        ]
        chunk.append(over(found, ("IG", "peak later"), ("forward, chunk", "peak")))
        values = found["vjp"].get("kept")
        chunk.append("-" if values is None else f"{values * found['IG']['rows']:.0f}")
        rivals = [number(found, who, "peak", 0) for who in ("TensorFlow", "PyTorch")]
        lines.append([name, *own, rows, *peaks, *chunk, *rivals, machine])
    titles = [
        "network",
        "file",
        "model loaded",
        "gradient loaded",
        "rows",
        "peak of a prediction",
        "of a gradient",
        "ratio",
    ]
    titles += [
        "rows of a run of IG-50",
        "its first peak",
        "a later one",
        "later / a prediction of these rows",
        "values kept for the way back",
    ]
    return markdown([*titles, "TensorFlow's gradient", "PyTorch's gradient", "machine"], lines)


def preparation(data: Data) -> str:
    """Milliseconds a node, by kind and number of nodes."""
    lines = []
    for kind, sizes in SIZES.items():
        for nodes in sizes:
            measured = data["measured"].get(f"preparation/{kind}/{nodes} nodes")
            if measured:
                found = measured["preparation"]
                count = found["nodes"]
                times = [found.get(name) for name in ("vjp", "session", "gradient session")]
                per_node = ["-" if t is None else f"{1e3 * t / count:.2f}" for t in times]
                line = [kind, f"{count:,}", f"{found['gradient nodes']:,}", *per_node]
                lines.append([*line, measured["machine"]])
    titles = ["kind", "nodes", "nodes with the gradient", "`vjp`, ms a node"]
    titles += ["session of the model, ms a node", "session of the gradient, ms a node", "machine"]
    return markdown(titles, lines)


#: Which numbers the columns of a table of growth are for, and what they are called.
COLUMNS = {
    "IG": ((10, 20, 50, 100, 200), "{} steps"),
    "rows": ((1, 2, 4, 8, 16, 32, 64), "{} rows"),
    "sides": ((112, 224, 336, 448), "{0} x {0}"),
}


def growth(data: Data, kind: str) -> str:
    """Time of one step, row or pixel, over that of the first size; of the machine that measured most sizes."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for key, measured in data["measured"].items():
        size = growing(key, kind)
        if size is None or "onnxattr" not in measured.get("times", {}):
            continue
        network, count, units = size
        seconds = statistics.median(measured["times"]["onnxattr"]["cpu"]) / units
        found.setdefault(network, {}).setdefault(measured["machine"], {})[count] = seconds
    columns, title = COLUMNS[kind]
    lines = []
    for network, machines in found.items():
        letter, times = max(machines.items(), key=lambda item: len(item[1]))
        if len(times) >= 3:
            first = times[min(times)]
            ratios = [f"{times[n] / first:.2f}" if n in times else "-" for n in columns]
            lines.append([network, *ratios, letter])
    return markdown(["network", *(title.format(n) for n in columns), "machine"], lines)


def growing(key: str, kind: str) -> tuple[str, int, int] | None:
    """Network, size and how many units of work a measurement is of, if it belongs to a table of growth."""
    task, network, rows = (*key.split("/"), "", "")[:3]
    if not key.endswith("1 thread"):
        return None
    base, _, side = network.partition("@")
    count = int(rows.split()[0])
    if kind == "IG" and (steps := re.fullmatch(r"IG-(\d+)", task)) and count == 1:
        return network, int(steps[1]), int(steps[1])
    if kind == "rows" and task == "gradient" and not side:
        return network, count, count
    if kind == "sides" and task == "gradient" and side:
        return base, int(side), int(side) ** 2
    return None
