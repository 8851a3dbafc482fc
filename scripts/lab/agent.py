# SPDX-License-Identifier: GPL-2.0
#
# The agent inside a guest: it reads orders from a virtio-serial port, runs
# commands side by side, and sends their output and exit status back. One
# command that hangs never stops another. Only Python's standard library.
#
# Not here: the host's end of the channel (channel.py). This file is copied
# into the initramfs; the protocol constants are imported by the host.

import collections
import errno
import fcntl
import glob
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import termios
import time

PORT = "lab.agent"

# Every frame: length of the payload, number of the job, type.
HEADER = struct.Struct("<IIB")
EXEC, STDIN, STDIN_END, SIGNAL, RESIZE = 1, 2, 3, 4, 5      # host -> guest
HELLO, OUTPUT, EXIT = 16, 17, 18                            # guest -> host
CHUNK = 64 * 1024

# How long a killed command may take to die before it is reported as stuck.
STUCK_AFTER = 3.0


def open_port():
    """The port's device node; there is no udev that would name it."""
    while True:
        for name in glob.glob("/sys/class/virtio-ports/*/name"):
            with open(name) as f:
                if f.read().strip() == PORT:
                    node = "/dev/" + name.split("/")[-2]
                    return os.open(node, os.O_RDWR)
        time.sleep(0.05)


class Job:
    """One running command."""

    def __init__(self, agent, number, order):
        self.agent = agent
        self.number = number
        self.pending = collections.deque()
        self.stdin_ended = False
        self.timed_out = False
        self.killed_at = None
        self.done = False
        timeout = order.get("timeout")
        self.deadline = time.monotonic() + timeout if timeout else None
        self.is_tty = bool(order.get("tty"))
        environ = dict(os.environ)
        environ.update(order.get("env") or {})
        cmd = order["cmd"]
        if isinstance(cmd, str):
            cmd = ["/bin/bash", "-c", cmd]
        if self.is_tty:
            self.output, inner = os.openpty()
            self.input = os.dup(self.output)
            outer = ()
            stdin = inner
        else:
            self.output, inner = os.pipe()
            stdin, self.input = os.pipe()
            outer = (stdin,)
        try:
            self.process = subprocess.Popen(
                cmd, stdin=stdin, stdout=inner, stderr=inner, env=environ,
                cwd=order.get("cwd") or "/", start_new_session=True,
                preexec_fn=take_tty if self.is_tty else None)
        except OSError as error:
            for fd in {self.output, self.input, inner, stdin}:
                os.close(fd)
            self.done = True
            agent.send(number, OUTPUT, ("%s: %s\n" % (
                cmd[0], error.strerror)).encode())
            agent.send(number, EXIT, json.dumps(
                {"rc": 127 if error.errno == errno.ENOENT else 126}).encode())
            return
        os.close(inner)
        for fd in outer:
            os.close(fd)
        for fd in (self.output, self.input):
            os.set_blocking(fd, False)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.input_open, self.writing = True, False
        agent.poll.register(self.output, selectors.EVENT_READ, self.on_output)
        agent.poll.register(self.pidfd, selectors.EVENT_READ, self.on_exit)

    # Output: whatever is there, in the order in which it came.
    def on_output(self):
        """Send one piece on; False when nothing more is there now."""
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return False
        except OSError:                 # a terminal whose last user is gone
            data = b""
        if not data:
            self.forget(self.output)
            return False
        self.agent.send(self.number, OUTPUT, data)
        return True

    # Input: queued, written when the command takes it.
    def feed(self, data):
        self.pending.append(data)
        self.on_input()

    def end_input(self):
        self.stdin_ended = True
        self.on_input()

    def on_input(self):
        if not self.input_open:
            return
        while self.pending:
            try:
                count = os.write(self.input, self.pending[0])
            except BlockingIOError:
                if not self.writing:
                    self.agent.poll.register(
                        self.input, selectors.EVENT_WRITE, self.on_input)
                    self.writing = True
                return
            except OSError:             # the command no longer reads
                self.pending.clear()
                self.stdin_ended = True
                break
            rest = self.pending[0][count:]
            if rest:
                self.pending[0] = rest
            else:
                self.pending.popleft()
        if self.writing:
            self.forget(self.input)
            self.writing = False
        if self.stdin_ended:
            self.close_input()

    def close_input(self):
        if self.input_open:
            self.forget(self.input)
            os.close(self.input)
            self.input_open = False

    def forget(self, fd):
        try:
            self.agent.poll.unregister(fd)
        except KeyError:
            pass

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def tick(self, now):
        """Time limits; called about twice a second."""
        if self.killed_at and now - self.killed_at > STUCK_AFTER:
            self.finish(stuck=True)
        elif self.deadline and now >= self.deadline and not self.killed_at:
            self.timed_out = True
            self.killed_at = now
            self.signal(signal.SIGKILL)

    def on_exit(self):
        self.process.poll()
        if self.process.returncode is not None:
            self.finish()

    def finish(self, stuck=False):
        """Report the end. A daemon that the command left behind may hold
        the pipe open; its later output is of no interest."""
        while not stuck and self.on_output():
            pass
        rc = self.process.returncode
        if rc is not None and rc < 0:
            rc = 128 - rc
        if self.timed_out:
            rc = 124
        elif rc is None:
            rc = 137
        self.done = True
        self.forget(self.output)
        os.close(self.output)
        self.forget(self.pidfd)
        os.close(self.pidfd)
        self.close_input()
        self.agent.jobs.pop(self.number, None)
        self.agent.send(self.number, EXIT, json.dumps(
            {"rc": rc, "timeout": self.timed_out, "stuck": stuck}).encode())


def take_tty():
    """In the child: standard input becomes the controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Agent:
    def __init__(self):
        self.port = open_port()
        self.poll = selectors.DefaultSelector()
        self.jobs = {}
        self.buffer = bytearray()

    def send(self, number, kind, payload):
        data = memoryview(HEADER.pack(len(payload), number, kind) + payload)
        while data:
            data = data[os.write(self.port, data[:32 * 1024]):]

    def on_port(self):
        data = os.read(self.port, CHUNK)
        if not data:                    # nobody listens on the host (yet)
            time.sleep(0.05)
            return
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            length, number, kind = HEADER.unpack_from(self.buffer)
            end = HEADER.size + length
            if len(self.buffer) < end:
                break
            payload = bytes(self.buffer[HEADER.size:end])
            del self.buffer[:end]
            self.order(number, kind, payload)

    def order(self, number, kind, payload):
        if kind == EXEC:
            job = Job(self, number, json.loads(payload))
            if not job.done:
                self.jobs[number] = job
            return
        job = self.jobs.get(number)
        if job is None:                 # it has just ended
            return
        if kind == STDIN:
            job.feed(payload)
        elif kind == STDIN_END:
            job.end_input()
        elif kind == SIGNAL:
            value = payload[0]
            if value == signal.SIGKILL and not job.killed_at:
                job.killed_at = time.monotonic()
            job.signal(value)
        elif kind == RESIZE and job.is_tty:
            fcntl.ioctl(job.output, termios.TIOCSWINSZ,
                        payload + b"\0" * 4)

    def run(self):
        self.poll.register(self.port, selectors.EVENT_READ, self.on_port)
        self.send(0, HELLO, json.dumps(
            {"release": os.uname().release}).encode())
        next_tick = 0
        while True:
            for event, _ in self.poll.select(0.5 if self.jobs else None):
                # An earlier event of this round may have ended the job.
                try:
                    current = self.poll.get_key(event.fileobj)
                except KeyError:
                    continue
                if current.data == event.data:
                    event.data()
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + 0.4
                for job in list(self.jobs.values()):
                    job.tick(now)


if __name__ == "__main__":
    try:
        Agent().run()
    except Exception as failure:
        with open("/dev/console", "w") as console:
            print("lab-agent: %r" % failure, file=console)
        sys.exit(1)
