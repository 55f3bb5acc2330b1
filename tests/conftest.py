"""Fixtures, and CI's rule that a skip is a failure."""

import functools
import os
import signal

import pytest
from engines import containers, docker, engine, podman  # noqa: F401, fixtures
from support import (
    AT_PROMPT,
    BASH,
    PYINIT,
    REPORTER,
    STARTED,
    Process,
    Terminal,
    as_container,
    clean,
    namespace,
    only_child,
    tool,
)


def pytest_configure():
    # A script ignores them for what it starts in the background, and so would we for all.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # su without "-" leaves a user root's PATH. Of what is found nowhere, execvp(3) then says
    # "Permission denied", if it may not search a directory, and so does pyinit.
    path = os.environ.get("PATH", os.defpath).split(":")
    os.environ["PATH"] = ":".join(each for each in path if os.access(each, os.X_OK))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    STARTED.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:  # before the processes are killed, in the teardown
        for process in STARTED:
            report.sections.append(("what it started", process.report()))
    if report.skipped and os.environ.get("PYINIT_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {call.excinfo.value}"


@pytest.fixture
def start():
    """Return a function that starts a program; its remains are killed at the end."""
    started = []

    def start(*argv, **kwargs):
        started.append(Process(argv, **kwargs))
        return started[-1]

    yield start
    clean(started)


@pytest.fixture
def init(request):
    """Return the words that start pyinit, or another init: see DUMB_INIT_TOO."""
    name = getattr(request, "param", None)
    return [tool(name)] if name else PYINIT


@pytest.fixture
def pyinit(start, init):
    """Return a function that starts pyinit with these words."""
    return lambda *words, **kwargs: start(*init, *words, **kwargs)


@pytest.fixture
def reporter(pyinit):
    """Return a function that starts pyinit with options, and the reporter under it."""

    def reporter(*options, **kwargs):
        process = pyinit(*options, "--", *REPORTER, **kwargs)
        process.command = process.ready()
        return process

    return reporter


@pytest.fixture
def pid1(start, init):
    """Return a function that starts pyinit with these words as a real PID 1.

    The namespace's own process, unshare, is what is started; .init is pyinit's pid.
    """

    def pid1(*words, **kwargs):
        process = start(*namespace(), *init, *words, **kwargs)
        process.init = only_child(process.pid)
        return process

    return pid1


@pytest.fixture
def terminal():
    opened = []

    def terminal(*argv, **kwargs):
        opened.append(Terminal(*argv, **kwargs))
        return opened[-1]

    yield terminal
    for one in opened:
        one.process.clean()
        one.close()


@pytest.fixture
def container(terminal):
    """Return a function that runs pyinit as PID 1 at a terminal."""
    return functools.partial(as_container, terminal)


@pytest.fixture
def shell(terminal):
    """An interactive bash with job control, at its prompt."""
    screen = terminal(tool("bash"), *BASH[1:])
    screen.expect(AT_PROMPT)
    return screen
