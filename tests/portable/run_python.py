"""python run_python.py FOLDER NAME: runs every case of FOLDER/manifest.json, with ONNX Runtime and NumPy alone.

Outputs go to FOLDER/NAME.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Writes each output as raw bytes, and the times."""
    unwanted = [name for name in ("onnxattr", "onnx", "tensorflow") if importlib.util.find_spec(name)]
    if unwanted:
        sys.exit(f"{unwanted} are installed in this environment, which has to be without them.")
    folder = Path(sys.argv[1])
    target, times = folder / sys.argv[2], {}
    target.mkdir(exist_ok=True)
    for entry in json.loads((folder / "manifest.json").read_text()):
        feeds = {
            feed["name"]: np.fromfile(folder / feed["file"], feed["type"]).reshape(feed["dims"])
            for feed in entry["feeds"]
        }
        outputs, explained = timed(folder / entry["file"], feeds, entry["repeats"])
        if entry["repeats"]:
            plain = timed(folder / entry["plain"], feeds, entry["repeats"])[1]
            times[entry["name"]] = {"explain_ms": explained, "predict_ms": plain}
        for name, array in outputs.items():
            array.tofile(target / f"{entry['name']}.{name}")
    (target / "times.json").write_text(json.dumps(times, indent=1))


def timed(
    path: Path, feeds: dict[str, np.ndarray], repeats: int
) -> tuple[dict[str, np.ndarray], float | None]:
    """Outputs of the first run, and the shortest time of the processor of more of them, in milliseconds."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    own = {value.name: feeds[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, own), strict=True))
    durations: list[float] = []
    while len(durations) < repeats and sum(durations) < 3000:
        start = time.process_time()
        session.run(names, own)
        durations.append((time.process_time() - start) * 1e3)
    return outputs, min(durations, default=None)


if __name__ == "__main__":
    main()
