#!/usr/bin/env python3
"""Break pyinit.py in one place at a time, and see whether the tests notice.

Each mutant is one small change to the syntax tree: a statement less, a condition the
other way round, another constant, operator or signal. It is tested in a copy of its own,
in a PID namespace and under a time limit, always: a wrong pid can mean kill(-1, …). Those
that no test fails for, the survivors, are shown as they are found: either what they
change is no behaviour, or a test is missing, or it is not in the list of --tests.

First the tests run twice unbroken, to learn what each takes, and which lines of pyinit.py
it runs. Those that run the broken line come first, the quickest of each function before
its others; the rest follows. What a mutant fails, it has to fail twice.
"""

import argparse
import ast
import collections
import concurrent.futures
import copy
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import PYINIT_FILE, ROOT, executable, namespace_command, run

# All but those about the source, its checksum, containers and tools, and some that take
# long for what others see as well.
LEFT_OUT = {"source", "page", "docker", "each_engine", "compiled_base", "architectures",
            "tools", "oracle", "random_sequences", "workloads"}  # fmt: skip
EVERY = {path.stem[5:] for path in Path(ROOT, "tests").rglob("test_*.py")}
TESTS = [*sorted(EVERY - LEFT_OUT), "page::test_the_help_is_the_help"]
LIMIT = 600  # seconds


# --- The mutants ------------------------------------------------------------------

SWAPS = {
    ast.And: ast.Or, ast.Or: ast.And, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
NAMES = {"SIG_BLOCK": "SIG_UNBLOCK", "SIG_UNBLOCK": "SIG_BLOCK", "SIG_DFL": "SIG_IGN",
         "SIG_IGN": "SIG_DFL", "SIG_SETMASK": "SIG_BLOCK"}  # fmt: skip
SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGTSTP",
           "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGCHLD", "SIGWINCH", "SIGPIPE", "SIGXFSZ",
           "SIGALRM", "SIGRTMIN", "SIGRTMAX"]  # fmt: skip
NAMES.update(zip(SIGNALS, [SIGNALS[-1], *SIGNALS]))
SIMPLE = (ast.Assign, ast.AugAssign, ast.Delete, ast.Raise, ast.For, ast.While, ast.If,
          ast.Break, ast.Continue, ast.With)  # fmt: skip

Mutant = collections.namedtuple("Mutant", "line last function source diff")


def changed(node, **fields):
    node = copy.copy(node)
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def without(items):
    """Yield a list without its first element, without its second, and so on."""
    for index in range(len(items)):
        yield items[:index] + items[index + 1 :]


def constants(value):
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
        yield 0 if value else -1
    elif isinstance(value, str):
        yield value[:-1] if value else "x"
    elif isinstance(value, bytes):
        yield value[:-1] if value else b"x"


def replacements(node):
    """Yield what a node can be replaced with."""
    if isinstance(node, (*SIMPLE, ast.Expr)):
        yield ast.Pass()
    if isinstance(node, ast.Return) and node.value:
        yield ast.Return(ast.Constant(None))
    if isinstance(node, (ast.Break, ast.Continue)):
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.BoolOp):
        yield changed(node, op=SWAPS[type(node.op)]())
        for values in without(node.values):
            yield values[0] if len(values) == 1 else changed(node, values=values)
    if isinstance(node, ast.Compare):
        yield changed(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        yield changed(node, op=SWAPS[type(node.op)]())
    elif isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    if isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    if isinstance(node, ast.Constant):
        yield from map(ast.Constant, constants(node.value))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield changed(node, attr=NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id])
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        for elements in without(node.elts):
            yield changed(node, elts=elements)
    if isinstance(node, ast.Dict):
        for keys, values in zip(without(node.keys), without(node.values)):
            yield changed(node, keys=keys, values=values)
    if isinstance(node, ast.Call):
        for keywords in without(node.keywords):
            yield changed(node, keywords=keywords)
        if len(node.args) > 1:
            yield changed(node, args=node.args[:-1])


def walk(node):
    """Yield all the nodes in a tree but annotations and docstrings."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(getattr(child, "value", None), ast.Constant)
            if isinstance(child, ast.Expr) and is_text:
                continue
            if isinstance(child, ast.AST):
                yield from walk(child)


def changes(top):
    """Yield each node in a statement with what it can be replaced with."""
    for node in walk(top):
        for new in replacements(node):
            yield node, new
        tests = list(getattr(node, "ifs", []))  # what is asked whether it holds
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            tests.append(node.test)
        if isinstance(node, ast.BoolOp):
            tests += node.values
        for test in tests:
            yield test, ast.Constant(False)
            if not isinstance(test, (ast.Compare, ast.UnaryOp)):  # done already
                yield test, ast.UnaryOp(ast.Not(), test)
        if isinstance(node, ast.ExceptHandler) and node.type:
            yield node.type, ast.Name("ZeroDivisionError")


class Swap(ast.NodeTransformer):
    """Put a node of a tree in the place of another."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)


def mutants(source):
    """Return the mutants of a source, each once."""
    found, lines = {}, source.splitlines(keepends=True)
    tops = []  # and methods one by one: the smaller, the faster
    for top in ast.parse(source).body[1:]:  # the first is its docstring
        inside = top.body[1:] if isinstance(top, ast.ClassDef) else [top]
        tops += [(each, getattr(each, "name", "the module")) for each in inside]
    for top, function in tops:
        unbroken = ast.unparse(top)
        before, after = lines[: top.lineno - 1], lines[top.end_lineno :]
        for old, new in changes(top):
            parent = ast.Module([top], [])  # top itself can be what is replaced
            broken = ast.unparse(Swap(old, new).visit(parent)).strip()
            Swap(new, old).visit(parent)
            if broken == unbroken:
                continue
            text = textwrap.indent(broken, " " * top.col_offset) + "\n"
            mutant = "".join([*before, text, *after])
            diff = difflib.unified_diff(
                unbroken.splitlines(), broken.splitlines(), n=1, lineterm=""
            )
            diff = "\n".join([*diff][3:])
            last = old.end_lineno
            found.setdefault(mutant, Mutant(old.lineno, last, function, mutant, diff))
    return list(found.values())


# --- The judge --------------------------------------------------------------------

# What writes down each line of pyinit.py that runs, in any process: `exec` of it follows
# the docstring, on the same line. A write that fails, fails.
RECORDER = """
import os as _os, sys as _sys
def _trace(frame, event, argument, seen=set(), ours=globals()):
    if frame.f_globals is not ours:
        return None
    if frame.f_lineno not in seen:
        seen.add(frame.f_lineno)
        try:
            file = _os.open({path!r}, _os.O_WRONLY | _os.O_APPEND)
            _os.write(file, b"%d " % frame.f_lineno)
            _os.close(file)
        except OSError:
            pass
    return _trace
_sys.settrace(_trace)
"""


class Judge:
    """A plugin of pytest's: tests in the order given; in `tests` what became of each."""

    def __init__(self, place, order):
        self.order = {name: number for number, name in enumerate(order)}
        self.lines = place / "lines"
        self.tests = {}  # name: [seconds, outcome, the lines that it runs]

    def pytest_collection_modifyitems(self, items):
        if self.order:
            items[:] = [item for item in items if item.nodeid in self.order]
            items.sort(key=lambda item: self.order[item.nodeid])

    def pytest_runtest_protocol(self, item, nextitem):
        from _pytest.runner import runtestprotocol

        self.lines.write_text("")
        self.lines.chmod(0o666)
        for _ in range(2):  # once, it may have been the machine
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if not any(report.failed for report in reports):
                break
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        bad = [report.outcome for report in reports if not report.passed]
        seconds = sum(report.duration for report in reports)
        lines = sorted({int(line) for line in self.lines.read_text().split()})
        self.tests[item.nodeid] = seconds, *(bad or ["passed"])[:1], lines
        return True


def run_tests(*files):
    """Run pytest on files, in this process: a part of what judge() starts."""
    import pytest

    order = json.loads((ROOT / "order").read_text())
    plugin = Judge(ROOT, order)
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:warnings", *files]
    status = pytest.main([*words, *(["-x"] if order else [])], plugins=[plugin])
    (ROOT / "tests.json").write_text(json.dumps(plugin.tests))
    return status


def files(tests):
    """Return the paths of the tests that are named, wherever in tests/ they are."""
    found = []
    for name in tests:
        file, colons, test = name.partition("::")
        paths = [*Path(ROOT, "tests").rglob(f"test_{file}.py")]
        if not paths:
            sys.exit(f"there is no test_{file}.py in {ROOT}/tests")
        found += [f"{path.relative_to(ROOT)}{colons}{test}" for path in paths]
    return found


def judge(source, tests, order=(), is_recorded=False):
    """Test a source in a copy of its own; return (verdict, seconds, tests).

    The verdict is "survived" or what it was killed by; tests, what became of each.
    """
    with tempfile.TemporaryDirectory(prefix="pyinit-mutation-") as name:
        Path(name).chmod(0o755)  # some tests become another user
        place = Path(name, "clone")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tests", place / "tests", ignore=ignored)
        for file in (".pytest.ini", "README.md", "Dockerfile.example"):
            shutil.copy(ROOT / file, place)
        if is_recorded:
            lines, end = source.split("\n"), ast.parse(source).body[0].end_lineno
            recorder = RECORDER.format(path=str(place / "lines"))
            lines[end - 1] += f"; exec({recorder!r})"
            source = "\n".join(lines)
        executable(place / "pyinit.py", source)
        (place / "order").write_text(json.dumps([*order]))
        # It ends with us, however we end. Its PID 1 is a shell that reaps: were pytest
        # PID 1, orphans would stay, and kill(-1, …) would spare it.
        words = ["setpriv", "--pdeathsig", "KILL", *namespace_command()]
        words += ["sh", "-c", '"$@"; exit $?', "sh", sys.executable]
        words += ["tests/tools/mutation.py", "--run-tests", *files(tests)]
        env = {**os.environ, "PYINIT_DEADLINE": "5", "TMPDIR": name}
        kwargs = {
            "cwd": place,
            "env": env,
            "stderr": subprocess.STDOUT,
            "timeout": LIMIT,
        }
        before = time.monotonic()
        try:
            result = run(*words, start_new_session=True, **kwargs)
            verdict = f"killed by status {result.returncode}"
            if result.returncode == 0:
                verdict = "survived"
            elif not order and not is_recorded:
                print(result.stdout.decode(errors="replace")[-3000:])
        except subprocess.TimeoutExpired:  # what it has started has ended with it
            verdict = "killed by the time limit"
        seconds, ends = time.monotonic() - before, {}
        if (place / "tests.json").exists():
            ends = json.loads((place / "tests.json").read_text())
        failed = [test for test, (_, end, _) in ends.items() if end == "failed"]
        if failed:
            verdict = f"killed by {' '.join(failed)}"
        return verdict, seconds, ends


def learn(source, tests, jobs):
    """Return the tests that pass unbroken: {test: (seconds, the lines that it runs)}."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        unbroken = pool.submit(judge, source, tests)
        recorded = pool.submit(judge, source, tests, is_recorded=True)
        lines = {test: each[2] for test, each in recorded.result()[2].items()}
        _, whole, ends = unbroken.result()
    known = {}
    for test, (seconds, end, _) in ends.items():
        if end == "passed":
            known[test] = seconds, {*lines.get(test, [])}
        else:
            print(f"left out, since it {end} unbroken: {test}")
    print(f"unbroken: {whole:.0f} s, {len(known)} tests", flush=True)
    return known


def ordered(known, mutant):
    """Return the tests, those first that are likely and quick to fail."""
    rank, met = {}, set()
    broken = {*range(mutant.line, mutant.last + 1)}
    for test in sorted(known, key=known.get):
        seconds, lines = known[test]
        function = test.partition("[")[0]
        rank[test] = lines.isdisjoint(broken), function in met, seconds
        met.add(function)
    return sorted(rank, key=rank.get)


def main():
    if sys.argv[1:2] == ["--run-tests"]:
        return run_tests(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="only N, by chance")
    parser.add_argument("--seed", type=int, default=0, help="which N")
    parser.add_argument("--function", metavar="NAME", help="only changes in this one")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="at once")
    parser.add_argument("--tests", nargs="+", metavar="NAME", default=TESTS,
                        help="test_NAME.py, or NAME::TEST in it")  # fmt: skip
    options = parser.parse_args()
    source = PYINIT_FILE.read_text()
    chosen = mutants(source)
    if options.function:
        chosen = [each for each in chosen if each.function == options.function]
    if options.sample is not None and options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    print(f"{len(chosen)} mutants, on {' '.join(options.tests)}", flush=True)
    known, dead = learn(source, options.tests, options.jobs), []

    def one(mutant):
        order = ordered(known, mutant)
        verdict, seconds, _ = judge(mutant.source, options.tests, order)
        where = f"line {mutant.line}, {mutant.function}"
        change = f"\n{mutant.diff}\n" if verdict == "survived" else ""
        print(f"{where}: {verdict}, {seconds:.1f} s{change}", flush=True)
        if not change:
            dead.append(seconds)

    pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        [*pool.map(one, chosen)]
    except KeyboardInterrupt:
        os._exit(130)  # without waiting for what is under way, which ends with us
    mean = sum(dead) / max(1, len(dead))
    print(f"\n{len(dead)} of {len(chosen)} killed, in {mean:.1f} s each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
