"""How a command ends: messages, exit codes, and where tracebacks go."""

import contextlib
import dataclasses
import logging
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from jax.errors import JaxRuntimeError

from hyperfunc.commands import main, train
from hyperfunc.commands.arguments import Common
from hyperfunc.commands.running import report_errors, run_command
from hyperfunc.errors import REPORT_ADDRESS, UserError


def end(error: BaseException, *user_errors: type[Exception], **settings: bool) -> SystemExit:
    """Raise an error within `report_errors`, and return what ends the command."""
    with pytest.raises(SystemExit) as raised, report_errors(*user_errors, **settings):
        raise error
    return raised.value


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch, tmp_path):
    """Logs go to a folder of the test, and the environment asks for nothing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("HYPERFUNC_DEBUG", raising=False)
    return tmp_path


def test_a_user_error_is_one_line_and_exit_code_2(capsys, tmp_path):
    ended = end(UserError("a\x1b.png: the scale\n  is 0"))
    assert ended.code == 2
    assert ended.__suppress_context__  # So no traceback is shown.
    assert capsys.readouterr() == ("", "error: a\\x1b.png: the scale is 0\n")
    assert not list(tmp_path.iterdir())


def test_other_exceptions_can_count_as_the_users(capsys):
    assert end(ValueError("steps 0"), ValueError).code == 2
    assert capsys.readouterr().err == "error: steps 0\n"


def test_an_unexpected_exception_is_told_as_a_bug(capsys, tmp_path):
    error = ValueError("a wrong\nshape")
    ended = end(error)
    assert ended.code == 70 and ended.__cause__ is error
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: ValueError: a wrong shape: this is a bug in hyperfunc"
    assert REPORT_ADDRESS in second and "--debug" in second
    (log,) = tmp_path.iterdir()
    assert str(log) in second
    text = log.read_text()
    assert "Traceback" in text and "ValueError: a wrong\nshape" in text and "in end" in text


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_debug_shows_tracebacks_on_stderr(capsys, tmp_path, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("HYPERFUNC_DEBUG", "1")
    debug = {"debug": True} if how == "flag" else {}
    assert end(ValueError("a wrong shape"), **debug).code == 70
    error = capsys.readouterr().err
    assert "Traceback" in error and "with the traceback above" in error.splitlines()[-1]
    assert end(UserError("the scale is 0"), **debug).code == 2
    error = capsys.readouterr().err
    assert "Traceback" in error and error.endswith("error: the scale is 0\n")
    assert not list(tmp_path.iterdir())


def test_an_error_that_a_module_only_logs_is_told_too(capsys, tmp_path):
    with report_errors():
        with contextlib.suppress(ValueError):
            try:
                raise ValueError("a wrong shape")
            except ValueError:
                logging.getLogger("hyperfunc.somewhere").exception("a.png failed")
                raise
        assert capsys.readouterr().err == ""
    assert REPORT_ADDRESS in capsys.readouterr().err
    (log,) = tmp_path.iterdir()
    assert "a.png failed" in log.read_text() and "a wrong shape" in log.read_text()


def test_a_file_that_fails_because_of_a_bug(capsys, tmp_path):
    with pytest.raises(SystemExit) as raised, report_errors():
        try:
            raise ValueError("a wrong shape")
        except ValueError:
            logging.getLogger("hyperfunc.somewhere").exception("a.png failed")
        raise UserError("a.png: a wrong shape")
    assert raised.value.code == 70
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: a.png: a wrong shape" and REPORT_ADDRESS in second
    assert len(list(tmp_path.iterdir())) == 1


def test_announcements_and_warnings_are_lines_on_stderr(capsys):
    logger = logging.getLogger("hyperfunc.somewhere")
    for settings, expected in (
        ({}, "loading\nwarning: a\\x1b.png is left out\n"),
        ({"quiet": True}, "warning: a\\x1b.png is left out\n"),
    ):
        with report_errors(**settings):
            logger.info("loading")
            logger.warning("a\x1b.png is\nleft out")
            logger.debug("a detail")
        assert capsys.readouterr() == ("", expected)


def test_logging_is_as_before_afterwards():
    def describe():
        loggers = [logging.getLogger(name) for name in ("hyperfunc", "absl", "asyncio")]
        return [(x.level, *x.handlers) for x in loggers], warnings.showwarning

    before = describe()
    end(UserError("the scale is 0"))
    assert before == describe()


def test_a_warning_of_a_library_is_one_line(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with report_errors():
            warnings.warn("an image is\ntruncated", UserWarning, stacklevel=1)
    assert capsys.readouterr() == ("", "warning: an image is truncated\n")


def test_an_interruption_is_one_line(capsys):
    assert end(KeyboardInterrupt()).code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_path_that_may_not_be_looked_at_is_one_line(capsys):
    assert end(PermissionError(13, "Permission denied", "/root/a.png")).code == 2
    assert capsys.readouterr().err.startswith("error: /root/a.png: Permission denied; check who")


@pytest.mark.parametrize("error", [MemoryError(), JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB")])
def test_too_little_memory_is_no_bug(capsys, error):
    assert end(error).code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not enough memory" in line and "--tile" in line


def test_without_an_error_nothing_happens(capsys, tmp_path):
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@dataclasses.dataclass
class Arguments:
    """Those of a command that does nothing."""

    common: Common = Common()


def test_a_command_in_a_running_program_leaves_ctrl_c_as_it_is():
    before = signal.getsignal(signal.SIGINT)
    run_command(lambda words: Arguments(), lambda arguments: None, [], owns_process=False)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    "name", ["upscale", "info", "export", "view", "train", "evaluate", "reproduce"]
)
def test_every_command_has_help_with_debug(capsys, name):
    from hyperfunc.commands import main
    from hyperfunc.commands.main import COMMANDS

    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"hyperfunc {name}" in out and "--debug" in out and "--quiet" in out
    assert COMMANDS[name] in " ".join(out.split())


def test_a_command_that_does_not_exist(capsys):
    from hyperfunc.commands import main

    for words, told in ((["upscal"], "upscale"), ([], "COMMAND")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2 and told in capsys.readouterr().err


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_help_does_not_wait_for_jax():
    code = """if True:
        import sys
        from hyperfunc.commands import main
        for words in (["--help"], ["upscale", "--help"], ["evaluate", "--help"]):
            try:
                main(words)
            except SystemExit:
                pass
        print("imported:", {"jax", "flax", "scipy"} & set(sys.modules))
    """
    assert run_python(code).stdout.endswith("imported: set()\n")


OWN_PROCESS = """if True:
    import dataclasses, gc, os, signal, time
    from hyperfunc.commands.arguments import Common
    from hyperfunc.commands.running import noting_interrupt
    from hyperfunc.commands.running import run_command

    @dataclasses.dataclass
    class Arguments:
        common: Common = Common()

    def run(arguments):
        print("begun")
{body}
        time.sleep(30)

    run_command(lambda words: Arguments(), run, [], owns_process=True)
"""


@pytest.mark.parametrize("where", ["anywhere", "in a callback of the garbage collector"])
def test_ctrl_c_ends_a_process_of_its_own(where):
    """Python drops what is raised in such a callback, and JAX has one."""
    body = {
        "anywhere": "signal.raise_signal(signal.SIGINT)",
        "in a callback of the garbage collector": (
            "gc.callbacks.append(lambda *_: signal.raise_signal(signal.SIGINT)); gc.collect()"
        ),
    }[where]
    ended = run_python(OWN_PROCESS.format(body=" " * 8 + body))
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
    assert ended.stdout == "begun\n"


def test_a_first_ctrl_c_can_be_noted_and_a_second_one_ends_the_process():
    body = """
        with noting_interrupt() as is_interrupted:
            print(is_interrupted())
            signal.raise_signal(signal.SIGINT)
            print(is_interrupted())
            signal.raise_signal(signal.SIGINT)
    """
    ended = run_python(OWN_PROCESS.format(body=body))
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
    assert ended.stdout.split() == ["begun", "False", "True"]


def test_sigterm_can_be_noted_and_has_its_exit_code():
    """What runs in the context can end in order, as after Ctrl-C."""
    body = """
        with noting_interrupt() as is_interrupted:
            signal.raise_signal(signal.SIGTERM)
            print(is_interrupted(), flush=True)
            raise KeyboardInterrupt
    """
    ended = run_python(OWN_PROCESS.format(body=body))
    assert (ended.returncode, ended.stdout.split()) == (143, ["begun", "True"])


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_stream_is_no_bug_and_no_file_gets_its_number(number):
    """Libraries write to 1 and 2, into whatever file has the number."""
    body = "assert open(os.devnull).fileno() > 2; print(time, flush=True); return"
    code = OWN_PROCESS.format(body=" " * 8 + body)
    words = ["sh", "-c", f'exec "$@" {number}>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(words).returncode == 0


@pytest.mark.parametrize("words", [["", "b.png"], ["a.png", ""], ["a.png", "b.png", "--mask="]])
def test_an_empty_argument_is_not_the_current_folder(capsys, words):
    with pytest.raises(SystemExit) as raised:
        main(["restore", *words])
    assert raised.value.code == 2
    assert capsys.readouterr().err.startswith("error: one of the arguments is empty: ")


@pytest.mark.parametrize("words", [["--run.start_from="], ["--run.start-from", ""]])
def test_an_empty_text_may_mean_none(words):
    arguments = train.parse(["--workdir=run", "--preset=sr_finetune", *words])
    assert arguments.experiment.run.start_from == ""


def test_a_closed_pipe_is_no_bug():
    body = "        print('x' * 100_000, flush=True)"
    code = OWN_PROCESS.format(body=body)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_the_scripts_of_the_repository_are_the_commands():
    root = Path(__file__).parents[2]
    for name in ("train", "evaluate"):
        script = (root / f"{name}.py").read_text()
        assert re.search(rf"^from hyperfunc.commands import {name}$", script, re.MULTILINE)
