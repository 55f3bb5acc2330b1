"""The shape of the source, and what is written once and held equal."""

import ast
import os
import re
import subprocess

import pytest
from support import PYINIT_FILE, PYTHON, ROOT

SOURCE = PYINIT_FILE.read_text()
TREE = ast.parse(SOURCE)
README = (ROOT / "README.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile.example").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_it_imports_two_of_the_three_modules():
    imported = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        assert not isinstance(node, ast.ImportFrom)
    assert imported == {"os", "signal"}
    assert "__import__" not in SOURCE and "importlib" not in SOURCE


def test_nothing_comes_before_the_signals_are_blocked():
    # Each import, and each line compiled before it, is time in which PID 1 loses them.
    first, lines = TREE.body[1], SOURCE.splitlines()
    assert isinstance(first, ast.Try)
    assert lines[first.body[0].lineno - 1].strip() == "import signal"
    blocked = "INHERITED_MASK = sigmask(signal.SIG_BLOCK, BLOCK)"
    assert lines[first.body[-1].lineno - 1].strip() == blocked
    assert len(first.body) == 5


def test_it_is_small():
    lines = SOURCE.splitlines()
    assert len(lines) < 400
    assert max(map(len, lines)) <= 88
    assert SOURCE.isascii()


def test_every_function_says_what_it_does():
    for node in ast.walk(TREE):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name != "error":
            assert ast.get_docstring(node), node.name


def test_no_mutable_global():
    for node in ast.walk(TREE):
        assert not isinstance(node, (ast.Global, ast.Nonlocal))


def test_the_usage_line_is_the_docstrings():
    usage = re.search('^USAGE = "(.*)"$', SOURCE, re.M).group(1)
    assert usage in ast.get_docstring(TREE).splitlines()


def test_the_licence_is_named_near_the_top():
    head = SOURCE[:300]
    assert head.startswith("#!/usr/bin/env python3\n# Copyright (c) ")
    assert re.search("^#.* SPDX-License-Identifier: MIT$", head, re.M)
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert os.access(PYINIT_FILE, os.X_OK)


def test_the_top_level_holds_what_it_should():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if listed.returncode:
        pytest.skip("not a git checkout: " + listed.stderr.decode().strip())
    names = {name.partition("/")[0] for name in listed.stdout.decode().splitlines()}
    plain = {name for name in names if not name.startswith(".")}
    expected = {"pyinit.py", "tests", "Dockerfile.example", "README.md", "LICENSE"}
    assert plain == expected


def test_the_readmes_usage_is_the_help():
    help_text = subprocess.run(
        [*PYTHON, str(PYINIT_FILE), "--help"], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    assert help_text in blocks("text")


def test_the_readmes_dockerfile_is_the_example():
    assert DOCKERFILE in blocks("dockerfile")


def test_the_readme_stays_readable():
    assert len(README.splitlines()) <= 225


EXAMPLES = blocks("console")


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_readmes_examples(example):
    """Run every "$ command" of the README: what it prints must be what stands there.

    In any order, since two processes write; and with pids compared as such only.
    """
    for part in re.split(r"^\$ ", example, flags=re.M)[1:]:
        command, *lines = part.splitlines()
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        got = result.stdout.decode().splitlines()
        assert sorted(map(mask, got)) == sorted(map(mask, lines)), command


def mask(line):
    """Return a line without its pid."""
    return re.sub(r"^(\[pyinit\]) \d+", r"\1 PID", line)
