#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Writes and reads a disk with requests whose memory is scattered over many
# pages that do not touch each other, and compares. Each request becomes as
# many memory descriptors as it has pages.
#
# Usage: scatter.py <disk> <pages per request> <requests>

import mmap
import os
import random
import sys

PAGE = 4096


def pieces(memory, pages, seed):
    """`pages` separate pages of the memory, no two of them adjacent."""
    order = list(range(0, 2 * pages, 2))
    random.Random(seed).shuffle(order)
    view = memoryview(memory)
    return [view[n * PAGE:(n + 1) * PAGE] for n in order]


def main(disk, pages, requests):
    # Huge pages would make neighbours of what is apart.
    memory = mmap.mmap(-1, 2 * pages * PAGE)
    try:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    except OSError:
        pass                    # a kernel that has no huge pages anyway
    # In the order of addresses, so that neighbours in memory are such here.
    for page in range(2 * pages):
        memory[page * PAGE] = 1
    size = pages * PAGE
    fd = os.open(disk, os.O_RDWR | os.O_DIRECT)
    written = {}
    for n in range(requests):
        vector = pieces(memory, pages, n)
        data = random.Random(1000 + n).randbytes(size)
        for i, page in enumerate(vector):
            page[:] = data[i * PAGE:(i + 1) * PAGE]
        if os.pwritev(fd, vector, n * size) != size:
            sys.exit("short write of request %d" % n)
        written[n] = data
    for n in range(requests):
        vector = pieces(memory, pages, 77 + n)
        for page in vector:
            page[:] = bytes(PAGE)
        if os.preadv(fd, vector, n * size) != size:
            sys.exit("short read of request %d" % n)
        for i, page in enumerate(vector):
            if page != written[n][i * PAGE:(i + 1) * PAGE]:
                sys.exit("request %d, page %d differs" % (n, i))
    print("%d requests of %d pages: written, read, equal" % (requests, pages))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
