"""AWS instance metadata, version 2: session tokens and everything it announces.

    python3 tests/sandbox/imds.py --port 1338
    curl -d '{"notice": {"after": 5, "window": 120}}' http://127.0.0.1:1338/admin/state
    curl -d '{"notice": null}' ...                    the notice is withdrawn
    curl -d '{"rebalance": true}' ...                 a recommendation; null takes it back
    curl -d '{"scheduled": [{"code": "system-reboot", "in": 3600}]}' ...   also id, state; "history" likewise
    curl -d '{"lifecycle": "Terminated"}' ...         the Auto Scaling group's target state; null: in no group
    curl -d '{"fault": {"kind": "hang", "seconds": 10}}' ...    faults.py
    curl -d '{"clock_skew": 90}' ...                  this service's clock, Date and notice alike, is ahead of ours
    curl -d '{"date_skew": 90}' ...                   only Date lies
    curl -d '{"date": "yesterday"}' ...               a fixed Date; "" leaves it out, null restores it
    curl -d '{"max_token_ttl": 5}' ...                tokens live shorter than asked for
    curl -d '{"forget_tokens": true}' ...             every token is invalid at once
"""

import argparse
import email.utils
import json
import os
import secrets
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox.serving import Served  # noqa: E402  pylint: disable=wrong-import-position

_TOKEN_PATH = "/latest/api/token"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"
_MAX_TTL = 21600
_MAX_TOKENS = 10_000
_STATIC = {
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/instance-type": "m7g.large",
    "/latest/meta-data/instance-life-cycle": "spot",
    "/latest/meta-data/placement/availability-zone": "eu-central-1a",
}


class Notice:
    """Visible from an instant on; says an action and when it happens."""

    def __init__(self, after=0.0, window=120.0, action="terminate"):
        if after < 0 or window < 0:
            raise ValueError("a notice needs after >= 0 and window >= 0")
        self.action = action
        self.visible = time.monotonic() + after
        # The service writes whole seconds; rounding up here would promise time that is not there.
        self.ends = self.visible + window
        self.ends_wall = int(time.time() + after + window)

    def shown(self):
        return time.monotonic() >= self.visible


class Imds(Served):
    def __init__(self, port=0):
        self._tokens = {}
        self._notice = None
        self._first_shown = None
        self._clock_skew = self._date_skew = 0.0
        self._date = None
        self._max_token_ttl = _MAX_TTL
        self._items = {"autoscaling/target-lifecycle-state": "InService", "events/maintenance/scheduled": "[]",
                       "events/maintenance/history": "[]"}
        super().__init__(port)

    def set_notice(self, after=0.0, window=120.0, action="terminate"):
        notice = Notice(after, window, action)
        with self.lock:
            self._notice, self._first_shown = notice, None
        return notice

    def withdraw(self):
        with self.lock:
            self._notice = None

    def configure(self, wanted):
        with self.lock:
            if "notice" in wanted:
                notice = wanted.pop("notice")
                self.withdraw() if notice is None else self.set_notice(**notice)
            self._clock_skew = float(wanted.pop("clock_skew", self._clock_skew))
            self._date_skew = float(wanted.pop("date_skew", self._date_skew))
            self._date = wanted.pop("date", self._date)
            self._max_token_ttl = int(wanted.pop("max_token_ttl", self._max_token_ttl))
            if wanted.pop("forget_tokens", False):
                self._tokens.clear()
            if "rebalance" in wanted:
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self._clock_skew))
                self._item("events/recommendations/rebalance", json.dumps({"noticeTime": now}) if wanted.pop("rebalance") else None)
            for which in ("scheduled", "history"):
                if which in wanted:
                    events = [self._event(**event) for event in wanted.pop(which)]
                    self._item(f"events/maintenance/{which}", json.dumps(events))
            if "lifecycle" in wanted:
                self._item("autoscaling/target-lifecycle-state", wanted.pop("lifecycle"))
        super().configure(wanted)

    def _item(self, path, text):
        if text is None:
            self._items.pop(path, None)
        else:
            self._items[path] = text

    def _event(self, code, id="instance-event-0d59937288b749b32", state="active", **time_left):  # pylint: disable=redefined-builtin
        if set(time_left) - {"in"}:
            raise ValueError(f"unknown: {time_left}")
        starts = time.gmtime(time.time() + self._clock_skew + time_left.get("in", 3600))
        return {"NotBefore": time.strftime("%d %b %Y %H:%M:%S GMT", starts), "Code": code, "Description": f"The instance: {code}",
                "EventId": id, "State": state}

    def stats(self):
        with self.lock:
            notice = self._notice
            return {**super().stats(), "tokens": len(self._tokens), "first_shown": self._first_shown,
                    "notice": notice and {"visible": notice.visible, "ends": notice.ends, "shown": notice.shown()}}

    def answer(self, exchange):
        if exchange.route == _TOKEN_PATH:
            self._grant(exchange)
        elif exchange.command not in ("GET", "HEAD"):
            self._say(exchange, 405)
        elif not self._known(exchange.headers.get(_TOKEN)):
            self._say(exchange, 401)
        else:
            self._metadata(exchange)

    def _say(self, exchange, status, body="", content_type="text/plain", headers=None):
        with self.lock:
            date = self._date
            if date is None:
                date = email.utils.formatdate(time.time() + self._clock_skew + self._date_skew, usegmt=True)
        exchange.reply(status, body, content_type, {"Server": "EC2ws", "Date": date or None, **(headers or {})})

    def _grant(self, exchange):
        if exchange.command != "PUT":
            return self._say(exchange, 405)
        if "X-Forwarded-For" in exchange.headers:
            return self._say(exchange, 403)
        asked = exchange.headers.get(_TTL, "")
        if not asked.isdigit() or not 1 <= int(asked) <= _MAX_TTL:
            return self._say(exchange, 400)
        token = secrets.token_urlsafe(40)
        with self.lock:
            ttl = min(int(asked), self._max_token_ttl)
            while len(self._tokens) >= _MAX_TOKENS:
                self._tokens.pop(next(iter(self._tokens)))
            self._tokens[token] = time.monotonic() + ttl
        return self._say(exchange, 200, token, headers={_TTL: ttl})

    def _known(self, token):
        with self.lock:
            if token is None or token not in self._tokens:
                return False
            if time.monotonic() >= self._tokens[token]:
                del self._tokens[token]
                return False
            return True

    def _metadata(self, exchange):
        with self.lock:
            notice = self._notice if self._notice is not None and self._notice.shown() else None
            ends = notice and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(notice.ends_wall + self._clock_skew))
            if notice and self._first_shown is None and "/spot/" in exchange.route:
                self._first_shown = exchange.arrived
        if exchange.route == "/latest/meta-data/spot/instance-action" and notice:
            self._say(exchange, 200, json.dumps({"action": notice.action, "time": ends}), "application/json")
        elif exchange.route == "/latest/meta-data/spot/termination-time" and notice and notice.action == "terminate":
            self._say(exchange, 200, ends)
        elif (item := self._items.get(exchange.route.removeprefix("/latest/meta-data/"))) is not None:
            self._say(exchange, 200, item)
        elif exchange.route in _STATIC:
            self._say(exchange, 200, _STATIC[exchange.route])
        else:
            self._say(exchange, 404, "not found\n")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=0)
    with Imds(options.parse_args().port) as served:
        print(f"instance metadata on {served.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
