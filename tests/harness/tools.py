# SPDX-License-Identifier: GPL-2.0
#
# Running what is not pytest: programs in the lab's root, and the results that
# they report in a format of their own. Each result becomes a subtest.
#
# Not here: the formats' writers (tests/build/lib.sh, tests/model, libtest).

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
from tap.parser import Parser

from lab import REPO, cache_dir, env

LAB = REPO / "scripts/lab/lab"
CARGO_TARGET = {"CARGO_TARGET_DIR": str(cache_dir() / "cargo-target")}


def execute(words, timeout, **options):
    """Run a command with a hard time limit; returns (status, output). The
    status is None if it had to be ended."""
    process = subprocess.Popen(
        [str(w) for w in words], stdin=subprocess.DEVNULL, text=True,
        errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, cwd=REPO, preexec_fn=env.die_with_parent,
        **options)
    try:
        out = process.communicate(timeout=timeout)[0]
        return process.returncode, out
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0] + "\n(no end after %d s)" \
            % timeout
    except BaseException:
        env.end_group(process, 30)
        raise


def pytest_apart(arguments, timeout, **variables):
    """Run pytest in a process of its own, where a variable that is None is not
    set; returns (status, output)."""
    environ = {k: v for k, v in {**os.environ, **variables}.items()
               if v is not None and not k.startswith("PYTEST_")}
    return execute([sys.executable, "-m", "pytest", "-n0", "-p",
                    "no:cacheprovider", *arguments], timeout, env=environ)


def junit(file):
    """What a file of JUnit's format says: (outcome, text) by class and name. Of
    a test that was tried again, the last counts."""
    found = {}
    for case in xml.parse(file).iter("testcase") if file.exists() else ():
        name = "%s.%s" % (case.get("classname"), case.get("name"))
        found[name] = "passed", ""
        for kind in ("failure", "error", "skipped"):
            element = case.find(kind)
            if element is not None:
                found[name] = kind, "%s\n%s" % (element.get("message"),
                                                element.text or "")
                break
    return found


def in_root(words, timeout, binds=(), **variables):
    """Run a command in the lab's root file system."""
    options = []
    for folder in binds:
        options += ["-b", folder]
    for name, value in variables.items():
        options += ["-e", "%s=%s" % (name, value)]
    return execute([LAB, "exec", *options, "--", *words], timeout)


def succeed(words, timeout, **options):
    """The same for a command that must succeed; returns its output."""
    __tracebackhide__ = True
    status, out = in_root(words, timeout, **options)
    if status != 0:
        pytest.fail("%s: status %s\n%s" % (" ".join(map(str, words)), status,
                                           tail(out)), pytrace=False)
    return out


def tail(text, lines=30):
    return "\n".join(text.rstrip().splitlines()[-lines:])


def fetch_crates(manifest):
    """Crates of a manifest, into the cache."""
    fetch = ["cargo", "fetch", "--locked", "--manifest-path", manifest]
    if in_root(fetch + ["--offline"], 120)[0] != 0:
        succeed(fetch, 600)


# --- formats --------------------------------------------------------------

def from_ktap(subtests, status, out):
    """Report what a program printed as KTAP; fail if it is not complete. What
    is wrong stands in lines with # below the result."""
    __tracebackhide__ = True
    results, plans, bailed = [], [], ""
    for line in Parser().parse_text(out):
        if line.category == "test":
            results.append((line, []))
        elif line.category == "plan":
            plans.append(line.expected_tests)
        elif line.category == "bail":
            bailed = line.reason
        elif line.category == "diagnostic" and results:
            results[-1][1].append(line.text.lstrip("# "))
    for line, below in results:
        with subtests.test(line.description.removeprefix("- ")):
            if not line.ok:
                pytest.fail("\n".join(below) or "no reason is given",
                            pytrace=False)
            if line.skip:
                pytest.skip(line.directive.reason or "no reason is given")
    failed = sum(not line.ok for line, _ in results)
    numbers = [line.number for line, _ in results]
    if bailed or not results or plans != [len(results)] or \
            numbers != list(range(1, len(results) + 1)) or \
            status is None or bool(status) != bool(failed):
        pytest.fail("status %s, plan %s, %d results, %d failed%s\n%s" % (
            status, plans, len(results), failed,
            bailed and "; it gave up: " + bailed, tail(out)), pytrace=False)


def from_libtest(subtests, status, out):
    """Report the events of a program of Rust tests that was told to print them
    as JSON; fail if they are not complete."""
    __tracebackhide__ = True
    summary, seen = None, {"ok": 0, "failed": 0, "ignored": 0}
    for line in out.splitlines():
        try:
            event = json.loads(line)
            kind, what = event["type"], event["event"]
        except (ValueError, TypeError, KeyError):
            continue                        # what a test printed
        if kind == "suite" and what in ("ok", "failed"):
            summary = event
        elif kind == "test" and what in seen:
            seen[what] += 1
            with subtests.test(event["name"]):
                if what == "ignored":
                    pytest.skip(event.get("message")
                                or "marked #[ignore] without a reason")
                if what == "failed":
                    pytest.fail(tail(event.get("stdout", "failed")),
                                pytrace=False)
    told = summary and {"ok": summary["passed"], "failed": summary["failed"],
                        "ignored": summary["ignored"]}
    if told != seen or not seen["ok"] or status is None or \
            bool(status) != bool(seen["failed"]):
        pytest.fail("status %s, %s, of %s\n%s" % (status, seen, told, tail(out)),
                    pytrace=False)
