"""What `.ci/release` refuses to call a release: a tree, a tag, versions and a changelog that do not agree. In a small repository of what it looks at."""

import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AUTHOR = {f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Clone:
    """Version 1.2.3, ready to be released."""

    def __init__(self, folder):
        self.folder = folder
        (folder / ".ci").mkdir()
        shutil.copy(os.path.join(ROOT, ".ci", "release"), folder / ".ci" / "release")
        (folder / "manifests").mkdir()
        (folder / "manifests" / ".helmignore").write_text("")
        self.write("CMakeLists.txt", "project(lastlight VERSION 1.2.3 LANGUAGES C CXX)\n")
        self.write("manifests/Chart.yaml", "name: lastlight\nversion: 1.2.3\nappVersion: 1.2.3\n")
        self.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 1.2.3\n\n- New.\n\n## 1.2.2\n\n- Old.\n")
        self.write("README.md", "State: 1.2. `lastlight-1.2.3-amd64.oci.tar`, newTag: v1.2.3}\n")
        self.git("init", "--quiet")
        self.commit()
        self.git("tag", "v1.2.3")

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def git(self, *words):
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, env={**os.environ, **AUTHOR})

    def commit(self, tag=None):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        if tag:
            self.git("tag", "--force", tag)

    def release(self, what="check"):
        done = subprocess.run([self.folder / ".ci" / "release", *([what] if what else [])], cwd=self.folder, text=True, capture_output=True, timeout=60,
                              check=False, env={"PATH": os.environ["PATH"], "HOME": str(self.folder)})
        assert (done.returncode == 0) == (done.stderr == ""), done.stderr
        return done.stderr or done.stdout


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_it_takes_what_agrees(clone):  # pylint: disable=redefined-outer-name
    assert clone.release() == "release: 1.2.3 can be made\n"
    clone.git("tag", "--force", "--annotate", "--message", "x", "v1.2.3")
    clone.write("CHANGELOG.md", "## Unreleased\n## 1.2.3 - 2026-01-02\n- New.\n")
    clone.commit(tag="v1.2.3")
    assert clone.release() == "release: 1.2.3 can be made\n"


@pytest.mark.parametrize("name, text, complaint", [
    ("CMakeLists.txt", "project(lastlight VERSION 1.2 LANGUAGES C CXX)\n", "no version like 1.2.3"),
    ("manifests/Chart.yaml", "version: 1.2.2\nappVersion: 1.2.3\n", "Chart.yaml: version is not 1.2.3"),
    ("manifests/Chart.yaml", "version: 1.2.3\nappVersion: \"1.2.30\"\n", "Chart.yaml: appVersion is not 1.2.3"),
    ("CHANGELOG.md", "## Unreleased\n\n## 1.2.30\n\n- New.\n", "no part '## 1.2.3'"),
    ("CHANGELOG.md", "## 1.2.3\n\n## 1.2.2\n\n- Old.\n", "no part '## 1.2.3', or nothing in it"),
    ("README.md", "State: 1.2, unreleased\n", "this is a release, but ./README.md:1:State"),
    ("SECURITY.md", "\nNo release exists yet\n", "this is a release, but ./SECURITY.md:2:No release"),
    ("README.md", "`lastlight-1.2.2-amd64.oci.tar`\n", "another version: ./README.md:1:lastlight-1.2.2"),
    ("README.md", "newTag: v1.2.2}\n", "another version: ./README.md:1:newTag: v1.2.2"),
    ("CHANGELOG.md", "## Unreleased\n\n- Newer.\n\n## 1.2.3\n\n- New.\n", "still has something unreleased"),
])
@pytest.mark.parametrize("what", ["check", None])
def test_it_refuses_what_does_not_agree(clone, name, text, complaint, what):  # pylint: disable=redefined-outer-name
    clone.write(name, text)
    clone.commit(tag="v1.2.3")
    assert complaint in clone.release(what)
    assert not (clone.folder / "build").exists()


def test_it_refuses_a_tree_that_the_tag_does_not_name(clone):  # pylint: disable=redefined-outer-name
    clone.write("new", "")
    assert "not committed" in clone.release()
    clone.commit()
    assert "HEAD has no tag v1.2.3" in clone.release()
    clone.git("tag", "--delete", "v1.2.3")
    assert "HEAD has no tag v1.2.3" in clone.release() and "HEAD has no tag v1.2.3" in clone.release(None)
    assert "what is no?" in clone.release("no")


def test_a_release_in_the_making_replaces_none_before_it_is_accepted(clone):  # pylint: disable=redefined-outer-name
    (clone.folder / ".git" / "info" / "exclude").write_text("/build/\n")
    (clone.folder / "build" / "dist").mkdir(parents=True)
    clone.write("build/dist/SHA256SUMS", "")
    clone.write("new", "")
    assert "not committed" in clone.release(None)
    assert (clone.folder / "build" / "dist" / "SHA256SUMS").exists()
