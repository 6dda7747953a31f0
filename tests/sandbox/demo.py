"""A node's last half minute in one terminal: real agent, mocked cloud and control plane.

The agent serves DNS on 127.0.0.1:1053, a spot notice arrives, the node is cordoned and its pods are told to stop, and names
are asked all the while. Exit code 0 when the node was cordoned, every pod that has to go was told, the others were left alone
and no lookup failed; 1 when not; 2 when it could not be tried.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# pylint: disable=wrong-import-position
from sandbox import agent as agents  # noqa: E402
from sandbox import lookups, names  # noqa: E402
from sandbox.apiserver import ApiServer  # noqa: E402
from sandbox.imds import Imds  # noqa: E402
from sandbox.timeline import Frame, Row, screen  # noqa: E402
from sandbox.verdict import verdict  # noqa: E402
from rig.ports import free_port  # noqa: E402
# pylint: enable=wrong-import-position

_NODE = "demo-node"
_FRAME_EVERY = 0.2


def frame_of(now, notice, cluster, asker, cache_hits):
    """What there is to see at `now`."""
    shown = now >= notice.visible
    with cluster.changed:
        since = lambda instant: None if instant is None else instant - notice.visible  # noqa: E731
        rows = tuple(Row(fate.kind.name, fate.kind.label, fate.kind.stays, fate.refusals, since(fate.told), fate.by, fate.grace,
                         since(fate.gone)) for fate in cluster.fates.values())
        return Frame(None if shown else notice.visible - now, notice.ends - now if shown else None, since(cluster.cordoned),
                     rows, asker.answered, asker.failed, cache_hits)


def finished(frame):
    """The node's end, or nothing left to wait for: cordoned and every pod that goes is gone."""
    if frame.left is None:
        return False
    going = [row for row in frame.rows if not row.stays]
    return frame.left <= 0 or (frame.cordoned is not None and all(row.gone is not None for row in going))


def play(notice, cluster, asker, agent, shown):
    """Shows frames until it is over; returns the last."""
    while True:
        frame = frame_of(time.monotonic(), notice, cluster, asker, agent.cache_hits())
        shown.show(frame)
        if finished(frame) or agent.process.exit_code() is not None:
            return frame
        time.sleep(_FRAME_EVERY)


def taken(port):
    """Why the agent could not serve DNS on this port, None when it could."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                return str(error)
    return None


def say_how_to_try(agent, imds, api, name, status_port):
    print(f"""
Still serving; Ctrl-C ends it. Try, in another terminal:

  dig @127.0.0.1 -p {agent.dns_port} {name}
  dig @127.0.0.1 -p {agent.dns_port} {name} +tcp
  http://127.0.0.1:{status_port}/ in a browser
  curl http://127.0.0.1:{agent.http_port}/metrics
  curl http://127.0.0.1:{agent.http_port}/readyz
  curl -d '{{"notice": null}}' {imds.url}/admin/state
  curl {api.url}/admin/requests
  tail -f {agent.process.log_path}
""", flush=True)


def keep_serving(agent):
    try:
        while agent.process.exit_code() is None:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return 0
    print(f"the agent ended with {agent.process.exit_code()}\n{agent.process.tail()}")
    return 1


def failed(agent, *reasons):
    for reason in reasons:
        print(f"FAILED: {reason}")
    print(agent.process.tail(40))
    return 1


def run(options, stack, folder):
    asked = () if options.embedded else lookups.names_of_machine()
    upstreams = "resolv.conf"
    if not asked:
        embedded = stack.enter_context(names.Names())
        asked, upstreams = names.NAMES, f'["{embedded.address}"]'
    imds, api = stack.enter_context(Imds()), stack.enter_context(ApiServer())
    http_port, status_port = free_port(), free_port()
    config = agents.write_config(folder, api.token, node=_NODE, http_port=http_port, status_port=status_port, dns_port=options.dns_port,
                                 upstreams=upstreams, metadata=imds.url, api=api.url)
    agent = stack.enter_context(agents.Agent(options.agent, config, folder, options.dns_port, http_port))
    print(f"lastlight serves DNS on 127.0.0.1:{options.dns_port}, forwarding to "
          + ("this machine's resolvers" if upstreams == "resolv.conf" else f"an embedded zone, {names.ORIGIN}")
          + f"; its log: {agent.process.log_path}\n", flush=True)
    not_ready = agent.wait_ready(asked[0])
    if not_ready:
        return failed(agent, not_ready)
    with lookups.Asker(asked, options.dns_port) as asker:
        notice = imds.set_notice(options.notice_after, options.window)
        last = play(notice, api.cluster, asker, agent, screen())
    last.answered, last.failed = asker.answered, asker.failed
    wrong, summary = verdict(last)
    print("\n" + "\n".join(summary))
    print(f"requests   {sum(api.stats()['requests'].values())} to the API server, "
          f"{sum(imds.stats()['requests'].values())} to instance metadata", flush=True)
    if agent.process.exit_code() is not None:
        wrong.insert(0, f"the agent ended with {agent.process.exit_code()}")
    if wrong:
        return failed(agent, *wrong)
    print("OK", flush=True)
    if options.keep:
        say_how_to_try(agent, imds, api, asked[0], status_port)
        return keep_serving(agent)
    return 0


def parse(arguments):
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--agent", required=True, help="the agent's binary")
    options.add_argument("--keep", action="store_true", help="keep serving afterwards")
    options.add_argument("--notice-after", type=float, default=10, metavar="SECONDS")
    options.add_argument("--window", type=float, default=30, metavar="SECONDS", help="from the notice to the node's end")
    options.add_argument("--dns-port", type=int, default=1053)
    options.add_argument("--embedded", action="store_true", help="use the embedded zone even where resolvers answer")
    return options.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    reason = f"no agent at {options.agent}: build it first" if not os.access(options.agent, os.X_OK) else None
    why = reason or taken(options.dns_port)
    if why:
        print(reason or f"cannot serve DNS on 127.0.0.1:{options.dns_port}: {why}; choose another with --dns-port")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="lastlight-demo.")  # kept: the log is named on the screen
    with contextlib.ExitStack() as stack:
        try:
            return run(options, stack, folder)
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
