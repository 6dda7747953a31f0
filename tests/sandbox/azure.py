"""Azure instance metadata: the machine's name and Scheduled Events.

    curl -d '{"events": [{"type": "Preempt", "in": 30}]}' http://127.0.0.1:PORT/admin/state
    curl -d '{"events": [{"id": "E1", "type": "Reboot", "in": 900, "resources": ["vmss_4"], "status": "Started"}]}' ...
    curl -d '{"first_answer": 20}' ...             Scheduled Events answers nothing for so long after its first call
    curl -d '{"clock_skew": 90}' ...               this service's clock is ahead of ours, Date and NotBefore alike
    curl -d '{"fault": {"kind": "status", "status": 429}}' ...          faults.py
"""

import email.utils
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox.serving import Served  # noqa: E402  pylint: disable=wrong-import-position

_EVENTS = "/metadata/scheduledevents"
_INSTANCE = "/metadata/instance/compute/"
TYPES = ("Freeze", "Reboot", "Redeploy", "Preempt", "Terminate")


class Azure(Served):
    def __init__(self, port=0, name="vmss_3"):
        self._facts = {"name": name, "azEnvironment": "AzurePublicCloud", "vmId": "13f56399-bd52-4150-9748-7190aae1ff21"}
        self._incarnation = 1
        self._events = []
        self._clock_skew = self._first_answer = 0.0
        self._first_call = None
        super().__init__(port)

    def configure(self, wanted):
        with self.lock:
            if "events" in wanted:
                self._events = [self._event(**event) for event in wanted.pop("events")]
                self._incarnation += 1
            self._clock_skew = float(wanted.pop("clock_skew", self._clock_skew))
            self._first_answer = float(wanted.pop("first_answer", self._first_answer))
        super().configure(wanted)

    def _event(self, type, id=None, resources=None, status="Scheduled", **time_left):  # pylint: disable=redefined-builtin
        if type not in TYPES or set(time_left) - {"in"}:
            raise ValueError(f"no such event: {type} {time_left}")
        not_before = "" if status == "Started" else email.utils.formatdate(
            time.time() + self._clock_skew + time_left.get("in", 30), usegmt=True)
        return {"EventId": id or f"{type}-{self._incarnation}", "EventStatus": status, "EventType": type,
                "ResourceType": "VirtualMachine", "Resources": resources or [self._facts["name"]], "NotBefore": not_before,
                "Description": "", "EventSource": "Platform", "DurationInSeconds": -1}

    def _say(self, exchange, status, body="", content_type="text/plain"):
        date = email.utils.formatdate(time.time() + self._clock_skew, usegmt=True)
        exchange.reply(status, body, content_type, {"Server": "IMDS/150.870.65.1854", "Date": date})

    def answer(self, exchange):
        fact = exchange.route.removeprefix(_INSTANCE)
        if exchange.headers.get("Metadata") != "true" or "api-version" not in exchange.query:
            self._say(exchange, 400, "Bad request")
        elif exchange.route == _EVENTS:
            self._scheduled_events(exchange)
        elif exchange.route.startswith(_INSTANCE) and fact in self._facts:
            self._say(exchange, 200, self._facts[fact])
        else:
            self._say(exchange, 404)

    def _scheduled_events(self, exchange):
        with self.lock:
            self._first_call = self._first_call or exchange.arrived
            asleep = self._first_call + self._first_answer - time.monotonic()
        if asleep > 0:
            self.closing.wait(asleep)
        if exchange.command == "POST":
            self._start(exchange)
        else:
            with self.lock:
                document = json.dumps({"DocumentIncarnation": self._incarnation, "Events": self._events})
            self._say(exchange, 200, document, "application/json")

    def _start(self, exchange):
        try:
            wanted = {request["EventId"] for request in exchange.json()["StartRequests"]}
        except (ValueError, KeyError, TypeError):
            return self._say(exchange, 400)
        with self.lock:
            found = [event for event in self._events if event["EventId"] in wanted]
            for event in found:
                event.update(EventStatus="Started", NotBefore="")
            self._incarnation += bool(found)
        return self._say(exchange, 200 if found else 400)
