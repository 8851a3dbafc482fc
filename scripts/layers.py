#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Usage: scripts/layers.py [--dot]
#
# The layers of src/: which room may import which. Rooms and floors are in
# scripts/layers.toml; imports are read from the sources. Without an option, prints
# what is against the rules; with one, the rooms and their imports for graphviz.
#
# Not here: all other rules of the house (scripts/check-style).

import fnmatch
import os
import re
import sys
import tomllib

TABLE = "scripts/layers.toml"
ROOT = "src/srpt.rs"

USE = re.compile(r"\buse\s+([^;]+);")
MOD = re.compile(r"\bmod\s+(\w+)\s*;")
PATH = re.compile(r"(?<![\w:])(?:crate|super|self)(?:\s*::\s*\w+)+")
SHORT = re.compile(r"(?<![\w:])(\w+)((?:\s*::\s*\w+)+)")
NOISE = re.compile(r"//[^\n]*|/\*.*?\*/|\bb?r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'", re.S)


def module_of(path):
    """src/rdma/cm/ib_cm.rs is the module ("rdma", "cm", "ib_cm")."""
    if path == ROOT:
        return ()
    return tuple(re.sub(r"(/mod)?\.rs$", "", path.removeprefix("src/")).split("/"))


def expanded(tree):
    """The paths of a `use` tree, each with the name it has from then on:
    `a::{b, c::{self, d as e}}` has (a::b, b), (a::c, c), (a::c::d, e)."""
    tree = tree.strip()
    if not tree.endswith("}"):
        path, _, alias = tree.partition(" as ")
        path = path.replace(" ", "").removesuffix("::self")
        return [(path, alias.strip() or path.split("::")[-1])] if path else []
    prefix, inner = tree[:-1].split("{", 1)
    parts, depth, part = [], 0, ""
    for char in inner:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    prefix = prefix.replace(" ", "")
    whole = [((prefix + path).removesuffix("::self"), name)
             for p in parts + [part] for path, name in expanded(p)]
    # `self` alone is called what it is the self of.
    return [(path, path.split("::")[-1] if name == "self" else name) for path, name in whole]


def paths_of(text):
    """All paths of a source that may lead to another file, with `use` or without,
    and those that begin with a name that a `use` or a `mod` has introduced."""
    text = NOISE.sub(" ", text).replace("$crate", "crate")
    used = [p for tree in USE.findall(text) for p in expanded(" ".join(tree.split()))]
    rest = USE.sub(" ", text)
    names = {name: "self::" + name for name in MOD.findall(rest)}
    names.update({name: path for path, name in used})
    short = [names[first] + re.sub(r"\s", "", more) for first, more in SHORT.findall(rest)
             if first in names]
    return [path for path, _ in used] + short + [
        re.sub(r"\s", "", p) for p in PATH.findall(rest)]


def resolved(path, module, modules):
    """The file a path leads to; None if it leaves the crate. `module` is the one
    it is written in."""
    words = path.split("::")
    if words[0] == "crate":
        words = words[1:]
    elif words[0] in ("super", "self"):
        at = list(module)
        while words and words[0] in ("super", "self"):
            if words.pop(0) == "super" and at:
                at.pop()
        words = at + words
    elif module + (words[0],) in modules:
        words = list(module) + words
    else:
        return None
    while words and tuple(words) not in modules:
        words.pop()
    return modules.get(tuple(words))


def imports_of(files):
    """{file: the files it imports}. `files` are {path: text}."""
    modules = {module_of(path): path for path in files}
    found = {}
    for path, text in files.items():
        targets = {resolved(p, module_of(path), modules) for p in paths_of(text)}
        found[path] = sorted(targets - {None, path})
    return found


def family(one, other):
    """Is one of the files the folder that the other is in, or is in it?"""
    a, b = module_of(one), module_of(other)
    return min(len(a), len(b)) > 0 and a[:len(b)] == b[:len(a)]


def circles(edges):
    """Groups of files that import each other, directly or not (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in edges:
        if node not in index:
            visit(node)
    return sorted(found)


class Layers:
    """The table: floors of rooms, from the bottom up."""

    def __init__(self, text):
        self.floors = tomllib.loads(text)["floors"]

    def place(self, path):
        """Floor and room of a file; None if it has no room."""
        name = path.removeprefix("src/")
        for number, floor in enumerate(self.floors, 1):
            for room, patterns in floor.items():
                if any(fnmatch.fnmatchcase(name, p) for p in patterns):
                    return number, room
        return None

    def problems(self, imports):
        """What is against the rules, as (file, text)."""
        places = {path: self.place(path) for path in imports}
        for path, place in places.items():
            if place is None:
                yield path, "has no room in " + TABLE
        up = {(one, other) for one, targets in imports.items() for other in targets
              if places[one] and places[other] and places[one] != places[other]
              and places[other][0] >= places[one][0]}
        for one, other in sorted(up):
            yield one, "%s imports %s: %s is not below %s" % (
                one.removeprefix("src/"), other.removeprefix("src/"),
                places[other][1], places[one][1])
        down = {one: [t for t in targets if (one, t) not in up and not family(one, t)]
                for one, targets in imports.items()}
        for group in circles(down):
            yield group[0], "import each other: " + " ".join(
                p.removeprefix("src/") for p in group)

    def dot(self, imports):
        """Rooms and imports between them for graphviz; what goes up is red."""
        places = {path: self.place(path) for path in imports}
        arrows = {}
        for one, targets in imports.items():
            for other in targets:
                a, b = places[one], places[other]
                if a and b and a != b:
                    arrows[a, b] = arrows.get((a, b), 0) + 1
        lines = ["// SPDX-License-Identifier: GPL-2.0", "// Made by `make layers`.", "digraph layers {",
                 '  node [shape=box, style=filled, fillcolor="#eef3f8", fontname="sans-serif"];',
                 "  edge [color=\"#8899aa\"];"]
        for floor in reversed(self.floors):
            lines.append("  { rank=same; " + " ".join('"%s";' % room for room in floor) + " }")
        for upper, lower in zip(self.floors[1:], self.floors):
            lines += ['  "%s" -> "%s" [style=invis];' % (a, b) for a in upper for b in lower]
        for (a, b), count in sorted(arrows.items()):
            up = ', color="#cc2222", constraint=false' if b[0] >= a[0] else ""
            lines.append('  "%s" -> "%s" [label="%d"%s];' % (a[1], b[1], count, up))
        return "\n".join(lines + ["}"])


def sources(paths):
    """{path: text} of the module's sources among these files."""
    found = {}
    for path in paths:
        if path.startswith("src/") and path.endswith(".rs") and not path.endswith("_generated.rs"):
            with open(path, encoding="utf-8") as file:
                found[path] = file.read()
    return found


def tree():
    """All files below src/."""
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk("src")
                  for name in names)


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    with open(TABLE, encoding="utf-8") as file:
        layers = Layers(file.read())
    imports = imports_of(sources(tree()))
    if sys.argv[1:] == ["--dot"]:
        print(layers.dot(imports))
        return 0
    found = list(layers.problems(imports))
    for path, text in found:
        print("%s: %s" % (path, text))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
