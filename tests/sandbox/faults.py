"""The ways a server fails. Each applies to requests whose path starts with `path`, for `seconds` (None: until healed).

    {"kind": "hang"}                         the request is read, nothing is ever answered
    {"kind": "slow", "delay": 1.5}           the right answer, later
    {"kind": "status", "status": 503}        that status to everything (401: an expired token, a storm of 401)
    {"kind": "garbage"}                      200 with a body that is not what was asked for
    {"kind": "half-body"}                    200, half of the promised body, then the connection ends
    {"kind": "reset"}                        TCP RST
    {"kind": "refuse"}                       nobody listens, open connections are ended
"""

import time

_GARBAGE = b'\x00\xff{"action": ]]\xfe<html>'
_HALF = b'{"action": "terminate", "time": "20'
KINDS = ("hang", "slow", "status", "garbage", "half-body", "reset", "refuse")


def make(kind, seconds=None, path="/", delay=1.0, status=500):
    if kind not in KINDS:
        raise ValueError(f"no such fault: {kind}; there are {', '.join(KINDS)}")
    return Fault(kind, seconds, path, delay, status)


class Fault:
    def __init__(self, kind, seconds, path, delay, status):
        self.kind, self.seconds, self.path, self.delay, self.status = kind, seconds, path, delay, status
        self._until = None if seconds is None else time.monotonic() + seconds

    def over(self):
        return self._until is not None and time.monotonic() >= self._until

    def covers(self, exchange):
        return not self.over() and exchange.route.startswith(self.path)

    def apply(self, exchange):
        """Misbehaves; False when the right answer is still to follow."""
        if self.kind == "hang":
            self._hang(exchange)
        elif self.kind == "slow":
            exchange.mock.closing.wait(self.delay)
            return False
        elif self.kind == "status":
            exchange.reply(self.status, f"told to answer {self.status}\n")
        elif self.kind == "garbage":
            exchange.reply(200, _GARBAGE, "application/json")
        elif self.kind == "half-body":
            exchange.reply(200, _HALF, "application/json", declared_length=2 * len(_HALF))
            exchange.close_connection = True
        else:  # "reset", and what "refuse" accepted in the moment before it closed the listener
            exchange.reset()
        return True

    def _hang(self, exchange):
        # The client's giving up is seen as readable end-of-file, so that no thread outlives its connection.
        exchange.connection.settimeout(0.1)
        exchange.close_connection = True
        while not exchange.mock.closing.is_set():
            try:
                if not exchange.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return
