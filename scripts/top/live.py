# SPDX-License-Identifier: GPL-2.0
#
# The live table: draws it again and again in a terminal and takes keys. Plain
# ANSI sequences, which every terminal of the last decades knows.
#
# Not here: what the table looks like (table.py).

import os
import select
import signal
import sys
import termios
import time
import tty

from . import rates, sysfs, table

KEYS = "q quit  s stage  c channels  o order  r refused  j k scroll"

ALTERNATE, NORMAL = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[2K", "\x1b[J"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class Terminal:
    """A terminal that belongs to us meanwhile, and is as before afterwards,
    however the program ends; also while it is stopped with Ctrl-Z."""

    def __init__(self):
        self.input, self.output = sys.stdin.fileno(), sys.stdout.fileno()
        self.resized = False

    def __enter__(self):
        self.before = termios.tcgetattr(self.input)
        # A signal interrupts the wait for a key through this pipe.
        self.wake, self.wake_end = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.wake_end, False)
        signal.set_wakeup_fd(self.wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGWINCH, lambda *_: setattr(self, "resized", True))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.end)
        signal.signal(signal.SIGTSTP, self.stop)
        self.take()
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(-1)
        try:
            self.give_back()
        except OSError:
            pass                    # the terminal is gone

    def take(self):
        tty.setcbreak(self.input)
        self.write(ALTERNATE)

    def give_back(self):
        # The settings first: they matter more.
        termios.tcsetattr(self.input, termios.TCSADRAIN, self.before)
        self.write(NORMAL)

    def end(self, number, _):
        raise SystemExit(128 + number)

    def stop(self, *_):
        self.give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here it goes on when it is in the foreground again.
        signal.signal(signal.SIGTSTP, self.stop)
        self.take()
        self.resized = True

    def write(self, text):
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self.output, data):]

    def size(self):
        """Columns and lines."""
        try:
            size = os.get_terminal_size(self.output)
        except OSError:
            return 80, 24
        # A serial console does not know.
        return size.columns or 80, size.lines or 24

    def draw(self, lines, bold):
        """Fill the screen; `bold` are numbers of lines. Every line is cleared
        before it is written: afterwards the cursor may be in its last column."""
        columns, height = self.size()
        drawn = []
        for number, line in enumerate(lines[:height]):
            line = line[:columns]
            drawn.append(CLEAR_LINE + (BOLD + line + PLAIN if number in bold
                                       else line))
        below = "\r\n" + CLEAR_BELOW if len(drawn) < height else ""
        self.write(HOME + "\r\n".join(drawn) + below)

    def keys(self, until):
        """Keys that were pressed, as letters; nothing at the time `until` or
        when the size has changed, None when the terminal is gone."""
        left = max(0.0, until - time.monotonic())
        ready = select.select([self.input, self.wake], [], [], left)[0]
        if self.wake in ready:
            try:
                os.read(self.wake, 64)
            except BlockingIOError:
                pass
        if self.input not in ready:
            return ""
        try:
            data = os.read(self.input, 64)
        except OSError:
            return None
        if not data:
            return None
        for arrow, letter in ((b"A", b"k"), (b"B", b"j")):
            for start in (b"\x1b[", b"\x1bO"):
                data = data.replace(start + arrow, letter)
        return data.decode("ascii", "replace")


class Screen:
    """What is shown, and how the keys have changed that."""

    def __init__(self, options):
        self.options = options
        self.stage, self.each_channel = options.stage, options.channels
        self.by_load = self.refused = False
        self.scrolled = 0
        self.old = self.new = None

    def sample(self):
        self.old, self.new = self.new, sysfs.read(self.options.root)

    def key(self, key):
        if key == "s":
            after = sysfs.STAGES.index(self.stage) + 1
            self.stage = sysfs.STAGES[after % len(sysfs.STAGES)]
        elif key == "c":
            self.each_channel = not self.each_channel
        elif key == "o":
            self.by_load = not self.by_load
        elif key == "r":
            self.refused = not self.refused
            self.scrolled = 0
        elif key == "j":
            self.scrolled += 1
        elif key == "k":
            self.scrolled -= 1

    def title(self):
        passed = "first figures in %g s" % self.options.interval
        if self.old:
            passed = "%.1f s" % (self.new.when - self.old.when)
        return "srpt-top  %s  %s  p50..p99: %s%s" % (
            time.strftime("%H:%M:%S", time.localtime(self.new.when)), passed,
            self.stage, "  busiest first" if self.by_load else "")

    def between(self, views):
        """The line between the tables, which draws attention to the other one."""
        newest = table.newest_refused(views)
        if newest is None or self.refused:
            return ""
        return "last refused login: %s ago (r)" % table.ago(newest)

    def lines(self, width, height):
        """The lines, and the numbers of those that are bold."""
        if not self.new.ports:
            why = sysfs.why_nothing(self.new, self.options.root)
            return [self.title(), "", *why.splitlines(), "", KEYS], {0}
        views = rates.view(self.old, self.new, self.each_channel)
        ports, below = table.tables(views, self.stage, width, self.by_load,
                                    self.each_channel)
        # With many ports, half of the screen is left for initiators.
        most = max(2, height // 2 - 1)
        if len(ports) > most:
            ports[most - 1:] = ["... %d more ports" % (len(ports) - most + 1)]
        nothing = "no sessions"
        if self.refused:
            below = table.refused(views, width)
            nothing = table.no_refused(views)
        head = [self.title(), *ports, self.between(views), below[0]]
        room = max(1, height - len(head) - 1)
        rows = below[1:]
        self.scrolled = max(0, min(self.scrolled, len(rows) - room))
        hidden = len(rows) - room - self.scrolled
        foot = KEYS + ("  (%d more below)" % hidden if hidden > 0 else "")
        shown = rows[self.scrolled:self.scrolled + room]
        if not rows:
            shown = [nothing]
        shown += [""] * (room - len(shown))
        return head + shown + [foot], {0, 1, len(head) - 1}


def run(options):
    """Show the table until q is pressed. Returns the exit status."""
    screen = Screen(options)
    screen.sample()
    if not screen.new.ports:
        print(sysfs.why_nothing(screen.new, options.root), file=sys.stderr)
        return 1
    with Terminal() as terminal:
        due = time.monotonic() + options.interval
        while True:
            terminal.resized = False
            terminal.draw(*screen.lines(*terminal.size()))
            while True:
                keys = terminal.keys(due)
                if keys is None or "q" in keys.lower():
                    return 0
                for key in keys.lower():
                    screen.key(key)
                if time.monotonic() >= due:
                    screen.sample()
                    # Late? Then the next one is not early.
                    due = max(due, time.monotonic() - options.interval) \
                        + options.interval
                    break
                if keys or terminal.resized:
                    break
