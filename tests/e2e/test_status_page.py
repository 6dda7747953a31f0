"""The status page in a real browser (headless Chromium), in front of a real agent that serves names and drains a mock node.

Screenshots are kept in build/screenshots. Contrast is measured on what the browser computed, by the formula of WCAG 2.1 (1.4.3, 1.4.11).
"""

import json
import os
import sys
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import needs, ports  # noqa: E402  pylint: disable=wrong-import-position
from rig.agent import zone  # noqa: E402  pylint: disable=wrong-import-position
from rig.coredns import answer, site  # noqa: E402  pylint: disable=wrong-import-position
from rig.proc import wait_until  # noqa: E402  pylint: disable=wrong-import-position
from sandbox import lookups  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.apiserver import ApiServer  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.cluster import Cluster  # noqa: E402  pylint: disable=wrong-import-position
from sandbox.imds import Imds  # noqa: E402  pylint: disable=wrong-import-position

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1")
SHOTS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "build", "screenshots")
NODE = "demo-node"

COLOURS = """
const channel = c => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const parse = text => text.match(/[\\d.]+/g).map(Number);
const behind = node => { for (; node; node = node.parentElement) { const color = parse(getComputedStyle(node).backgroundColor);
  if (color.length < 4 || color[3] > 0) return color; } return [255, 255, 255]; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
"""
# The contrast of every visible text with what is behind it: [ratio, text].
CONTRAST = COLOURS + """
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const text = [...node.childNodes].filter(child => child.nodeType === 3).map(child => child.textContent.trim()).join("");
  if (!text || node.matches("script, style") || !node.getClientRects().length) continue;
  found.push([ratio(parse(getComputedStyle(node).color), behind(node)), text]);
}
return found;
"""
# Of a pod's bar with the groove it lies in, and of the mark of the present with the bar: 1.4.11.
BARS = COLOURS + """
const colour = (bar, part) => parse(getComputedStyle(part ? bar.querySelector(part) : bar).backgroundColor);
return [...document.querySelectorAll(".bar")].filter(bar => bar.querySelector("span") && bar.querySelector("i"))
  .flatMap(bar => [ratio(colour(bar, "span"), colour(bar)), ratio(colour(bar, "i"), colour(bar, "span"))]);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (os.path.exists(CHROMIUM) and os.path.exists(DRIVER)):
        needs.missing("no chromium and chromium-driver: .ci/deps test installs them")
    from selenium import webdriver  # pylint: disable=import-outside-toplevel,import-error
    from selenium.webdriver.chrome.service import Service  # pylint: disable=import-outside-toplevel,import-error
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(service=Service(DRIVER), options=options)
    yield running
    running.quit()


@pytest.fixture
def served(agent_factory, coredns_factory, tmp_path):
    """The agent between two mocks, and the address of its page."""
    token = tmp_path / "token"
    token.write_text("demo-token")
    upstream = coredns_factory(site(".", answer("203.0.113.7", ttl=1)))
    with Imds() as imds, ApiServer(Cluster(NODE)) as api:
        (port,) = ports.free_ports(1)
        agent = agent_factory({
            "node-name": NODE, "http": {"status": f"127.0.0.1:{port}"}, "dns": {"zones": [zone(".", upstream)]},
            "interruption": {"source": "aws", "metadata-url": imds.url},
            "kubernetes": {"api-server": api.url, "token-file": str(token), "ca-file": ""}})
        with lookups.Asker(tuple(f"host-{number}.example" for number in range(20)), agent.port, every=0.02, timeout=2.0):
            yield f"http://127.0.0.1:{port}/", imds, agent


def text(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", name)


def look(browser, name):
    """In both colour schemes and at two widths: nothing is cut off, and every text can be read."""
    os.makedirs(SHOTS, exist_ok=True)
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for width in (360, 1280):
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
            wait_until(lambda: browser.execute_script("return innerWidth") == width, 10, f"a width of {width}")  # pylint: disable=cell-var-from-loop
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, (name, scheme, wide)
            browser.save_screenshot(os.path.join(SHOTS, f"{name}-{scheme}-{width}.png"))
        contrasts = browser.execute_script(CONTRAST)
        assert len(contrasts) > 20
        assert min(contrasts)[0] >= 4.5, (name, scheme, min(contrasts))
        bars = browser.execute_script(BARS)
        assert bool(bars) == (name == "interruption") and min(bars, default=3) >= 3, (name, scheme, min(bars))


def test_the_page_shows_what_the_agent_does(browser, served):  # pylint: disable=redefined-outer-name
    url, imds, agent = served
    browser.get(url)
    wait_until(lambda: text(browser, "state") == "ready" and text(browser, "qps") not in ("–", "0 /s"), 20, "the page to show rates", agent.process)
    assert text(browser, "node") == NODE
    assert "answering" in text(browser, "upstreams") and "NOERROR" in text(browser, "responses")
    assert not browser.execute_script("return document.getElementById('interruption').getClientRects().length"), "nothing is announced"
    look(browser, "calm")

    imds.set_notice(after=0, window=100)  # budgets refuse for most of it
    wait_until(lambda: "s left" in text(browser, "countdown") and "evicted" in text(browser, "pods"), 20, "the countdown and the pods", agent.process)
    assert "spot-terminate" in text(browser, "notice") and "cordoned" in text(browser, "summary")
    first = int(text(browser, "countdown").split()[0])
    wait_until(lambda: int(text(browser, "countdown").split()[0]) < first, 10, "the countdown to go on", agent.process)
    with urllib.request.urlopen(url + "status", timeout=5) as reply:
        status = json.load(reply)
    shown, pods = text(browser, "pods"), status["interruption"]["drain"]["pods"]
    assert len(pods) > 8 and all(f"{pod['namespace']}/{pod['name']}" in shown for pod in pods)
    assert {"stays", "refused"} <= {pod["fate"] for pod in pods}
    look(browser, "interruption")
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == [], "no script error, nothing refused by the policy"


def test_the_page_says_when_the_agent_is_gone(browser, served):  # pylint: disable=redefined-outer-name
    url, _, agent = served
    browser.get(url)
    wait_until(lambda: text(browser, "state") == "ready", 20, "the page", agent.process)
    agent.stop()
    wait_until(lambda: text(browser, "state").startswith("no answer"), 10, "the page to say so")
    browser.get_log("browser")  # a failed fetch is logged: not the next test's


def test_status_is_read_only_and_only_status(served):  # pylint: disable=redefined-outer-name
    url, _, agent = served
    # Of what a client asked: the agent's question to itself is an answer too, before any.
    wait_until(lambda: agent.metrics().get("lastlight_dns_wait_seconds_count", 0) >= 1, 20, "a client's answer", agent.process)
    with urllib.request.urlopen(url + "status", timeout=5) as reply:
        assert reply.headers["Content-Type"] == "application/json" and reply.headers["Cache-Control"] == "no-store"
        status = json.load(reply)
    assert status["node"] == NODE and status["ready"] is True and status["interruption"]["notice"] is None
    assert status["cache"]["budget_bytes"] == 32 << 20
    for path, data, expected in (("status", b"{}", 405), ("metrics", None, 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + path, data=data, timeout=5)
        assert refused.value.code == expected
    assert status["dns"]["responses"]["NOERROR"] >= 1
    metrics = agent.metrics()
    assert metrics["lastlight_process_anonymous_bytes"] > 1 << 20
    assert metrics["lastlight_dns_wait_seconds_count"] >= 1
