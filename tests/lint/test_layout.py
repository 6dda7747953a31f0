"""The arrows of the design, held by a test: who may include whom, one door per library, cores that know no I/O.

The link side (a core library links no I/O library) is checked by .ci/cmake/Layout.cmake whenever CMake runs; here it is made to fail
once, as every rule here is: a check that cannot fail checks nothing.
"""

import fnmatch
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TOP = {"CMakeLists.txt", "CMakePresets.json", "Makefile", "agent", "dnscache", "interrupt", "metrics", "manifests", "tests",
       "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "OPERATIONS.md", "CONFIGURATION.md", "COMPARISON.md", "MIGRATION.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"}

# What the files of a part may include of ours. The first pattern that matches a file is its part.
VALUES = ["agent/base/*", "agent/config.h"]
CORE_OF = {"dnscache": [*VALUES, "dnscache/*"], "interrupt": [*VALUES, "agent/kube/*", "interrupt/*"]}
MATRIX = [
    ("agent/base/log.*", ["agent/base/*", "agent/config.h"]),  # takes its level and format as the configuration has them
    ("agent/base/*", ["agent/base/*"]),
    ("agent/config.h", VALUES),
    ("agent/config/*", VALUES + ["agent/config/*"]),
    ("agent/io/*", ["agent/base/*", "agent/io/*"]),
    ("agent/kube/*", VALUES + ["agent/kube/*"]),
    ("agent/leaving.*", VALUES + ["agent/leaving.*"]),
    ("agent/http/*", VALUES + ["agent/http/*", "agent/kube/*"]),
    ("agent/*", ["*"]),  # the composition root and the commands
    ("dnscache/*", CORE_OF["dnscache"] + ["agent/io/*"]),
    ("interrupt/*", CORE_OF["interrupt"] + ["agent/io/*"]),
    # Reads the counters that stand beside the logic; nobody below the root includes it.
    ("metrics/*", VALUES + ["metrics/*", "dnscache/*", "interrupt/*", "agent/http/*"]),
    ("tests/*", ["*"]),
]

# Library header -> the only files that may include it.
DOORS = {
    r"uv\.h|uv/.*": ["agent/io/*"],
    r"curl/.*": ["agent/io/http_client.cpp", "agent/io/http_sockets.*", "agent/io/http_transfer.*", "tests/bench/poll_curl.cpp"],
    r"microhttpd\.h": ["agent/io/http_server.cpp"],
    r"ares.*\.h": ["dnscache/upstream_channel.cpp"],
    r"nlohmann/.*": ["agent/base/json.h", "agent/base/json.cpp"],
    r"yaml-cpp/.*": ["agent/config/*"],
    r"prometheus/.*": ["metrics/families.cpp"],
    r"spdlog/.*|fmt/.*": ["agent/base/log.cpp"],
    r"CLI/.*": ["agent/cli/*"],
    r"nftables/.*|libmnl/.*|libnl.*|netlink/.*": ["dnscache/takeover/*"],
    r"catch2/.*|catch\.hpp": ["tests/support/*"],
    r"benchmark/.*": ["tests/bench/*"],
    # No threads; GCC 12 has neither of the last two.
    r"thread|mutex|shared_mutex|condition_variable|future|format|print": [],
}
# What a core may not reach, by whatever chain of includes. Structures of addresses are values; what opens or waits is not.
NOT_IN_A_CORE = r"sys/epoll\.h|sys/un\.h|sys/ioctl\.h|sys/wait\.h|poll\.h|netdb\.h|fcntl\.h|unistd\.h|fstream|filesystem|iostream|csignal|signal\.h"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def sources(root):
    for folder in ("agent", "dnscache", "interrupt", "metrics", "tests"):
        for where, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = [each for each in folders if not each.startswith((".", "__"))]
            yield from (os.path.relpath(os.path.join(where, name), root) for name in names if name.endswith((".h", ".cpp", ".hpp", ".cc", ".c")))


def includes(root):
    """{file: (our headers it includes, the others)}"""
    found = {}
    for file in sources(root):
        with open(os.path.join(root, file), encoding="utf-8") as text:
            pairs = INCLUDE.findall(text.read())
        found[file] = ([ours for ours, _ in pairs if ours], [other for _, other in pairs if other])
    return found


def broken_arrows(root):
    found, wrong = includes(root), []
    for file, (ours, others) in sorted(found.items()):
        allowed = next((allowed for part, allowed in MATRIX if matches(file, [part])), None)
        if allowed is None:
            wrong.append(f"{file} belongs to no part of the design")
            continue
        for header in ours:
            if not matches(header, [part for part, _ in MATRIX]):
                wrong.append(f'{file} includes "{header}": ours are named from the repository root, libraries stand in <>')
            if not matches(header, allowed):
                wrong.append(f"{file} includes {header}; it may include {', '.join(allowed)}")
            if header.startswith("tests/") and not file.startswith("tests/"):
                wrong.append(f"{file} includes {header}")
        for header in others + ours:
            for library, doors in DOORS.items():
                if re.fullmatch(library, header) and not matches(file, doors) and not (doors == [] and file.startswith("tests/")):
                    wrong.append(f"{file} includes <{header}>, which only {', '.join(doors) or 'nobody'} may")
    return wrong


def impure_cores(root, cores):
    """For every source of a core library, the chain of includes by which it reaches something that does I/O."""
    found, wrong = includes(root), []
    libraries = "|".join(library for library in DOORS if "nlohmann" not in library)
    for core in cores:
        chains, seen = [(core,)], {core}
        while chains:
            chain = chains.pop()
            ours, others = found.get(chain[-1], ((), ()))
            for header in others:
                if re.fullmatch(f"{libraries}|{NOT_IN_A_CORE}", header):
                    wrong.append(" -> ".join(chain) + f" -> <{header}>")
            for header in ours:
                if header.startswith("agent/io/"):
                    wrong.append(" -> ".join(chain) + f" -> {header}")
                elif header not in seen:
                    seen.add(header)
                    chains.append((*chain, header))
    return wrong


@pytest.fixture(scope="module")
def cores(tmp_path_factory):
    """The sources of the core libraries, as CMake has them."""
    build = tmp_path_factory.mktemp("configured")
    subprocess.run(["cmake", "-S", ROOT, "-B", str(build), "-DLASTLIGHT_TESTS=OFF", "--log-level=WARNING"], check=True, text=True, capture_output=True)
    return (build / "cores.txt").read_text().split()


@pytest.fixture
def copy(tmp_path):
    """A copy of the tree for a planted violation."""
    for folder in ("agent", "dnscache", "interrupt", "metrics"):
        shutil.copytree(os.path.join(ROOT, folder), tmp_path / folder)
    (tmp_path / "tests").mkdir()
    return tmp_path


def test_the_top_level_is_the_designs():
    there = subprocess.run(["git", "-C", ROOT, "ls-files"], text=True, capture_output=True, check=True).stdout.split("\n")
    assert {path.split("/")[0] for path in there if path and not path.startswith(".")} <= TOP


def test_every_include_follows_an_arrow():
    assert broken_arrows(ROOT) == []


def test_no_core_reaches_io(cores):
    assert "agent/base/address.cpp" in cores
    assert impure_cores(ROOT, cores) == []


@pytest.mark.parametrize("file, line", [
    ("dnscache/planted.cpp", '#include "interrupt/drain.h"'),
    ("interrupt/planted.h", '#include "dnscache/cache.h"'),
    ("agent/base/planted.h", '#include "agent/io/loop.h"'),
    ("agent/io/planted.h", '#include "dnscache/wire.h"'),
    ("agent/kube/planted.cpp", '#include "agent/io/loop.h"'),
    ("dnscache/planted.cpp", '#include "metrics/families.h"'),
    ("dnscache/planted.cpp", '#include "agent/app.h"'),
    ("dnscache/planted.cpp", '#include "wire.h"'),
    ("dnscache/planted.cpp", "#include <uv.h>"),
    ("agent/io/planted.cpp", "  #  include <curl/curl.h>"),
    ("agent/io/http_client.cpp", "#include <microhttpd.h>"),
    ("dnscache/server.cpp", "#include <ares.h>"),
    ("interrupt/planted.cpp", "#include <nlohmann/json.hpp>"),
    ("agent/app.cpp", "#include <yaml-cpp/yaml.h>"),
    ("metrics/planted.cpp", "#include <prometheus/registry.h>"),
    ("agent/main.cpp", "#include <spdlog/spdlog.h>"),
    ("dnscache/planted.cpp", "#include <CLI/CLI.hpp>"),
    ("agent/io/planted.cpp", "#include <thread>"),
    ("agent/app.cpp", '#include "tests/support/random.h"'),
])
def test_a_planted_include_is_found(copy, file, line):  # pylint: disable=redefined-outer-name
    with open(copy / file, "a", encoding="utf-8") as out:
        out.write(f"\n{line}\n")
    header = re.split(r'["<>]', line)[1]
    assert [each for each in broken_arrows(copy) if each.startswith(f"{file} ") and header in each], line


@pytest.mark.parametrize("line", ['#include "agent/io/loop.h"', "#include <unistd.h>", "#include <uv.h>"])
def test_a_core_that_reaches_io_is_found(copy, line):  # pylint: disable=redefined-outer-name
    for name, content in (("planted.cpp", '#include "dnscache/planted.h"'), ("planted.h", '#include "dnscache/deeper.h"'), ("deeper.h", line)):
        (copy / "dnscache" / name).write_text(content + "\n")
    found = impure_cores(copy, ["dnscache/planted.cpp"])
    assert len(found) == 1 and found[0].startswith("dnscache/planted.cpp -> dnscache/planted.h -> dnscache/deeper.h -> ")


@pytest.mark.parametrize("link, verdict", [("lastlight_clean ll_json", None), ("ll_uv", "links ll_uv"), ("lastlight_via", "links ll_uv"), ("lastlight_shelly", "links lastlight_shelly")])
def test_a_core_that_links_io_does_not_configure(tmp_path, link, verdict):
    (tmp_path / "a.cpp").write_text("int a() { return 1; }\n")
    (tmp_path / "CMakeLists.txt").write_text(f"""
        cmake_minimum_required(VERSION 3.25)
        project(planted CXX)
        list(APPEND CMAKE_MODULE_PATH "{ROOT}/.ci/cmake")
        include(Options)
        include(Layout)
        add_library(ll_uv INTERFACE)
        add_library(ll_json INTERFACE)
        lastlight_core(lastlight_clean SOURCES a.cpp)
        lastlight_core(lastlight_planted SOURCES a.cpp LINK {link})
        {"lastlight_core(lastlight_via SOURCES a.cpp LINK ll_uv)" if link == "lastlight_via" else ""}
        lastlight_shell(lastlight_shelly SOURCES a.cpp LINK ll_uv)
        lastlight_check_layout()
    """)
    run = subprocess.run(["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build")], text=True, capture_output=True, check=False)
    assert (run.returncode == 0) == (verdict is None), run.stderr
    assert verdict is None or verdict in re.sub(r"\s+", " ", run.stderr)
