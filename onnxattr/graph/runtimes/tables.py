"""The tables of runtimes: which kernels there are, and what is known to be wrong or refused."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from onnx import TensorProto

from onnxattr.errors import ParameterError

RUNTIMES = ("openvino", "webgpu", "opencv", "cuda", "coreml", "directml", "tensorrt")
#: Element types as the tables write them.
TYPES: dict[str, int] = {
    "f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "f64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL, "i8": TensorProto.INT8, "i16": TensorProto.INT16, "i32": TensorProto.INT32,
    "i64": TensorProto.INT64, "u8": TensorProto.UINT8, "u16": TensorProto.UINT16, "u32": TensorProto.UINT32,
    "u64": TensorProto.UINT64,
}  # fmt: skip
#: The input whose type the kernel is chosen by, if it is not the first.
TYPED_BY = {"Where": 1, "OneHot": 2}
WHAT_HAPPENS = ("leaves", "refused", "wrong")


@dataclass(frozen=True)
class Known:
    """Something that a runtime is known to do with an operator.

    Attributes:
        operator: The operator.
        happens: "leaves" the accelerator, "refused", or "wrong".
        reason: Why, or what happens instead.
        when: Conditions on the node; see ``conditions.holds``.
        minimal: The smallest file that shows it, by its name in tests/portable/minimal; empty where it was not run.
    """

    operator: str
    happens: str
    reason: str
    when: Mapping[str, Any]
    minimal: str


@dataclass(frozen=True)
class Table:
    """What is known of a runtime.

    Attributes:
        title: Its name.
        version: The version that the table is of, and how it was found.
        source: Where it was read or measured.
        instead: What happens to nodes without a kernel.
        notes: What holds for any file.
        kernels: Element types by operator; None for a runtime that was not found to lack any.
        known: What is known of single operators.
    """

    title: str
    version: str
    source: Sequence[str]
    instead: str
    notes: Sequence[str]
    kernels: Mapping[str, frozenset[int]] | None
    known: Sequence[Known]


@functools.cache
def table_of(runtime: str) -> Table:
    """The table of a runtime.

    Raises:
        ParameterError: If there is none.
    """
    if runtime not in RUNTIMES:
        raise ParameterError(f"unknown runtime {runtime!r}; there are tables of {', '.join(RUNTIMES)}")
    data = tomllib.loads(
        files("onnxattr.graph.runtimes").joinpath(f"{runtime}.toml").read_text(encoding="utf-8")
    )
    kernels = {
        operator: frozenset(TYPES[kind] for kind in group["types"].split())
        for group in data.get("kernels", [])
        for operator in group["operators"].split()
    }
    known = [
        Known(
            entry["operator"],
            entry["happens"],
            entry["reason"],
            entry.get("when", {}),
            entry.get("minimal", ""),
        )
        for entry in data.get("known", [])
    ]
    return Table(
        data["title"], data["version"], data["source"], data["instead"], data["notes"], kernels or None, known
    )
