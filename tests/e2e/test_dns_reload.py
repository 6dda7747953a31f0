"""Configuration that moves: what is written to the files is in force in under a second, with the cache kept; what is wrong is not."""

import json
import os
import signal
import time

import pytest

from rig.agent import merged, write_config, zone
from rig.coredns import LOG, answer, site
from rig.proc import wait_until

REJECTED = 'lastlight_config_reloads_total{result="rejected"}'
APPLIED = 'lastlight_config_reloads_total{result="applied"}'


def addresses(reply):
    return sorted(item.to_text() for rrset in reply.answer for item in rrset)


@pytest.fixture
def servers(coredns_factory):
    return [coredns_factory(site(".", answer(f"203.0.113.{number}", ttl=300), LOG)) for number in (1, 2)]


def rewrite(agent, config):
    """As an editor does: a new file by the old name."""
    path = write_config(agent.directory, merged(agent.config, config), "next.yaml")
    os.rename(path, os.path.join(agent.directory, "lastlight.yaml"))
    return time.monotonic()


def hits(agent):
    return agent.metrics()["lastlight_cache_hits_total"]


def test_a_valid_change_is_in_force_in_under_a_second_with_the_cache_kept(agent_factory, servers):
    first, second = servers
    zones = [zone("cluster.local", first), zone(".", first)]
    agent = agent_factory({"dns": {"zones": zones}})
    assert addresses(agent.query("kept.example.org")) == addresses(agent.query("a.corp.test")) == ["203.0.113.1"]
    began = rewrite(agent, {"dns": {"zones": zones + [zone("corp.test", second)]}})
    wait_until(lambda: addresses(agent.query("a.corp.test")) == ["203.0.113.2"], 10, "the new zone", agent.process)
    assert time.monotonic() - began < 1
    before = hits(agent)
    assert addresses(agent.query("kept.example.org")) == ["203.0.113.1"]
    assert hits(agent) == before + 1, "the cache was not kept"
    assert len(first.queries()) == 2
    assert agent.metrics()["lastlight_config_restart_needed_keys"] == 0


def test_an_invalid_change_leaves_the_old_in_force(agent_factory, servers):
    agent = agent_factory({"dns": {"zones": [zone(".", servers[0])]}})
    path = os.path.join(agent.directory, "lastlight.yaml")
    with open(path, encoding="utf-8") as file:
        good = file.read()
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("dns:\n  max-flights: many\n")
    os.rename(path + ".new", path)
    wait_until(lambda: agent.metrics()[REJECTED] == 1, 10, "the refusal", agent.process)
    assert agent.metrics()["lastlight_config_rejected"] == 1
    assert "lastlight.yaml:2: dns.max-flights: expected a whole number" in agent.process.output()
    assert addresses(agent.query("www.example.org")) == ["203.0.113.1"]
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(good)
    os.rename(path + ".new", path)
    wait_until(lambda: agent.metrics()["lastlight_config_rejected"] == 0, 10, "the good file", agent.process)


def test_what_needs_a_restart_is_said_and_the_rest_applied(agent_factory, servers):
    first, second = servers
    agent = agent_factory({"dns": {"zones": [zone(".", first)]}})
    rewrite(agent, {"dns": {"zones": [zone(".", second)], "receive-buffer": "1MiB"}})
    wait_until(lambda: addresses(agent.query("www.example.org")) == ["203.0.113.2"], 10, "the new upstream", agent.process)
    assert agent.metrics()["lastlight_config_restart_needed_keys"] == 1
    assert "dns.receive-buffer" in agent.process.output()


def test_sighup_reads_the_files_again(agent_factory, servers):
    agent = agent_factory({"dns": {"zones": [zone(".", servers[0])]}})
    before = agent.metrics()[APPLIED]
    agent.process.signal(signal.SIGHUP)
    wait_until(lambda: agent.metrics()[APPLIED] == before + 1, 10, "the reload", agent.process)
    assert addresses(agent.query("www.example.org")) == ["203.0.113.1"]


def test_the_kube_dns_configmap_is_followed_through_its_links(agent_factory, servers, tmp_path):
    first, second = servers
    mount = tmp_path / "kube-dns"
    mount.mkdir()

    def publish(version, **keys):
        """As the kubelet does: a new directory, and the link ..data moved to it in one step."""
        data = mount / f"..{version}"
        data.mkdir()
        for key, value in keys.items():
            (data / key).write_text(value if isinstance(value, str) else json.dumps(value))
        os.symlink(data.name, mount / "..data_tmp")
        os.rename(mount / "..data_tmp", mount / "..data")
        for key in keys:
            if not (mount / key).is_symlink():
                os.symlink(f"..data/{key}", mount / key)
        return time.monotonic()

    publish(1, stubDomains={"corp.test": [f"127.0.0.1:{first.port}"]})
    agent = agent_factory({"dns": {"kube-dns-config": str(mount), "zones": [zone("cluster.local", first), zone(".", first)]}})
    assert addresses(agent.query("a.corp.test")) == ["203.0.113.1"]
    began = publish(2, stubDomains={"corp.test": [f"127.0.0.1:{second.port}"]})
    wait_until(lambda: addresses(agent.query("a.corp.test")) == ["203.0.113.2"], 10, "the new stub domain", agent.process)
    assert time.monotonic() - began < 1
    publish(3, stubDomains="{", upstreamNameservers=[f"127.0.0.1:{second.port}"])
    wait_until(lambda: agent.metrics()["lastlight_config_rejected"] == 1, 10, "the refusal", agent.process)
    assert "stubDomains" in agent.process.output()
    assert addresses(agent.query("b.corp.test")) == ["203.0.113.2"]
    assert addresses(agent.query("www.example.org")) == ["203.0.113.1"]
    publish(4, stubDomains="{}", upstreamNameservers=[f"127.0.0.1:{second.port}"])
    wait_until(lambda: addresses(agent.query("www.example.org")) == ["203.0.113.2"], 10, "the new upstreams", agent.process)
    assert agent.metrics()["lastlight_config_rejected"] == 0
