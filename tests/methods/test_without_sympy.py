"""Importing the package and making a gradient need no sympy; onnx_ir's arithmetic on sizes imports it by itself."""

import subprocess
import sys

SCRIPT = """
import sys
import onnxattr
from onnx import parser
model = parser.parse_model('<ir_version: 8, opset_import: ["": 18]> g (float[N,T] x) => (float[N,T] y) { y = Tanh(x) }')
onnxattr.vjp(model)
assert not {"sympy", "onnx_ir._symbolic_shapes"} & set(sys.modules)
import onnx_ir
assert str(onnx_ir.SymbolicDim("N") + 1) == "N + 1"
assert onnx_ir.SymbolicDim("max(N, 3) // 1").evaluate({"N": 5}) == 5
import sympy.core.expr
assert onnx_ir._core.sympy.Expr is sympy.Expr is sympy.core.expr.Expr
assert onnx_ir.SymbolicDim(sympy.Symbol("N") * 2).value == "2*N"
"""


def test_sympy_is_imported_when_it_is_needed():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
