"""Messages at the command line name options, and parameters in Python."""

import numpy as np
import pytest
from support.command_line import cli_folder, run  # noqa: F401

from onnxattr.cli import _parser
from onnxattr.cli.spoken import options_of, spoken

SAID = {
    "a place": ("Name one with wrt=<name>; the", "Name one with --wrt <name>; the"),
    "both": ("one: output=<name> (--model-output <name>).", "one: --model-output <name>."),
    "another value": ("pass verify=False (--verify never) to", "pass --verify never to"),
    "the value alone": ("verify=True: expected", "--verify always: expected"),
    "several": ("add up: wrt=['x', 'e'] (--wrt for each).", "add up: --wrt 'x' --wrt 'e'."),
    "a name": ("pass output_layer='a b'.", "pass --output-layer 'a b'."),
    "none": ("Pass neuron=.", "Pass --neuron."),
    "two": ("(output=, output_layer=)", "(--model-output, --output-layer)"),
    "an index": ("neuron=(1, 2): x", "--neuron 1,2: x"),
    "any": ("as background=[...].", "as --background ...."),
    "with a word more": ("keep=[...] (--keep with commas)", "--keep ... (--keep with commas)"),
    "a negative number": ("batch_size=-1: expected", "--batch-size -1: expected"),
    "a path": ("/data/steps=3/m.onnx is no file", "/data/steps=3/m.onnx is no file"),
    "a quoted name": ("layer 'wrt=3' is none", "layer 'wrt=3' is none"),
    "a call": ("IntegratedGradients(model, wrt=<layer>)", "IntegratedGradients(model, wrt=<layer>)"),
    "no option": ("check_finite='ignore' changes", "check_finite='ignore' changes"),
}


@pytest.mark.parametrize("case", SAID)
def test_options_stand_for_parameters(case):
    commands = _parser()._subparsers._group_actions[0].choices
    message, told = SAID[case]
    assert spoken(message, options_of(commands["explain"])) == told


COMMANDS = {
    "convert": (("convert", "pickled.joblib", "-o", "c.onnx"), "made it, say so: --trust. "),
    "evaluate": (("evaluate", "two.onnx", "two.npz"), "Name one of them with --wrt <name>; the others"),
    "explain": (
        ("explain", "mlp.onnx", "mlp.npy", "-o", "m.npy", "--wrt", "x", "--wrt", "x"),
        "--wrt 'x' --wrt 'x': name every value once",
    ),
    "export": (("export", "tokens.onnx", "-o", "e.onnx"), "with --wrt <name>, for example one of: embedded"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_speak_of_options(case, cli_folder, capsys):  # noqa: F811
    arguments, told = COMMANDS[case]
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert told in err
    assert "wrt=" not in err


def test_warnings_speak_of_options(cli_folder, capsys):  # noqa: F811
    np.save("rows.npy", np.ones((1, 6), np.float32))
    status, _, err = run(capsys, "explain", "probabilities.onnx", "rows.npy", "-o", "maps.npy")
    assert status == 0
    assert "To explain the logits, pass --output-layer '" in err
