"""Compute Engine metadata: `preempted` and `maintenance-event`, with hanging GETs.

    curl -d '{"preempted": true}' http://127.0.0.1:PORT/admin/state
    curl -d '{"maintenance_event": "TERMINATE_ON_HOST_MAINTENANCE"}' ...      "NONE" takes it back
    curl -d '{"fault": {"kind": "hang", "seconds": 10}}' ...                  faults.py
"""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox.serving import Served  # noqa: E402  pylint: disable=wrong-import-position

_BASE = "/computeMetadata/v1/instance/"
_EVENTS = ("NONE", "MIGRATE_ON_HOST_MAINTENANCE", "TERMINATE_ON_HOST_MAINTENANCE")
_LONGEST_WAIT = 120.0


class Gcp(Served):
    def __init__(self, port=0):
        self._values = {"preempted": "FALSE", "maintenance-event": "NONE", "id": "4711", "scheduling/preemptible": "TRUE"}
        self._versions = dict.fromkeys(self._values, 1)
        self._changed = threading.Condition()
        super().__init__(port)

    def configure(self, wanted):
        if "preempted" in wanted:
            self.set("preempted", "TRUE" if wanted.pop("preempted") else "FALSE")
        if "maintenance_event" in wanted:
            event = wanted.pop("maintenance_event")
            if event not in _EVENTS:
                raise ValueError(f"no such maintenance event: {event}")
            self.set("maintenance-event", event)
        super().configure(wanted)

    def set(self, name, value):
        with self._changed:
            if self._values[name] != value:
                self._values[name] = value
                self._versions[name] += 1
                self._changed.notify_all()

    def _etag(self, name):
        return f"{hash((name, 'lastlight')) & 0xFFFFFF:06x}{self._versions[name]:04x}"

    def _wait(self, exchange, name):
        """Until the value is not the one the caller has, or the time is over."""
        timeout = min(float(exchange.query.get("timeout_sec", _LONGEST_WAIT)), _LONGEST_WAIT)
        ends, known = time.monotonic() + timeout, exchange.query.get("last_etag", self._etag(name))
        while self._etag(name) == known and (left := ends - time.monotonic()) > 0 and not self.closing.is_set():
            self._changed.wait(min(left, 0.5))

    def answer(self, exchange):
        flavor = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
        name = exchange.route.removeprefix(_BASE)
        if exchange.command != "GET":
            exchange.reply(405, headers=flavor)
        elif exchange.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in exchange.headers:
            exchange.reply(403, headers=flavor)
        elif not exchange.route.startswith(_BASE) or name not in self._values:
            exchange.reply(404, headers=flavor)
        else:
            with self._changed:
                if exchange.query.get("wait_for_change") == "true":
                    self._wait(exchange, name)
                value, etag = self._values[name], self._etag(name)
            exchange.reply(200, value, "application/text", {**flavor, "ETag": etag})
