# SPDX-License-Identifier: GPL-2.0
#
# The lab's InfiniBand switch by itself: directed routes as they come from a subnet
# manager, tables, and which port a packet leaves by.
#
# Not here: the switch between machines (tests/guest/test_fabric.py).

import struct

import pytest

from lab import ibswitch
from lab.ibswitch import (ACTIVE, ARMED, DIRECTED, DOWN, GET, INIT, LID_ROUTED, LINK_STATE_CHANGED,
                          MAD_AT, PERMISSIVE, RESPONSE, SET, Switch)

GUID = 0x1234


def managed(method, attribute, modifier=0, data=b"", route=(), kind=DIRECTED, slid=PERMISSIVE,
            dlid=PERMISSIVE, step=1, back=()):
    """A management datagram as a port receives it. A route begins with the step that
    led to the switch."""
    mad = bytearray(ibswitch.MAD)
    struct.pack_into(">BBBBHBBQHHI", mad, 0, 1, kind, 1, method, 0x8000 if back else 0, step,
                     len(route), 7, attribute, 0, modifier)
    if kind == DIRECTED:
        mad[32:36] = b"\xff" * 4
    mad[64:64 + len(data)] = data
    mad[129:129 + len(route)] = route
    mad[193:193 + len(back)] = back
    packet = bytearray(ibswitch.LENGTH)
    struct.pack_into(">BBHHH", packet, 0, 15 << 4, 2, dlid, ibswitch.LENGTH // 4, slid)
    packet[MAD_AT:-4] = mad
    return bytes(packet)


def data_packet(dlid, slid=1):
    """A SEND for some queue pair."""
    return struct.pack(">BBHHHB", 0, 2, dlid, 9, slid, 4).ljust(36, b"\1")


def ask(switch, method, attribute, modifier=0, data=b"", port=1):
    """The status and data of the answer to a request over one step from a port."""
    (out, packet), = switch.receive(port, managed(method, attribute, modifier, data, [1]))
    assert out == port
    assert packet[-4:] == ibswitch.icrc(packet)
    mad = packet[MAD_AT:-4]
    assert (mad[3], mad[4] >> 7, mad[6], mad[193]) == (RESPONSE, 1, 1, port)
    return int.from_bytes(mad[4:6], "big") & 0x7fff, mad[64:128]


def set_port(switch, number, state):
    info = bytearray(ask(switch, GET, ibswitch.PORT_INFO, number)[1])
    info[32] = info[32] & 0xf0 | state
    return ask(switch, SET, ibswitch.PORT_INFO, number, info)


@pytest.fixture
def switch():
    """Four ports; cables in 1 to 3."""
    made = Switch(4, GUID)
    for port in 1, 2, 3:
        made.link(port, True)
    return made


def test_describes_itself(switch):
    status, info = ask(switch, GET, ibswitch.NODE_INFO, port=3)
    assert (status, info[2], info[3], info[36]) == (0, 2, 4, 3)
    assert int.from_bytes(info[12:20], "big") == GUID
    assert ask(switch, GET, ibswitch.NODE_DESC)[1].rstrip(b"\0") == b"switch of the lab"
    assert ask(switch, GET, 0x20)[0] == ibswitch.UNSUPPORTED
    assert ask(switch, GET, ibswitch.PORT_INFO, 5)[0] != 0
    # The port that the request came from.
    assert ask(switch, GET, ibswitch.PORT_INFO, 2, port=3)[1][28] == 3


def test_states_of_ports(switch):
    states = [ask(switch, GET, ibswitch.PORT_INFO, n)[1][32] & 0xf for n in range(5)]
    assert states == [ACTIVE, INIT, INIT, INIT, DOWN]
    assert set_port(switch, 2, ACTIVE)[0] == ibswitch.INVALID
    assert set_port(switch, 2, ARMED)[1][32] & 0xf == ARMED
    assert set_port(switch, 2, ACTIVE)[1][32] & 0xf == ACTIVE
    assert set_port(switch, 4, ARMED)[0] == ibswitch.INVALID
    switch.link(2, False)
    assert ask(switch, GET, ibswitch.PORT_INFO, 2)[1][32] & 0xf == DOWN


def test_directed_route(switch):
    """two steps to the port at 2 and back"""
    request = managed(GET, ibswitch.NODE_INFO, route=[1, 2])
    (port, packet), = switch.receive(3, request)
    mad = packet[MAD_AT:-4]
    assert (port, mad[6], mad[193]) == (2, 2, 3)
    assert packet[-4:] == ibswitch.icrc(packet)
    # The answer, as the port at 2 sends it.
    answer = managed(RESPONSE, ibswitch.NODE_INFO, route=[1, 2], step=2, back=[3, 1])
    (port, packet), = switch.receive(2, answer)
    assert (port, packet[MAD_AT + 6]) == (3, 1)


LOST = {
    "no cable": managed(GET, ibswitch.NODE_INFO, route=[1, 4]),
    "no such port": managed(GET, ibswitch.NODE_INFO, route=[1, 9]),
    "before its first step": managed(GET, ibswitch.NODE_INFO, route=[1, 2], step=0),
    "beyond its end": managed(GET, ibswitch.NODE_INFO, route=[1], step=2),
    "back too far": managed(RESPONSE, ibswitch.NODE_INFO, route=[1, 2], back=[3, 1]),
    "too long": managed(GET, ibswitch.NODE_INFO, route=[1] * 64, step=3),
    "cut off": managed(GET, ibswitch.NODE_INFO, route=[1])[:-5],
    "empty": b"",
    "nonsense": b"\xf0" * 24,
}


@pytest.mark.parametrize("packet", LOST.values(), ids=LOST)
def test_lost(switch, packet):
    """what leads nowhere"""
    assert switch.receive(1, packet) == []


def test_routes(switch):
    table = bytearray([ibswitch.NOWHERE] * 64)
    table[5], table[6] = 2, 3
    assert ask(switch, SET, ibswitch.UNICAST, 0, table) == (0, bytes(table))
    groups = struct.pack(">32H", 1 << 1 | 1 << 2 | 1 << 3, *[0] * 31)
    assert ask(switch, SET, ibswitch.MULTICAST, 0, groups) == (0, groups)
    packet, group = data_packet(5), data_packet(0xc000)
    assert switch.receive(1, packet) == []          # The ports are in INIT.
    for port in 1, 2, 3:
        set_port(switch, port, ARMED)
        set_port(switch, port, ACTIVE)
    assert switch.receive(1, packet) == [(2, packet)]
    assert switch.receive(3, group) == [(1, group), (2, group)]
    assert switch.receive(1, data_packet(7)) == []
    assert switch.receive(4, packet) == []
    switch.link(2, False)
    assert switch.receive(1, packet) == []


def test_tells_of_links(switch):
    """a trap to the subnet manager, which resets the mark of a change"""
    assert ask(switch, GET, ibswitch.SWITCH_INFO)[1][11] & 4
    mark = bytearray(64)
    mark[11] = 4
    assert not ask(switch, SET, ibswitch.SWITCH_INFO, 0, mark)[1][11] & 4
    assert switch.link(4, True) == []               # It knows no subnet manager.
    info = bytearray(ask(switch, GET, ibswitch.PORT_INFO, 0)[1])
    info[16:20] = 0, 9, 0, 5                        # LID 9, the manager's is 5
    ask(switch, SET, ibswitch.PORT_INFO, 0, info)
    ask(switch, SET, ibswitch.UNICAST, 0, bytes([ibswitch.NOWHERE] * 5 + [3]).ljust(64, b"\xff"))
    (port, packet), = switch.link(4, False)
    assert port == 3 and packet[-4:] == ibswitch.icrc(packet)
    assert struct.unpack_from(">HHH", packet, 2) == (5, len(packet) // 4, 9)
    assert struct.unpack_from(">HHxxH", packet, MAD_AT + 68) == (LINK_STATE_CHANGED, 9, 9)
    assert ask(switch, GET, ibswitch.SWITCH_INFO)[1][11] & 4
    # By its LID, too.
    (port, packet), = switch.receive(2, managed(GET, ibswitch.NODE_INFO, kind=LID_ROUTED,
                                                slid=5, dlid=9))
    assert port == 2
    assert struct.unpack_from(">HxxH", packet, 2) == (5, 9)
    assert packet[MAD_AT + 3] == RESPONSE
