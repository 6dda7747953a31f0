"""A bad road to a good API server: a TLS proxy that is late or answers 500 in its stead, when told to.

    with Between(control_plane, seed=7) as road:
        agent at (road.host, road.port), then
        road.latency = 2.0                    # seconds before each request is handed on
        road.failing = 0.05                   # of the requests: answered 500 here
        road.failed                           # how many were

Watches are streamed through. HTTP/1.1 only.
"""

import random
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import ports


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # the agent was killed, or gave a request up


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    road = None

    def setup(self):
        self.request = self.road.tls.wrap_socket(self.request, server_side=True)  # here: a handshake must not hold up the others
        super().setup()

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass

    def _hand_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.road.latency)  # what is modelled, not a wait for something
        if self.road.fails():
            return self._answer(500, {"Content-Type": "text/plain"}, b"the road is bad")
        connection = self.road.beyond()
        try:
            connection.request(self.command, self.path, body or None, {key: value for key, value in self.headers.items() if key.lower() != "host"})
            reply = connection.getresponse()
            headers = {key: value for key, value in reply.getheaders() if key.lower() not in ("transfer-encoding", "connection", "content-length")}
            if "watch=1" not in self.path and "watch=true" not in self.path:
                return self._answer(reply.status, headers, reply.read())
            return self._stream(reply, headers)
        finally:
            connection.close()

    def _head(self, status, headers):
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)

    def _answer(self, status, headers, body):
        self._head(status, headers)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, reply, headers):
        self._head(reply.status, headers)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while data := reply.read1(65536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PATCH = do_DELETE = _hand_on


class Between:
    host = ports.V4

    def __init__(self, control_plane, seed):
        self._random, self._lock = random.Random(seed), threading.Lock()
        self.latency = self.failing = 0.0
        self.failed = 0
        self._api = control_plane.api
        certificate, key = control_plane.authority.issue(f"between-{seed}", [ports.V4])
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self._server = _Server((ports.V4, 0), type("Exchange", (_Exchange,), {"road": self}))
        self.port = self._server.server_address[1]

    def fails(self):
        with self._lock:
            failed = self._random.random() < self.failing
            self.failed += failed
        return failed

    def beyond(self):
        return self._api.connect(timeout=3600)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
