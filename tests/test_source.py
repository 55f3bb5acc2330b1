"""The shape of the source."""

import ast
import os
import re
import subprocess

import pytest
from support import PYINIT_FILE, ROOT, tool

SOURCE = PYINIT_FILE.read_text()
TREE = ast.parse(SOURCE)
# What there is to understand, as a guard against growth: lines would count the comments,
# which help. (The aim is 2,900; what each rare rule costs is in the history of this file.)
MOST_NODES = 4400


def test_it_imports_the_three_modules():
    imported = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom):  # a signal's number, by its own name
            assert node.module == "signal" and not node.level
            assert all(name.name.startswith("SIG") for name in node.names)
            assert not any(name.asname for name in node.names)
    assert imported == {"os", "signal", "argparse"}


def test_it_reaches_for_nothing_past_them():
    used = {node.id for node in ast.walk(TREE) if isinstance(node, ast.Name)}
    assert not used & {"__import__", "__builtins__", "__loader__", "__spec__"}
    assert not used & {"eval", "exec", "compile", "vars"}
    for node in ast.walk(TREE):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id in ("os", "signal", "argparse"):
            assert node.attr == "_exit" or not node.attr.startswith("_"), node.attr
            assert node.attr not in ("sys", "abc", "st"), node.attr


def test_it_is_small():
    assert sum(1 for _ in ast.walk(TREE)) <= MOST_NODES
    assert max(map(len, SOURCE.splitlines())) <= 88
    assert SOURCE.isascii()
    for node in ast.walk(TREE):
        if isinstance(node, ast.FunctionDef) and "parser" not in node.name:
            assert node.end_lineno - node.lineno < 40, node.name


def test_every_function_says_what_it_does():
    for node in ast.walk(TREE):
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and node.name != "__init__"
        ):
            assert ast.get_docstring(node), node.name


def test_no_mutable_global():
    for node in ast.walk(TREE):
        assert not isinstance(node, (ast.Global, ast.Nonlocal))


def test_the_licence_is_named_near_the_top():
    head = SOURCE[:300]
    assert head.startswith("#!/usr/bin/env python3\n# Copyright (c) ")
    assert re.search("^#.* SPDX-License-Identifier: MIT$", head, re.M)
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert os.access(PYINIT_FILE, os.X_OK)


def test_the_top_level_holds_what_it_should():
    listed = subprocess.run(
        [tool("git"), "ls-files"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if listed.returncode:
        pytest.skip("git ls-files: " + listed.stderr.decode().strip())
    names = {name.partition("/")[0] for name in listed.stdout.decode().splitlines()}
    plain = {name for name in names if not name.startswith(".")}
    expected = {"pyinit.py", "tests", "Dockerfile.example", "README.md", "LICENSE"}
    assert plain == expected
