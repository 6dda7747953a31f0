"""The fault cases against the agent and against CoreDNS as node cache, by the same scripts: `make bench-upstream`'s last part.

Prints a table: each script, and what became of it before either. A script asks of CoreDNS only what clients see; what the agent
alone tells is whatever the script wants of it (rig/node_cache.py). Fails when the agent does.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SUBJECTS = {"agent": "lastlight", "node-cache": "CoreDNS as node cache"}
# Cases 1 to 11, 21, 25 and 26; tests/e2e/test_dns_cases.py says which is where.
SCRIPTS = ["test_dns_cases.py", "test_dns_outages.py::test_a_silent_upstream_is_given_up_in_time", "test_dns_outages.py::test_the_next_upstream_is_asked",
           "test_dns_upstreams.py::test_one_slow_name_does_not_slow_the_zone", "test_dns_upstreams.py::test_a_broken_connection_is_replaced",
           "test_dns_upstreams.py::test_a_rollout_of_the_only_upstream_fails_nobody", "test_dns_upstreams.py::test_upstreams_may_die_one_by_one",
           "test_dns_upstreams.py::test_a_loop_is_found_and_the_rest_serves", "test_dns_rollout.py"]


def outcomes(subject, directory):
    """{script: None or the first line of what went wrong}"""
    results = os.path.join(directory, f"{subject}.xml")
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={results}",
                    *[os.path.join(ROOT, "tests", "e2e", each) for each in SCRIPTS]],
                   env={**os.environ, "LASTLIGHT_SUBJECT": subject}, stdout=subprocess.DEVNULL, check=False, timeout=1200)
    found = {}
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        wrong = [each for each in case if each.tag in ("failure", "error", "skipped")]
        found[case.get("name").removeprefix("test_")] = wrong[0].get("message", "").splitlines()[0][:90] if wrong else None
    return found


def main():
    with tempfile.TemporaryDirectory(prefix="cases") as directory:
        ours, theirs = [outcomes(subject, directory) for subject in SUBJECTS]
    width = max(map(len, ours))
    print(f"{'script':{width}} | {' | '.join(SUBJECTS.values())}")
    for name, wrong in ours.items():
        told = theirs.get(name, "not run")
        print(f"{name:{width}} | {'holds' if wrong is None else 'FAILS: ' + wrong} | {'holds' if told is None else 'fails: ' + told}")
    failed = [name for name, wrong in ours.items() if wrong is not None]
    print(f"{len(ours) - len(failed)} of {len(ours)} hold for lastlight, {sum(each is None for each in theirs.values())} for CoreDNS as node cache")
    return 1 if failed or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
