#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# Runs on the initiator machine: carries orders from standard input to the
# kernel module ibcm_peer, and its answers to standard output.
#
# Not here: what the orders mean (modules/ibcm_peer.c), who gives them (ibcm.py).

import os
import sys

peer = os.open("/dev/ibcm_peer", os.O_RDWR)
print("ready", flush=True)
for line in sys.stdin:
    if line.startswith("quit"):
        break
    os.write(peer, line.encode())
    print(os.read(peer, 65536).decode(), end="", flush=True)
