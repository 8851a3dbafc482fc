# SPDX-License-Identifier: GPL-2.0
#
# The source itself: its format and the rules of the house; names of the lab that
# programs use which no test runs.
#
# Not here: tests of the style check (tests/build/style.sh).

import ast
import importlib

import pytest

from harness.tools import succeed
from lab import REPO

# Run by hand only.
PROGRAMS = ("scripts/demo", "tests/bench/run", "tests/bench/faults", "tests/install/run")


@pytest.mark.timeout(600)
def test_style(lab_root):
    """make style"""
    succeed(["make", "style"], 600)


@pytest.mark.parametrize("program", PROGRAMS)
def test_names(program):
    """what a program takes from the lab is there"""
    tree = ast.parse((REPO / program).read_text())
    modules, missing = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("lab", "bench"):
            source = importlib.import_module(node.module)
            for name in node.names:
                try:
                    found = importlib.import_module("%s.%s" % (node.module, name.name))
                except ImportError:
                    found = getattr(source, name.name, None)
                modules[name.asname or name.name] = found
                if found is None:
                    missing.append(name.name)
    assert modules, "it takes nothing from the lab"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = modules.get(node.value.id)
            if found is not None and not hasattr(found, node.attr):
                missing.append("%s.%s" % (node.value.id, node.attr))
    assert not missing
