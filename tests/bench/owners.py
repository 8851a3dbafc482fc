# SPDX-License-Identifier: GPL-2.0
#
# The owner of a sample: which part of the system the CPU worked for when its stack
# was taken.
#
# The nearest function up the stack that is the target's, rxe's or the initiator's
# decides the side. On the target's side, memory management and the RDMA core are
# owners of their own if they are nearer than that function.
#
# Not here: how stacks are taken (sampler.c), names of addresses (symbols.py).

import collections
import re

# The owners whose sum is the target's side, and all others.
TARGET = ("module", "target core", "memory management", "RDMA core")
OWNERS = TARGET + ("rxe", "initiator", "rest", "idle")

SIDES = (
    ("module", re.compile(r"ib_srpt$")),
    ("target core", re.compile(r"(target_core_\w+|scst(_\w+)?)$")),
    ("rxe", re.compile(r"rdma_rxe$")),
    ("initiator", re.compile(r"(ib_srp|scsi_\w+|sd_mod)$")),
)
CORE = re.compile(r"(ib_core|rdma_cm|ib_cm)$")
IDLE = re.compile(r"(cpu_startup_entry|do_idle)$")

# Entry points of memory management in the kernel itself.
MEMORY = re.compile(
    r"(_*k[vz]?[mzc]alloc|_*kmem_cache_|_*k[v]?free|k[v]?realloc|_*krealloc|"
    r"_*kvmalloc|_*alloc_(frozen_)?pages|_*free_(frozen_)?pages|"
    r"_*get_free_pages|_*folio_(put|alloc)|put_page|get_page_from_freelist|"
    r"_*slab_|_+slab|sg_alloc_|sg_free_|_*sg_(alloc|free)|sgl_(alloc|free)|"
    r"mempool_|rmqueue|prep_new_page|clear_page|kernel_init_pages|"
    r"free_unref|refill_|sheaf_|_*rcu_free_sheaf|_*vmalloc|vfree)")


def split(frame):
    """(function, module) of a frame "function[module]"."""
    function, _, module = frame.rpartition("[")
    return function, module.removesuffix("]")


def owner(frames):
    """The owner of a stack, whose innermost function comes first."""
    nearer = None
    for function, module in map(split, frames):
        for name, expression in SIDES:
            if expression.match(module):
                if name in ("module", "target core"):
                    return nearer or name
                return name
        if nearer is None:
            if CORE.match(module):
                nearer = "RDMA core"
            elif not module and MEMORY.match(function):
                nearer = "memory management"
    if any(IDLE.match(split(f)[0]) for f in frames):
        # Interrupts that were taken while the CPU had nothing to do work.
        busy = any("irq" in f or "softirq" in f for f in frames)
        return "rest" if busy else "idle"
    return "rest"


class Profile:
    """What the sampler printed about one run; `name` gives the name of an
    address."""

    def __init__(self, text, name):
        self.stacks, self.lost, spans = [], None, {}
        for line in text.splitlines():
            kind, _, rest = line.partition(" ")
            if kind in ("plain", "sampled"):
                spans[kind] = [int(x) for x in rest.split()]
            elif kind == "lost":
                self.lost = int(rest)
            elif kind == "stack":
                count, _, frames = rest.partition(" ")
                self.stacks.append((int(count), [
                    name(int(x, 16)) for x in frames.split()]))
        if set(spans) != {"plain", "sampled"} or self.lost is None:
            raise ValueError("the sampler said only\n" + text[:2000])
        if self.lost:
            raise ValueError("%d samples were lost" % self.lost)
        self.samples = sum(count for count, _ in self.stacks)
        instructions, self.commands = spans["plain"]
        if not self.samples or not self.commands:
            raise ValueError("%d samples, %d commands"
                             % (self.samples, self.commands))
        self.per_command = instructions / self.commands

    @property
    def iops(self):
        """Commands per 1e9 instructions."""
        return 1e9 / self.per_command

    def costs(self):
        """Instructions per command by owner; "target" is the target's side."""
        found = dict.fromkeys(OWNERS, 0)
        for count, frames in self.stacks:
            found[owner(frames)] += count
        factor = self.per_command / self.samples
        costs = {name: n * factor for name, n in found.items()}
        costs["target"] = sum(costs[name] for name in TARGET)
        return costs

    def top(self, number):
        """The costliest functions of the target's side, as lines: instructions per
        command, owner, the innermost function and the nearest of a module."""
        found = collections.Counter()
        for count, frames in self.stacks:
            side = owner(frames)
            if side in TARGET:
                caller = next((f for f in frames if not f.endswith("[]")), "")
                inner = frames[0] if frames[0] != caller else ""
                found[side, caller, inner] += count
        factor = self.per_command / self.samples
        return ["%6.0f  %-17s %s %s" % (n * factor, side, caller, inner)
                for (side, caller, inner), n in found.most_common(number)]
