# SPDX-License-Identifier: GPL-2.0
#
# A scripted SRP peer: SRP's information units as bytes, and the program
# tools/srp_peer.c that carries them. Unlike ib_srp it sends what a test wants,
# right or wrong.
#
# Not here: what the target should make of it (test_reject.py, test_rogue.py).

import errno
import struct

from .checks import Failed, until
from .target import CM_PORT

# Opcodes.
LOGIN_REQ, TSK_MGMT, CMD, I_LOGOUT = 0x00, 0x01, 0x02, 0x03
CRED_RSP, AER_RSP = 0x41, 0x42
LOGIN_RSP, RSP, LOGIN_REJ = 0xc0, 0xc1, 0xc2
T_LOGOUT, CRED_REQ, AER_REQ = 0x80, 0x81, 0x82

# Flags of a login: SRP_T_LOGOUT, SRP_AER_REQ are to raise a solicited event, immediate
# data is asked for, other channels of the session are kept.
LOSOLNT, CRSOLNT, AESOLNT, IMMEDIATE, MULTI = 0x10, 0x20, 0x40, 0x80, 0x01

# Task management functions.
ABORT_TASK, LUN_RESET = 0x01, 0x08
# Of the statuses of SCSI.
BUSY, RESERVATION_CONFLICT = 0x08, 0x18

# Reasons of a target's logout.
NO_REASON, INVALID_IU, SPURIOUS_RESPONSE, MULTI_CHANNEL = 0, 2, 3, 4

# CM's "the consumer says no", which goes with an SRP_LOGIN_REJ.
CONSUMER_DEFINED = 28

TEST_UNIT_READY, INQUIRY, READ_10, WRITE_10 = 0x00, 0x12, 0x28, 0x2a


def port_bytes(text):
    """A port identifier from 0x and 32 digits."""
    return bytes.fromhex(text[2:])


def login_req(initiator, target, tag=0x1122334455667788, iu_len=2132,
              buf_fmt=6, flags=LOSOLNT, opcode=LOGIN_REQ, imm_offset=0):
    """SRP_LOGIN_REQ in the 56-byte form of the RDMA/CM. Unless it has other
    flags, it asks to be told why the target logs out."""
    return struct.pack(">QHBBI16s16sH6x", tag, buf_fmt, flags, opcode, iu_len,
                       initiator, target, imm_offset)


def login_req_ib(initiator, target, tag=0x1122334455667788, iu_len=2132,
                 buf_fmt=6, flags=LOSOLNT, opcode=LOGIN_REQ, imm_offset=0):
    """The same in the 64-byte form of the IB/CM."""
    return struct.pack(">B7xQI4xHBxH2x16s16s", opcode, tag, iu_len, buf_fmt,
                       flags, imm_offset, initiator, target)


def login_form(guest):
    """That of these which logins of this machine need that name no address."""
    return login_req_ib if guest.transport == "ib" else login_req


def where(target, dest=None, port=CM_PORT):
    """The words that tell programs of tools/ where to log in: at this address, or at
    the target's usual one; over InfiniBand that is the service of the IB/CM."""
    if target.guest.transport == "ib" and not dest:
        return [target.ib_service(), "0"]
    return [dest or target.guest.ip, str(port)]


def login_rej(tag, reason):
    """SRP_LOGIN_REJ as it must look, byte by byte."""
    return struct.pack(">B3xIQ8xH6x", LOGIN_REJ, reason, tag, 6)


def lun_bytes(lun):
    return struct.pack(">H6x", lun)


def cmd(tag, cdb, lun=0, data_out=None, data_in=None, fmt=None, counts=(0, 0),
        attr=0, add_cdb_len=0, tail=b"", sol_not=0):
    """SRP_CMD. data_out or data_in is one (address, key, length) for a direct
    descriptor; `fmt`, `counts` and `tail` replace them for oddities."""
    if fmt is None:
        fmt = (0x10 if data_out else 0) | (0x01 if data_in else 0)
    for direct in (data_out, data_in):
        if direct:
            tail += struct.pack(">QII", *direct)
    return struct.pack(">BB3xBBBQ4x8sxBxB16s", CMD, sol_not, fmt, counts[0],
                       counts[1], tag, lun_bytes(lun), attr, add_cdb_len,
                       bytes(cdb)) + tail


def tsk_mgmt(tag, function, lun=0, task_tag=0):
    """SRP_TSK_MGMT."""
    return struct.pack(">B7xQ4x8s2xBxQ8x", TSK_MGMT, tag, lun_bytes(lun),
                       function, task_tag)


def logout(tag=99):
    return struct.pack(">B7xQ", I_LOGOUT, tag)


def inquiry(length=36):
    return [INQUIRY, 0, 0, length >> 8, length & 255, 0]


def read_10(block, blocks):
    return struct.pack(">BxIxHx", READ_10, block, blocks)


def write_10(block, blocks):
    return struct.pack(">BxIxHx", WRITE_10, block, blocks)


def answer_to(request):
    """SRP_CRED_RSP or SRP_AER_RSP to a request of the target."""
    opcode = {CRED_REQ: CRED_RSP, AER_REQ: AER_RSP}[request[0]]
    return struct.pack(">B7x", opcode) + request[8:16]


def table(descriptors):
    """A table of memory descriptors: (address, key, length) each."""
    return b"".join(struct.pack(">QII", *d) for d in descriptors)


def indirect(at, length, inline=()):
    """An indirect descriptor: where the table is, length of the data, and
    the part of the table that is here."""
    return struct.pack(">QIII", *at, length) + table(inline)


class Response:
    """A received SRP_RSP, taken apart."""

    def __init__(self, data):
        (self.opcode, sol_not, self.delta, self.tag, self.flags, self.status,
         self.out_residual, self.in_residual, sense_len, data_len
         ) = struct.unpack(">BB2xiQ2xBBIIII", data[:36])
        self.solicited = bool(sol_not & 1)
        self.response = data[36:36 + data_len]
        self.sense = data[36 + data_len:36 + data_len + sense_len]
        # Present only if the flag says so; the code is in the last byte.
        self.code = self.response[3] if self.flags & 1 else None
        if self.opcode != RSP:
            raise Failed("expected an SRP_RSP, got %s" % data.hex())

    def __repr__(self):
        return ("<SRP_RSP tag %#x status %#x flags %#x code %s sense %s>"
                % (self.tag, self.status, self.flags, self.code,
                   self.sense.hex()))


class Peer:
    """One connection. Use it in a `with` statement."""

    def __init__(self, initiator, program, dest=None, port=CM_PORT,
                 extension=1):
        self.initiator = initiator
        self.target = initiator.target
        # Its own identity, so that it does not replace the stock session.
        self.port_id = "0x%016x%s" % (extension, initiator.guid)
        self.form = login_req if dest else login_form(initiator.guest)
        self.lines = 0
        self.job = initiator.spawn(
            [initiator.tool(program), *where(self.target, dest, port)],
            timeout=300, keep_input=True)
        self._line("ready")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.job.poll() is None:
            self.job.write("quit\n")
            self.job.wait(30, check=False)

    # --- orders -----------------------------------------------------------

    def _line(self, what, timeout=45):
        """The next line of output."""
        def next_line():
            lines = self.job.output.split("\n")
            if len(lines) > self.lines + 1:
                return lines[self.lines]
            if self.job.poll() is not None:
                raise Failed("srp_peer ended at '%s': %s"
                             % (what, self.job.output[-500:]))
            return None
        line = until(next_line, timeout, "srp_peer answers to '%s'" % what,
                     0.05)
        self.lines += 1
        if line.startswith("error"):
            raise Failed("srp_peer at '%s': %s" % (what, line))
        return line

    def order(self, text):
        self.job.write(text + "\n")
        return self._line(text[:40])

    # --- the connection ---------------------------------------------------

    def request(self, **fields):
        """The login request of this peer."""
        fields.setdefault("initiator", port_bytes(self.port_id))
        fields.setdefault("target", bytes.fromhex(self.target.service_guid * 2))
        return self.form(**fields)

    def connect(self, data):
        """Connect with this private data; returns (word, number, bytes):
        "established" or "rejected" with CM's reason."""
        words = self.order("connect " + data.hex()).split(" ")
        if words[0] == "established":
            self._memory()
            return "established", 0, bytes.fromhex(words[1])
        if words[0] != "rejected":
            raise Failed("connecting: " + " ".join(words))
        number = int(words[1])
        if number == -errno.ECONNRESET:
            number = CONSUMER_DEFINED       # iWARP knows no other reason
        return "rejected", number, bytes.fromhex(words[2])

    def _memory(self):
        """Take in where the memory is that the target may access."""
        memory = self._line("memory").split()
        self.address = int(memory[1], 16)
        self.key = int(memory[2], 16)
        self.size = int(memory[3])

    def login(self, **fields):
        """A login that must succeed; returns the SRP_LOGIN_RSP's bytes."""
        word, number, data = self.connect(self.request(**fields))
        if word != "established":
            raise Failed("the peer's login was %s (%d): %s"
                         % (word, number, data[:32].hex()))
        self.credits = int.from_bytes(data[4:8], "big")
        return data[:52]

    def settle(self, lun=0):
        """Take the unit attentions that a new session finds; with some
        engines there are some."""
        for _ in range(8):
            answer = self.ask(cmd(0x5e771e, [TEST_UNIT_READY], lun=lun))
            if not isinstance(answer, Response) or answer.status == 0:
                break

    def send(self, data):
        """Send a message; False if the connection is broken."""
        return self.order("send " + data.hex()) == "sent"

    def send_all(self, messages):
        """Send messages without waiting for one before the next is ordered; False if
        the connection is broken."""
        self.job.write("".join("send %s\n" % data.hex() for data in messages))
        return all([self._line("send") == "sent" for _ in messages])

    def write_at_target(self, address, key):
        """Write to the target's memory with this key; False if that failed."""
        return self.order("write %x %x" % (address, key)) == "written"

    def receive(self, timeout=10):
        """A message, "timeout" or "disconnected"."""
        return self._received(self.order("recv %d" % (timeout * 1000)))

    @staticmethod
    def _received(line):
        if line.startswith("message "):
            return bytes.fromhex(line.split(" ")[1])
        return line

    def fill(self, offset, data):
        self.order("fill %d %s" % (offset, data.hex()))

    def dump(self, offset, length):
        return bytes.fromhex(self.order(
            "dump %d %d" % (offset, length)).split(" ")[1])

    def at(self, offset, length):
        """A memory descriptor for direct use."""
        return (self.address + offset, self.key, length)

    def ended(self, timeout=10):
        """Wait for the end of the connection. Returns the reason of the
        SRP_T_LOGOUT that came before, None if there was none."""
        message, reason = self.receive(timeout), None
        if isinstance(message, bytes) and message[0] == T_LOGOUT:
            reason = int.from_bytes(message[4:8], "big")
            message = self.receive(timeout)
        if message != "disconnected":
            raise Failed("not the end of the connection: %s" % (message,))
        return reason

    def ask(self, data, timeout=10):
        """Send a message; returns its Response, "timeout" or
        "disconnected"."""
        if not self.send(data):
            return "disconnected"
        answer = self.receive(timeout)
        return Response(answer) if isinstance(answer, bytes) else answer

    def begin(self, data, timeout=10):
        """Begin what ask() does; finish() waits for it."""
        self.job.write("send %s\nrecv %d\n" % (data.hex(), timeout * 1000))

    def finish(self):
        sent, answer = self._line("send"), self._received(self._line("recv"))
        if sent != "sent":
            return "disconnected"
        return Response(answer) if isinstance(answer, bytes) else answer
