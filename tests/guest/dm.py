# SPDX-License-Identifier: GPL-2.0
#
# Asking a device management agent: `initiator dm` in the initiator guest, the
# answers taken apart, and what srp_daemon would make of them.
#
# The parsing here is written after the rules of srp_daemon (do_port() and
# add_non_exist_target() of rdma-core) and shares nothing with the target.
#
# Not here: what the answers should be (test_dm.py).

import ipaddress

from lab import env

from .checks import Failed

GET, SET, GET_RESP = 0x01, 0x02, 0x81
CLASS_PORT_INFO, IO_UNIT_INFO = 0x0001, 0x0010
IOC_PROFILE, SERVICE_ENTRIES = 0x0011, 0x0012

# srp_daemon's names for the four bits of a slot.
IOC_PRESENT = 1

PORTS = "/sys/class/infiniband/rxe0/ports/"
# IsDeviceManagementSupported in a port's capability mask.
CAPABILITY = 1 << 19


def is_announced(target, port=1):
    """The port of the target says that it has an agent."""
    text = target.read(PORTS + "%d/cap_mask" % port)
    return bool(int(text, 16) & CAPABILITY)


def number(data, offset, size):
    return int.from_bytes(data[offset:offset + size], "big")


class Answer:
    """An answer's datagram, taken apart."""

    def __init__(self, mad):
        self.bytes = mad
        self.base, self.klass, self.version, self.method = mad[:4]
        self.status = number(mad, 4, 2)
        self.attribute = number(mad, 16, 2)
        self.modifier = number(mad, 20, 4)
        self.header = mad[24:64]
        self.data = mad[64:]

    def __repr__(self):
        return "<method %#x attribute %#x/%#x status %#x: %s>" % (
            self.method, self.attribute, self.modifier, self.status,
            self.data.hex())


# Ends keep_asking() when it is there.
ENOUGH = "/tmp/enough"


class Asker:
    """Asks the target's port from the initiator machine."""

    def __init__(self, bench):
        self.target, self.initiator = bench.target, bench.initiator
        self.program = bench.initiator.tool(
            bench.machines.built.initiator)
        self.gid = bench.target.gid[2:]
        self.initiator.run("modprobe ib_umad")

    def words(self, questions, **options):
        words = [self.program, "dm", *self.where()]
        for name, value in options.items():
            words += ["--" + name.replace("_", "-"), str(value)]
        return words + list(questions)

    def where(self):
        """Over InfiniBand by the LID, as srp_daemon does; else by the GID."""
        if self.target.guest.transport == "ib":
            return ["--lid", str(int(self.target.read(PORTS + "1/lid"), 16))]
        return ["--dgid", str(ipaddress.IPv6Address(bytes.fromhex(self.gid)))]

    def ask(self, *questions, **options):
        """Answers to these questions, each an Answer, "timeout" or what else
        went wrong."""
        done = self.initiator.run(self.words(questions, **options),
                                  timeout=60, check=False)
        lines = done.out.splitlines()
        if done.rc or len(lines) != len(questions):
            raise Failed("initiator dm (status %d): %s" % (done.rc, done.out))
        found = []
        for question, line in zip(questions, lines):
            text = line[len(question) + 1:]
            found.append(text if text == "timeout" or text.startswith("error")
                         else Answer(bytes.fromhex(text)))
        return found

    def get(self, attribute, modifier=0, method=GET):
        return self.ask("mad:%x:%x:%x" % (method, attribute, modifier))[0]

    def identification(self):
        """The text by which the controller is identified."""
        data = self.get(IOC_PROFILE, 1).data
        return bytes(data[64:128]).split(b"\0")[0].decode()

    def status(self, *questions):
        """The statuses of the answers, and that they are whole."""
        statuses = []
        for question, answer in zip(questions, self.ask(*questions)):
            if not isinstance(answer, Answer):
                raise Failed("no answer to %s: %s" % (question, answer))
            statuses.append(answer.status)
        return statuses

    def keep_asking(self, seconds, *questions):
        """Start to ask again and again, for so long at most, and longer where
        everything takes longer; returns the Job."""
        self.initiator.run("rm -f " + ENOUGH)
        return self.initiator.spawn(
            self.words(questions, seconds=round(seconds * env.pace()),
                       timeout=round(500 * env.pace()), retries=0,
                       until=ENOUGH),
            timeout=seconds + 60)

    def counts(self, job):
        """End such a Job; returns the numbers of answers, timeouts and errors
        that it has got."""
        self.initiator.run("touch " + ENOUGH)
        words = job.wait(120).out.split()
        return int(words[0]), int(words[2]), int(words[4])


def daemon_scan(get, gid, pkey=0xffff, max_imm_data=8192):
    """What srp_daemon finds on a port: the lines for add_target, and for each
    a dict of what `ibsrpdm` shows. `get(attribute, modifier)` asks."""
    found = []
    unit = get(IO_UNIT_INFO, 0)
    if not isinstance(unit, Answer) or unit.status:
        return found
    for slot in range(unit.data[2]):
        shift = 0 if slot % 2 else 4
        if (unit.data[4 + slot // 2] >> shift) & 15 != IOC_PRESENT:
            continue
        profile = get(IOC_PROFILE, slot + 1)
        if not isinstance(profile, Answer) or profile.status:
            continue
        ioc = profile.data
        guid, send_size = number(ioc, 0, 8), number(ioc, 44, 4)
        io_class, services = number(ioc, 28, 2), ioc[54]
        for first in range(0, services, 4):
            last = min(first + 3, services - 1)
            entries = get(SERVICE_ENTRIES,
                          (slot + 1) << 16 | last << 8 | first)
            if not isinstance(entries, Answer) or entries.status:
                continue
            for n in range(last - first + 1):
                entry = entries.data[48 * n:48 * (n + 1)]
                name = entry[:40].split(b"\0")[0].decode("ascii")
                if not name.startswith("SRP.T10:"):
                    continue
                # sscanf's %16s.
                id_ext = name[len("SRP.T10:"):].split()[0][:16]
                line = ("id_ext=%s,ioc_guid=%016x,dgid=%s,pkey=%04x,"
                        "service_id=%016x" % (id_ext, guid, gid, pkey,
                                              number(entry, 40, 8)))
                if io_class != 0x0100:
                    line += ",io_class=%04x" % io_class
                if max_imm_data > send_size:
                    line += ",max_it_iu_size=%d" % send_size
                found.append((line, {
                    "change id": number(unit.data, 0, 2),
                    "slots": unit.data[2],
                    "slot": slot + 1,
                    "vendor": number(ioc, 8, 4) >> 8,
                    "device": number(ioc, 12, 4),
                    "I/O class": io_class,
                    "largest message": send_size,
                    "id": ioc[64:].split(b"\0")[0].decode("ascii"),
                    "services": services,
                }))
    return found
