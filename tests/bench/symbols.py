# SPDX-License-Identifier: GPL-2.0
#
# Names of addresses in the machine's kernel: "function[module]". The kernel's own
# functions are where they are in every boot (nokaslr), and are kept in the cache, as
# reading them takes an emulated machine long. Of modules the name of the module is
# enough, except for drawings.
#
# Not here: what the names mean (owners.py).

import bisect
import re

from lab import cache_dir


# Where code of modules ends on x86-64.
MODULES_END = 0xffffffffff000000


def demangled(name):
    """The identifiers of a mangled Rust name, shortened; others as they are."""
    if not name.startswith("_R"):
        return name
    found, at = [], 0
    while True:
        number = re.compile(r"(\d+)_?").search(name, at)
        if not number:
            break
        length, begin = int(number.group(1)), number.end()
        word = name[begin:begin + length]
        if 1 < length == len(word) and re.fullmatch(r"[A-Za-z]\w*", word):
            found.append(word)
            at = begin + length
        else:
            at = number.start(1) + len(number.group(1))
    # The path of a method ends with its own name, behind the types it is for.
    return "::".join(found[1:4] + found[4:][-1:]) or name


def functions(text):
    """[(address, name)] of the lines of /proc/kallsyms that are code."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] in "tTwW":
            module = words[3] if len(words) > 3 else "[]"
            if int(words[0], 16):
                found.append((int(words[0], 16),
                              demangled(words[2]) + module))
    return sorted(found)


class Names:
    """Called with an address, gives its name. Made while modules are loaded."""

    def __init__(self, guest, full=False):
        # name size uses users state address, which is that of the code. The size
        # includes data, which is elsewhere.
        self.modules = []
        for line in guest.run(["cat", "/proc/modules"]).out.splitlines():
            words = line.split()
            self.modules.append((int(words[5], 16), words[0]))
        self.modules.sort()
        kept = cache_dir() / ("kallsyms-%s" % guest.kernel.release)
        if full:
            text = guest.run(["cat", "/proc/kallsyms"], timeout=300).out
        else:
            if not kept.exists():
                text = guest.run("grep -v '\\[' /proc/kallsyms | grep -i ' [tw] '",
                                 timeout=300).out
                fresh = kept.with_suffix(".new")
                fresh.write_text(text)
                fresh.rename(kept)
            text = kept.read_text()
        self.functions = functions(text)
        self.addresses = [address for address, _ in self.functions]
        self.full, self.known = full, {}

    def __call__(self, address):
        if address not in self.known:
            self.known[address] = self._find(address)
        return self.known[address]

    def _find(self, address):
        place = bisect.bisect_right(self.addresses, address) - 1
        found = self.functions[place][1] if place >= 0 else "?[]"
        if not self.full:
            place = bisect.bisect_right(self.modules, (address, "~")) - 1
            if place >= 0 and address < MODULES_END:
                return "?[%s]" % self.modules[place][1]
        return found
