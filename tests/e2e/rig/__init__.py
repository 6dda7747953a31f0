"""The real programs around the agent in the end-to-end tests, and how they are started, asked, watched and ended.

    peers.py          which binaries there are (built once by .ci/build-peers)
    ports.py proc.py  free ports, child processes, waiting for a condition
    pki.py            a throw-away CA, serving certificates, ServiceAccount keys
    control_plane.py  etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok
    api.py            the JSON client of that API server
    record.py         what the API server itself recorded: watches and the audit log
    workload.py       a node and the pods that a drain meets there
    coredns.py        CoreDNS with any Corefile

Everything listens on ports the kernel chose, on 127.0.0.1 and ::1 (kube-apiserver, which takes one address only, on all of
them), and writes below pytest's temporary directory. Nothing but Debian's python3-{pytest,dnspython,yaml,cryptography} is
imported. Fixtures are in ../conftest.py. `cd tests/e2e && python3 -m rig [NODE...]` runs a control plane to play with.
"""
