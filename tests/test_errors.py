"""How a command ends."""

import gc
import os
import signal
import sys
import time

import pytest

from hyperfunc.errors import UserError, report_errors


def run(error, *others):
    with pytest.raises(BaseException) as raised, report_errors(*others):
        raise error
    return raised.value


def test_a_user_error_is_one_line_and_exit_code_2(capsys):
    end = run(UserError("the scale\n  is 0"))
    assert isinstance(end, SystemExit) and end.code == 2
    assert end.__suppress_context__  # Nobody shows the traceback.
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: the scale is 0\n")


def test_a_mistake_in_the_program_is_not_hidden():
    error = ValueError("a wrong shape")
    assert run(error) is error


def test_other_exceptions_can_be_counted_as_the_users(capsys):
    end = run(ValueError("steps 0"), ValueError)
    assert isinstance(end, SystemExit) and end.code == 2
    assert capsys.readouterr().err == "error: steps 0\n"


def test_an_interruption_is_one_line(capsys):
    end = run(KeyboardInterrupt())
    assert isinstance(end, SystemExit) and end.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interruption_can_end_the_process(capsys, monkeypatch):
    """At once: threads that still compute are left behind, and what was printed is not."""
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # For itself alone.
    with pytest.raises(SystemExit), report_errors(ends_process=True):
        raise KeyboardInterrupt
    assert ends == [130] and capsys.readouterr().err == "interrupted\n"


def test_an_interruption_of_the_garbage_collection_is_heard(capsys, monkeypatch):
    """JAX has a callback there, and what a callback raises is dropped."""
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)

    def callback(phase, _):
        if phase == "stop":
            gc.callbacks.remove(callback)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SystemExit), report_errors(ends_process=True):
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(30)
    assert ends == [130]
    assert capsys.readouterr().err == "interrupted\n"


def test_a_place_that_may_not_be_looked_at_is_one_line(capsys):
    end = run(PermissionError(13, "Permission denied", "/root/a.png"))
    assert isinstance(end, SystemExit) and end.code == 2
    assert capsys.readouterr().err.startswith("error: /root/a.png: permission denied; check who")


def test_without_an_error_nothing_happens(capsys):
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")
