"""The metadata service and a cloud's resolver share one allowance of packets of the network card; what is above is dropped without a word.

Here a rule of a namespace's own drops what is above, at a third of the real rate, so that a busy machine reaches it as well. DNS runs at
the pace of a guarded upstream all the time; polls must get through and a notice must be heard.
"""

import contextlib
import os
import re
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig.load import limit  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import SchedulingDelay  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

PACE, ALLOWED, OFFERED, POLL, SECONDS = 300, 341, 500, 0.2, 6  # of 900 and 1,024


def question(number):
    name = b"".join(bytes([len(label)]) + label for label in (b"n%d" % number, b"example", b"org")) + b"\0"
    return struct.pack(">HHHHHH", number & 0xffff, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1)


@contextlib.contextmanager
def running(target):
    ending = threading.Event()
    thread = threading.Thread(target=target, args=(ending,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(10)


def no_such_name(sock):
    def serve(ending):
        while not ending.is_set():
            with contextlib.suppress(TimeoutError):
                query, client = sock.recvfrom(4096)
                sock.sendto(query[:2] + b"\x81\x83" + query[4:], client)
    return serve


def offer(port):
    """New names all the time: each must be asked."""
    def send(ending):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            began, sent = time.monotonic(), 0
            while not ending.wait(0.01):
                while sent < (time.monotonic() - began) * OFFERED:
                    sock.send(question(sent))
                    sent += 1
    return send


def test_polls_get_through_while_dns_runs_at_the_limit(cluster_net, agent_factory, tmp_path):
    (tmp_path / "token").write_text("demo-token")
    with cluster_net.node, Imds() as imds, ApiServer() as api, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.settimeout(0.1)
        dns_port = upstream.getsockname()[1]
        cluster_net.node.nft(f"""table inet allowance {{
            chain output {{
                type filter hook output priority 0
                meta l4proto {{ tcp, udp }} th dport {{ {imds.port}, {dns_port} }} limit rate over {ALLOWED}/second burst {ALLOWED // 4} packets counter drop
            }}
        }}""")
        agent = agent_factory({
            "node-name": "demo-node", "interruption": {"source": "aws", "metadata-url": imds.url, "poll": f"{POLL * 1000:.0f}ms"},
            "dns": {"guard-pace": PACE, "zones": [{"name": ".", "upstreams": [f"127.0.0.1:{dns_port}"], "guard": "on"}]},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}}, listen=["127.0.0.1"])
        with running(no_such_name(upstream)), running(offer(agent.dns_port)), SchedulingDelay() as delay:
            wait_until(lambda: agent.metrics()["lastlight_upstream_guarded_packets_total"] > PACE / 2, 20, "the load", agent.process)
            before, began = agent.metrics(), time.monotonic()
            wait_until(lambda: time.monotonic() - began > SECONDS, SECONDS + 5, "the load to last", agent.process)
            after, took = agent.metrics(), time.monotonic() - began
            shown = time.monotonic()
            imds.set_notice(window=60)
            wait_until(lambda: api.cluster.cordoned, 10, "the notice to be heard", agent.process)
            heard, late = api.cluster.cordoned - shown, delay.worst(began, time.monotonic())
        dropped = int(re.search(r"counter packets (\d+)", cluster_net.node.run("nft", "list", "ruleset"))[1])
        agent.stop()

    def grew(*parts):
        return sum(value - before.get(key, 0) for key, value in after.items() if all(part in key for part in parts))

    polls, failed = grew("lastlight_metadata_polls_total", '"ok"'), grew("lastlight_metadata_polls_total", '"failed"')
    packets, held = grew("lastlight_upstream_guarded_packets_total"), grew("lastlight_upstream_waited_total") + grew("lastlight_upstream_shed_total")
    print(f"{packets / took:.0f} packets a second to the resolver (pace {PACE}, allowed {ALLOWED}), {held:.0f} questions held back, {dropped} packets "
          f"dropped; {polls:.0f} polls in {took:.1f} s, {failed:.0f} failed; notice to cordon {heard * 1000:.0f} ms; delay {late * 1000:.0f} ms")
    assert held > 0, "DNS was not at its limit"
    assert dropped == 0 and failed == 0
    assert polls >= (took - late) / POLL * 0.5
    assert heard <= limit(POLL + 0.1) + late
