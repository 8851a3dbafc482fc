#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Counts the packets of RoCE or InfiniBand (tests/softib) on eth0 by their opcode, until
# standard input ends, and prints one JSON object {"opcode": packets}. Tests tell from it
# how data really travelled.
#
# Not here: the meaning of the counts (see initiator.py, WIRE).

import collections
import json
import select
import socket
import sys

ROCE_PORT = 4791
ETH_IP, ETH_IP6, ETH_SOFTIB = 0x0800, 0x86dd, 0x88b5
# Lengths of the local and the global route header, and the bits that say whether there is
# the latter.
LRH, GRH, NEXT_HEADER, GLOBAL = 8, 40, 3, 3


def opcode(frame):
    """The opcode of a frame of RoCE v2 or InfiniBand, or None."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ETH_SOFTIB:
        has_grh = frame[15] & NEXT_HEADER == GLOBAL
        return frame[14 + LRH + (GRH if has_grh else 0)]
    if kind == ETH_IP:
        udp = 14 + (frame[14] & 15) * 4
        if frame[23] != 17:
            return None
    elif kind == ETH_IP6:
        udp = 14 + 40
        if frame[20] != 17:
            return None
    else:
        return None
    if int.from_bytes(frame[udp + 2:udp + 4], "big") != ROCE_PORT:
        return None
    return frame[udp + 8]


def main():
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)    # SO_RCVBUFFORCE
    wire.bind(("eth0", 0))
    wire.setblocking(False)
    counts = collections.Counter()
    print("counting", flush=True)
    while True:
        ready = select.select([wire, sys.stdin], [], [])[0]
        try:
            while True:
                code = opcode(wire.recv(128))
                if code is not None:
                    counts[code] += 1
        except BlockingIOError:
            pass
        if sys.stdin in ready and not sys.stdin.buffer.read1(1):
            break
    # Packets dropped before they could be counted make the counts useless.
    packets, drops = __import__("struct").unpack(
        "II", wire.getsockopt(263, 6, 8))               # PACKET_STATISTICS
    counts["dropped"] = drops
    print(json.dumps(counts))


main()
