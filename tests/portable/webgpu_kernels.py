"""Writes the kernels of onnxattr/graph/runtimes/webgpu.toml: which operators WebGPU's provider takes, by type.

python tests/portable/webgpu_kernels.py build/portable/webgpu/bin/python

Each node test of onnx that is one node is loaded for each element type that its schema allows, without a CPU to fall
back to. A type has a kernel if every such model loads.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx.backend.test.case.node import collect_testcases

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr.graph.runtimes.tables import TYPED_BY, TYPES  # noqa: E402
from portable.swiftshader import environment  # noqa: E402

TABLE = ROOT / "onnxattr" / "graph" / "runtimes" / "webgpu.toml"
OPSET = 18
LOAD = """
import json, sys
from pathlib import Path
import onnxruntime as ort, onnxruntime_ep_webgpu as plugin
ort.set_default_logger_severity(4)
ort.register_execution_provider_library("webgpu", plugin.get_library_path())
devices = [device for device in ort.get_ep_devices() if device.ep_name == plugin.get_ep_name()][:1]
told = {}
for file in sorted(Path(sys.argv[1]).iterdir()):
    options = ort.SessionOptions()
    options.log_severity_level, options.graph_optimization_level = 4, ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_provider_for_devices(devices, {})
    try:
        ort.InferenceSession(str(file), options)
        told[file.name] = True
    except Exception as error:
        if "fallback" in str(error).lower():
            told[file.name] = False
print(json.dumps(told))
"""


def main() -> None:
    """Replaces the kernels of the table."""
    python = Path(sys.argv[1]).absolute()
    with TemporaryDirectory() as folder:
        names = {}
        for number, (operator, kind, model) in enumerate(models()):
            names[f"{number}.onnx"] = (operator, kind)
            (Path(folder) / f"{number}.onnx").write_bytes(model.SerializeToString())
        command = [str(python), "-c", LOAD, folder]
        told = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment()).stdout
        )
    placed: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for name, there in told.items():
        placed[names[name]].append(there)
    kinds: dict[str, list[str]] = defaultdict(list)
    for (operator, kind), there in placed.items():
        if all(there):
            kinds[operator].append(kind)
    groups: dict[str, list[str]] = defaultdict(list)
    for operator, found in kinds.items():
        groups[" ".join(sorted(found, key=list(TYPES).index))].append(operator)
    text = "".join(
        f'[[kernels]]\ntypes = "{types}"\noperators = "{" ".join(sorted(operators))}"\n\n'
        for types, operators in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    before, _, after = re.split(r"(# kernels\n|# end of kernels\n)", TABLE.read_text())[::2]
    TABLE.write_text(f"{before}# kernels\n{text}# end of kernels\n{after}")


def models() -> Iterator[tuple[str, str, onnx.ModelProto]]:
    """(operator, type, model) for each form of a node and each type that its schema allows."""
    seen = set()
    for case in collect_testcases(None):
        if case.model is None or len(case.model.graph.node) != 1 or case.model.graph.node[0].domain:
            continue
        (node,) = case.model.graph.node
        form = (node.op_type, tuple(sorted(a.name for a in node.attribute)), len(node.input))
        for kind, code in TYPES.items():
            if (form, kind) not in seen and (model := retyped(case.model, code)) is not None:
                seen.add((form, kind))
                yield node.op_type, kind, model


def retyped(model: onnx.ModelProto, code: int) -> onnx.ModelProto | None:
    """The model at opset 18 with another type of the values that the kernel is chosen by; None if there is none."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    (node,) = made.graph.node
    try:
        schema = onnx.defs.get_schema(node.op_type, OPSET, "")
    except onnx.defs.SchemaError:
        return None
    places = schema.inputs or schema.outputs
    chosen = places[min(TYPED_BY.get(node.op_type, 0), len(places) - 1)].type_str
    values = {value.name: value for value in [*made.graph.input, *made.graph.output]}
    for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for position, name in enumerate(names):
            if name in values and formals[min(position, len(formals) - 1)].type_str == chosen:
                if not values[name].type.HasField("tensor_type"):
                    return None
                values[name].type.tensor_type.elem_type = code
    del made.opset_import[:]
    made.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    made.ir_version = 8
    try:
        onnx.checker.check_model(made, full_check=True)
    except Exception:
        return None
    return made


if __name__ == "__main__":
    main()
