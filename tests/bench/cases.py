"""Tests as benchmarks, the second part of `make bench-upstream`: scenes at full rate, with limits on what anybody waits, and the
fault cases against the agent and against CoreDNS as node cache, by the same scripts. Appends to UPSTREAM.md.

A script asks of CoreDNS only what clients see; what the agent alone tells is whatever the script wants of it (rig/node_cache.py).
Fails when the agent does. `--short` runs the scenes as `make test` does, without their limits on waits.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FULL = {"LASTLIGHT_GATED": "1", "LASTLIGHT_RATE": "2000", "LASTLIGHT_SILENCE_TTL": "30", "LASTLIGHT_FLOOD_RATE": "50000"}
SCENES = ["test_dns_silence.py", "test_dns_rollout.py", "test_dns_crowds.py", "test_dns_search_path.py",
          "test_dns_upstreams.py::test_one_slow_name_does_not_slow_the_zone"]
SUBJECTS = {"agent": "lastlight", "node-cache": "CoreDNS as node cache"}
# Cases 1 to 11, 21, 25 and 26; tests/e2e/test_dns_cases.py says which is where.
SCRIPTS = ["test_dns_cases.py", "test_dns_outages.py::test_a_silent_upstream_is_given_up_in_time", "test_dns_outages.py::test_the_next_upstream_is_asked",
           "test_dns_upstreams.py::test_one_slow_name_does_not_slow_the_zone", "test_dns_upstreams.py::test_a_broken_connection_is_replaced",
           "test_dns_upstreams.py::test_a_rollout_of_the_only_upstream_fails_nobody", "test_dns_upstreams.py::test_upstreams_may_die_one_by_one",
           "test_dns_upstreams.py::test_a_loop_is_found_and_the_rest_serves", "test_dns_rollout.py"]


def outcomes(scripts, directory, env):
    """{script: (None or the first line of what went wrong, what it printed)}"""
    results = os.path.join(directory, "results.xml")
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={results}", "-o", "junit_logging=system-out",
                    *[os.path.join(ROOT, "tests", "e2e", each) for each in scripts]],
                   env={**os.environ, "LASTLIGHT_NO_SKIP": "1", **env}, stdout=subprocess.DEVNULL, check=False, timeout=1200)
    found = {}
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        wrong = [each for each in case if each.tag in ("failure", "error", "skipped")]
        said = "".join(each.text or "" for each in case if each.tag == "system-out")
        found[case.get("name").removeprefix("test_")] = (wrong[0].get("message", "").splitlines()[0][:90] if wrong else None,
                                                         [line for line in said.splitlines() if line and not line.startswith("----")])
    return found


def scenes(directory, env):
    """(lines, whether all hold)"""
    found = outcomes(SCENES, directory, env)
    lines = ["## Scenes at full rate", ""]
    for name, (wrong, said) in found.items():
        lines.append(f"- `{name}`: {'holds' if wrong is None else 'FAILS: ' + wrong}")
        lines += [f"  - {line}" for line in said]
    return lines, bool(found) and all(wrong is None for wrong, _ in found.values())


def compared(directory):
    """(lines, whether all hold for the agent)"""
    ours, theirs = [outcomes(SCRIPTS, directory, {"LASTLIGHT_SUBJECT": subject}) for subject in SUBJECTS]
    lines = ["## Fault cases", "", f"| script | {' | '.join(SUBJECTS.values())} |", "| --- | --- | --- |"]
    for name, (wrong, _) in ours.items():
        told, _ = theirs.get(name, ("not run", []))
        lines.append(f"| `{name}` | {'holds' if wrong is None else 'FAILS: ' + wrong} | {'holds' if told is None else 'fails: ' + told} |")
    held = [sum(wrong is None for wrong, _ in each.values()) for each in (ours, theirs)]
    lines += ["", f"{held[0]} of {len(ours)} hold for lastlight, {held[1]} for CoreDNS as node cache."]
    return lines, 0 < held[0] == len(ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--results", default=os.path.join(ROOT, "tests", "bench", "UPSTREAM.md"))
    options = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory(prefix="cases") as directory:
        for part in (lambda: scenes(directory, {} if options.short else FULL), lambda: compared(directory)):
            lines, holds = part()
            kept &= holds
            text = "\n" + "\n".join(lines) + "\n"
            print(text, flush=True)
            with open(options.results, "a", encoding="utf-8") as file:
                file.write(text)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
