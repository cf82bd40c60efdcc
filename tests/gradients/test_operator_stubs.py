"""The typed signatures of the operators agree with ONNX's schemas."""

from pathlib import Path

import onnx
import pytest

from onnxattr.graph import operators
from onnxattr.graph.operator_stubs import EARLIEST, LATEST, stubs

FILE = Path(operators.__file__).with_suffix(".pyi")
KINDS = ("None = ...) -> ir.Value", "int) -> tuple[ir.Value, ...]")


def test_the_file_is_what_the_schemas_say():
    """Else run ``python -m onnxattr.graph.operator_stubs``."""
    assert FILE.read_text() == stubs()


@pytest.mark.parametrize("opset", [EARLIEST, LATEST])
def test_every_operator_of_an_opset_has_a_signature(opset):
    lines = FILE.read_text().splitlines()
    names = {line.split("(")[0].removeprefix("    def ") for line in lines if line.startswith("    def ")}
    there = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    for name in there:
        try:
            schema = onnx.defs.get_schema(name, opset, "")
        except onnx.defs.SchemaError:
            continue
        assert schema.deprecated or name in names


def test_operators_with_several_outputs_say_how_many():
    lines = [line.strip() for line in FILE.read_text().splitlines() if line.startswith("    def Split(")]
    assert [line.endswith(f"outputs: {kind}: ...") for line, kind in zip(lines, KINDS, strict=True)] == [
        True
    ] * 2
