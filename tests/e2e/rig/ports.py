"""Free ports on loopback, for servers that cannot be told "port 0 and tell me which".

A port is found by binding it and letting go again, so somebody else may take it in between. It is drawn from those that the kernel
gives to nobody who asks for any (ip_local_port_range), else each connection of each test beside could be the one that takes it.
Whoever starts a server may go through `with_fresh_ports` besides, which tries again with other ports when the server says that its
port is taken.
"""

import random
import re
import socket

V4 = "127.0.0.1"
V6 = "::1"
_DRAWN = range(10240, 30000)  # below Kubernetes' node ports and the kernel's own choice
_TAKEN = re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE)


def has_ipv6():
    """Whether ::1 can be bound; containers without IPv6 are common."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((V6, 0))
        return True
    except OSError:
        return False


def free_port():
    """A port number free for TCP and UDP on 127.0.0.1, and on ::1 where there is one."""
    families = [(socket.AF_INET, V4)] + ([(socket.AF_INET6, V6)] if has_ipv6() else [])
    for _ in range(100):
        held = []
        try:
            port = random.choice(_DRAWN)
            for family, address in families:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    held.append(socket.socket(family, kind))
                    held[-1].bind((address, port))
            return port
        except OSError:
            continue  # free for one protocol or family, not for the other
        finally:
            for each in held:
                each.close()
    raise RuntimeError("no port is free for both TCP and UDP on loopback")


def free_ports(count):
    """`count` different free ports."""
    ports = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def with_fresh_ports(start, attempts=5):
    """Returns `start()`, called again when it fails because a port was taken; start() asks for its ports itself and cleans up."""
    for attempt in range(attempts):
        try:
            return start()
        except Exception as failure:  # pylint: disable=broad-except
            if attempt == attempts - 1 or not _TAKEN.search(str(failure)):
                raise
    raise AssertionError("unreachable")
