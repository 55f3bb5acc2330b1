"""Real servers, as they run in a container."""

import http.client
import os
import shlex
import signal
import socket
import subprocess
import urllib.request

import pytest
from support import (
    DEADLINE,
    PYTHON,
    marked,
    monotonic,
    namespace,
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
    assert monotonic() - before < 1
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
    process = start(*namespace(), "sh", "-c", program, stdin=subprocess.PIPE)
    until(lambda: accepts(port), "the server listens")
    process.popen.stdin.write(b"\n")
    process.popen.stdin.flush()
    process.expect("ended")
    assert accepts(port)
    assert only_child(process.pid)
