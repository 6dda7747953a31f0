"""An HTTP/1.1 server on loopback that records every request and misbehaves when told to.

`Served` owns the listening port, the connections, the record of requests and the fault in force (faults.py). Subclasses
implement `answer(exchange)`. Requests below /admin/ steer the mock itself and never meet a fault, except that nothing
listens while it is "refused":

    POST /admin/state     JSON, see `configure` of the subclass; {"fault": {...}} and {"fault": null} everywhere
    GET  /admin/stats     counts
    GET  /admin/requests  the record, oldest first

Record instants are CLOCK_MONOTONIC seconds, the clock of every process of this machine.
"""

import collections
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox import faults  # noqa: E402  pylint: disable=wrong-import-position

_MAX_RECORDS = 100_000  # the oldest are forgotten; `stats` keeps counting
_MAX_BODY = 1 << 20
_REASONS = BaseHTTPRequestHandler.responses


class Exchange(BaseHTTPRequestHandler):
    """One connection; `answer` of the mock is called per request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.mock = self.server.mock
        self.reset_on_close = False

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError, ValueError):  # ValueError: the mock closed the file under us
            self.close_connection = True

    def _one(self):
        parts = urllib.parse.urlsplit(self.path)
        self.route = urllib.parse.unquote(parts.path)
        self.query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query, keep_blank_values=True).items()}
        self.arrived = time.monotonic()
        self.record = None
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BODY:
            self.close_connection = True
            self.reply(413)
            return
        self.body = self.rfile.read(length) if length else b""
        if self.route.startswith("/admin/"):
            self.mock.admin(self)
            return
        self.record = self.mock.remember(self)
        fault = self.mock.fault_for(self)
        if fault is None or not fault.apply(self):
            self.mock.answer(self)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _one  # noqa: N815

    def json(self):
        """The body as a JSON object, empty without a body; ValueError when it is anything else."""
        value = json.loads(self.body) if self.body else {}
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")
        return value

    def head(self, status, headers):
        if self.record is not None:
            self.record["status"] = status
        reason = _REASONS[status][0] if status in _REASONS else "Unknown"
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def reply(self, status, body=b"", content_type="text/plain", headers=None, declared_length=None):
        """Head and body in one write. `declared_length` other than the body's is how a body is cut short."""
        if not isinstance(body, bytes):
            body = body.encode()
        length = len(body) if declared_length is None else declared_length
        fields = {"Content-Type": content_type, "Content-Length": length, "Date": self.date_time_string(), **(headers or {})}
        self.wfile.write(self.head(status, fields) + (b"" if self.command == "HEAD" else body))

    def reply_json(self, status, value, headers=None):
        self.reply(status, json.dumps(value), "application/json", headers)

    def reset(self):
        """Ends the connection with a TCP RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.resetting.add(self.connection)
        self.close_connection = True
        if self.record is not None:
            self.record["status"] = "reset"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port, mock):
        self.mock = mock
        self.open = set()
        self.resetting = set()
        super().__init__(("127.0.0.1", port), Exchange)

    def server_bind(self):
        # HTTPServer's own version asks DNS for our name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request, client_address):
        self.open.add(request)
        self.mock.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        if request in self.resetting:
            self.resetting.discard(request)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def end(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself


class Served:
    """A mock with a port. A context manager."""

    def __init__(self, port=0):
        self.lock = threading.RLock()
        self.connections = 0
        self.counts = collections.Counter()
        self.records = collections.deque(maxlen=_MAX_RECORDS)
        self.closing = threading.Event()
        self._fault = None
        self._listener = None
        self._back = None
        self._listen(port)
        self.port = self._listener.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, exchange):
        raise NotImplementedError

    def configure(self, wanted):
        """Applies what is left of a POST to /admin/state; ValueError for what it does not know."""
        if wanted:
            raise ValueError(f"unknown: {', '.join(wanted)}")

    def stats(self):
        with self.lock:
            return {"requests": dict(self.counts), "connections": self.connections}

    def fault(self, kind, **options):
        """Puts a fault in force (faults.py) for `seconds`, by default until `heal`."""
        made = faults.make(kind, **options)
        with self.lock:
            self._fault = made
        if kind == "refuse":
            self._refuse(made.seconds)

    def heal(self):
        with self.lock:
            self._fault = None
            if self._back is not None:
                self._back.cancel()
        self._reopen()

    def fault_for(self, exchange):
        with self.lock:
            fault = self._fault
        return fault if fault is not None and fault.covers(exchange) else None

    def remember(self, exchange):
        record = {"at": exchange.arrived, "method": exchange.command, "path": exchange.route, "query": exchange.query,
                  "status": None, "body": exchange.body.decode(errors="replace")[:4096]}
        with self.lock:
            self.counts[f"{exchange.command} {exchange.route}"] += 1
            self.records.append(record)
        return record

    def admin(self, exchange):
        try:
            if (exchange.command, exchange.route) == ("POST", "/admin/state"):
                refuse = self._set(exchange.json())
                exchange.reply_json(200, self.stats())
                if refuse is not None:
                    # After the reply, whose connection it ends, and in a thread: it waits for the listener we came from.
                    threading.Thread(target=self.fault, kwargs=refuse, daemon=True).start()
            elif (exchange.command, exchange.route) == ("GET", "/admin/stats"):
                exchange.reply_json(200, self.stats())
            elif (exchange.command, exchange.route) == ("GET", "/admin/requests"):
                with self.lock:
                    exchange.reply_json(200, list(self.records))
            else:
                exchange.reply(404, "no such admin endpoint\n")
        except (ValueError, TypeError, KeyError) as error:
            exchange.reply(400, f"{error}\n")

    def _set(self, wanted):
        """Returns the fault that is still to be put in force, when that is "refuse"."""
        wanted, refuse = dict(wanted), None
        if "fault" in wanted:
            fault = wanted.pop("fault")
            if fault is None:
                self.heal()
            else:
                if faults.make(**fault).kind == "refuse":
                    refuse = fault
                else:
                    self.fault(**fault)
        self.configure(wanted)
        return refuse

    def _listen(self, port):
        self._listener = _Listener(port, self)
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _refuse(self, seconds):
        with self.lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.end()
        if seconds is not None:
            self._later(seconds)

    def _later(self, seconds):
        self._back = threading.Timer(seconds, self._reopen)
        self._back.daemon = True
        self._back.start()

    def _reopen(self):
        with self.lock:
            if self._listener is not None or self.closing.is_set():
                return
            try:
                self._listen(self.port)
            except OSError:  # somebody's outgoing connection has borrowed the port for a moment
                self._later(0.05)

    def close(self):
        self.closing.set()
        with self.lock:
            if self._back is not None:
                self._back.cancel()
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.end()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
