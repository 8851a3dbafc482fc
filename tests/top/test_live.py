# SPDX-License-Identifier: GPL-2.0
#
# The live table in a pseudo-terminal: what is drawn, what keys do, and that the
# terminal is as before afterwards.

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import time
import unittest

import fake


class Screen:
    """A terminal that knows what srpt-top uses, and nothing else."""

    def __init__(self, columns, lines):
        self.columns, self.height = columns, lines
        # After a change of size: pictures of the old size may still come, until one
        # has fitted from its beginning to that of the next.
        self.resized = self.fits = False
        self.normal = True
        self.given_back = 0
        self.cursor = True
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.height)]
        self.x = self.y = 0

    def feed(self, text):
        for match in re.finditer(r"\x1b\[(\??[0-9;]*)([A-Za-z])|([\x00-\x1f])|(.)",
                                 text, re.S):
            code, control, char = match[1], match[3], match[4]
            if char:
                if self.x == self.columns:
                    if self.resized:
                        self.fits = False
                        continue
                    if not self.normal:
                        raise AssertionError("a line is too long")
                    self.x = 0
                    self.next_line()
                self.cells[self.y][self.x] = char
                self.x += 1
            elif control == "\r":
                self.x = 0
            elif control == "\n":
                self.next_line()
            elif control:
                raise AssertionError("control character %r" % control)
            else:
                self.sequence(code + match[2])

    def next_line(self):
        self.y += 1
        if self.y == self.height:
            if self.resized:
                self.fits = False
                self.y -= 1
                return
            if not self.normal:
                raise AssertionError("the screen has scrolled")
            self.y -= 1
            self.cells = self.cells[1:] + [[" "] * self.columns]

    def sequence(self, what):
        if what in ("?1049h", "?1049l"):
            self.normal = what == "?1049l"
            self.given_back += self.normal
            self.clear()
        elif what in ("?25h", "?25l"):
            self.cursor = what == "?25h"
        elif what == "H":
            self.resized = self.resized and not self.fits
            self.fits = True
            self.x = self.y = 0
        elif what == "2K":
            self.cells[self.y] = [" "] * self.columns
        elif what == "J":
            self.cells[self.y][self.x:] = [" "] * (self.columns - self.x)
            for line in range(self.y + 1, self.height):
                self.cells[line] = [" "] * self.columns
        elif what not in ("1m", "0m"):
            raise AssertionError("unknown sequence %r" % what)

    def lines(self):
        return ["".join(line).rstrip() for line in self.cells]


class Live(fake.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.port()
        self.session = self.disk.login(1)

    def open(self, columns=80, lines=24, interval="0.2", *more):
        self.screen = Screen(columns, lines)
        self.master, slave = pty.openpty()
        self.slave = slave
        self.addCleanup(os.close, self.master)
        self.addCleanup(os.close, slave)
        self.size(columns, lines)
        self.before = termios.tcgetattr(slave)
        self.process = self.start("--interval", interval, *more, stdin=slave,
                                  stdout=slave, stderr=slave,
                                  preexec_fn=self.controlling)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        os.set_blocking(self.master, False)

    @staticmethod
    def controlling():
        """The terminal is the process's own, so that it gets its signals."""
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def size(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns, lines):
        fresh = Screen(columns, lines)
        fresh.normal, fresh.cursor = self.screen.normal, self.screen.cursor
        fresh.resized = True
        self.screen = fresh
        self.size(columns, lines)

    def read(self):
        try:
            self.screen.feed(os.read(self.master, 65536).decode())
        except BlockingIOError:
            pass

    def press(self, keys):
        os.write(self.master, keys.encode())

    def until(self, condition, what):
        """Look at the screen until something is there."""
        end = time.monotonic() + 30
        while True:
            self.read()
            text = "\n".join(self.screen.lines())
            if condition(text):
                return text
            if time.monotonic() > end:
                self.fail("not seen: %s\n%s" % (what, text))
            time.sleep(0.02)

    def see(self, pattern):
        return self.until(lambda text: re.search(pattern, text, re.M), pattern)

    def ended(self, status=0):
        self.until(lambda _: self.process.poll() is not None, "the end")
        self.read()
        self.assertEqual(self.process.returncode, status)
        self.assertTrue(self.screen.normal and self.screen.cursor)
        self.assertEqual(termios.tcgetattr(self.slave), self.before)
        self.assertNotIn("Traceback", "\n".join(self.screen.lines()))

    def test_a_changing_tree(self):
        self.open()
        text = self.see(r"^mlx5_0/1 +InfiniBand yes +1 +- ")
        self.assertIn("first figures in 0.2 s", text)
        self.assertFalse(self.screen.normal)
        self.see(r"^mlx5_0/1 +InfiniBand yes +1 +0 +0 +0 +0 ")
        self.see(r"^10\.0\.0\.2 +~00000002 +1 live +62 +2 +0 ")
        # Commands: IOPS and latency in both tables.
        end = time.monotonic() + 20
        while not re.search(r"^10\.0\.0\.2 .* +[1-9]\S* +\S+ +\S+ +\d\S*us",
                            "\n".join(self.screen.lines()), re.M):
            self.assertLess(time.monotonic(), end)
            for folder in (self.disk, self.session):
                folder.count(commands=100, reads=100, read_bytes=10 ** 7)
                folder.took("engine", 8, 100)
            self.read()
            time.sleep(0.02)
        self.see(r"^mlx5_0/1 .* +\d{3,}")
        # Another initiator, another port; then both go.
        other = self.disk.login(2, initiator="f" * 32, peer="fe80::7")
        self.see(r"^fe80::7 +~ffffffff +1 live")
        port = self.port("srpt-rxe0-1", "rxe0", "Ethernet", enabled=0)
        self.see(r"^rxe0/1 +Ethernet +no +0 ")
        other.remove()
        port.remove()
        self.until(lambda t: "fe80" not in t and "rxe0" not in t, "gone")
        # The HCA goes and comes back.
        self.disk.remove()
        self.see("^no ports in ")
        self.until(lambda t: "10.0.0.2" not in t, "nothing left below")
        self.disk = self.port()
        self.see(r"^mlx5_0/1 +InfiniBand yes +0 ")
        self.see("^no sessions$")
        self.press("q")
        self.ended()

    def test_keys(self):
        self.disk.login(2)
        self.open()
        self.see(r"^10\.0\.0\.2 +~00000002 +2 live +124 +4 ")
        self.press("c")
        self.until(lambda t: len(re.findall(r"^10\.0\.0\.2 +~000002 [12] +live +62", t,
                                            re.M)) == 2, "two channels")
        self.press("c")
        self.see(r"^10\.0\.0\.2 +~00000002 +2 live")
        self.see("p50..p99: engine")
        for stage in ("fetch", "send", "receive", "engine"):
            self.press("s")
            self.see("p50..p99: " + stage)
        self.press("o")
        self.see("busiest first")
        self.press("\x1b[Bx\x1bOA?")
        self.see("busiest first")
        self.press("Q")
        self.ended()

    def test_keys_do_not_wait_for_the_interval(self):
        self.open(80, 24, "3600", "--stage", "send")
        self.see("p50..p99: send")
        self.press("s")
        self.see("p50..p99: receive")
        self.resize(120, 30)
        self.see("00000000000000005054000000000002")
        self.press("q")
        self.ended()

    def test_scrolling(self):
        for channel in range(2, 42):
            self.disk.login(channel, initiator="%032x" % channel,
                            peer="10.0.1.%d" % channel)
        self.open()
        text = self.see(r"\(\d+ more below\)")
        self.assertIn("10.0.1.2 ", text)
        self.assertNotIn("10.0.1.41 ", text)
        self.assertEqual(len(text.splitlines()), 24)
        self.press("j" * 50)
        text = self.see(r"^10\.0\.1\.41 ")
        self.assertNotIn("more below", text)
        self.press("k" * 50)
        self.see(r"^10\.0\.1\.2 ")
        self.press("q")
        self.ended()

    def test_refused_logins(self):
        self.open()
        self.see(r"^10\.0\.0\.2 ")
        self.press("r")
        self.see("^no refused logins$")
        self.press("r")
        self.disk.refuse(fake.REFUSED)
        self.see(r"^last refused login: 4s ago \(r\)$")
        self.see(r"^10\.0\.0\.2 ")
        self.press("r")
        self.see(r"^ *4s +8 0x10006 10\.9\.0\.2 +%s$" % fake.INITIATOR)
        text = self.see("^ +5054:00ff:fe09:0002$")
        self.assertNotIn("last refused", text)
        # A peer's text; the screen knows no sequence that is in there.
        self.disk.refuse(fake.REFUSED.replace(" 10.9.0.2;", " \x1b[2J\x9b\r;"))
        self.see(r"0x10006 \?\[2J\?\? ")
        (self.disk.path / "login_refused").unlink()
        self.see("^not known: this ib_srpt does not keep refused logins$")
        self.press("q")
        self.ended()

    def test_refused_logins_are_scrolled(self):
        self.disk.refuse(*("%d 0x10006 0x%032x 10.0.0.1" % (n, n)
                           for n in range(30)))
        self.open()
        self.see(r"^10\.0\.0\.2 ")
        self.press("r")
        text = self.see(r"\(\d+ more below\)")
        self.assertIn("%032x" % 0, text)
        self.press("j" * 50)
        self.see("%032x$" % 29)
        self.press("r")
        self.see(r"^10\.0\.0\.2 ")
        self.press("q")
        self.ended()

    def test_many_ports(self):
        for number in range(1, 30):
            self.port("srpt-mlx5_%d-1" % number, "mlx5_%d" % number)
        self.open()
        text = self.see(r"^\.\.\. \d+ more ports")
        self.assertIn("10.0.0.2 ", text)
        self.press("q")
        self.ended()

    def test_sizes(self):
        self.open()
        self.see("^mlx5_0/1:")
        for columns, lines in ((80, 5), (20, 3), (1, 1), (300, 100), (80, 24)):
            self.resize(columns, lines)
            self.until(lambda _: not self.screen.resized, "a picture that fits")
            self.see("^s")
        self.see("^mlx5_0/1:")
        self.press("q")
        self.ended()

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            self.open()
            self.see("^mlx5_0/1:")
            self.process.send_signal(number)
            self.ended(128 + number)

    def test_ctrl_c(self):
        self.open()
        self.see("^mlx5_0/1:")
        self.press("\x03")
        self.ended()

    def test_ctrl_z(self):
        """The terminal is given back and taken again. (The kernel does not stop
        a process without a shell, so it goes on at once.)"""
        self.open()
        for times in (1, 2):
            self.see("^mlx5_0/1:")
            self.press("\x1a")
            self.until(lambda _: self.screen.given_back == times
                       and not self.screen.normal, "the terminal given back")
        self.see("^mlx5_0/1:")
        self.press("q")
        self.ended()

    def test_no_ports(self):
        fake.shutil.rmtree(self.root / "class/infiniband_srpt")
        self.open()
        self.see("modprobe ib_srpt")
        self.ended(1)


if __name__ == "__main__":
    unittest.main()
