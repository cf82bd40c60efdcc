"""Writes operators.pyi, the signatures of the operators, from ONNX's schemas.

Run as ``python -m onnxattr.graph.operator_stubs`` where LATEST is raised; a test compares the file.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx.defs import OpSchema

#: Models are brought to an opset from the first to the last of these before gradients are added.
EARLIEST, LATEST = 18, 26
_KINDS = {
    "INT": "int",
    "FLOAT": "float",
    "STRING": "str",
    "INTS": "Sequence[int]",
    "FLOATS": "Sequence[float]",
    "STRINGS": "Sequence[str]",
    "GRAPH": "ir.Graph",
    "TENSOR": "ir.TensorProtocol",
}
_HEAD = """# Written by operator_stubs.py from ONNX's schemas, opsets {earliest} to {latest}; do not edit.
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import onnx_ir as ir

Operand = ir.Value | int | float | bool | Sequence[int] | Sequence[float] | np.ndarray[Any, Any] | np.generic | None

class Operators:
    def operator(self, op_type: str, *operands: Operand, outputs: int | None = None, **attributes: Any) -> Any: ...
"""


def stubs() -> str:
    """The text of operators.pyi."""
    versions: dict[str, list[OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain and schema.since_version <= LATEST:
            versions.setdefault(schema.name, []).append(schema)
    lines = [_HEAD.format(earliest=EARLIEST, latest=LATEST)]
    for name in sorted(versions):
        lines += _methods(name, _in_force(versions[name]))
    return "\n".join(lines) + "\n"


def _in_force(schemas: list[OpSchema]) -> list[OpSchema]:
    """The versions of an operator that some opset of the range has, from the oldest to the newest."""
    schemas = sorted(schemas, key=lambda schema: schema.since_version)
    old = [schema for schema in schemas if schema.since_version <= EARLIEST][:-1]
    return [schema for schema in schemas[len(old) :] if not schema.deprecated]


def _methods(name: str, schemas: list[OpSchema]) -> list[str]:
    if not schemas:
        return []
    attributes = _attributes(schemas)
    operands = _operands(schemas)
    if max(schema.max_output for schema in schemas) == 1:
        return [_method(name, operands, attributes, "ir.Value")]
    one, several = [*attributes, "outputs: None = ..."], [*attributes, "outputs: int"]
    return [
        "    @overload",
        _method(name, operands, one, "ir.Value"),
        "    @overload",
        _method(name, operands, several, "tuple[ir.Value, ...]"),
    ]


def _method(name: str, operands: list[str], keywords: Iterable[str], result: str) -> str:
    keywords = list(keywords)
    variadic = bool(operands) and operands[-1].startswith("*")
    star = ["*"] if keywords and not variadic else []
    return f"    def {name}({', '.join(['self', *operands, *star, *keywords])}) -> {result}: ..."


def _operands(schemas: list[OpSchema]) -> list[str]:
    """The parameters of the inputs, by position alone; those that some version leaves out may be left out."""
    longest = max(schemas, key=lambda schema: len(schema.inputs))
    required = min(schema.min_input for schema in schemas)
    attributes = {name for schema in schemas for name in schema.attributes}
    found: list[str] = []
    for index, formal in enumerate(longest.inputs):
        # A few operators have an input and, at another opset, an attribute of one name.
        name = (
            f"{formal.name}_" if formal.name in attributes or keyword.iskeyword(formal.name) else formal.name
        )
        if formal.option == OpSchema.FormalParameterOption.Variadic:
            return [*found, *(["/"] if found else []), f"*{name}: Operand"]
        default = "" if index < required else " = ..."
        found.append(f"{name}: Operand{default}")
    return [*found, "/"] if found else []


def _attributes(schemas: list[OpSchema]) -> list[str]:
    """The keywords of the attributes; None leaves one out, and those of other opsets are refused at run time."""
    found: dict[str, str] = {}
    for schema in schemas:
        for name, attribute in schema.attributes.items():
            kind = _KINDS.get(str(attribute.type).rpartition(".")[2], "Any")
            found[name] = f"{name}: {kind} | None = ..." if kind != "Any" else f"{name}: Any = ..."
    return [found[name] for name in sorted(found)]


if __name__ == "__main__":
    Path(__file__).with_name("operators.pyi").write_text(stubs())
