"""What the command line does with options that it does not know."""

import re

import pytest

import train
from hyperfunc.commands import main
from hyperfunc.commands.arguments import _list_options
from hyperfunc.commands.main import COMMANDS, import_command
from hyperfunc.experiment import PRESETS


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--steps=0",), "--run.steps"),
        (("--steps", "5", "--workdir=w"), "--run.steps"),
        (("--train.batch_size=8",), "--data.batch-size"),
        (("--preset=faces", "--stride=8"), "--model.backbone.stride or --model.layout.stride or"),
    ],
    ids=lambda value: str(value),
)
def test_options_that_end_alike_are_named(words, meant, refuse):
    flag = next(x.partition("=")[0] for x in words if "preset" not in x)
    assert f"{flag}: there is no such option; use {meant}" in refuse(train.main, *words)


def test_other_commands_name_them_too(refuse):
    message = refuse(main, "upscale", "a.png", "b.png", "--run.scale=2")
    assert "--run.scale: there is no such option; use --scale" in message


def list_shown(text: str) -> set[str]:
    """List the options in the text of --help."""
    return set(re.findall(r"^\W*--(\w[\w.-]*)", text, re.MULTILINE))


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"train"}))
def test_only_options_that_exist_are_named(command, capsys):
    """What is given without a flag, such as the input, is no option."""
    module, parse = import_command(command)
    with pytest.raises(SystemExit):
        parse(["--help"])
    listed = {name.replace("_", "-") for name in _list_options(module.Arguments)}
    assert listed == list_shown(capsys.readouterr().out)


@pytest.mark.parametrize("preset", PRESETS)
def test_all_options_are_known(preset, capsys):
    """Otherwise an option that there is would be refused."""
    with pytest.raises(SystemExit):
        train.parse([f"--preset={preset}", "--help"])
    shown = list_shown(capsys.readouterr().out)
    kind = type(train.parse(["--workdir=w", f"--preset={preset}"]))
    assert shown == {name.replace("_", "-") for name in _list_options(kind)} and len(shown) > 40
