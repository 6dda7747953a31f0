"""The shipped examples of hooks: `lastlight check` takes them, and does not take a mistake in one."""

import os

import yaml

from rig.agent import command, write_config
from rig.peers import ROOT

EXAMPLES = os.path.join(ROOT, "manifests", "examples", "hooks.yaml")


def test_the_examples_pass_the_check(tmp_path, agent_binary):  # pylint: disable=unused-argument
    with open(EXAMPLES, encoding="utf-8") as file:
        config = {"node-name": "n", **yaml.safe_load(file)}
    assert {each["name"] for each in config["hooks"]["webhooks"]} == {"slack", "pagerduty", "teams", "gateway"}
    run = command("check", "--config", write_config(tmp_path, config))
    assert run.returncode == 0, run.stderr
    config["hooks"]["webhooks"][0]["body"] = '{"text": "{{ txet }}"}'
    run = command("check", "--config", write_config(tmp_path, config))
    assert run.returncode == 1 and 'hooks.webhooks[0].body: line 1: there is no field "txet"' in run.stderr, run.stderr
