"""The image that .ci/image made (LASTLIGHT_IMAGE): what is in it, and the agent run out of its root file system, read-only. An image for
another architecture is run by qemu-user, which starts no second program of it: the worker alone, without its supervisor."""

import hashlib
import json
import os
import socket
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

MIB = 1 << 20
ARCH = os.environ.get("LASTLIGHT_IMAGE_ARCH", "amd64")
QEMU = {"x86_64": {"arm64": "qemu-aarch64-static"}}.get(os.uname().machine, {}).get(ARCH)


def read_json(archive, name):
    return json.load(archive.extractfile(name))


def blob(digest):
    return "./blobs/" + digest.replace(":", "/")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """(manifest, config, root)"""
    path = os.environ["LASTLIGHT_IMAGE"]
    root = tmp_path_factory.mktemp("image") / "root"
    root.mkdir()
    with tarfile.open(path) as archive:
        index = read_json(archive, "./index.json")
        entry, = index["manifests"]
        manifest = read_json(archive, blob(entry["digest"]))
        config = read_json(archive, blob(manifest["config"]["digest"]))
        for member in archive.getmembers():
            if "/blobs/sha256/" in member.name and member.isfile():
                assert hashlib.sha256(archive.extractfile(member).read()).hexdigest() == os.path.basename(member.name)
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=archive.extractfile(blob(layer["digest"]))) as files:
                files.extractall(root)
    return manifest, config, root


def emulated(root, config, *words):
    """The words of a chroot() below, by qemu-user: paths are the host's."""
    program = "lastlight-takeover" if words[1] == "takeover" else "lastlight-agent"
    rest = words[2:] if words[1] == "takeover" else [str(config) if each == "/etc/lastlight" else each for each in words[1:]]
    return [QEMU, "-L", str(root), str(root / "usr/bin" / program), *rest], {
        "env": {"PATH": "/usr/bin:/bin", "NODE_NAME": "n1", "NODE_IP": "127.0.0.1", "LASTLIGHT_RUN_DIR": str(config / "run")}}


def chroot(root, *words, **options):
    """In a mount namespace of its own, with nothing writable but what a pod would have."""
    if QEMU:
        return emulated(root, Path(options["CONFIG"]), *words)
    script = ('mount --make-rprivate / && mount --bind "$0" "$0" && mount -t tmpfs tmpfs "$0/run/lastlight" && mount --bind "$CONFIG" "$0/etc/lastlight" && mount --rbind /proc "$0/proc" '
              '&& mount -o remount,ro,bind "$0" && exec chroot "$0" "$@"')
    return ["unshare", "--mount", "bash", "-ec", script, str(root), *words], {
        "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NODE_NAME": "n1", "NODE_IP": "127.0.0.1", **options}}


def run(root, config, *words):
    argv, more = chroot(root, *words, CONFIG=str(config))
    return subprocess.run(argv, text=True, capture_output=True, timeout=30, check=False, **more)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, name):
    """The rcode of an A question, or None."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.sendto(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1", ("127.0.0.1", port))
        try:
            return client.recv(512)[3] & 15
        except (TimeoutError, ConnectionError):
            return None


def test_it_is_small(image):  # pylint: disable=redefined-outer-name
    size = sum(layer["size"] for layer in image[0]["layers"])
    print(f"\n{size / MIB:.1f} MiB compressed")
    assert size < 40 * MIB


def test_it_says_what_it_is(image):  # pylint: disable=redefined-outer-name
    config = image[1]["config"]
    assert (image[1]["architecture"], image[1]["os"]) == (ARCH, "linux")
    assert config["Entrypoint"] == ["lastlight"] and config["User"] == "65534:65534"
    for label in ("title", "description", "version", "revision", "created", "licenses"):
        assert config["Labels"][f"org.opencontainers.image.{label}"]
    assert image[1]["created"][:19] == config["Labels"]["org.opencontainers.image.created"][:19]


def test_it_lists_its_parts(image):  # pylint: disable=redefined-outer-name
    root = image[2]
    parts = json.loads((root / "usr/share/doc/lastlight/sbom.spdx.json").read_text())
    names = {each["name"] for each in parts["packages"]}
    assert {"lastlight", "libc6", "libcurl4", "libc-ares2", "ca-certificates"} <= names
    installed = {line.partition(": ")[2] for line in (root / "var/lib/dpkg/status").read_text().splitlines() if line.startswith("Package: ")}
    assert installed == names - {"lastlight"}
    assert {line.partition("=")[2] for line in (root / "etc/os-release").read_text().splitlines() if line.startswith("ID=")} == {"debian"}


def test_there_is_no_shell_and_nothing_with_another_users_rights(image):  # pylint: disable=redefined-outer-name
    root = image[2]
    programs = {each.name for folder in ("usr/bin", "bin", "usr/sbin", "sbin") if (root / folder).is_dir() for each in (root / folder).iterdir()}
    assert {"lastlight", "lastlight-agent", "lastlight-takeover"} <= programs
    assert not {"sh", "bash", "dash", "apt", "dpkg", "perl"} & programs
    assert not [each for each in root.rglob("*") if each.is_file() and not each.is_symlink() and each.stat().st_mode & 0o6000]


def test_the_agent_serves_out_of_it(image, tmp_path):  # pylint: disable=redefined-outer-name
    root = image[2]
    assert run(root, tmp_path, "lastlight", "version").stdout.startswith("lastlight ")
    port, http = free_port(), free_port()
    (tmp_path / "lastlight.yaml").write_text(
        f"dns: {{listen: ['127.0.0.1:{port}'], resolv-conf: /etc/lastlight/resolv.conf, zones: [{{name: ., upstreams: ['127.0.0.1:9']}}]}}\n"
        f"http: {{listen: '127.0.0.1:{http}'}}\ninterruption: {{source: none}}\n")
    checked = run(root, tmp_path, "lastlight", "check", "--config", "/etc/lastlight")
    assert checked.returncode == 0, checked.stderr
    argv, more = chroot(root, "lastlight", "run", "--config", "/etc/lastlight", CONFIG=str(tmp_path))
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, **more) as agent:
        try:
            # `localhost` is answered here (RFC 6761): no upstream is needed.
            deadline = time.monotonic() + 20
            while (code := ask(port, "localhost")) is None and agent.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
            assert code == 0, agent.stderr.read() if agent.poll() is not None else "no answer"
            alive = run(root, tmp_path, "lastlight", "status", "--alive", "--url", f"http://127.0.0.1:{http}")
            assert alive.returncode == 0, alive.stderr
        finally:
            agent.terminate()
            assert agent.wait(20) == 0


def test_the_programs_of_the_privileged_child_are_whole(image, tmp_path):  # pylint: disable=redefined-outer-name
    usage = run(image[2], tmp_path, "lastlight", "takeover", "nothing")
    assert usage.returncode == 2 and "usage: lastlight takeover" in usage.stderr
