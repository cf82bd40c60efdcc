"""The Dockerfile of examples/serve, as far as it can be checked without Docker: stages, files, commands, packages."""

import ast
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).parents[2] / "examples/serve"
TEXT = (FOLDER / "Dockerfile").read_text()
INSTRUCTIONS = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "ENV", "EXPOSE", "CMD"}
#: What the module is called that a package of requirements.txt brings.
MODULES = {"pillow": "PIL"}
#: The file that the user makes first, as the first line says.
MADE = "explainer.onnx"


def instructions():
    """(instruction, arguments) of each, continued lines joined, without comments."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def arguments(name):
    return [rest for kind, rest in instructions() if kind == name]


def test_instructions_and_stages():
    assert {kind for kind, _ in instructions()} <= INSTRUCTIONS
    assert instructions()[0][0] == "FROM"
    stages = [re.search(r" AS (\w+)$", rest) for rest in arguments("FROM")]
    names = {stage[1] for stage in stages if stage}
    for rest in arguments("COPY"):
        if stage := re.match(r"--from=(\w+) ", rest):
            assert stage[1] in names


def test_copied_files_are_there():
    assert MADE in TEXT.splitlines()[0]
    for rest in arguments("COPY"):
        *sources, _ = rest.split()
        if not sources[0].startswith("--from="):
            assert [name for name in sources if name != MADE and not (FOLDER / name).is_file()] == []


@pytest.mark.parametrize("command", arguments("RUN"))
def test_commands_are_shell(command):
    ran = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_removed_folders_exist_and_are_not_needed():
    """rm fails, and with it the build, where a folder is missing; the server starts without them."""
    folders = removed("rm -r")
    home = Path(onnxruntime.__file__).parent
    assert folders
    assert [str(folder) for folder in folders if not (home / folder).is_dir()] == []
    loaded = [f"onnxruntime.{folder}" for folder in folders]
    code = f"import sys, onnxruntime; sys.exit(any(name in sys.modules for name in {loaded!r}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_library_for_c_is_not_loaded():
    """Where the wheel has one: the server's session runs without it."""
    (pattern,) = removed("rm -f")
    code = (
        "import onnx.parser as p, numpy as np, onnxruntime as o\n"
        "m = p.parse_model('<ir_version: 8, opset_import: [\"\": 17]> g (float[2] x) => (float[2] y) {y = Neg(x)}')\n"
        "o.InferenceSession(m.SerializeToString()).run(None, {'x': np.ones(2, np.float32)})\n"
        "print(open('/proc/self/maps').read())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {line.split()[-1] for line in ran.stdout.splitlines() if "onnxruntime" in line}
    home = Path(onnxruntime.__file__).parent
    assert loaded
    assert loaded & {str(path) for path in home.glob(str(pattern))} == set()


def removed(command):
    """What a command removes of ONNX Runtime's package."""
    words = [
        shlex.split(part)
        for run in arguments("RUN")
        for part in run.split("&&")
        if f"{command} /packages/onnxruntime/" in part
    ]
    return [Path(word).relative_to("/packages/onnxruntime") for word in words[0][2:]]


def test_requirements_are_what_the_server_imports():
    wanted = [
        Requirement(line) for line in (FOLDER / "requirements.txt").read_text().splitlines() if line.strip()
    ]
    for requirement in wanted:
        assert requirement.specifier.contains(version(requirement.name)), requirement
    brought = {MODULES.get(requirement.name, requirement.name) for requirement in wanted}
    tree = ast.parse((FOLDER / "app.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) <= brought
    assert brought - imported == {"uvicorn"}  # which the command starts


def test_the_command_serves_what_is_copied():
    (command,) = map(json.loads, arguments("CMD"))
    module, name = command[command.index("uvicorn") + 1].split(":")
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    targets = [
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")
    ]
    assert name in targets
    port = command[command.index("--port") + 1]
    assert arguments("EXPOSE") == [port]
    assert f"--publish {port}:{port}" in TEXT
    settings = dict(pair.split("=", 1) for rest in arguments("ENV") for pair in rest.split())
    assert settings["EXPLAINER"] == MADE
    assert "EXPLAINER" in (FOLDER / "app.py").read_text()
    assert arguments("USER") == ["serve"]
    assert any("useradd --system serve" in command for command in arguments("RUN"))
