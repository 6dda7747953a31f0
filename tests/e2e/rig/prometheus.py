"""Debian's Prometheus on loopback, with its data in a directory of its own.

    with Prometheus(directory, targets, rules) as prometheus:      # targets: {"host:port": {label: value}}; rules: paths
        prometheus.query("up")                                     # [{"metric": {...}, "value": [instant, "1"]}, ...]
        prometheus.rules(), prometheus.targets()                   # as its API has them

It scrapes twice a second and evaluates as often.
"""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

from .proc import Process, wait_until

_LISTENS = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')


class Prometheus:
    """A context manager, ready when entered."""

    def __init__(self, directory, targets, rules):
        config = os.path.join(directory, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as out:  # JSON is YAML
            json.dump({"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}, "rule_files": list(rules),
                       "scrape_configs": [{"job_name": "lastlight", "static_configs": [{"targets": [each], "labels": labels}
                                                                                       for each, labels in targets.items()]}]}, out)
        self.process = Process("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
                                              "--web.listen-address=127.0.0.1:0"], directory, kill_at_once=True)
        self.url = None

    def __enter__(self):
        try:
            self.url = "http://" + wait_until(lambda: _LISTENS.search(self.process.output()), 20, "Prometheus to listen", self.process)[1]
            wait_until(lambda: self._get("/-/ready"), 20, "Prometheus to be ready", self.process)
        except BaseException:
            self.process.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.process.stop()

    def _get(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as reply:
            return reply.read()

    def _data(self, path, **parameters):
        try:
            return json.loads(self._get(path, **parameters))["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression):
        return self._data("/api/v1/query", query=expression)["result"]

    def rules(self):
        return [rule for group in self._data("/api/v1/rules")["groups"] for rule in group["rules"]]

    def targets(self):
        return self._data("/api/v1/targets")["activeTargets"]
