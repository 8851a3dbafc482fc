# SPDX-License-Identifier: GPL-2.0
#
# make bench CELL=logins: what a login and logout cost with our module and with the
# kernel's C module, in the machine whose time is a count of instructions
# (machine.py). One peer logs in as ib_srp does, with immediate data, again and again.
#
# Not here: what logins leave behind (tests/guest/test_leaks.py).

import re
from pathlib import Path

from guest import peer
from lab import LabError, enter, root

from . import report
from .machine import PORT

# Logins before, and while it is measured.
WARM, COUNT = 50, 300

SOURCE = Path(peer.__file__).parent / "tools/srp_logins.c"

MEASURE = """
{program} {ip} {port} {warm} {request} || exit
read before idle < /proc/uptime
{program} {ip} {port} {count} {request} || exit
read after later < /proc/uptime
echo time $before $after $idle $later
"""


def build(folder):
    """The peer that only logs in and out."""
    program = folder / "srp_logins"
    enter.run(root.get().fs,
              ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE,
               "-lrdmacm", "-libverbs"], binds=[folder])
    return program


def request(target, initiator):
    """The SRP_LOGIN_REQ of ib_srp with immediate data, in hexadecimal."""
    return peer.login_req(
        peer.port_bytes(initiator.port_id), bytes.fromhex(target.service_guid * 2),
        iu_len=8260, imm_offset=68, flags=peer.LOSOLNT | peer.IMMEDIATE).hex()


def check(out, counts):
    """Each run of the peer was granted as many logins as it asked for."""
    granted = re.findall(r"established (\d+) rejected 0", out)
    if [int(n) for n in granted] != counts:
        raise LabError("not all logins were granted:\n" + out)


def measure(machine, name, program):
    """(logins per second, instructions per login that are not idle)."""
    guest = machine.guest
    with machine.exported(name) as (target, initiator):
        out = guest.run(["bash", "-c", MEASURE.format(
            program=initiator.tool(program), ip=guest.ip, port=PORT,
            warm=WARM, count=COUNT, request=request(target, initiator))], timeout=600).out
    check(out, [WARM, COUNT])
    before, after, idle, later = map(float, re.search(
        r"^time (.*)$", out, re.M).group(1).split())
    spent = after - before
    return COUNT / spent, (spent - (later - idle)) * 1e9 / COUNT


def run(machine, folder, rounds):
    """Measure in turn, and print."""
    program = build(folder)
    found = {name: [] for name in machine.modules}
    for number in range(rounds):
        for name in sorted(machine.modules, reverse=bool(number % 2)):
            found[name].append(measure(machine, name, program))
            print("round %d: %s: %.1f logins and logouts per second, %.2f million "
                  "instructions each" % (number + 1, name, found[name][-1][0],
                                         found[name][-1][1] / 1e6), flush=True)
    for what, place in (("logins per second", 0), ("instructions", 1)):
        ratios = [ours[place] / theirs[place]
                  for ours, theirs in zip(found["ours"], found["C"])]
        print("%s, ours to C: %s" % (what, report.spread(ratios)))
    return 0
