#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Counts the RoCE packets on eth0 by their InfiniBand opcode, until standard
# input ends, and prints one JSON object {"opcode": packets}. Tests tell from it
# how data really travelled.
#
# Not here: the meaning of the counts (see initiator.py, WIRE).

import collections
import json
import select
import socket
import sys

ROCE_PORT = 4791
ETH_IP, ETH_IP6 = 0x0800, 0x86dd


def opcode(frame):
    """The opcode of a RoCE v2 frame, or None."""
    kind = int.from_bytes(frame[12:14], "big")
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
