# SPDX-License-Identifier: GPL-2.0
#
# The host's end of the control channel to the agent in a guest, and the
# handle for one command that runs there. Commands run side by side; output
# comes back byte for byte.
#
# Not here: the guest's end and the frame format (agent.py).

import collections
import json
import signal
import socket
import struct
import threading
import time

from . import agent, qemu
from .env import LabError, pace

Result = collections.namedtuple("Result", "rc out")

# More output than this is a mistake; the command gets killed.
MAX_OUTPUT = 512 << 20

# Seconds that a guest may take for a piece of what is sent to it.
SEND_TIMEOUT = 120

# How much later than the guest the host gives up on a command.
OUTER_SLACK = 20.0


class GuestDied(LabError):
    """The guest ended or its channel broke while it was needed."""


class CommandFailed(LabError):
    """A checked command had an exit status other than 0."""

    def __init__(self, text, result):
        super().__init__(text)
        self.result = result
        self.rc, self.out = result


class CommandTimeout(CommandFailed):
    """A checked command did not end in time."""


class Job:
    """A command running in a guest; see Guest.spawn()."""

    def __init__(self, channel, number, cmd, timeout, binary, on_output):
        self.channel = channel
        self.number = number
        self.cmd = cmd
        self.timeout = timeout
        self.binary = binary
        self.on_output = on_output
        self.timed_out = False
        # True if the process did not even die from SIGKILL: it hangs in the
        # kernel.
        self.stuck = False
        self.died = False
        self._rc = None
        self._out = []
        self._size = 0
        self._done = threading.Event()
        self._started = time.monotonic()

    # Called by the channel's reader.
    def _receive(self, data):
        if self.on_output:
            self.on_output(data)
            return
        self._out.append(data)
        self._size += len(data)
        if self._size > MAX_OUTPUT:
            self.kill()

    def _finish(self, report):
        self._rc = report["rc"]
        self.timed_out = report.get("timeout", False)
        self.stuck = report.get("stuck", False)
        self._done.set()

    def _lost(self):
        if not self._done.is_set():
            self.died = True
            self._done.set()

    @property
    def output(self):
        """What the command has printed so far (standard output and error in
        the order they came); text, or bytes if spawned with binary=True."""
        data = b"".join(self._out)
        return data if self.binary else decode(data)

    def poll(self):
        """The exit status, or None while the command runs."""
        if not self._done.is_set():
            return None
        if self.died:
            raise GuestDied("the guest was gone before '%s' ended"
                            % short(self.cmd))
        return self._rc

    def write(self, data):
        """Send bytes to the command's standard input."""
        if isinstance(data, str):
            data = data.encode()
        for start in range(0, len(data), agent.CHUNK):
            self.channel.send(self.number, agent.STDIN,
                              data[start:start + agent.CHUNK])

    def close_input(self):
        self.channel.send(self.number, agent.STDIN_END, b"")

    def signal(self, number):
        """Send a signal to the command and all it started."""
        self.channel.send(self.number, agent.SIGNAL, bytes([number]))

    def kill(self):
        self.signal(signal.SIGKILL)

    def resize(self, rows, columns):
        """The size of the terminal of a command spawned with tty=True."""
        self.channel.send(self.number, agent.RESIZE,
                          struct.pack("HH", rows, columns))

    def wait(self, timeout=None, check=True):
        """Wait for the end; returns Result(rc, out).

        With `timeout`, give up waiting after that many seconds and raise
        TimeoutError; the command keeps running. The command's own time limit
        (from spawn) kills it: then CommandTimeout is raised, or with
        check=False the result has rc 124. Any other exit status than 0
        raises CommandFailed unless check=False."""
        give_up = None
        if timeout is not None:
            timeout *= pace()
            give_up = time.monotonic() + timeout
        outer = None
        if self.timeout:
            outer = self._started + self.timeout + OUTER_SLACK
        while not self._done.wait(0.25):
            self.channel.pulse()
            now = time.monotonic()
            if outer and now > outer:
                # The guest did not enforce the limit: it is not working.
                self.timed_out = self.stuck = True
                self._rc = 124
                self._done.set()
            elif give_up and now > give_up:
                raise TimeoutError("'%s' still runs after %g s"
                                   % (short(self.cmd), timeout))
        self.poll()
        result = Result(self._rc, self.output)
        if check and self.timed_out:
            raise CommandTimeout("'%s' did not end within %g s%s; its output "
                                 "ends with:\n%s" % (
                                     short(self.cmd), self.timeout,
                                     " and cannot be killed" if self.stuck
                                     else "", last(result.out)), result)
        if check and self._rc:
            raise CommandFailed("'%s' ended with status %d; its output ends "
                                "with:\n%s" % (short(self.cmd), self._rc,
                                               last(result.out)), result)
        return result


class Channel:
    """The connection to the agent. `pulse` is called several times a second
    while somebody waits, and may raise an exception to end the waiting."""

    def __init__(self, path, alive, pulse):
        self.pulse = pulse
        self.hello = None
        self.greeted = threading.Event()
        self.broken = False
        self.closing = False
        self.jobs = {}
        self.last = 0
        self.lock = threading.Lock()        # of sending and of the job table
        self.socket = qemu.connect(path, alive, 10)
        # A guest that takes nothing any more must not hold up its owner.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                               struct.pack("ll", SEND_TIMEOUT, 0))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        stream = self.socket.makefile("rb", buffering=256 * 1024)
        try:
            while True:
                head = stream.read(agent.HEADER.size)
                if len(head) < agent.HEADER.size:
                    break
                length, number, kind = agent.HEADER.unpack(head)
                payload = stream.read(length)
                if len(payload) < length:
                    break
                self._frame(number, kind, payload)
        except OSError:
            pass
        with self.lock:
            self.broken = True
            jobs = list(self.jobs.values())
            self.jobs.clear()
        for job in jobs:
            job._lost()
        self.greeted.set()

    def _frame(self, number, kind, payload):
        if kind == agent.HELLO:
            self.hello = json.loads(payload)
            self.greeted.set()
            return
        job = self.jobs.get(number)
        if job is None:
            return
        if kind == agent.OUTPUT:
            job._receive(payload)
        elif kind == agent.EXIT:
            with self.lock:
                self.jobs.pop(number, None)
            job._finish(json.loads(payload))

    def send(self, number, kind, payload):
        frame = agent.HEADER.pack(len(payload), number, kind) + payload
        with self.lock:
            if self.broken:
                raise GuestDied("the guest's control channel is gone")
            try:
                self.socket.sendall(frame)
            except OSError:
                raise GuestDied("the guest's control channel is gone") \
                    from None

    def spawn(self, cmd, timeout=None, input=b"", binary=False, env=None,
              cwd=None, tty=False, keep_input=False, on_output=None):
        """Start a command; see Guest.spawn() for the arguments."""
        if timeout:
            timeout *= pace()
        with self.lock:
            if self.broken:
                raise GuestDied("the guest's control channel is gone")
            self.last += 1
            number = self.last
            job = Job(self, number, cmd, timeout, binary, on_output)
            self.jobs[number] = job
        self.send(number, agent.EXEC, json.dumps(
            {"cmd": cmd, "timeout": timeout, "env": env, "cwd": cwd,
             "tty": tty}).encode())
        if input:
            job.write(input)
        if not (keep_input or tty):
            job.close_input()
        return job

    def close(self):
        self.closing = True
        try:
            self.socket.shutdown(2)
        except OSError:
            pass
        self.socket.close()
        self.reader.join(10)


def decode(data):
    """Bytes as text, without losing any: encode(..., 'surrogateescape')
    gives them back."""
    return data.decode("utf-8", "surrogateescape")


def short(cmd):
    text = cmd if isinstance(cmd, str) else " ".join(cmd)
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."


def last(out, lines=30):
    if isinstance(out, bytes):
        out = decode(out)
    text = "\n".join(out.splitlines()[-lines:])
    return text.encode("utf-8", "replace").decode("utf-8")
