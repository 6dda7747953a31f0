"""A crowd that fills all that an agent may hold at once: its cache, the questions in flight, every TCP connection both ways, with
answers that nobody reads, and the UDP socket's buffer. The control group of the agent says what that took at most.
"""

import contextlib
import os
import signal
import socket
import struct
import time

from rig.measure import family

CONNECTIONS = 1024  # dns.tcp-max-connections
BUFFERS = 16  # MiB, dns.tcp-buffers
CLIENTS = 1000  # that ask over UDP: none may hold much
PER_CLIENT = 60  # of dns.tcp-max-per-client
IDLE_ROUNDS = 5
READ_IN = 0.05  # seconds, what all connections ask
PIPELINED = 20  # questions that a connection asks at a time


def _question(number, name=b"full"):
    return struct.pack(">HHHHHH", number & 0xffff, 0x100, 1, 0, 0, 0) + b"\x10" + b"%016x" % number + bytes([len(name)]) + name + b"\7example\3org\0" + struct.pack(">HH", 1, 1)


def _until_full(fill, usage, step=0.25):
    """`fill` until what the group holds has not grown by `step` MiB for a while."""
    most, idle = usage(), 0
    while idle < IDLE_ROUNDS:
        fill()
        now = usage()
        idle = 0 if now > most + step else idle + 1
        most = max(most, now)


@contextlib.contextmanager
def _stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _client(kind, address):
    one = socket.socket(socket.AF_INET, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.bind((address, 0))
    return one


def _send_all(connections, octets):
    """Whoever was closed takes no part any more."""
    for one in list(connections):
        try:
            one.send(octets)
        except BlockingIOError:
            pass
        except ConnectionError:
            connections.remove(one)
    if len(connections) < CONNECTIONS * 9 / 10:
        raise SystemExit("the crowd was closed before all was full: is this machine busy?")


def fill(server, stub, flood, usage, buffered):
    """`flood`: asks for names that the cache has not. `usage`: MiB that the agent's group holds now, socket buffers with them; `buffered`: those that it
    counts against dns.tcp-buffers. Nobody is to be closed, for then its share would be empty again."""
    worker, where = max(family(server.pid)), (server.listen.split(":")[0], server.port)
    _until_full(flood, usage)
    datagrams = [_client(socket.SOCK_DGRAM, f"127.2.{number // 250}.{number % 250 + 1}") for number in range(CLIENTS)]
    connections = [_client(socket.SOCK_STREAM, f"127.1.{number // PER_CLIENT}.1") for number in range(CONNECTIONS)]
    for one in connections:
        one.connect(where)
    query = _question(1)
    framed = struct.pack(">H", len(query)) + query
    connections[0].send(framed)
    connections[0].recv(512)  # it is in the cache
    for one in connections:
        one.setblocking(False)
    with _stopped(stub.pid):
        for number in range(6000):  # dns.max-flights is 4,096
            datagrams[number % len(datagrams)].sendto(_question(number, b"silent"), where)
        while buffered() < BUFFERS - 2:
            _send_all(connections, framed * PIPELINED)
            time.sleep(READ_IN)
        with _stopped(worker):
            for number in range(60000):
                datagrams[number % len(datagrams)].sendto(_question(number), where)
            _until_full(lambda: _send_all(connections, framed * PIPELINED), usage)
    for one in datagrams + connections:
        one.close()
