# SPDX-License-Identifier: GPL-2.0
#
# An InfiniBand switch: which port a packet leaves by, and the subnet management
# agent by which a subnet manager finds the switch and sets its tables. Packets are
# those of tests/softib: LRH, GRH if there is one, BTH and so on, with the ICRC and
# without the VCRC. A test tool; there are one virtual lane, no M_Keys, and no check
# of partitions; a trap is sent once. Offsets and values are those of the InfiniBand specification,
# chapters 7.7 (LRH), 14.2 (management datagrams, directed routes, attributes) and
# 18.2 (switches).
#
# Not here: where packets come from and go to (fabric.py).

import struct
import zlib

PERMISSIVE = 0xffff             # LID
FIRST_MULTICAST = 0xc000        # LID
NOWHERE = 0xff                  # port of a LID without a route
MANAGEMENT_LANE = 15

# Sizes in bytes, and where the management datagram of a packet without GRH begins.
LRH, BTH, DETH, MAD, ICRC = 8, 12, 8, 256, 4
MAD_AT = LRH + BTH + DETH
LENGTH = MAD_AT + MAD + ICRC

# Management classes and methods.
LID_ROUTED, DIRECTED = 0x01, 0x81
GET, SET, TRAP, TRAP_REPRESS, RESPONSE = 0x01, 0x02, 0x05, 0x07, 0x81
RETURNS = 0x8000                # in the status of a directed route
UNSUPPORTED, INVALID = 3 << 2, 7 << 2

# Attributes.
NODE_DESC, NODE_INFO, SWITCH_INFO, GUID_INFO, PORT_INFO = 0x10, 0x11, 0x12, 0x14, 0x15
PKEYS, SL_TO_VL, VL_ARBITRATION = 0x16, 0x17, 0x18
UNICAST, MULTICAST = 0x19, 0x1b
UNICAST_BLOCK, MULTICAST_BLOCK = 64, 32         # entries of an attribute

# States of a port.
DOWN, INIT, ARMED, ACTIVE = 1, 2, 3, 4
POLLING, LINK_UP = 2, 5

LINK_STATE_CHANGED = 128        # trap

# What a subnet manager sets of port 0 and of the others: (first byte, behind the
# last).
OF_PORT_0 = ((0, 20), (26, 28), (34, 35), (36, 37), (51, 52))
OF_OTHERS = ((36, 37), (38, 39), (43, 44))
OF_SWITCH = ((6, 11), (16, 20))


def icrc(packet):
    """The ICRC of a packet without GRH as tests/softib has it: over neither the LRH
    nor the byte of the BTH that may change."""
    at = LRH + 4
    return struct.pack("<I", zlib.crc32(
        b"\xff" * LRH + packet[LRH:at] + b"\xff" + packet[at + 1:-ICRC]))


class Switch:
    """A switch with ports 1 and up, which are down at first. What it sends is
    returned as [(port, packet)]."""

    def __init__(self, ports, guid, name="switch of the lab"):
        self.ports, self.guid, self.name = ports, guid, name
        self.changed = False
        self.traps = 0
        self.info = [self._port() for _ in range(ports + 1)]
        self.info[0][20:24] = (1 << 3 | 1 << 11).to_bytes(4, "big")   # traps, system GUID
        self.info[0][32] = ACTIVE
        self.switch = bytearray(struct.pack(">HHHHBBBBHHBBH", 0xbfff, 0, 0x3fff, 0, 0,
                                            0, 0, 0, 0, 0, 0, 0, 0))
        self.unicast = bytearray([NOWHERE] * FIRST_MULTICAST)
        self.multicast = [0] * (PERMISSIVE - FIRST_MULTICAST)
        self.pkeys = [bytearray(b"\xff\xff" + bytes(62)) for _ in self.info]

    @staticmethod
    def _port():
        """PortInfo of a port that is down: 4X, SDR, packets of up to 4096 bytes."""
        info = bytearray(64)
        info[29:33] = 3, 3, 2, 1 << 4 | DOWN
        info[33:38] = POLLING << 4 | POLLING, 0, 1 << 4 | 1, 5 << 4, 1 << 4
        info[41], info[43], info[50], info[52] = 5, 1 << 4, 1, 18
        return info

    @property
    def lid(self):
        return int.from_bytes(self.info[0][16:18], "big")

    def state(self, port):
        return self.info[port][32] & 0xf

    def _set_state(self, port, state):
        info = self.info[port]
        info[32] = info[32] & 0xf0 | state
        info[33] = (POLLING if state == DOWN else LINK_UP) << 4 | info[33] & 0xf

    # --- links ------------------------------------------------------------

    def link(self, port, up):
        """A cable goes in or comes out."""
        if up == (self.state(port) != DOWN):
            return []
        self._set_state(port, INIT if up else DOWN)
        self.changed = True
        return self._trap()

    def _trap(self):
        """Tells the subnet manager that a link has changed."""
        manager = int.from_bytes(self.info[0][18:20], "big")
        if not manager or not self.lid:
            return []
        self.traps += 1
        mad = bytearray(MAD)
        struct.pack_into(">BBBBHHQHHI", mad, 0, 1, LID_ROUTED, 1, TRAP, 0, 0, self.traps,
                         0x02, 0, 0)
        struct.pack_into(">BBHHHHH", mad, 64, 0x81, 0, 2, LINK_STATE_CHANGED, self.lid, 0,
                         self.lid)
        packet = bytearray(LENGTH)
        struct.pack_into(">BBHHH", packet, 0, MANAGEMENT_LANE << 4, 2, manager,
                         LENGTH // 4, self.lid)
        # UD SEND only; version 0, P_Key; queue pair 0
        struct.pack_into(">BBHIIII", packet, LRH, 0x64, 0, 0xffff, 0, 0, 0, 0)
        packet[MAD_AT:-ICRC] = mad
        return self._route(0, self._sealed(packet))

    # --- packets ----------------------------------------------------------

    def receive(self, port, packet):
        """What becomes of a packet from a port."""
        if len(packet) < LRH + BTH + ICRC or self.state(port) == DOWN:
            return []
        dlid = int.from_bytes(packet[2:4], "big")
        if packet[0] >> 4 != MANAGEMENT_LANE or dlid not in (PERMISSIVE, self.lid or PERMISSIVE):
            return self._route(port, packet)
        # Without GRH, to queue pair 0.
        if len(packet) < LENGTH or packet[1] & 3 != 2 or any(packet[LRH + 5:LRH + 8]):
            return []
        return self._managed(port, bytearray(packet[:LENGTH]))

    def _route(self, port, packet):
        """Sends a packet on by its destination LID. Port 0 is the switch's own."""
        managed = packet[0] >> 4 == MANAGEMENT_LANE
        dlid = int.from_bytes(packet[2:4], "big")
        if dlid >= FIRST_MULTICAST:
            mask = 0 if dlid == PERMISSIVE else self.multicast[dlid - FIRST_MULTICAST]
            to = [out for out in range(1, self.ports + 1) if mask >> out & 1 and out != port]
        else:
            to = [self.unicast[dlid]]
        if not managed and self.state(port) != ACTIVE:
            return []
        return [(out, packet) for out in to if self._leaves(out, managed)]

    def _leaves(self, port, managed):
        """Whether a port sends: when it is active; management from INIT on."""
        return 0 < port <= self.ports and self.state(port) >= (INIT if managed else ACTIVE)

    # --- subnet management ------------------------------------------------

    def _managed(self, port, packet):
        """A management datagram for the permissive LID or the switch's own."""
        kind = packet[MAD_AT + 1]
        if kind == DIRECTED:
            return self._directed(port, packet)
        if kind == LID_ROUTED and packet[MAD_AT + 3] in (GET, SET):
            packet[2:4], packet[6:8] = packet[6:8], packet[2:4]
            return [(port, self._answered(port, packet, 0))]
        return []

    def _directed(self, port, packet):
        """A step of a directed route: rules C14-9 and C14-13."""
        mad = memoryview(packet)[MAD_AT:-ICRC]
        step, steps = mad[6], mad[7]
        there, back = mad[128:192], mad[192:256]
        if steps >= 64:
            return []
        if mad[4] & 0x80:
            if not 2 <= step <= steps:
                return []
            mad[6] = step - 1
            return self._pass_on(back[step - 1], packet)
        if 0 < step < steps:
            back[step] = port
            mad[6] = step + 1
            return self._pass_on(there[step + 1], packet)
        ends_here = int.from_bytes(mad[34:36], "big") == PERMISSIVE
        if step != steps or not ends_here or mad[3] not in (GET, SET):
            return []
        if steps:
            back[step] = port
        return [(port, self._answered(port, packet, RETURNS))]

    def _pass_on(self, port, packet):
        return [(port, self._sealed(packet))] if self._leaves(port, True) else []

    @staticmethod
    def _sealed(packet):
        packet[-ICRC:] = icrc(packet)
        return bytes(packet)

    def _answered(self, port, packet, flags):
        """The answer to a request, which takes its place in the packet."""
        mad = memoryview(packet)[MAD_AT:-ICRC]
        attribute, modifier = struct.unpack_from(">HxxI", mad, 16)
        data = bytes(mad[64:128])
        status, data = self._attribute(port, attribute, modifier,
                                       data if mad[3] == SET else None)
        mad[3] = RESPONSE
        mad[4:6] = (status | flags).to_bytes(2, "big")
        mad[64:128] = data.ljust(64, b"\0")
        return self._sealed(packet)

    def _attribute(self, port, attribute, modifier, new):
        """(status, data) of an attribute, set first if there is `new` data."""
        number, block = modifier >> 16, modifier & 0xffff
        if attribute == NODE_DESC and new is None:
            return 0, self.name.encode()
        if attribute == NODE_INFO and new is None:
            guid = self.guid.to_bytes(8, "big")
            return 0, struct.pack(">BBBB8s8s8sHHIB3x", 1, 1, 2, self.ports, guid, guid,
                                  guid, 8, 1, 1, port)
        if attribute == GUID_INFO and new is None and not modifier:
            return 0, self.guid.to_bytes(8, "big")
        if attribute == SWITCH_INFO and not modifier:
            return 0, self._switch_info(new)
        if attribute == PORT_INFO and modifier <= self.ports:
            return self._port_info(port, modifier, new)
        if attribute == PKEYS and number <= self.ports and not block:
            if new is not None:
                self.pkeys[number][:] = new
            return 0, bytes(self.pkeys[number])
        if attribute in (SL_TO_VL, VL_ARBITRATION):
            return 0, b""       # all on lane 0
        if attribute == UNICAST and modifier < FIRST_MULTICAST // UNICAST_BLOCK:
            entries = slice(modifier * UNICAST_BLOCK, (modifier + 1) * UNICAST_BLOCK)
            if new is not None:
                self.unicast[entries] = new
            return 0, bytes(self.unicast[entries])
        if attribute == MULTICAST and modifier < 512:
            return 0, self._multicast_block(modifier * MULTICAST_BLOCK, new)
        return UNSUPPORTED, b""

    def _switch_info(self, new):
        if new is not None:
            for begin, end in OF_SWITCH:
                self.switch[begin:end] = new[begin:end]
            self.switch[11] = new[11] & 0xf8
            if new[11] & 4:
                self.changed = False
        return bytes(self.switch[:11]) + bytes([self.switch[11] | 4 * self.changed]) \
            + bytes(self.switch[12:])

    def _port_info(self, port, number, new):
        """PortInfo of a port, for a request from `port`."""
        info, status = self.info[number], 0
        if new is not None:
            state, before = new[32] & 0xf, self.state(number)
            moves = number and state in (ARMED, ACTIVE) and state != before
            if moves and state != before + 1:
                status = INVALID
            else:
                for begin, end in OF_OTHERS if number else OF_PORT_0:
                    info[begin:end] = new[begin:end]
                if moves:
                    self._set_state(number, state)
        return status, bytes(info[:28]) + bytes([port]) + bytes(info[29:])

    def _multicast_block(self, first, new):
        entries = slice(first, first + MULTICAST_BLOCK)
        if new is not None:
            self.multicast[entries] = struct.unpack(">32H", new)
        masks = self.multicast[entries]
        return struct.pack(">32H", *masks, *[0] * (MULTICAST_BLOCK - len(masks)))
