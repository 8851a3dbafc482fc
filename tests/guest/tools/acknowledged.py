#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Writes blocks of a disk, each once, several at a time, and keeps the numbers of those
# that were acknowledged; ends when its input does. Or reads them back and compares.
#
# Usage: acknowledged.py write|check <disk> <file with the numbers>

import mmap
import os
import struct
import sys
import threading

BLOCK, WRITERS = 4096, 8


def content(number):
    return struct.pack("<QQ", number, ~number & (1 << 64) - 1) * (BLOCK // 16)


def write(disk, log):
    fd = os.open(disk, os.O_RDWR | os.O_DIRECT)
    count = os.lseek(fd, 0, os.SEEK_END) // BLOCK
    ended, acknowledged = threading.Event(), []

    def writer(first):
        memory = mmap.mmap(-1, BLOCK)
        for number in range(first, count, WRITERS):
            if ended.is_set():
                return
            memory[:] = content(number)
            os.pwrite(fd, memory, number * BLOCK)
            # One that is acknowledged after the end was still under way then.
            if not ended.is_set():
                acknowledged.append(number)

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    print("writing", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    with open(log, "w") as file:
        file.write("".join("%d\n" % number for number in acknowledged))
    print("%d blocks of %d were acknowledged" % (len(acknowledged), count))


def check(disk, log):
    fd = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, BLOCK)
    with open(log) as file:
        numbers = [int(line) for line in file]
    lost = []
    for number in numbers:
        os.preadv(fd, [memory], number * BLOCK)
        if memory[:] != content(number):
            lost.append(number)
    print("%d of %d blocks are lost: %s" % (len(lost), len(numbers), lost[:8]))
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit({"write": write, "check": check}[sys.argv[1]](*sys.argv[2:]))
