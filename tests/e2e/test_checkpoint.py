"""Work that must finish: a job in a pod hangs on GET /interruption, hears of the node's end, and saves its state to object storage.

The pod, the node and the storage are three network namespaces; the storage is an S3 server (gofakes3) that knows nothing of the agent.
"""

import calendar
import hashlib
import json
import os
import sys
import time
import urllib.request

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import needs  # noqa: E402  pylint: disable=wrong-import-position
from rig.load import limit  # noqa: E402  pylint: disable=wrong-import-position
from rig.measure import SchedulingDelay  # noqa: E402  pylint: disable=wrong-import-position
from rig.netns import NODE  # noqa: E402  pylint: disable=wrong-import-position
from rig.ports import free_port  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import Process, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

STORAGE, PARTS, PART, WINDOW = "192.168.50.2", 8, 5 << 20, 30

# A multipart upload, as every S3 library does it for a large object. Says when it was told and when the object was complete.
JOB = """
import json, re, sys, time, urllib.request
notice, target, parts, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def ask(url, method="GET", body=None):
    return urllib.request.urlopen(urllib.request.Request(url, method=method, data=body), timeout=70)
status, etag = 204, None
while status != 200:
    with ask(notice + "?wait=60s") as reply:
        status, told, body = reply.status, time.time(), reply.read()
upload = re.search(rb"<UploadId>(.*?)</UploadId>", ask(target + "?uploads", "POST", b"").read())[1].decode()
tags = [ask(f"{target}?partNumber={n}&uploadId={upload}", "PUT", bytes([n]) * size).headers["ETag"] for n in range(1, parts + 1)]
whole = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in enumerate(tags, 1))
ask(f"{target}?uploadId={upload}", "POST", f"<CompleteMultipartUpload>{whole}</CompleteMultipartUpload>".encode()).read()
print(json.dumps({"told": told, "saved": time.time(), "notice": json.loads(body)}), flush=True)
"""


@pytest.fixture
def storage(cluster_net, tmp_path):
    binary = needs.peers_or_skip("gofakes3")["gofakes3"]
    url = f"http://{STORAGE}:9000/checkpoints"
    with cluster_net.other:
        process = Process("s3", [binary, "-host", f"{STORAGE}:9000", "-backend", "memory", "-initialbucket", "checkpoints"], str(tmp_path))

        def answers():
            try:
                return urllib.request.urlopen(url, timeout=1).status == 200
            except OSError:
                return False

        try:
            wait_until(answers, 20, "the S3 server", process)
        except BaseException:
            process.stop()
            raise
    yield url
    process.stop()


def seconds_of(text):
    """Since the epoch: 2026-11-24T01:02:03.456Z."""
    whole, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def test_a_job_hears_of_the_end_and_saves_its_state_in_time(cluster_net, storage, agent_factory, tmp_path):  # pylint: disable=redefined-outer-name
    (tmp_path / "token").write_text("demo-token")
    with cluster_net.node, Imds() as imds, ApiServer() as api, SchedulingDelay() as delay:
        port = free_port()
        agent = agent_factory({
            "node-name": "demo-node", "log": {"format": "json"}, "dns": {"zones": [{"name": ".", "upstreams": ["127.0.0.1:9"]}]},
            "interruption": {"source": "aws", "metadata-url": imds.url}, "hooks": {"listen": [f"{NODE}:{port}"]},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}})
        with cluster_net.pod:
            job = Process("job", [sys.executable, "-c", JOB, f"http://{NODE}:{port}/interruption", f"{storage}/state", str(PARTS), str(PART)],
                          str(tmp_path))
        try:
            wait_until(lambda: agent.metrics()["lastlight_notice_endpoint_waiters"] == 1, 20, "the job to wait", job)
            began = time.monotonic()
            notice = imds.set_notice(window=WINDOW)
            assert job.wait(WINDOW) == 0, job.tail()
        finally:
            job.stop()
        late = delay.worst(began, time.monotonic())
        with open(job.log_path, encoding="utf-8") as text:
            said = json.loads(text.read().splitlines()[-1])
        with open(agent.process.log_path, encoding="utf-8") as log:
            lines = [json.loads(line) for line in log if line.startswith("{")]
        (heard,) = [seconds_of(line["time"]) for line in lines if "interruption.notice" in (line.get("event"), line.get("message"))]
        agent.stop()
    print(f"told {(said['told'] - heard) * 1000:.1f} ms after detection, {PARTS * PART >> 20} MiB saved {said['saved'] - said['told']:.2f} s later, "
          f"of {WINDOW} s; worst scheduling delay {late * 1000:.0f} ms")
    assert said["notice"]["kind"] == "spot-terminate"
    assert said["told"] - heard <= limit(0.1) + late
    assert said["saved"] < notice.ends_wall, "too late: the node is gone"
    with cluster_net.other:
        kept = urllib.request.urlopen(f"{storage}/state", timeout=10).read()
    wanted = b"".join(bytes([n]) * PART for n in range(1, PARTS + 1))
    assert hashlib.sha256(kept).digest() == hashlib.sha256(wanted).digest()
