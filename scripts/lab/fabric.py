# SPDX-License-Identifier: GPL-2.0
#
# A fabric: an InfiniBand switch (ibswitch.py), to which network cards of guests are
# connected. It is a process of its own: frames pass while tests do other things. As
# with a wire between two guests, a guest that does not take what it is sent makes the
# senders wait; frames to a port without a guest are lost.
#
# Not here: what becomes of a packet (ibswitch.py).
# As a program: fabric.py <directory> <ports>; standard input takes "up <port>" and
# "down <port>", and its end is the program's.

import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    from ibswitch import Switch
else:
    from . import env

# The Ethernet protocol number of tests/softib.
PROTOCOL = bytes((0x88, 0xb5))
FRAME = struct.Struct(">I")
GUID = 0x5a00030000090000
# Seconds that the process takes for an order at most.
ANSWER = 20


def ethernet(port):
    """The header of all frames from a port of the switch."""
    return b"\xff" * 6 + bytes((0x5a, 0, 0, 0, 9, port)) + PROTOCOL


class Port:
    """A port: where a guest connects, and what has come from it."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.peer = None
        self.inserted = True            # the cable
        self.received = bytearray()

    @property
    def up(self):
        return self.peer is not None and self.inserted

    def close(self):
        self.peer.close()
        self.peer = None
        self.received.clear()

    def frames(self, data):
        """The frames that are complete with this data."""
        self.received += data
        while len(self.received) >= FRAME.size:
            end = FRAME.size + FRAME.unpack_from(self.received)[0]
            if len(self.received) < end:
                return
            yield bytes(self.received[FRAME.size:end])
            del self.received[:end]


class Program:
    """The process."""

    def __init__(self, directory, ports):
        self.switch = Switch(ports, GUID)
        self.ports = {n: Port("%s/%d" % (directory, n)) for n in range(1, ports + 1)}

    def run(self):
        print("ready", flush=True)
        while True:
            by_file = {sys.stdin.buffer.raw: None}
            for number, port in self.ports.items():
                by_file[port.peer or port.listener] = number
            for file in select.select(list(by_file), [], [])[0]:
                if file is sys.stdin.buffer.raw:
                    if not self.order(file):
                        return
                else:
                    self.ready(by_file[file], file)

    def order(self, file):
        """An order from standard input; False at its end. Answers each."""
        lines = file.read(4096).decode().splitlines()
        for line in lines:
            word, number = line.split()
            self.ports[int(number)].inserted = word == "up"
            self.link(int(number))
            print(line, flush=True)
        return bool(lines)

    def link(self, number):
        self.send(self.switch.link(number, self.ports[number].up))

    def ready(self, number, file):
        """There is data from a port, or a guest that connects, or leaves."""
        port = self.ports[number]
        if file is port.listener:
            port.peer = file.accept()[0]
            self.link(number)
        elif file is port.peer:
            try:
                data = file.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                port.close()
                self.link(number)
            for frame in port.frames(data):
                if port.inserted and frame[12:14] == PROTOCOL:
                    self.send(self.switch.receive(number, frame[14:]))

    def send(self, packets):
        for number, packet in packets:
            port = self.ports[number]
            if not port.up:
                continue
            frame = ethernet(number) + packet
            try:
                port.peer.sendall(FRAME.pack(len(frame)) + frame)
            except OSError:
                port.close()
                self.link(number)


class Fabric:
    """A switch that runs while the context lasts."""

    def __init__(self, ports=4):
        self.ports = ports
        self.place = self.process = None

    def __enter__(self):
        self.place = Path(tempfile.mkdtemp(prefix="lab-fabric-"))
        self.process = subprocess.Popen(
            [sys.executable, "-B", __file__, str(self.place), str(self.ports)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        try:
            self._says("ready")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self._end()

    def _end(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.place, ignore_errors=True)

    def _says(self, text):
        """Wait for its answer; a guest that takes nothing keeps it from one."""
        there, _, _ = select.select([self.process.stdout], [], [], ANSWER * env.pace())
        line = self.process.stdout.readline().strip() if there else "nothing"
        if line != text:
            raise env.LabError("the switch says '%s', not '%s'" % (line, text))

    def wire(self, port):
        """What connects a network card to a port: a netdev of QEMU's, but for its id."""
        return {"type": "stream", "server": False, "reconnect-ms": 200,
                "addr": {"type": "unix", "path": "%s/%d" % (self.place, port)}}

    def set_link(self, port, up):
        """Plug in or pull out the cable of a port, at the switch's end."""
        order = "%s %d" % ("up" if up else "down", port)
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        self._says(order)


if __name__ == "__main__":
    Program(sys.argv[1], int(sys.argv[2])).run()
