# SPDX-License-Identifier: GPL-2.0
#
# Instructions per command and function, counted and not sampled: QEMU counts the
# blocks that it executes (counter.c). A function's count is its own instructions,
# without those of the functions that it calls.
#
# Not here: the owners of stacks (owners.py), which counts of blocks do not have.

import bisect
import collections
import re
import threading
import time

from lab import LabError, enter, root

from .machine import HERE, LOAD, OPERATIONS

# A command of the initiator begins here.
COMMAND = "srp_queuecommand"

# What takes a lock, and what allocates and frees, when the module does.
LOCKS = r"rust_helper_(spin|mutex)_(try)?lock(_irq\w*)?\["
ALLOCATOR = r"k?v?realloc_node_align|srpt_(alloc|get_free|free)_\w+\["

RUN = LOAD + r"""
while kill -0 $fio && [ ! -e /tmp/enough ]; do sleep 0.5; done
kill $fio
wait $fio
rm /tmp/enough
"""

# Seconds of the host before and while blocks are counted.
WARM, COUNTED = 2, 2


def build(folder):
    """The plugin, built with the root's compiler."""
    plugin = folder / "counter.so"
    enter.run(root.get().fs,
              ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
               "-Wl,--unresolved-symbols=ignore-all", "-o", plugin,
               HERE / "counter.c"], binds=[folder])
    return plugin


def options(folder):
    """QEMU's options for a machine whose blocks are counted."""
    name = "%s,folder=%s" % (build(folder), folder)
    return ["-plugin", name]


def ask(folder, what):
    """Leave a file for the plugin, and wait until it has done its part."""
    file = folder / what
    file.touch()
    end = time.monotonic() + 60
    while file.exists():
        if time.monotonic() > end:
            raise LabError("the counter does not answer")
        time.sleep(0.01)


def count(machine, folder, disk, cell):
    """Run a cell's load and return its Counts."""
    load = threading.Thread(target=lambda: machine.guest.run(
        ["bash", "-c", RUN.format(
            disk=disk, rw=OPERATIONS[cell.operation][0], size=cell.size,
            depth=cell.depth)], timeout=600))
    load.start()
    try:
        time.sleep(WARM)
        ask(folder, "start")
        time.sleep(COUNTED)
        ask(folder, "stop")
    finally:
        machine.guest.run(["touch", "/tmp/enough"], timeout=120)
        load.join()
    return Counts((folder / "counts").read_text(), machine.names.functions)


class Counts:
    """What the plugin has counted, by function."""

    def __init__(self, text, functions):
        addresses = [address for address, _ in functions]
        self.instructions = collections.Counter()
        self.calls = collections.Counter()
        for line in text.splitlines():
            words = line.split()
            begin, executed = int(words[0], 16), int(words[1])
            for offset in words[2:]:
                address = begin + int(offset)
                place = bisect.bisect_right(addresses, address) - 1
                self.instructions[place] += executed
                if addresses[place] == address:
                    self.calls[place] += executed
        self.names = [name for _, name in functions]
        self.commands = sum(n for place, n in self.calls.items()
                            if self.names[place].startswith(COMMAND))
        if not self.commands:
            raise LabError("no command was counted")

    def modules(self):
        """[(module, instructions per command)]; the kernel itself has no name."""
        found = collections.Counter()
        for place, n in self.instructions.items():
            found[re.search(r"\[(.*)\]$", self.names[place]).group(1)] += n
        return [(m, n / self.commands) for m, n in found.most_common()]

    def calls_of(self, pattern):
        """Calls per command of the functions whose names begin so; there are some."""
        if not any(re.match(pattern, name) for name in self.names):
            raise LabError("no function is called " + pattern)
        return sum(n for place, n in self.calls.items()
                   if re.match(pattern, self.names[place])) / self.commands

    def figures(self):
        """What limits.toml has limits for, per command."""
        return {"all": sum(self.instructions.values()) / self.commands,
                "module": dict(self.modules())["ib_srpt"],
                "locks": self.calls_of(LOCKS),
                "allocator": self.calls_of(ALLOCATOR)}

    def lines(self, number):
        """A table of the modules and of the costliest functions of ours."""
        out = ["%d commands, %.0f instructions each:" % (
            self.commands, sum(self.instructions.values()) / self.commands)]
        out += ["%8.0f  %s" % (n, m or "the kernel itself")
                for m, n in self.modules() if n >= 1]
        ours = [(place, n) for place, n in self.instructions.most_common()
                if re.search(r"\[ib_srpt\]$|^rust_helper_", self.names[place])]
        out += ["%8.1f in %5.2f calls of %s" % (
            n / self.commands, self.calls[place] / self.commands,
            self.names[place]) for place, n in ours[:number]]
        return out
