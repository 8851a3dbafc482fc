# SPDX-License-Identifier: GPL-2.0
#
# The documents as tests see them: the commands in them, and what commands.txt
# says about each.
#
# Not here: the checks (test_docs.py), running commands in machines
# (tests/guest/test_documents.py).

import re
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("commands.txt")

# Of the first word of a heading in commands.txt.
HERE, NOT_RUN, NO_COMMAND = "here", "not run", "no command"
MACHINE = "guest.documents."


@dataclass(frozen=True)
class Command:
    """A command in a document, on one line and without its comment."""
    path: str
    line: int
    text: str

    def __str__(self):
        return "%s:%d: %s" % (self.path, self.line, self.text)


def markdown():
    """The documents, their texts by their paths."""
    found = [REPO / "README.md", REPO / "CONTRIBUTING.md", REPO / "CHANGELOG.md",
             REPO / "patches/README.md", *sorted((REPO / "docs").rglob("*.md"))]
    return {str(p.relative_to(REPO)): p.read_text() for p in found}


def manual():
    """The manual pages, their texts by their paths."""
    folder = REPO / "scripts/deb/debian"
    return {str(p.relative_to(REPO)): p.read_text()
            for p in sorted(folder.glob("*.[1-9]"))}


def plain(text):
    """Without a comment at the end and superfluous spaces."""
    return " ".join(re.sub(r"(^|\s)#([\s!].*)?$", "", text).split())


def joined(path, first, lines):
    """The commands in some lines; a backslash continues one."""
    whole, begin = "", first
    for number, line in enumerate(lines, first):
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        if plain(whole):
            yield Command(path, begin, plain(whole))
        whole, begin = "", number + 1


def in_markdown(path, text):
    """Every line of the blocks that are marked as ```sh. One that is a file is a
    single command, by the name of the file in its second line."""
    for block in re.finditer(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S):
        first = text.count("\n", 0, block.start(1)) + 1
        script = re.match(r"#!.*\n# ([^\s:]+)", block[1])
        if script:
            yield Command(path, first, "script: " + script[1])
        else:
            yield from joined(path, first, block[1].splitlines())


def in_manual(path, text):
    """In a manual page: every line that is shown as it is in EXAMPLES, and
    every bold one elsewhere."""
    examples = text.find("\n.SH EXAMPLES\n")
    for block in re.finditer(r"^\.nf\n(.*?)^\.fi", text, re.M | re.S):
        first = text.count("\n", 0, block.start(1)) + 1
        lines = block[1].replace("\\-", "-").replace("\\\\", "\\").splitlines()
        if not 0 <= examples < block.start():
            lines = [line if line.startswith(".B ") else "" for line in lines]
        yield from joined(path, first, [line.removeprefix(".B ") for line in lines])


def commands():
    """All commands, in the order of the documents."""
    return [c for path, text in markdown().items() for c in in_markdown(path, text)] + \
        [c for path, text in manual().items() for c in in_manual(path, text)]


def table(text=None):
    """What commands.txt says: how each command is tested, by the command."""
    found, how = {}, None
    for line in (TABLE.read_text() if text is None else text).splitlines():
        if line.startswith("== "):
            how = line[3:].strip()
        elif line.strip() and not line.startswith("#"):
            if line in found:
                raise ValueError("%s is listed twice" % line)
            found[line] = how
    return found


def tested_by(name):
    """The commands that a test has to run, in the order of the documents, each
    once."""
    by = table()
    return list(dict.fromkeys(c.text for c in commands() if by.get(c.text) == name))


def section(path, heading):
    """The commands below a heading of a document that are for machines, as often
    as they are there."""
    lines = (REPO / path).read_text().splitlines()
    level, begin, block = None, None, False
    for number, line in enumerate(lines + ["# "], 1):
        block ^= line.lstrip().startswith("```")
        head = re.match(r"(#+|\.SH) (.*)", line)
        if not head or block:
            continue
        if begin and len(head[1]) <= level:
            by = table()
            return [c.text for c in commands() if c.path == path
                    and begin < c.line < number
                    and (by.get(c.text) or "").startswith(MACHINE)]
        if head[2] == heading and not begin:
            level, begin = len(head[1]), number
    raise ValueError("%s has no heading '%s'" % (path, heading))
