"""Writes the table of docs/portability.md that says which file is right in which runtime: ``make portability``.

Seven models, each method in each rendering: 84 files, in ONNX Runtime of three versions, Node, wasm, WebGPU and
OpenVINO. Minutes on most runtimes, hours on WebGPU without a GPU: a run that was killed goes on where it was, and so
does one after a change for the files that changed. --keep RUNTIME ... writes the table with what there is of these.
"""

import argparse
import itertools
import json
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnxattr.graph.runtimes.tables import table_of  # noqa: E402
from onnxattr.inspection import findings  # noqa: E402
from portable import accelerators  # noqa: E402
from portable.accelerators import NOT_RUN, RIGHT, TABLES, WRONG, state  # noqa: E402
from portable.cases import write_cases  # noqa: E402
from portable.document import write_section  # noqa: E402
from portable.network import Entry  # noqa: E402
from portable.old_versions import environment_of  # noqa: E402
from portable.photo_cases import write_photo_cases  # noqa: E402
from portable.run import HERE, runtimes  # noqa: E402

OLD = ("1.15.0", "1.22.1")
TITLES = {
    "1.15.0": "ONNX Runtime 1.15", "1.22.1": "1.22", "python": "1.30", "onnxruntime-node": "Node",
    "onnxruntime-web": "wasm in Node", "chromium": "wasm in Chromium", "webgpu": "WebGPU, native",
    "chromium-webgpu": "WebGPU in Chromium", "openvino": "OpenVINO",
}  # fmt: skip
Cells = Mapping[str, Mapping[str, tuple[str, float]]]


def main() -> None:
    """Runs every file in every runtime, prints the table and, with --write, puts it into the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where explainers and results go")
    for name in ("python", "openvino", "webgpu"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="an interpreter; see run.py")
    parser.add_argument(
        "--keep", nargs="*", default=[], choices=TITLES, help="runtimes that are not run again"
    )
    parser.add_argument("--write", action="store_true", help="write docs/portability.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    folder = options.folder.absolute()
    entries = [entry for entry in write_cases(folder, 0) if is_counted(entry)]
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(telling_most(entries, manifest), indent=1))
    run(folder, options)
    cells = {
        runtime: {entry.name: state(folder, runtime, entry.name, entry.expected) for entry in entries}
        for runtime in TITLES
        if (folder / runtime / "told.jsonl").exists()
    }
    text = "\n".join([*summary(cells), "", *known(folder, entries, cells), "", *table(entries, cells)])
    print(text)
    photos = "\n".join(with_photos(folder / "with_photos", options))
    print(photos)
    if options.write:
        write_section("Every file in every runtime", text)
        write_section("Photos, with the preprocessing in the file", photos)


def with_photos(folder: Path, options: argparse.Namespace) -> list[str]:
    """The table of the files that take photos: preprocessing x runtime."""
    expected = write_photo_cases(folder)
    run(folder, options)
    found = [runtime for runtime in TITLES if (folder / runtime / "told.jsonl").exists()]
    lines = [
        f"| preprocessing, photo | {' | '.join(TITLES[one] for one in found)} |",
        "| --- " * (1 + len(found)) + "|",
    ]
    for name, outputs in expected.items():
        states = [state(folder, runtime, name, outputs) for runtime in found]
        words = [f"{there} {error:.0e}" if error == error else there for there, error in states]
        lines.append("| " + " | ".join([name, *words]) + " |")
    return [
        f"{len(expected)} files that take a photo as uint8, of 47 x 61 pixels (shrunk) or 20 x 48 (enlarged), to a",
        "network of 32 x 32 pixels; maps are of the photo. Largest differences from ONNX Runtime's CPU, relative to",
        "the map's maximum, and of the gap's relative to the prediction. In wasm the loop's map is right, and its",
        "gap is off.",
        "",
        *lines,
    ]


def is_counted(entry: Entry) -> bool:
    """Whether a file is one of the 84: the plain exports; EfficientNet-Lite0 at its pixels, its noise at the head."""
    if entry.variant.note or entry.network == "quadratic":
        return False
    return entry.network != "efficientnet_lite0_head" or entry.method != "IntegratedGradients"


def telling_most(entries: Sequence[Entry], manifest: Sequence[dict]) -> list[dict]:
    """The files that count, in rounds of one for each model and another method for each: the first tell the most."""
    counted = {entry.name for entry in entries}
    models: dict[str, list[dict]] = {}
    for one in manifest:
        if one["name"] in counted:
            models.setdefault(one["network"].removesuffix("_head"), []).append(one)
    turned = [
        files[(turn := 2 * number % len(files)) :] + files[:turn]
        for number, files in enumerate(models.values())
    ]
    rounds = itertools.zip_longest(*turned)
    return [one for files in rounds for one in files if one is not None]


def run(folder: Path, options: argparse.Namespace) -> None:
    """Runs all that is not kept; the heavy files too."""
    paths = [path.absolute() for path in (options.python, options.openvino, options.webgpu)]
    for version in set(OLD) - set(options.keep):
        python = environment_of(folder.parent / "old", version)
        subprocess.run([python, "-I", "run_python.py", folder, version, "--resume"], cwd=HERE, check=True)
    for name, words in runtimes(folder, paths[0]).items():
        if name not in options.keep:
            subprocess.run([str(word) for word in words], cwd=HERE, check=True)
    for name, command in accelerators.commands(*paths[1:]).items():
        if name not in options.keep:
            command.run(folder, resume=True)


def summary(cells: Cells) -> list[str]:
    """How many files are right, refused, wrong in each runtime."""
    lines = ["| runtime | right | wrong | refused | not run |", "| --- | --- | --- | --- | --- |"]
    for runtime, found in cells.items():
        counts = Counter(there for there, _ in found.values())
        title = TITLES[runtime] if not TITLES[runtime][0].isdigit() else f"ONNX Runtime {TITLES[runtime]}"
        lines.append(
            f"| {title} | {counts[RIGHT]} | {counts[WRONG]} | {counts['refused']} | {counts[NOT_RUN]} |"
        )
    left_out = any(there == NOT_RUN for found in cells.values() for there, _ in found.values())
    return [
        f"{len(next(iter(cells.values())))} files: seven models, each method in each rendering. Right: within 1e-5 of",
        "`method.explain` in Python, of the map's maximum."
        + (" Not run: minutes each without a GPU." if left_out else ""),
        "",
        *lines,
    ]


def known(folder: Path, entries: Sequence[Entry], cells: Cells) -> list[str]:
    """Why files are wrong or refused, and the smallest file that shows it; a file without a reason says so."""
    lines, files = [], {entry.name: folder / f"{entry.name}.onnx" for entry in entries}
    for runtime, found in cells.items():
        reasons: Counter[str] = Counter()
        for name, (there, _) in found.items():
            if there in (RIGHT, NOT_RUN):
                continue
            listed = [] if runtime not in TABLES else findings(files[name], TABLES[runtime])
            texts = {
                f"{one.node.op_type}: {one.reason} (`{one.minimal}`)"
                for one in listed
                if one.happens == there
            }
            reasons.update(sorted(texts) or ["no reason found"])
        if reasons:
            version = f", {table_of(TABLES[runtime]).version}" if runtime in TABLES else ""
            lines += [f"{TITLES[runtime]}{version}:", ""]
            lines += [*(f"- {count} files: {reason}" for reason, count in reasons.items()), ""]
    if not lines:
        return ["No file is wrong or refused."]
    return [
        "The names are those of the smallest files that show it, in `tests/portable/minimal`.",
        "",
        *lines[:-1],
    ]


def table(entries: Sequence[Entry], cells: Cells) -> list[str]:
    """One row for each file, one column for each runtime."""
    titles = [TITLES[runtime] for runtime in cells]
    lines = [f"| model | method | rendering | {' | '.join(titles)} |", "| --- " * (3 + len(titles)) + "|"]
    for entry in entries:
        found = [cells[runtime][entry.name] for runtime in cells]
        words = [f"{there} {error:.0e}" if there == WRONG else there for there, error in found]
        lines.append("| " + " | ".join([entry.network, entry.method, entry.rendering, *words]) + " |")
    return lines


if __name__ == "__main__":
    main()
