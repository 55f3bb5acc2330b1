"""Fixtures, and CI's rule that a skip is a failure."""

import os
import re
import shutil

import pytest
from engines import containers, docker, engine, podman  # noqa: F401, they are fixtures
from support import (
    PROMPT,
    PYINIT,
    Process,
    Terminal,
    namespace,
    only_child,
    public_directory,
    tool,
)


def pytest_configure():
    # su without "-" leaves a user root's PATH. Of what is found nowhere, execvp(3) then says
    # "Permission denied", if it may not search a directory, and so does pyinit.
    path = os.environ.get("PATH", os.defpath).split(":")
    os.environ["PATH"] = ":".join(each for each in path if os.access(each, os.X_OK))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("PYINIT_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {call.excinfo.value}"


@pytest.fixture
def start():
    """Return a function that starts a program; its remains are killed at the end."""
    started = []

    def start(*argv, **kwargs):
        started.append(Process([os.fspath(word) for word in argv], **kwargs))
        return started[-1]

    yield start
    for process in started:
        process.clean()


@pytest.fixture
def pyinit(start):
    """Return a function that starts pyinit with these words."""
    return lambda *words, **kwargs: start(*PYINIT, *words, **kwargs)


@pytest.fixture
def public():
    """Return an empty directory that every user can enter, as tmp_path need not be."""
    directory = public_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def pid1(start):
    """Return a function that starts pyinit with these words as a real PID 1.

    The namespace's own process, unshare, is what is started; .init is pyinit's pid.
    """

    def pid1(*words, init=PYINIT, **kwargs):
        from support import only_child

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


@pytest.fixture(params=["container", "exec", "script"])
def alone(request, terminal):
    """Return a function that runs pyinit where there is nobody to resume it."""

    def alone(*words):
        if request.param == "container":
            screen = terminal(*namespace(), "--", *PYINIT, *words)
            screen.init = only_child(screen.pid)
        elif request.param == "exec":
            screen = terminal(*PYINIT, *words)
            screen.init = screen.pid
        else:
            screen = terminal(
                "sh", "-c", 'trap : INT QUIT; "$@"', "sh", *PYINIT, *words
            )
            screen.init = only_child(screen.pid)
        return screen

    return alone


@pytest.fixture
def container(terminal):
    def container(*words, trace=()):
        screen = terminal(*namespace(), "--", *trace, *PYINIT, *words)
        screen.init = only_child(screen.pid)
        return screen

    return container


@pytest.fixture
def shell(terminal):
    """An interactive bash with job control, at its prompt."""
    screen = terminal(tool("bash"), "--norc", "--noprofile", "--noediting", "-i")
    screen.expect(re.escape(PROMPT))
    return screen
