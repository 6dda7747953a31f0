"""A node's surroundings on loopback: instance metadata, a Kubernetes API server with a kubelet model, and DNS names.

Used by `make run` (demo.py) and by the end-to-end tests for the faults that real peers do not show on demand.
"""
