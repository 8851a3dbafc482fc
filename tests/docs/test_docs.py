# SPDX-License-Identifier: GPL-2.0
#
# Tests of the documents: every command in them is tested somewhere or has a
# reason not to be (commands.txt), links lead somewhere, and the manual page and
# the tables are those of the source.
#
# Not here: reading documents (documents.py); running the commands that are for
# a machine (tests/guest/test_documents.py).

import fnmatch
import functools
import os
import re
import subprocess

import pytest

from docs import documents
from docs.documents import HERE, NO_COMMAND, NOT_RUN, REPO
from harness.names import name_of
from harness.tools import pytest_apart, tail


def check(function):
    """Make a test of a function that returns what is wrong, as texts."""
    @functools.wraps(function)
    def test():
        wrong = function()
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)
    return test


def source(path):
    return (REPO / path).read_text()


# --- commands -------------------------------------------------------------

@check
def test_commands_accounted_for():
    """every command is in commands.txt"""
    known = documents.table()
    return ["%s\n  is not in tests/docs/commands.txt" % c
            for c in documents.commands() if c.text not in known]


@check
def test_commands_used():
    """every line of commands.txt is a command in a document"""
    present = {c.text for c in documents.commands()}
    return ["in no document: " + text for text in documents.table()
            if text not in present]


@check
def test_commands_reasons():
    """what is not run has a reason"""
    return ["no reason: %s (%s)" % (text, how)
            for text, how in documents.table().items() if how is None
            or re.match("(%s|%s)(?!: .)" % (NOT_RUN, NO_COMMAND), how)]


@functools.cache
def known_tests():
    """The names of all tests. A name may stand for all tests of a file, or all
    parts of one."""
    status, out = pytest_apart(["--collect-only", "-qq", "tests"], 300)
    if status != 0:
        pytest.fail("collecting: status %s\n%s" % (status, tail(out)), pytrace=False)
    tests = {name_of(line) for line in out.splitlines() if "::" in line}
    for name in list(tests):
        while "." in name:
            name = name.rpartition(".")[0]
            tests.add(name)
    return tests


@check
def test_commands_tests():
    """the tests that commands.txt names exist"""
    tests = known_tests()
    named = {how for how in documents.table().values()
             if how != HERE and not how.startswith((NOT_RUN, NO_COMMAND))}
    return ["there is no test " + how for how in sorted(named - tests)] or \
        (["no test is named"] if not named else [])


def covers(name, tests):
    """Is there such a test? `*` stands for several."""
    if name.startswith("host::"):
        module, _, function = name.removeprefix("host::").partition("::")
        path = REPO / "tests/host/src/tests" / (module + ".rs")
        return path.exists() and (not function or "fn %s(" % function in path.read_text())
    wanted = [name, "guest.conformance." + name]
    return any(fnmatch.filter(tests, one) for one in wanted)


@check
def test_covered_by():
    """every row of a table with the column "covered by" names tests, and these
    exist; so do the rules of the model"""
    tests, seen, wrong = known_tests(), 0, []
    rules = set(re.findall(r"^    ([A-Z]\w+),$", re.search(
        r"^pub\(crate\) enum Rule \{\n(.*?)^\}", source("tests/model/src/world.rs"),
        re.M | re.S)[1], re.M))
    explorations = set(re.findall(r'with\("([^"]+)"', source("tests/model/src/bounds.rs")))
    for path, text in documents.markdown().items():
        for body in re.findall(r"^\|.* covered by \|\n\|[-|]+\n((?:\|.*\n)+)", text, re.M):
            for row in body.splitlines():
                cell = row.rstrip(" |").rpartition(" | ")[2]
                names = re.findall(r"`([^`]+)`", cell)
                words = re.findall(r"\*(\w+)\*", re.sub(r"`[^`]+`", "", cell))
                seen += len(names) + len(words)
                wrong += ["%s: nothing covers %s" % (path, row)] * (not names and not words)
                wrong += ["%s: there is no test %s" % (path, name)
                          for name in names if not covers(name, tests)]
                wrong += ["%s: the model has no rule %s" % (path, word)
                          for word in words if word not in rules | explorations]
    return wrong or ([] if seen > 300 else ["only %d were found" % seen])


@check
def test_commands_here():
    """the commands that are for here succeed and print something"""
    wrong = []
    for text in documents.tested_by(HERE):
        done = subprocess.run(["sh", "-c", text], cwd=REPO, text=True,
                              stdin=subprocess.DEVNULL, timeout=600,
                              capture_output=True)
        if done.returncode or not done.stdout.strip():
            wrong.append("%s: status %d\n%s%s" % (text, done.returncode,
                                                  done.stdout[-1500:],
                                                  done.stderr[-1500:]))
    return wrong


@check
def test_make_targets():
    """every target that documents name is in make help"""
    done = subprocess.run(["make", "-s", "-C", REPO, "help"], text=True,
                          check=True, capture_output=True)
    known = set(re.findall(r"^  make (\S+)", done.stdout, re.M))
    wrong, seen = [], 0
    for path, text in documents.markdown().items():
        code = re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
        code += [c.text for c in documents.in_markdown(path, text)]
        for words in code:
            for order in re.findall(r"(?:^|[;&|(] *)(?:[A-Z_]+=\S* )*make((?: [^ ;&|<>)]+)+)",
                                    re.sub(r"'[^']*'", "''", words)):
                # Those of the kernel and of SCST are not ours.
                if re.search(r" -C | M=|olddefconfig|modules_prepare", order + " "):
                    continue
                for word in order.split():
                    if re.fullmatch(r"[a-z][a-z_-]*", word):
                        seen += 1
                        if word not in known:
                            wrong.append("%s: make %s" % (path, word))
    return wrong or ([] if seen > 20 else ["only %d were found" % seen])


# --- links ----------------------------------------------------------------

def anchors(text):
    """Those that GitHub makes of headings."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-")
            for h in heads}


@check
def test_links():
    """links between documents lead to a file and a heading"""
    texts, wrong, seen = documents.markdown(), [], 0
    for path, text in texts.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            seen += 1
            name, _, anchor = target.partition("#")
            file = ((REPO / path).parent / name).resolve() if name else REPO / path
            inside = os.path.relpath(file, REPO)
            if not file.exists():
                wrong.append("%s: no %s" % (path, target))
            elif anchor and anchor not in anchors(texts.get(inside, "")):
                wrong.append("%s: no heading for %s" % (path, target))
    return wrong or ([] if seen > 50 else ["only %d were found" % seen])


# --- what the source has --------------------------------------------------

@check
def test_layers():
    """the picture of the layers is that of the source"""
    done = subprocess.run([REPO / "scripts/layers.py", "--dot"], text=True,
                          check=True, capture_output=True)
    drawn = source("docs/layers.svg").count('class="edge"')
    arrows = done.stdout.count("label=")
    return ["docs/layers.dot is not of this source: make layers"] * (
        source("docs/layers.dot") != done.stdout) + [
        "docs/layers.svg has %d arrows, not %d: make layers" % (drawn, arrows)
    ] * (drawn != arrows)


@check
def test_kernels():
    """install.md says of the supported series that they load, and of no other"""
    supported = re.search(r'^SUPPORTED_SERIES="(.*)"$', source("scripts/kdir.sh"), re.M)[1].split()
    table = re.search(r"^\| series \|.*?\n\n", source("docs/install.md"), re.M | re.S)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]]
            for line in table.strip().splitlines()[2:]]
    loaded = {row[0] for row in rows if row[2:4] == ["yes", "yes"]}
    unproven = ["no command shows it: " + " ".join(row) for row in rows
                if row[2] == "yes" and "`" not in row[5]]
    return differences(loaded, set(supported), "series") + unproven


def parameters(*paths):
    found = []
    for path in paths:
        found += re.findall(r"^module_param_(?:named|call)\((\w+),", source(path), re.M)
    return set(found)


def files_in(path):
    """The names of the files in the tables of a source."""
    return set(re.findall(r'(?<!Some)\(\s*c"(\w+)",', source(path)))


def manual(section):
    """A section of ib_srpt(4), without the fonts."""
    text = source("scripts/deb/debian/ib_srpt.4")
    body = re.search(r"^\.SH %s\n(.*?)(?=^\.SH |\Z)" % section, text, re.M | re.S)[1]
    return body.replace("\\-", "-")


def differences(found, wanted, what):
    if not wanted:
        return ["the source has no " + what]
    return ["%s missing: %s" % (what, name) for name in sorted(wanted - found)] + \
        ["%s that is not there: %s" % (what, name) for name in sorted(found - wanted)]


@check
def test_manual_parameters():
    """ib_srpt(4) has the parameters of both engines, and no others"""
    wrong = differences(
        set(re.findall(r'^\.BI "?(\w+)=', manual("PARAMETERS"), re.M)),
        parameters("src/params.c"), "parameter")
    return wrong + differences(
        set(re.findall(r'^\.BI "?(\w+)=', manual("SCST"), re.M)),
        parameters("src/engine/scst/params.c"), "parameter with SCST")


@check
def test_manual_attributes():
    """ib_srpt(4) has the attributes in configfs"""
    found = re.findall(r"/attrib/(\w+)|/ initiator /(\w+)|^\.I srpt/(?:discovery_auth/)?(\w+)$",
                       manual("CONFIGFS"), re.M)
    return differences({"".join(groups) for groups in found},
                       files_in("src/engine/lio/attrs.rs"), "attribute")


@check
def test_manual_sysfs():
    """ib_srpt(4) has every file in sysfs"""
    text, wanted = manual("SYSFS"), files_in("src/admin/files.rs")
    return differences(set(re.findall(r"\w+", text)) & wanted, wanted, "file")


UNITS = {"Flag": r"\b1\b", "Bytes": "bytes", "Seconds": "seconds", "Commands": "commands", "Requests": "requests",
         "Units": "information units", "Transfers": "transfers", "Entries": "entries", "Channels": "channels",
         "Logins": "logins", "Vector": "completion vector", "PortNumber": "port number"}


@check
def test_abi_units():
    """docs/ABI has every file in sysfs, and says what its number counts"""
    about, wrong = {}, []
    for block in source("docs/ABI/sysfs-class-infiniband_srpt").split("\n\nWhat:"):
        names = re.findall(r"/(\w+)$", block, re.M) + re.findall(r"^\t\t(\w+)\t", block, re.M)
        names += re.findall(r"(\w+) \(0x\w+\)", block)
        for name in names:
            about[name] = about.get(name, "") + " ".join(block.split()).lower()
    found = re.findall(r'c"(\w+)",\s*Unit::(\w+),|port_attr!\(c"(\w+)", (\w+),|'
                       r'\b(?:stage|refusal)\(\s*c"(\w+)"', source("src/admin/files.rs"))
    units = {a or b or c: unit or word for a, unit, b, word, c in found}
    if set(units) != files_in("src/admin/files.rs"):
        wrong.append("entries without a unit, or not understood: %s"
                     % sorted(set(units) ^ files_in("src/admin/files.rs")))
    for name, unit in units.items():
        if name not in about:
            wrong.append("file missing: " + name)
        elif unit in UNITS and not re.search(UNITS[unit], about[name]):
            wrong.append("%s: nothing says %s" % (name, unit))
    return wrong


@check
def test_manual_tracepoints():
    """ib_srpt(4) has every tracepoint, and no others"""
    found = re.findall(r"\b(srpt_\w+)\b", manual("TRACEPOINTS"))
    names = re.findall(r"^(?:TRACE_EVENT\(|DEFINE_EVENT\(srpt_\w+, )(srpt_\w+),",
                       source("src/srpt_trace.h"), re.M)
    return differences(set(found), set(names), "tracepoint")


@check
def test_close_reasons():
    """docs/admin.md has every reason for the end of a channel"""
    body = re.search(r"impl fmt::Display for CloseReason \{(.*?)^\}",
                     source("src/srp/machine/channel.rs"), re.M | re.S)[1]
    table = re.search(r"^\| reason \| what has happened \|\n(.*?)\n\n",
                      source("docs/admin.md"), re.M | re.S)[1]
    found = set()
    for row in table.splitlines()[1:]:
        found |= set(re.findall(r"`([^`]+)`", row.split("|")[1]))
    return differences(found, set(re.findall(r'=> "([^"]+)"', body)), "reason")
