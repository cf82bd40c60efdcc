"""python run_python.py FOLDER NAME [cpu|openvino|webgpu]: runs every case of FOLDER/manifest.json in one runtime.

Outputs go to FOLDER/NAME, and a line of told.jsonl there for each case, when it is done: its times, or why it was
refused. --resume keeps the lines whose files and runtime are still the same, so that a run that was killed goes on.
On OpenVINO and WebGPU the cases of each network have a process of their own; if a case ends it, another process runs
those that are left.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import multiprocessing
import queue
import sys
import time
from pathlib import Path

import numpy as np

#: Plugins of this process.
registered: set[str] = set()


def main() -> None:
    """Writes each output as raw bytes, the times and what was refused."""
    unwanted = [name for name in ("onnxattr", "onnx", "tensorflow") if importlib.util.find_spec(name)]
    if unwanted:
        sys.exit(f"{unwanted} are installed in this environment, which has to be without them.")
    options = arguments(sys.argv[1:])
    folder, runtime, lines = options.folder, options.runtime, []
    target = folder / options.target
    target.mkdir(exist_ok=True)
    entries = json.loads((folder / "manifest.json").read_text())
    if options.light:
        entries = [entry for entry in entries if not entry["heavy"]]
    version = versions()
    if options.resume:
        lines = still_true(target / "told.jsonl", entries, version)
        done = {one["name"] for one in lines}
        entries = [entry for entry in entries if entry["name"] not in done]
    results = in_this_process if runtime == "cpu" else in_others
    with (target / "told.jsonl").open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in lines)
        file.flush()
        for entry, told in results(folder, target, entries, runtime):
            one = {"name": entry["name"], "key": entry["key"], "version": version, **told}
            file.write(json.dumps(one) + "\n")
            file.flush()


def arguments(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("target")
    parser.add_argument("runtime", nargs="?", default="cpu", choices=["cpu", "openvino", "webgpu"])
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(words)


def still_true(path: Path, entries: list[dict], version: str) -> list[dict]:
    """The lines of an earlier run whose files and runtime are the same; a line that was cut off is none."""
    keys = {(entry["name"], entry["key"]) for entry in entries}
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    return [one for one in lines if (one["name"], one["key"]) in keys and one["version"] == version]


def versions() -> str:
    """Of the runtimes that are installed here."""
    names = ("onnxruntime", "onnxruntime-ep-webgpu", "openvino")
    found = [name for name in names if importlib.util.find_spec(name.replace("-", "_"))]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in found)


def in_this_process(folder: Path, target: Path, entries: list[dict], runtime: str):
    """(case, what is told of it) of each case."""
    for entry in entries:
        yield entry, run_case(folder, target, entry, runtime)


def in_others(folder: Path, target: Path, entries: list[dict], runtime: str):
    """The same from a process for the cases of a network in a row, and a new one after each that ends its process."""
    context = multiprocessing.get_context("spawn")
    left = list(entries)
    while left:
        _, group = next(itertools.groupby(left, key=lambda entry: entry["network"]))
        network = list(group)
        results = context.Queue()
        process = context.Process(target=put_cases, args=(results, folder, target, network, runtime))
        process.start()
        for entry in network:
            left.remove(entry)
            told = next_result(results, process)
            ended = {"refused": f"the process ended with status {process.exitcode}"}
            yield entry, ended if told is None else told
            if told is None:
                break
        process.join()


def next_result(results, process):
    """What the process puts next; None if it ended without."""
    while True:
        try:
            return results.get(timeout=1)
        except queue.Empty:
            if not process.is_alive():
                return results.get_nowait() if not results.empty() else None


def put_cases(results, folder: Path, target: Path, entries: list[dict], runtime: str) -> None:
    for _, told in in_this_process(folder, target, entries, runtime):
        results.put(told)


def run_case(folder: Path, target: Path, entry: dict, runtime: str) -> dict:
    """Runs a case; returns its times, or the runtime's reason for refusing it."""
    feeds = {
        feed["name"]: np.fromfile(folder / feed["file"], feed["type"]).reshape(feed["dims"])
        for feed in entry["feeds"]
    }
    load = {"cpu": on_cpu, "openvino": on_openvino, "webgpu": on_webgpu}[runtime]
    try:
        outputs, explained = timed(load(folder / entry["file"]), feeds, entry["repeats"])
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:1000]}
    for name, array in outputs.items():
        array.tofile(target / f"{entry['name']}.{name}")
    if not entry["repeats"]:
        return {}
    plain = timed(load(folder / entry["plain"]), feeds, entry["repeats"])[1]
    return {"explain_ms": explained, "predict_ms": plain}


def timed(run, feeds: dict[str, np.ndarray], repeats: int) -> tuple[dict[str, np.ndarray], float | None]:
    """Outputs of the first run, and the shortest time of the processor of more of them, in milliseconds."""
    outputs = run(feeds)
    durations: list[float] = []
    while len(durations) < repeats and sum(durations) < 3000:
        start = time.process_time()
        run(feeds)
        durations.append((time.process_time() - start) * 1e3)
    return outputs, min(durations, default=None)


def on_cpu(path: Path):
    """A function from feeds to outputs, by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return of_session(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))


def on_webgpu(path: Path):
    """The same on the plugin of ONNX Runtime for WebGPU."""
    import onnxruntime
    import onnxruntime_ep_webgpu as plugin

    onnxruntime.set_default_logger_severity(3)
    if "webgpu" not in registered:
        onnxruntime.register_execution_provider_library("webgpu", plugin.get_library_path())
        registered.add("webgpu")
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == plugin.get_ep_name()]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_provider_for_devices(devices[:1], {})
    return of_session(onnxruntime.InferenceSession(str(path), options))


def of_session(session):
    names = [value.name for value in session.get_outputs()]
    own = [value.name for value in session.get_inputs()]
    return lambda feeds: dict(
        zip(names, session.run(names, {name: feeds[name] for name in own}), strict=True)
    )


def on_openvino(path: Path):
    """The same on OpenVINO's CPU plugin; without the hint it computes in bfloat16 on a Xeon with AMX."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    names = [port.any_name for port in model.outputs]
    own = [port.any_name for port in model.inputs]
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(feeds):
        found = compiled({name: feeds[name] for name in own})
        return {name: np.array(found[number]) for number, name in enumerate(names)}

    return run


if __name__ == "__main__":
    main()
