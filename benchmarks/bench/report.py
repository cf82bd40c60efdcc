"""Writes the tables of docs/speed.md from the measurements."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import details
from benchmarks.bench.cases import CASES
from benchmarks.bench.details import markdown
from benchmarks.bench.results import ratio

Data = Mapping[str, Any]
METHOD_RIVALS = ("Xplique", "Captum", "Captum channels_last")
GRADIENT_RIVALS = ("TensorFlow", "PyTorch", "PyTorch channels_last", "onnx-ad")
ABSENT = "-"
#: Modules with random weights of their own.
OWN_WEIGHTS = ("ViT", "Lstm")


def write(data: Data, path: Path) -> None:
    """Fills what stands between the marks of each table that the document has."""
    text = (
        path.read_text() if path.exists() else "\n".join(f"{mark(name)}\n<!-- end -->\n" for name in TABLES)
    )
    for name, table in TABLES.items():
        pattern = re.compile(rf"({re.escape(mark(name))}\n).*?(<!-- end -->)", re.DOTALL)
        body = table(data)
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    path.write_text(text)


def mark(name: str) -> str:
    """The line before a table."""
    return f"<!-- table: benchmarks/bench {name} -->"


def summary(data: Data) -> str:
    """The tables that `make bench-headline` is for."""
    names = ("gradient", "Integrated Gradients", "SquareGrad")
    return "\n\n".join(f"{name}\n{TABLES[name](data)}" for name in names)


def shown(pair: tuple[float, float] | None) -> str:
    """A ratio with its spread; bold where the other side is faster."""
    if pair is None:
        return ABSENT
    text = with_spread(pair)
    return f"**{text}**" if pair[0] < 1 else text


def with_spread(pair: tuple[float, float]) -> str:
    """A ratio, and its spread if there were rounds enough to tell."""
    digits = 2 if pair[0] < 20 else 0
    return f"{pair[0]:.{digits}f}" + (f" ±{pair[1]:.{digits}f}" if pair[1] else "")


def entry(data: Data, task: str, network: str, rows: int, threads: int = 1) -> Data | None:
    """A measurement, if it was made."""
    found = data["measured"].get(
        f"{task}/{network}/{rows} rows/{'1 thread' if threads == 1 else 'all threads'}"
    )
    return found if found and "times" in found else None


def milliseconds(found: Data, who: str, rows: int, kind: str) -> str:
    """Time of one row."""
    times = found["times"].get(who)
    if times is None:
        return ABSENT
    value = statistics.median(times[kind]) / rows * 1e3
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def gradients(data: Data, threads: int = 1, rows: Sequence[int] = ()) -> str:
    """Gradients beside the own prediction and beside the others; their predictions beside ours."""
    kind, lines = ("cpu" if threads == 1 else "wall"), []
    for case in CASES.values():
        for count in rows or (case.rows,):
            found = entry(data, "gradient", case.name, count, threads)
            if found is None:
                continue
            own = ratio(found, "onnxattr", "forward", kind)
            line = [case.name, str(count), milliseconds(found, "onnxattr", count, kind)]
            line.append(with_spread(own) if own else ABSENT)
            line += [shown(ratio(found, who, "onnxattr", kind)) for who in GRADIENT_RIVALS]
            predictions = [
                ratio(found, f"{who} forward", "forward", kind) for who in ("TensorFlow", "PyTorch")
            ]
            line += [f"{p[0]:.2f}" if p else ABSENT for p in predictions]
            lines.append([*line, found["machine"]])
    titles = ["network", "rows", "ms a row", "gradient / own prediction", *GRADIENT_RIVALS]
    return markdown([*titles, "TensorFlow's prediction", "PyTorch's prediction", "machine"], lines)


def methods(data: Data, tasks: Sequence[str], rows: Sequence[int] = (), threads: int = 1) -> str:
    """A method of the other libraries over ours."""
    kind, lines = ("cpu" if threads == 1 else "wall"), []
    for case in CASES.values():
        for task in tasks:
            for count in rows or (case.rows,):
                found = entry(data, task, case.name, count, threads)
                if found is None:
                    continue
                name = [case.name, task] if len(tasks) > 1 else [case.name]
                ours = milliseconds(found, "onnxattr", count, kind)
                rivals = [shown(ratio(found, who, "onnxattr", kind)) for who in METHOD_RIVALS]
                lines.append([*name, str(count), ours, *rivals, found["machine"]])
    titles = ["network", *["method"] * (len(tasks) > 1), "rows", "ms a row", *METHOD_RIVALS, "machine"]
    return markdown(titles, lines)


def bounds(data: Data) -> str:
    """What the others would take beside a gradient that has nothing but convolutions and products, by the profile."""
    lines = []
    for case in CASES.values():
        found = entry(data, "gradient", case.name, case.rows)
        profile = data["measured"].get(f"profile/{case.name}/{case.rows} rows")
        own = ratio(found, "onnxattr", "forward") if found else None
        if not found or not profile or not own or profile["machine"] != found["machine"]:
            continue
        gain = max(own[0] / profile["profile"]["bound"], 1)
        line = [case.name, str(case.rows), f"{own[0]:.2f}", f"{profile['profile']['bound']:.2f}"]
        for who in GRADIENT_RIVALS:
            pair = ratio(found, who, "onnxattr")
            line.append(f"{pair[0]:.2f}; {pair[0] * gain:.2f}" if pair else ABSENT)
        lines.append([*line, found["machine"]])
    return markdown(
        ["network", "rows", "gradient / own prediction", "bound", *GRADIENT_RIVALS, "machine"], lines
    )


def setting(data: Data) -> str:
    """Machines, versions, dates and load of the measurements."""
    if "machines" not in data:
        return "Nothing was measured yet."
    entries = list(data["measured"].values())
    lines = []
    for letter, machine in data["machines"].items():
        here = [e for e in entries if e["machine"] == letter]
        dates = sorted({e["date"] for e in here})
        parts = [f"{key} {value}" for key, value in machine.items()]
        parts.append(f"measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}" if dates else "unused")
        loads = [e["load"] for e in here if "load" in e]
        if loads:
            middle = statistics.median(loads)
            parts.append(f"processes that ran or waited {middle:.1f} (median), {max(loads):.1f} (most)")
        lines.append(f"- machine {letter}: " + ", ".join(parts))
    lines.append("- versions: " + ", ".join(f"{name} {number}" for name, number in data["versions"].items()))
    states = len({e["source"] for e in entries})
    if states > 1:
        lines.append(
            f"- the measurements are of {states} states of the code; `make bench` renews the older ones"
        )
    return "\n".join(lines)


def missing(data: Data) -> str:
    """Who could not do what, and why."""
    found: dict[str, set[str]] = {}
    for key, measured in data["measured"].items():
        task, network = key.split("/")[:2]
        for side, why in measured.get("missing", {}).items():
            found.setdefault(f"{side}, {task}: {why}", set()).add(network)
        if "skipped" in measured:
            found.setdefault(f"{key.split('/', 2)[0]}, {key.split('/')[2]}: left out as too long", set()).add(
                network
            )
        if task == "gradient" and CASES[network.split("@")[0]].torch not in OWN_WEIGHTS:
            for who, far in measured.get("difference", {}).items():
                if far > 0.05:  # ReLUs whose inputs round to another sign give up to 0.02
                    found.setdefault(f"{who}, gradient: the result is another one", set()).add(network)
    return "\n".join(f"- {why}: {', '.join(sorted(names))}" for why, names in sorted(found.items()))


TABLES: dict[str, Callable[[Data], str]] = {
    "setting": setting,
    "gradient": gradients,
    "Integrated Gradients": lambda data: methods(data, ["IG-50"], [1]),
    "SquareGrad": lambda data: methods(data, ["SquareGrad-50"], [1]),
    "missing": missing,
    "profile": details.profile,
    "bounds": bounds,
    "start": details.start,
    "memory": details.memory,
    "preparation": details.preparation,
    "steps": lambda data: details.growth(data, "IG"),
    "growth with rows": lambda data: details.growth(data, "rows"),
    "image sizes": lambda data: details.growth(data, "sides"),
    "other methods": lambda data: methods(data, ["saliency", "DeconvNet", "GradCAM"]),
    "rows": lambda data: gradients(data, rows=[1, 8, 32]),
    "many samples": lambda data: methods(data, ["IG-50", "SquareGrad-50"], [2, 8, 32]),
    "all threads": lambda data: gradients(data, 0, [1, 2, 8]),
    "methods, all threads": lambda data: methods(data, ["IG-50", "SquareGrad-50"], [1], 0),
}
