"""A real server, as it runs in a container: nginx."""

import http.client
import signal
import socket

from support import (
    DEADLINE,
    marked,
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
