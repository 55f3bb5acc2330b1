#!/usr/bin/env python3
"""Break pyinit.py in one place at a time, and see whether the tests notice.

Each mutant is one small change to the syntax tree: a statement less, a condition the
other way round, another constant, operator or signal. It is tested in a copy of its own,
in a PID namespace and under a time limit, always: a wrong pid can mean kill(-1, …). The
mutants that no test fails for, the survivors, are printed with their diff: either what
they change is no behaviour, or a test is missing.
"""

import argparse
import ast
import collections
import concurrent.futures
import copy
import difflib
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# It ends with us, however we end.
NAMESPACE = ["setpriv", "--pdeathsig", "KILL", "unshare"]
NAMESPACE += ["--pid", "--fork", "--mount-proc", "--kill-child"]
# Not those about the source's shape, containers, README and bench, and not single ones
# that take long for what the others see as well.
SLOW = 6  # seconds
TESTS = ["groups", "exit_status", "signals", "command_line", "what_the_command_sees",
         "which_program", "locales",
         "reaping", "grace", "nobody_to_resume_us", "a_job_of_a_shell", "stops", "ctrl_c",
         "in_dumb_inits_place", "interpreters", "first_line_of_a_script",
         "faults"]  # fmt: skip


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
SIMPLE = (ast.Assign, ast.AugAssign, ast.Delete, ast.Raise, ast.For, ast.While, ast.If,
          ast.Break, ast.Continue, ast.With)  # fmt: skip


def changed(node, **fields):
    """Return a copy of a node of which some fields are others."""
    node = copy.copy(node)
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def without(items):
    """Yield a list without its first element, without its second, and so on."""
    for index in range(len(items)):
        yield items[:index] + items[index + 1 :]


def constants(value):
    """Yield other values of the same kind."""
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
    """Yield what a node can be replaced with, other nodes or words of source."""
    if isinstance(node, SIMPLE) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield "pass"
    if isinstance(node, ast.Return) and node.value:
        yield "return None"
    if isinstance(node, ast.Break):
        yield "continue"
    if isinstance(node, ast.Continue):
        yield "break"
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.BoolOp):
        yield changed(node, op=SWAPS[type(node.op)]())
        for values in without(node.values):
            yield values[0] if len(values) == 1 else changed(node, values=values)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield changed(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp):
        if type(node.op) in SWAPS:
            yield changed(node, op=SWAPS[type(node.op)]())
        elif isinstance(node.op, (ast.BitOr, ast.BitAnd)):
            yield from (node.left, node.right)
    if isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    if isinstance(node, ast.Constant):
        yield from map(ast.Constant, constants(node.value))
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield changed(node, attr=NAMES[node.attr])
    if isinstance(node, ast.Attribute) and node.attr in SIGNALS:
        yield changed(node, attr=SIGNALS[SIGNALS.index(node.attr) - 1])
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


def conditions(node):
    """Yield the expressions in a node that are asked whether they hold."""
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield node.test
    elif isinstance(node, ast.comprehension):
        yield from node.ifs
    elif isinstance(node, ast.BoolOp):
        yield from node.values


def walk(node, function=""):
    """Yield all the nodes in a tree but annotations and docstrings, and where they are."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        function = f"{function}.{node.name}".lstrip(".")
    yield node, function
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(child, ast.Expr) and isinstance(
                child.value, ast.Constant
            )
            if isinstance(child, ast.AST) and not is_text:
                yield from walk(child, function)


def mutants(source):
    """Return the mutants of a source as (line, function, source), each once."""
    found = {}
    tops = []  # methods one by one: the smaller, the faster
    for top in ast.parse(source).body[1:]:  # the first is its docstring
        is_class = isinstance(top, ast.ClassDef)
        inside = top.body[1:] if is_class else [top]  # without its docstring
        tops += [(each, top.name if is_class else "") for each in inside]
    for top, within in tops:
        for node, function in walk(top, within):
            changes = [(node, new) for new in replacements(node)]
            for test in conditions(node):
                changes.append((test, ast.Constant(False)))
                if not isinstance(test, (ast.Compare, ast.UnaryOp)):  # done already
                    changes.append((test, ast.UnaryOp(ast.Not(), test)))
            if isinstance(node, ast.ExceptHandler) and node.type:
                changes.append((node.type, ast.Name("ZeroDivisionError")))
            for old, new in changes:
                mutant = replaced(source, top, old, new)
                if mutant:
                    found.setdefault(mutant, (old.lineno, function, mutant))
    return sorted(found.values(), key=lambda mutant: mutant[0])


@functools.lru_cache(100)
def shape(text):
    """Return what Python sees of a text; SyntaxError."""
    return ast.dump(ast.parse(text))


def replaced(source, top, old, new):
    """Return a source with a node in its statement top replaced.

    "" where that changes nothing, or is no Python: "pass" for an elif, say.
    """
    lines = source.encode().splitlines(keepends=True)

    def cut(line, column, end_line, end_column):
        part = lines[line - 1 : end_line]
        part[-1] = part[-1][:end_column]
        return b"".join(part)[column:].decode()

    start = (top.lineno, top.col_offset)
    before = cut(*start, old.lineno, old.col_offset)
    after = cut(old.end_lineno, old.end_col_offset, top.end_lineno, top.end_col_offset)
    middle = new if isinstance(new, str) else f"({ast.unparse(new)})"
    try:
        if shape(before + middle + after) == shape(
            cut(*start, top.end_lineno, top.end_col_offset)
        ):
            return ""
    except SyntaxError:
        return ""
    whole = cut(1, 0, top.lineno, top.col_offset), before, middle, after
    return "".join(whole) + cut(top.end_lineno, top.end_col_offset, len(lines), None)


# --- The judge --------------------------------------------------------------------


class Order:
    """A plugin of pytest's: write down how long each test takes, or sort by that.

    Of each test function the fastest of its parameters comes first, and of these the
    fastest: most mutants then die within a second or two. What takes longer than SLOW,
    or does not pass, is left out.
    """

    def __init__(self, path):
        self.path = path
        self.known = json.loads(path.read_text()) if path.exists() else {}
        self.seconds = collections.Counter()

    def pytest_collection_modifyitems(self, items):
        if not self.known:
            return
        rank, met = {}, set()
        items[:] = [item for item in items if item.nodeid in self.known]
        items.sort(key=lambda item: self.known[item.nodeid])
        for item in items:
            function = item.nodeid.partition("[")[0]
            rank[item] = function in met, self.known[item.nodeid]
            met.add(function)
        items.sort(key=rank.get)

    def pytest_runtest_protocol(self, item, nextitem):
        # A test has to fail twice: once, it may have been the machine.
        from _pytest.runner import runtestprotocol

        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if any(report.failed for report in reports):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return True

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration if report.passed else SLOW

    def pytest_sessionfinish(self):
        if not self.known:
            known = {name: s for name, s in self.seconds.items() if s < SLOW}
            self.path.write_text(json.dumps(known))


def run_tests(words):
    """Run pytest on the files named, in this process; a part of what judge() starts."""
    import pytest

    order = Order(Path(words[0]))
    stop = ["-x"] if order.known else []
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:warnings", *stop, *words[1:]]
    return pytest.main(words, plugins=[order])


def files(tests):
    """Return the paths of the tests that are named, wherever in tests/ they are."""
    found = []
    for name in tests:
        paths = [*Path(ROOT, "tests").rglob(f"test_{name}.py")]
        if not paths:
            sys.exit(f"there is no test_{name}.py in {ROOT}/tests")
        found += [str(path.relative_to(ROOT)) for path in paths]
    return found


def judge(source, base, tests, limit):
    """Test a source in a copy of base; return (verdict, seconds, the closing lines).

    The verdict is "survived" or how it died. PID 1 of the namespace is a shell that
    reaps: were pytest PID 1, orphans would stay, and kill(-1, …) would spare it.
    """
    with tempfile.TemporaryDirectory(dir=base.parent) as name:
        place = Path(name, "clone")
        shutil.copytree(base, place)
        Path(name).chmod(0o755)  # some tests become another user
        (place / "pyinit.py").write_text(source)
        (place / "pyinit.py").chmod(0o755)
        words = [*NAMESPACE, *(["--map-root-user"] if os.geteuid() else [])]
        words += ["sh", "-c", '"$@"; exit $?', "sh", sys.executable]
        words += ["tests/tools/mutation.py", "--run-tests", str(base / "order.json")]
        before = time.monotonic()
        process = subprocess.Popen(
            [*words, *files(tests)],
            cwd=place,
            env={**os.environ, "PYINIT_DEADLINE": "10", "TMPDIR": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=limit)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()  # and the kernel all that is in its namespace
            process.communicate()
            return "killed by the time limit", time.monotonic() - before, ""
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    failed = [line.partition("::")[2].partition(" - ")[0] for line in failed]
    verdict = f"killed by {' '.join(failed) or f'status {process.returncode}'}"
    verdict = verdict if process.returncode else "survived"
    return verdict, time.monotonic() - before, output[-3000:]


def baseline(source, tests, directory, without=()):
    """Run the tests unbroken; return (the copy for mutants, how many seconds it took).

    Mutants are not tested with those that have one of the words of without in their name.
    """
    base = Path(directory, "base")
    shutil.copytree(ROOT / "tests", base / "tests")
    for name in (".pytest.ini", "README.md"):
        shutil.copy(ROOT / name, base)
    Path(directory).chmod(0o755)  # some tests become another user
    verdict, seconds, output = judge(source, base, tests, 1800)
    if verdict != "survived":
        print(f"{output}\nleft out, since it fails for pyinit.py as it is: {verdict}")
    if not (base / "order.json").exists():
        sys.exit(output)
    order = json.loads((base / "order.json").read_text())
    for name in [name for name in order if any(word in name for word in without)]:
        del order[name]
    (base / "order.json").write_text(json.dumps(order))
    return base, seconds


def diff(source, mutant):
    lines = difflib.unified_diff(
        source.splitlines(), mutant.splitlines(), "", "", "", "", 1, ""
    )
    return "\n".join([*lines][2:])


def main():
    if sys.argv[1:2] == ["--run-tests"]:
        return run_tests(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="only N, by chance")
    parser.add_argument("--seed", type=int, default=0, help="which N")
    parser.add_argument("--lines", metavar="A-B", help="only changes in these lines")
    parser.add_argument("--function", metavar="NAME", help="only changes in these")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="at once")
    parser.add_argument("--tests", nargs="+", metavar="NAME", help="test_NAME.py")
    parser.add_argument("--without", nargs="+", metavar="TEST", default=[],
                        help="tests that fail now and then")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the mutants alone")
    options = parser.parse_args()
    source = (ROOT / "pyinit.py").read_text()
    chosen = mutants(source)
    if options.lines:
        first, last = map(int, options.lines.split("-"))
        chosen = [mutant for mutant in chosen if first <= mutant[0] <= last]
    if options.function:
        chosen = [m for m in chosen if options.function in m[1].split(".")]
    if options.sample is not None and options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    if options.list:
        print("\n".join(diff(source, mutant[2]) for mutant in chosen))
        print(f"{len(chosen)} mutants")
        return 0
    tests = options.tests or TESTS
    print(f"{len(chosen)} mutants, on {' '.join(tests)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pyinit-mutation-") as directory:
        base, whole = baseline(source, tests, directory, options.without)
        print(f"unbroken: {whole:.0f} s", flush=True)
        judged = try_all(chosen, base, tests, 3 * whole + 30, options.jobs)
    dead = [seconds for verdict, seconds, _ in judged if verdict != "survived"]
    for (verdict, _, _), (line, function, mutant) in zip(judged, chosen):
        if verdict == "survived":
            print(f"\nsurvivor: line {line}, {function}\n{diff(source, mutant)}")
    print(
        f"\n{len(dead)} of {len(judged)} killed, "
        f"in {sum(dead) / max(1, len(dead)):.1f} s each"
    )
    return 0


def try_all(chosen, base, tests, limit, jobs):
    """Judge mutants, several at once, with a line for each; return the judgements."""

    def one(mutant):
        line, function, source = mutant
        judgement = judge(source, base, tests, limit)
        print(
            f"line {line}, {function}: {judgement[0]}, {judgement[1]:.1f} s", flush=True
        )
        return judgement

    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        return [*pool.map(one, chosen)]
    except KeyboardInterrupt:
        shutil.rmtree(base.parent, ignore_errors=True)
        os._exit(130)  # without waiting for what is under way, which ends with us


if __name__ == "__main__":
    sys.exit(main())
