"""OPERATIONS.md cannot drift: its tables have every metric that the sources publish and every Event they write, its sections are the alerts,
its links lead somewhere."""

import os
import re
import shutil
import subprocess

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUFFIX = {"counter": "_total", "gauge": "", "histogram": "_seconds"}
PUBLISHED = re.compile(r'\b(counter|gauge|histogram)\(\s*"(\w+)"')
ROW = re.compile(r"^\| `(lastlight_\w+)` \| (\w+) \| (.*) \| (.+) \|$", re.MULTILINE)


# Where a reason stands: NodeEvents::warn, Drain::tell_node and tell_pod, and what event_reason() returns.
REASON = re.compile(r"""(?:events_?(?:\.|->)warn\(|\btell_node\(\s*\w+,\s*"\w+",|\btell_pod\(\s*\w+,\s*[\w.]+,|^\s+return)\s*"([A-Z][A-Za-z]+)\"""", re.MULTILINE)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as text:
        return text.read()


def published(source):
    return {f"lastlight_{name}{SUFFIX[kind]}": kind for kind, name in PUBLISHED.findall(source)}


def anchors(text):
    """Of a document's headings, as a forge makes them."""
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def alerts():
    return [rule for group in yaml.safe_load(read("manifests", "monitoring", "alerts.yaml"))["groups"] for rule in group["rules"]]


def test_the_table_has_every_metric_and_no_other():
    rows = ROW.findall(read("OPERATIONS.md"))
    sources = "".join(read("metrics", name) for name in sorted(os.listdir(os.path.join(ROOT, "metrics"))) if name.endswith(".cpp"))
    wanted = published(sources)
    assert len(wanted) > 50
    assert {name: kind for name, kind, _, _ in rows} == wanted, "add or remove a row under Metrics in OPERATIONS.md"
    assert len(rows) == len(wanted)


def test_a_new_metric_would_be_noticed():
    assert published('f.gauge(\n    "planted_bytes", "Help.", 1); families.histogram("lag", "", h)') == {
        "lastlight_planted_bytes": "gauge", "lastlight_lag_seconds": "histogram"}


def test_no_other_name_is_used():
    known = {name for name, *_ in ROW.findall(read("OPERATIONS.md"))}
    for path in (("OPERATIONS.md",), *(("manifests", "monitoring", name) for name in ("alerts.yaml", "recording.yaml", "dashboard.json"))):
        named = {re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", each) for each in re.findall(r"\blastlight_\w+", read(*path))}
        assert named and named <= known, path


def test_every_alert_has_its_section():
    guide = read("OPERATIONS.md")
    sections = re.findall(r"^### (\w+)$", guide, re.MULTILINE)
    assert sections == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/OPERATIONS.md") and anchor == rule["alert"].lower() and anchor in anchors(guide)
        assert rule["labels"]["severity"] in ("critical", "warning", "info") and rule["annotations"]["summary"]


def test_every_alert_carries_its_section():
    made = subprocess.run([os.path.join(ROOT, ".ci", "runbooks"), "--print"], text=True, capture_output=True, check=True).stdout
    assert read("manifests", "monitoring", "alerts.yaml") == made, "run .ci/runbooks"
    for rule in alerts():
        words = rule["annotations"]["description"].split()
        assert len(words) > 5 and not re.search(r"\]\(|\{\{", " ".join(words)), rule["alert"]


def test_the_runbooks_can_be_led_to_another_place(tmp_path):
    """By the guide's own command: afterwards no link leads to the place that does not exist, and each has its anchor."""
    line, = re.findall(r"^sed -i .*alerts\.yaml$", read("OPERATIONS.md"), re.MULTILINE)
    copied = tmp_path / "manifests" / "monitoring" / "alerts.yaml"
    copied.parent.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "manifests", "monitoring", "alerts.yaml"), copied)
    subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    rules = [rule for group in yaml.safe_load(copied.read_text())["groups"] for rule in group["rules"]]
    assert [rule["annotations"]["runbook_url"] for rule in rules] == [f"https://wiki.example.com/lastlight#{rule['alert'].lower()}" for rule in alerts()]


def test_its_links_lead_somewhere():
    guide = read("OPERATIONS.md")
    links = re.findall(r"\]\(([^)]+)\)", guide)
    assert len(links) > 10
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        assert not path or os.path.exists(os.path.join(ROOT, path)), link
        assert not anchor or anchor in anchors(read(path) if path else guide), link


def reasons():
    """Of the Events that the sources write."""
    found = set()
    for top in ("agent", "dnscache", "interrupt"):
        for where, _, names in os.walk(os.path.join(ROOT, top)):
            for name in (each for each in names if each.endswith(".cpp")):
                text = read(where, name)
                if "event_reason" not in text:
                    text = re.sub(r"^\s+return.*$", "", text, flags=re.MULTILINE)
                found.update(REASON.findall(text))
    return found


def test_the_table_has_every_event_and_no_other():
    section = re.search(r"^## Events\n(.*?)^## ", read("OPERATIONS.md"), re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| `(\w+)` \| (?:Normal|Warning) \| .+ \|$", section, re.MULTILINE)
    assert len(reasons()) > 10
    assert sorted(rows) == sorted(reasons()), "add or remove a row under Events in OPERATIONS.md"


def test_a_new_event_would_be_noticed():
    planted = 'tell_node(now, "Warning", "PlantedError", "text"); tell_pod(\n  now, record.pod, "PlantedPod", "x"); node_events_.warn("PlantedNode",\n'
    assert REASON.findall(planted) == ["PlantedError", "PlantedPod", "PlantedNode"]
