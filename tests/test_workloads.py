"""Real servers, as they run in a container."""

import contextlib
import http.client
import os
import shlex
import shutil
import signal
import socket
import sys
import urllib.request

import pytest
from support import (
    DEADLINE,
    FULL,
    PROGRAMS,
    PYTHON,
    children,
    marked,
    monotonic,
    namespace,
    need,
    only_child,
    tool,
    until,
)

SIZE = 4_000_000  # bytes, more than the socket buffers hold
NGINX = """
daemon off;
user root;
worker_processes 2;
pid {directory}/pid;
error_log {directory}/error.log info;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {directory}/www; sendfile off; }}
    }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def nginx(public):
    """Return (words that start it, its port)."""
    program, port = tool("nginx"), free_port()
    (public / "www").mkdir()
    (public / "www" / "file").write_bytes(b"x" * SIZE)
    (public / "conf").write_text(NGINX.format(directory=public, port=port))
    return [program, "-c", public / "conf"], port


def test_nginx_ends_a_download_in_flight(pid1, nginx):
    words, port = nginx
    process = pid1("-v", "-r", "TERM:QUIT", "--", *words)
    until(lambda: accepts(port), "nginx listens")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/file")
    response = connection.getresponse()
    body = response.read(1000)
    os.kill(process.init, signal.SIGTERM)
    process.until_stderr("SIGTERM: sent SIGQUIT to group")
    until(lambda: not accepts(port), "new connections are refused")
    assert process.popen.poll() is None
    while len(body) < SIZE:
        chunk = response.read(65536)
        assert chunk, f"the download broke off after {len(body)} bytes"
        body += chunk
    connection.close()
    assert process.wait() == 0
    assert not marked(process.run)


def test_nginx_without_the_rewrite_breaks_it_off(pid1, nginx):
    words, port = nginx
    process = pid1("--", *words)
    until(lambda: accepts(port), "nginx listens")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/file")
    response = connection.getresponse()
    os.kill(process.init, signal.SIGTERM)
    assert process.wait() == 0
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        body = response.read()
        assert len(body) < SIZE
        raise ConnectionError


def test_a_python_server_behind_a_shell(pid1, tmp_path):
    (tmp_path / "page").write_text("hello\n")
    ports = [free_port(), free_port()]
    python = shlex.join(PYTHON)
    servers = [f"{python} -m http.server --bind 127.0.0.1 {port} &" for port in ports]
    process = pid1("sh", "-c", " ".join(servers) + " wait", cwd=tmp_path)
    for port in ports:
        until(lambda port=port: accepts(port), "the server listens")
        url = f"http://127.0.0.1:{port}/page"
        assert urllib.request.urlopen(url, timeout=DEADLINE).read() == b"hello\n"
    before = monotonic()
    os.kill(process.init, signal.SIGTERM)
    assert process.wait() == 143
    assert monotonic() - before < 10
    assert not marked(process.run)
    assert not any(accepts(port) for port in ports)


def test_negative_control_a_shell_alone_leaves_the_server(start, tmp_path):
    # Without an init the shell dies and the server does not: it lives on, orphaned.
    port = free_port()
    server = f"{shlex.join(PYTHON)} -m http.server --bind 127.0.0.1 {port}"
    program = (
        f"sh -c {shlex.quote(server + ' & wait')} & read line; kill $!; wait $!;"
        " echo ended; read line"
    )
    process = start(*namespace(), "sh", "-c", program, stdin=-1)
    until(lambda: accepts(port), "the server listens")
    process.write()
    process.expect("ended")
    assert accepts(port)
    assert only_child(process.pid)


# --- Servers that execute themselves anew: --wait ---------------------------------------

UPGRADES = [*PYTHON, str(PROGRAMS / "upgrades.py")]


@pytest.mark.parametrize(
    ("options", "kind"), [([], "session"), ([], "group"), (["-c"], "session")], ids=str
)
def test_a_server_that_upgrades_itself(pid1, options, kind):
    process = pid1("--wait", "-v", *options, *UPGRADES, kind)
    _, port, pid = process.line().split()
    old = only_child(process.init)
    for generation in range(2, 4):
        process.send(signal.SIGUSR2, old)
        said, pid = pid, process.line().split()[-1]
        (new,) = children(old)
        process.send(signal.SIGQUIT, old)
        until(lambda new=new: children(process.init) == [new], "the new one alone")
        process.until_stderr("exited with 0" if generation == 2 else f"reaped {said}")
        with socket.create_connection(("127.0.0.1", int(port)), 5) as server:
            assert server.makefile().readline() == f"{generation}\n"
        old = new
    process.send(signal.SIGTERM, process.init)
    process.expect("end 3")
    assert process.wait() == 0


def test_without_wait_the_upgrade_ends_it(pid1):
    process = pid1(*UPGRADES, "session")
    process.line()
    old = only_child(process.init)
    process.send(signal.SIGUSR2, old)
    process.line()
    process.send(signal.SIGQUIT, old)
    assert process.wait() == 0


APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\\n" % os.getppid()]
"""


@pytest.fixture(scope="session")
def gunicorn(tmp_path_factory):
    """Return the path of a gunicorn, installed for these tests."""
    if not FULL:
        pytest.skip("without PYINIT_FULL nothing is installed")
    directory = tmp_path_factory.mktemp("gunicorn")
    python = directory / "bin/python"
    need(sys.executable, "-m", "venv", directory)
    need(python, "-m", "pip", "install", "-q", "gunicorn", timeout=120)
    yield directory / "bin/gunicorn"
    shutil.rmtree(directory, ignore_errors=True)


def test_gunicorn_upgrades_itself(pid1, gunicorn, tmp_path):
    (tmp_path / "site.py").write_text("")
    (tmp_path / "app.py").write_text(APPLICATION)
    port = free_port()
    words = ["--chdir", tmp_path, "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    words += ["--worker-tmp-dir", tmp_path, "app:application"]
    process = pid1("--wait", "-v", gunicorn, *words)

    def master():
        """Return the pid of the master of the worker that answers, "" if none does."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                return page.read().decode().strip()
        return ""

    first = until(master, "the first master serves")
    old = only_child(process.init)
    before = {*children(old)}  # its workers
    process.send(signal.SIGUSR2, old)
    until(lambda: {master()} - {first, ""}, "the new master serves as well")
    process.send(signal.SIGQUIT, old)
    process.until_stderr(f"[pyinit] {first} exited with 0")
    until(lambda: len(children(process.init)) == 1, "the new master alone")
    (new,) = children(process.init)
    assert new not in before
    second = until(master, "the new master serves")
    assert second != first
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 0
    assert "Shutting down: Master" in process.stderr
    assert "SIGTERM: sent SIGTERM to everybody" in process.stderr
