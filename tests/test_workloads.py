"""Real servers, as they run in a container: nginx, gunicorn."""

import contextlib
import http.client
import signal
import socket
import sys
import urllib.request

import pytest
from support import (
    DEADLINE,
    FULL,
    children,
    marked,
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


def test_nginx_ends_a_download_in_flight(pid1, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"x" * SIZE)
    port = free_port()
    (tmp_path / "conf").write_text(NGINX.format(directory=tmp_path, port=port))
    command = [tool("nginx"), "-c", tmp_path / "conf"]
    process = pid1("-v", "-r", "TERM:QUIT", "--", *command)
    until(lambda: accepts(port), "nginx listens")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", "/file")
    response = connection.getresponse()
    body = response.read(1000)
    process.send(signal.SIGTERM, process.init)
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


APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\\n" % os.getppid()]
"""


@pytest.mark.skipif(not FULL, reason="only PYINIT_FULL=1 installs gunicorn")
def test_gunicorn_upgrades_itself(pid1, tmp_path):
    """With --wait the container outlives its first command, the old master."""
    need(sys.executable, "-m", "venv", tmp_path)
    need(tmp_path / "bin/python", "-m", "pip", "install", "-q", "gunicorn", timeout=120)
    (tmp_path / "app.py").write_text(APPLICATION)
    port = free_port()
    words = ["--chdir", tmp_path, "--bind", f"127.0.0.1:{port}", "app:application"]
    process = pid1("--wait", "-v", tmp_path / "bin/gunicorn", *words)

    def master():
        """Return the pid of the master of the worker that answers, "" if none does."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                return page.read().decode().strip()
        return ""

    first = until(master, "the first master serves")
    old = only_child(process.init)
    process.send(signal.SIGUSR2, old)
    until(lambda: {master()} - {first, ""}, "the new master serves as well")
    process.send(signal.SIGQUIT, old)
    process.until_stderr(f"[pyinit] {first} exited with 0")
    until(lambda: len(children(process.init)) == 1, "the new master alone")
    assert until(master, "the new master serves") != first
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 0
    assert "SIGTERM: sent SIGTERM to everybody" in process.stderr
