"""Where WebGPU's provider of ONNX Runtime runs the nodes of a file, beside what ``inspect --runtime webgpu`` says."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import onnx

from onnxattr.graph.subgraphs import graphs_in
from onnxattr.inspection import findings
from portable import swiftshader

#: Small files that together have loops, scans, noise and convolutions.
FILES = (
    "tabular-IntegratedGradients-loop",
    "lstm-IntegratedGradients-batch",
    "gunpoint-SmoothGrad-batch",
    "transformer-Saliency-batch",
)
_PROFILE = """
import json, os, sys
from pathlib import Path
import numpy as np, onnxruntime as ort, onnxruntime_ep_webgpu as plugin
ort.set_default_logger_severity(3)
ort.register_execution_provider_library("webgpu", plugin.get_library_path())
devices = [device for device in ort.get_ep_devices() if device.ep_name == plugin.get_ep_name()][:1]
folder, name = Path(sys.argv[1]), sys.argv[2]
(entry,) = [one for one in json.loads((folder / "manifest.json").read_text()) if one["name"] == name]
feeds = {f["name"]: np.fromfile(folder / f["file"], f["type"]).reshape(f["dims"]) for f in entry["feeds"]}
options = ort.SessionOptions()
options.log_severity_level, options.enable_profiling = 3, True
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.profile_file_prefix = str(folder / "profile")
options.add_provider_for_devices(devices, {})
session = ort.InferenceSession(str(folder / "named.onnx"), options)
session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
profile = Path(session.end_profiling())
events = [one for one in json.loads(profile.read_text()) if one.get("args", {}).get("provider")]
profile.unlink()
print(json.dumps({one["name"].rsplit("_kernel_time", 1)[0]: one["args"]["provider"] for one in events}))
"""


def misplaced(folder: Path, name: str, python: Path) -> list[str]:
    """The nodes of a file that run elsewhere than the table says; those that were made into others are left out.

    ONNX Runtime keeps on the CPU what reads nothing but values that are there; the table does not name these nodes.
    """
    model = onnx.load(folder / f"{name}.onnx")
    nodes = {}
    for graph in graphs_in(model.graph):
        for node in graph.node:
            node.name = f"node_{len(nodes)}"
            nodes[node.name] = node
    onnx.save(model, folder / "named.onnx")
    command = [str(python), "-c", _PROFILE, str(folder), name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=swiftshader.environment())
    told = json.loads(done.stdout.splitlines()[-1])
    on_cpu = {key for key, provider in told.items() if provider == "CPUExecutionProvider"}
    listed = {found.node.name for found in findings(model, "webgpu") if found.happens == "leaves"}
    makers = {output: key for key, node in nodes.items() for output in node.output}
    wrong = [key for key in listed & set(told) if key not in on_cpu]
    wrong += [key for key in on_cpu & set(nodes) - listed if not _reads_the_cpu(nodes[key], makers, on_cpu)]
    return [f"{name}: {nodes[key].op_type} {nodes[key].output[0]}" for key in wrong]


def _reads_the_cpu(node: onnx.NodeProto, makers: Mapping[str, str], on_cpu: set[str]) -> bool:
    """Whether an input of a node is made on the CPU, and none on the device."""
    made = [makers[value] for value in node.input if value in makers]
    return bool(made) and all(maker in on_cpu for maker in made)
