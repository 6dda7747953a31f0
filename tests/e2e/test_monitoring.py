"""The dashboard, the alerts and the recorded names on Debian's Prometheus, which scrapes a real agent in the middle of a drain."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest
import yaml

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import needs, peers, ports  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import parse_metrics, zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import RigFailure, wait_until  # noqa: E402  pylint: disable=wrong-import-position
from rig.prometheus import Prometheus  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.names import Names, ORIGIN  # noqa: E402  pylint: disable=wrong-import-position

MONITORING = os.path.join(peers.ROOT, "manifests", "monitoring")
RULES = [os.path.join(MONITORING, name) for name in ("alerts.yaml", "recording.yaml")]
WHERE = {"cluster": "c", "instance": "n:9253", "job": "lastlight"}
# 100 queries a minute, as a series of one sample a minute.
QUERIES = {'lastlight_dns_queries_total{protocol="udp"}': "0+50x60", 'lastlight_dns_queries_total{protocol="tcp"}': "0+50x60"}
BUCKETS = 'lastlight_loop_lag_seconds_bucket{le="%s"}'
ACTION = "/latest/meta-data/spot/instance-action"
LEFT = {'lastlight_interruption_left_seconds{kind="spot-terminate"}': "20x60"}

# alert: (series over an hour that raise it, others that do not, labels of theirs that it has). Each is one sample a minute.
ALERTS = {
    "LastlightDown": ({"up": "0x60"}, {"up": "1x60"}, {}),
    "LastlightMissing": ({}, {"up": "0x60"}, {"cluster": None, "instance": None}),
    "LastlightTakeoverNotHeld": ({'lastlight_takeover_state{state="lost"}': "1 0x60", 'lastlight_takeover_state{state="raising"}': "0 1x60"},
                                 {'lastlight_takeover_state{state="lost"}': "0x60", 'lastlight_takeover_state{state="held"}': "1x60"}, {}),
    "LastlightLeaseUnclaimed": ({'lastlight_takeover_lease_renewals_total{outcome="unclaimed"}': "0+6x60"},
                                {'lastlight_takeover_lease_renewals_total{outcome="unclaimed"}': "0+1x60",
                                 'lastlight_takeover_lease_renewals_total{outcome="renewed"}': "0+240x60"}, {}),
    "LastlightConfigRejected": ({"lastlight_config_rejected": "1x60"}, {"lastlight_config_rejected": "0x60"}, {}),
    "LastlightUpstreamDown": ({'lastlight_upstream_healthy{upstream="192.0.2.1:53"}': "0x60"}, {'lastlight_upstream_healthy{upstream="192.0.2.1:53"}': "1x60"},
                              {"upstream": "192.0.2.1:53"}),
    "LastlightAllUpstreamsDown": ({f'lastlight_upstream_healthy{{upstream="{each}"}}': "0x60" for each in "ab"},
                                  {'lastlight_upstream_healthy{upstream="a"}': "0x60", 'lastlight_upstream_healthy{upstream="b"}': "1x60"}, {}),
    "LastlightUpstreamIsItself": ({"lastlight_upstreams_refused": "1x60"}, {"lastlight_upstreams_refused": "0x60"}, {}),
    "LastlightQuestionsFail": ({**QUERIES, "lastlight_upstream_failed_questions_total": "0+2x60"},
                               {**QUERIES, "lastlight_upstream_failed_questions_total": "0+0.5x60"}, {}),
    "LastlightServesStale": ({**QUERIES, "lastlight_dns_stale_answers_total": "0+6x60"}, {**QUERIES, "lastlight_dns_stale_answers_total": "0+4x60"}, {}),
    "LastlightOverloaded": ({'lastlight_dns_overload_total{bound="client"}': "0+1x60"}, {'lastlight_dns_overload_total{bound="client"}': "7x60"},
                            {"bound": "client"}),
    "LastlightShedding": ({"lastlight_upstream_shed_total": "0+1x60"}, {"lastlight_upstream_shed_total": "7x60"}, {}),
    "LastlightLinkLocalAllowanceExceeded": ({"lastlight_upstream_linklocal_allowance_exceeded_total": "0+1x60"},
                                            {"lastlight_upstream_linklocal_allowance_exceeded_total": "7x60"}, {}),
    "LastlightConnectionsRefused": ({'lastlight_dns_tcp_closed_total{reason="client_full"}': "0+1x60"},
                                    {'lastlight_dns_tcp_closed_total{reason="client_full"}': "7x60",
                                     'lastlight_dns_tcp_closed_total{reason="idle"}': "0+9x60"}, {"reason": "client_full"}),
    "LastlightCacheTooSmall": ({"lastlight_cache_evicted_total": "0+60x60", 'lastlight_cache_misses_total{reason="absent"}': "0+100x60"},
                               {"lastlight_cache_evicted_total": "0+40x60", 'lastlight_cache_misses_total{reason="absent"}': "0+100x60"}, {}),
    "LastlightLoopLags": ({BUCKETS % "0.067": "0+90x60", BUCKETS % "0.268": "0+100x60", BUCKETS % "+Inf": "0+100x60"},
                          {BUCKETS % "0.067": "0+100x60", BUCKETS % "0.268": "0+100x60", BUCKETS % "+Inf": "0+100x60"}, {}),
    "LastlightMetadataSilent": ({'lastlight_metadata_polls_total{outcome="ok"}': "7x60", 'lastlight_metadata_polls_total{outcome="failed"}': "0+60x60"},
                                {'lastlight_metadata_polls_total{outcome="ok"}': "0+1x60", 'lastlight_metadata_polls_total{outcome="failed"}': "0+60x60"}, {}),
    "LastlightDrainNotPermitted": ({"lastlight_drain_self_check_ok": "0x60", "lastlight_drain_self_check_age_seconds": "0+60x60"},
                                   {"lastlight_drain_self_check_ok": "1x60", "lastlight_drain_self_check_age_seconds": "3600x60"}, {}),
    "LastlightDrainForbidden": ({'lastlight_drain_pods{fate="forbidden"}': "1x60"},
                                {'lastlight_drain_pods{fate="forbidden"}': "0x60", 'lastlight_drain_pods{fate="evicted"}': "1x60"}, {"fate": "forbidden"}),
    "LastlightDrainLate": ({'lastlight_drain_pods{fate="waiting"}': "1x60", **LEFT},
                           {'lastlight_drain_pods{fate="waiting"}': "0x60", 'lastlight_drain_pods{fate="gone"}': "3x60", **LEFT}, {}),
    "LastlightApiServerErrors": ({"lastlight_drain_transient_errors_total": "0+6x60"}, {"lastlight_drain_transient_errors_total": "0+1x60"}, {}),
    "LastlightHookEventsLost": ({'lastlight_hook_events_total{receiver="ops",outcome="expired"}': "0x40 1x20"},
                                {'lastlight_hook_events_total{receiver="ops",outcome="expired"}': "1x60",
                                 'lastlight_hook_events_total{receiver="ops",outcome="delivered"}': "0+1x60"}, {"receiver": "ops", "outcome": "expired"}),
    "LastlightNoticeEndpointFull": ({'lastlight_notice_endpoint_refused_total{bound="all"}': "0+1x60"},
                                    {'lastlight_notice_endpoint_refused_total{bound="all"}': "7x60"}, {"bound": "all"}),
}


def load(path):
    with open(path, encoding="utf-8") as text:
        return yaml.safe_load(text)


def rules_of(path):
    return [rule for group in load(path)["groups"] for rule in group["rules"]]


def panels():
    """{title: [expression]}, with the dashboard's variables as Grafana fills them in for everything."""
    filled = {"$cluster": ".*", "$instance": ".*", "$__rate_interval": "1m"}
    found = {}
    for panel in load(os.path.join(MONITORING, "dashboard.json"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, expression
            found.setdefault(panel["title"], []).append(expression)
    return found


def selectors(expressions):
    """What they read of the agent, each with its label matchers."""
    return sorted({match for each in expressions for match in re.findall(r"\blastlight_\w+(?:\{[^}]*\})?", each)})


@pytest.fixture(autouse=True)
def promtool():
    found = shutil.which("promtool")
    if not found:
        needs.missing("no Prometheus: .ci/deps test installs it")

    def run(*words):
        done = subprocess.run([found, *words], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_rule_files_are_valid(promtool):
    code, said = promtool("check", "rules", *RULES)
    assert code == 0 and said.count("SUCCESS") == len(RULES), said


def test_the_guides_scrape_configuration_is_valid(promtool, tmp_path):
    with open(os.path.join(peers.ROOT, "OPERATIONS.md"), encoding="utf-8") as text:
        blocks = re.findall(r"```yaml\n(.*?)```", text.read(), re.DOTALL)
    assert blocks
    for block in blocks:
        config = yaml.safe_load(block)
        for job in config["scrape_configs"]:  # Debian builds it without Kubernetes
            assert [each["role"] for each in job.pop("kubernetes_sd_configs")] == ["endpointslice"]
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        code, said = promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
        assert code == 0, said


@pytest.mark.parametrize("pod_ip, address", [("192.0.2.10", "192.0.2.10:9253"), ("fd00::a", "[fd00::a]:9253")])
def test_the_pod_monitor_finds_either_family(pod_ip, address):
    labels = {"__meta_kubernetes_pod_ip": pod_ip, "__meta_kubernetes_pod_node_name": "n"}
    endpoint, = load(os.path.join(peers.ROOT, "manifests", "components", "pod-monitor", "pod-monitor.yaml"))["spec"]["podMetricsEndpoints"]
    for rule in endpoint["relabelings"]:
        if match := re.fullmatch(rule.get("regex", "(.*)"), ";".join(labels[each] for each in rule["sourceLabels"])):
            labels[rule["targetLabel"]] = rule.get("replacement", "$1").replace("$1", match[1])
    assert (labels["__address__"], labels["instance"]) == (address, "n")


def with_labels(series):
    """The series with the labels of a scrape."""
    name, _, own = series.partition("{")
    return name + "{" + ",".join([f'{key}="{value}"' for key, value in WHERE.items()] + ([own[:-1]] if own else [])) + "}"


def case(rule, series, fires):
    """A unit test of promtool: after 45 minutes the alert fires, with these labels and its text filled in, or it does not."""
    labels = {**{key: value for key, value in {**WHERE, **ALERTS[rule["alert"]][2]}.items() if value is not None}, **rule["labels"]}
    texts = {key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match[1]], text) for key, text in rule["annotations"].items()}
    return {"interval": "1m", "input_series": [{"series": with_labels(name), "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": "45m", "alertname": rule["alert"],
                                 "exp_alerts": [{"exp_labels": labels, "exp_annotations": texts}] if fires else []}]}


def unit_tests(promtool, path, cases, rules=RULES[0]):
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": cases}))
    return promtool("test", "rules", str(path))


def test_every_alert_fires_when_it_should_and_only_then(promtool, tmp_path):
    alerts = rules_of(RULES[0])
    assert {rule["alert"] for rule in alerts} == ALERTS.keys()
    cases = [case(rule, ALERTS[rule["alert"]][0 if fires else 1], fires) for rule in alerts for fires in (True, False)]
    code, said = unit_tests(promtool, tmp_path / "tests.yaml", cases)
    assert code == 0, said


def test_the_test_of_alerts_can_fail(promtool, tmp_path):
    """One that never fires, and one that always does."""
    rule, = [each for each in rules_of(RULES[0]) if each["alert"] == "LastlightOverloaded"]
    for expression, fires in (("lastlight_dns_overload_total > 1e9", True), ("lastlight_dns_overload_total >= 0", False)):
        (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "planted", "rules": [{**rule, "expr": expression}]}]}))
        code, said = unit_tests(promtool, tmp_path / "tests.yaml", [case(rule, ALERTS[rule["alert"]][0 if fires else 1], fires)], tmp_path / "rules.yaml")
        assert code == 1 and "LastlightOverloaded" in said, said


def test_recorded_counters_have_corednss_names_and_labels(promtool, tmp_path):
    expected = {'coredns_dns_requests_total{proto="udp"}': 500, 'coredns_dns_requests_total{proto="tcp"}': 500,
                'coredns_dns_responses_total{rcode="SERVFAIL"}': 10, 'coredns_nodecache_setup_errors_total{errortype="lease"}': 30,
                'coredns_dns_request_duration_seconds_bucket{le="0.001"}': 90, 'coredns_dns_request_duration_seconds_bucket{le="+Inf"}': 120,
                "coredns_dns_request_duration_seconds_count": 120, "coredns_dns_request_duration_seconds_sum": 5,
                "coredns_cache_hits_total": 70, "coredns_cache_misses_total": 50, "coredns_cache_requests_total": 120}
    waits = "lastlight_dns_wait_seconds"
    renewals = 'lastlight_takeover_lease_renewals_total{outcome="%s"}'
    series = {**QUERIES, 'lastlight_dns_responses_total{rcode="SERVFAIL"}': "0+1x60", renewals % "renewed": "0+9x60",
              renewals % "unclaimed": "0+2x60", renewals % "failed": "0+1x60", waits + '_bucket{le="0.001"}': "0+2x60",
              waits + '_bucket{le="+Inf"}': "0+5x60", waits + "_count": "0+5x60", waits + "_sum": "0+0.5x60",
              "lastlight_cache_hits_total": "0+7x60", 'lastlight_cache_misses_total{reason="absent"}': "0+3x60",
              'lastlight_cache_misses_total{reason="expired"}': "0+2x60"}
    assert {rule["record"] for rule in rules_of(RULES[1])} - {name.partition("{")[0] for name in expected} == {
        "coredns_cache_entries", "coredns_cache_prefetch_total", "coredns_cache_served_stale_total", "coredns_cache_evictions_total"}
    tests = [{"interval": "1m", "input_series": [{"series": with_labels(name), "values": values} for name, values in series.items()],
              "promql_expr_test": [{"eval_time": "10m", "expr": name, "exp_samples": [{"labels": with_labels(name), "value": value}]}
                                   for name, value in expected.items()]}]
    code, said = unit_tests(promtool, tmp_path / "tests.yaml", tests, RULES[1])
    assert code == 0, said


@pytest.fixture
def drained(agent_factory, tmp_path):
    """An agent with everything on that a metric tells of: it serves, is told of the node's end, and drains."""
    (tmp_path / "token").write_text("demo-token")
    with contextlib.ExitStack() as running:
        imds, api, names = (running.enter_context(each) for each in (Imds(), ApiServer(), Names()))
        agent = agent_factory({
            "node-name": "demo-node", "dns": {"zones": [zone(".", names.address)]},
            "interruption": {"source": "aws", "metadata-url": imds.url},
            "hooks": {"listen": [f"{ports.V4}:{ports.free_port()}"], "webhooks": [{"name": "ops", "url": f"{imds.url}/hook"}]},
            "kubernetes": {"api-server": api.url, "token-file": str(tmp_path / "token"), "ca-file": ""}})
        for name in ("www", "www", "api", "missing"):
            agent.query(f"{name}.{ORIGIN}")
        agent.query(f"db.{ORIGIN}", tcp=True)
        wait_until(lambda: imds.stats()["requests"].get(f"GET {ACTION}", 0) >= 2, 10, "a poll without a notice", agent.process)
        imds.set_notice(window=300)  # every panel has data while it stands
        wait_until(lambda: api.cluster.cordoned, 20, "the node to be cordoned", agent.process)
        yield agent


def documented():
    """{metric: type} by the table of OPERATIONS.md."""
    with open(os.path.join(peers.ROOT, "OPERATIONS.md"), encoding="utf-8") as text:
        return dict(re.findall(r"^\| `(lastlight_\w+)` \| (\w+) \|", text.read(), re.MULTILINE))


def exported(agent):
    """{metric: type} by its own words."""
    with urllib.request.urlopen(f"http://{agent.address}:{agent.http_port}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    assert parse_metrics(text)
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def test_every_panel_and_every_rule_reads_what_an_agent_exports(drained, tmp_path):
    wanted = documented()
    # A metric is there once there is something to tell: the last ones after the drain's first answers.
    with contextlib.suppress(RigFailure):
        wait_until(lambda: exported(drained) == wanted, 30, "the documented metrics", drained.process)
    assert exported(drained) == wanted
    shown = panels()
    alerts, recorded = (rules_of(path) for path in RULES)
    wanted = [each for all_of in shown.values() for each in all_of] + [rule["record"] for rule in recorded]
    wanted += selectors([*wanted, *(rule["expr"] for rule in alerts + recorded)])
    assert len(wanted) > 80
    with Prometheus(str(tmp_path), {f"{drained.address}:{drained.http_port}": {"cluster": "c"}}, RULES) as prometheus:
        empty = list(wanted)

        def all_return_data():
            empty[:] = [each for each in empty if not prometheus.query(each)]
            return not empty

        try:
            wait_until(all_return_data, 60, "data for every expression", prometheus.process)
        except AssertionError as error:
            raise AssertionError(f"nothing for {empty}") from error
        for rule in alerts:
            prometheus.query(rule["expr"])  # it is right that most find nothing to complain of

        def is_read():
            """A scrape that was too slow is forgotten with the next one."""
            read, = prometheus.targets()
            return read["health"] == "up" and not read["lastError"]

        wait_until(is_read, 30, "a scrape without an error", prometheus.process)
        assert {rule["name"]: rule.get("lastError", "") for rule in prometheus.rules()} == {
            rule.get("alert") or rule["record"]: "" for rule in alerts + recorded}
        hits, = prometheus.query("coredns_cache_hits_total")
        assert hits["metric"]["cluster"] == "c" and float(hits["value"][1]) >= 1
        # A label's value that no agent has would have been noticed.
        assert not prometheus.query('lastlight_dns_dropped_total{reason="no-such"}')


def test_the_component_brings_the_files_as_they_are(tmp_path):
    kubectl = needs.peers_or_skip("kubectl")["kubectl"]
    relative = [os.path.relpath(each, tmp_path) for each in (os.path.dirname(MONITORING), MONITORING)]
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": relative[:1], "components": relative[1:]}))
    rendered = list(yaml.safe_load_all(subprocess.run([kubectl, "kustomize", str(tmp_path)], capture_output=True, text=True, check=True).stdout))
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    dashboard, rules = by_name["ConfigMap", "lastlight-dashboard"], by_name["ConfigMap", "lastlight-rules"]
    with open(os.path.join(MONITORING, "dashboard.json"), encoding="utf-8") as text:
        assert json.loads(dashboard["data"]["lastlight.json"]) == json.load(text)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: yaml.safe_load(text) for name, text in rules["data"].items()} == {os.path.basename(path): load(path) for path in RULES}
    service = by_name["Service", "lastlight-metrics"]["spec"]
    pod = by_name["DaemonSet", "lastlight"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= pod.items() and service["clusterIP"] == "None"
