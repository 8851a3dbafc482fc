# SPDX-License-Identifier: GPL-2.0
#
# The lab's test of itself: that failures inside a guest are noticed, that
# nothing hangs, and that the wire behaves like a wire.
#
# Not here: tests of the module.

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import channel, console, env
from .guest import Guest
from .pair import Pair

LAB = Path(__file__).parent / "lab"


class Failed(Exception):
    pass


def expect(condition, text):
    print("  %s %s" % ("ok  " if condition else "FAIL", text), flush=True)
    if not condition:
        raise Failed(text)


def lab_run(script, *options):
    """Exit status and output of `lab run` with this script."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as f:
        f.write(script)
        f.flush()
        done = subprocess.run([str(LAB), "run", *options, f.name], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def command_line():
    """The command line's exit statuses; three boots."""
    rc, out = lab_run("echo hello; exit 3")
    expect(rc == 3 and "hello" in out, "a script's exit status comes back (3)")
    rc, out = lab_run("echo 'BUG: test' > /dev/kmsg; sleep 1; exit 0")
    expect(rc == 70, "BUG: on the console fails a run whose script succeeds")
    began = time.monotonic()
    rc, out = lab_run("echo before; sleep 1000", "--timeout", "5")
    expect(rc == 124 and "before" in out,
           "a script that hangs is ended (%d s)" % (time.monotonic() - began))


def inside_build_root():
    """`lab exec` passes everything through and leaves nothing behind."""
    def run(*words):
        return subprocess.run([str(LAB), "exec", "--", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done = run("sh", "-c", "echo out; echo err >&2; touch /left; exit 9")
    expect((done.returncode, done.stdout, done.stderr)
           == (9, b"out\n", b"err\n"), "exec passes output and status on")
    done = run("ls", "/left", str(env.REPO / "scripts/lab/lab"))
    expect(done.returncode != 0 and b"scripts/lab/lab" in done.stdout,
           "exec leaves the root as it was and sees the checkout")


def one_guest():
    """Commands, files, time limits, and ends of one guest."""
    guest = Guest("one", fail_fast=False)
    try:
        guest.start()
        print("  boot to ready: %.1f s" % guest.boot_seconds)
        busy = os.getloadavg()[0] > os.cpu_count()
        expect(guest.boot_seconds < 10 or busy,
               "a boot takes less than 10 s (not judged on a busy machine)")
        expect(guest.run("exit 7", check=False).rc == 7, "exit status")
        expect(guest.run("kill -9 $$", check=False).rc == 137,
               "death by a signal is status 137")
        data = os.urandom(3 << 20)
        guest.put("/tmp/x", data)
        expect(guest.get("/tmp/x") == data, "3 MiB of noise there and back")
        done = guest.run("for i in $(seq 3); do cat /tmp/x; done",
                         binary=True).out
        expect(hashlib.sha256(done).digest()
               == hashlib.sha256(data * 3).digest(), "9 MiB of output")
        hang = guest.spawn("trap '' TERM; echo begun; sleep 1000", timeout=4)
        began = time.monotonic()
        guest.run("true")
        expect(time.monotonic() - began < 2,
               "a hanging command does not hold up others")
        result = hang.wait(check=False)
        expect(result == (124, "begun\n") and hang.timed_out,
               "its time limit ends it, and its output is kept")
        try:
            guest.run("sleep 100", timeout=1)
            expect(False, "a timeout raises CommandTimeout")
        except channel.CommandTimeout:
            expect(True, "a timeout raises CommandTimeout")
        guest.run("sleep 1000 &")
        expect(True, "a command may leave a background process")
        guest.check_console()
        expect(True, "the console is clean")
        for line in ("WARNING: CPU: 0 PID: 1 at x.c:1",
                     "possible recursive locking detected",
                     "INFO: task a:1 blocked for more than 60 seconds.",
                     "refcount_t: underflow; use-after-free."):
            old = len(guest.console.bad_lines())
            guest.run(["sh", "-c", "echo '%s' > /dev/kmsg; sleep 0.3" % line])
            expect(len(guest.console.bad_lines()) > old,
                   "the guard notices '%s'" % line)
        report = ["sh", "-c", "for a in 'a: lab report' 'CPU: 0' 'Call Trace:'; "
                  "do echo $a > /dev/kmsg; done; sleep 0.3"]
        old = len(guest.console.bad_lines())
        with guest.console.excused("a: lab report", "this test asked for it"):
            guest.run(report)
        expect(len(guest.console.bad_lines()) == old,
               "a report can be excused for a while")
        guest.run(report)
        expect(len(guest.console.bad_lines()) == old + 1,
               "and is noticed afterwards")
        waiting = guest.spawn("sleep 1000")
        pid = guest.qemu.pid
        guest.kill()
        expect(not os.path.exists("/proc/%d" % pid), "kill() ends QEMU")
        try:
            waiting.wait()
            expect(False, "waiting for a dead guest raises GuestDied")
        except channel.GuestDied:
            expect(True, "waiting for a dead guest raises GuestDied")
    finally:
        guest.kill()

    with Guest("panic", rdma=False) as guest:
        try:
            guest.run("echo c > /proc/sysrq-trigger; sleep 60", timeout=30)
            expect(False, "a panic is noticed")
        except (channel.GuestDied, console.ConsoleError):
            expect(True, "a panic is noticed")
        try:
            guest.check_console()
            expect(False, "the panic is on the console")
        except console.ConsoleError as error:
            expect(True, "the panic is on the console")
            expect("Call Trace:" in str(error) and "sysrq" in str(error),
                   "all that the kernel said about it is in the report")
        guest.console.allow(".", "this test asked for the panic")


def abandoned():
    """If the process that started a guest dies, so does the guest."""
    child = subprocess.Popen(
        [sys.executable, "-B", "-c",
         "import sys, time; sys.path.insert(0, %r)\n"
         "from lab import Guest\n"
         "g = Guest('abandoned', rdma=False).start()\n"
         "print(g.qemu.pid, flush=True); time.sleep(1000)"
         % str(Path(__file__).parents[1])], stdout=subprocess.PIPE)
    try:
        pid = int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
    for _ in range(50):
        if not os.path.exists("/proc/%d" % pid):
            break
        time.sleep(0.1)
    expect(not os.path.exists("/proc/%d" % pid),
           "no guest outlives the process that started it")


def two_guests():
    """The wire: cut, mended, lossy; one end dies and comes back."""
    with Pair() as pair:
        print("  pair to ready: %.1f s" % pair.boot_seconds)
        target, initiator = pair.target, pair.initiator

        def pings(count=3, to=target):
            out = initiator.run("ping -i 0.1 -W 1 -c %d %s" % (count, to.ip),
                                check=False).out
            return int(out.split(" received")[0].split()[-1])

        expect(pings() == 3, "ping gets through")
        initiator.run("ping -i 0.2 -c 2 " + target.ip6)
        expect(True, "ping over IPv6 gets through")
        pair.cut()
        expect(pings() == 0, "nothing passes a cut wire")
        expect("NO-CARRIER" not in initiator.run("ip link show eth0").out,
               "the ends of a cut wire do not know")
        pair.mend()
        expect(pings() == 3, "a mended wire works again")
        pair.unplug()
        expect(pings() == 0, "nothing passes without plugs")
        expect("NO-CARRIER" in initiator.run("ip link show eth0").out,
               "without a plug there is no carrier")
        pair.plug()
        time.sleep(0.5)
        expect(pings() == 3, "a wire works again with its plugs")
        pair.loss(30)
        got = pings(100)
        expect(20 <= got <= 80, "with 30 %% loss both ways, %d of 100 pings "
               "return" % got)
        pair.loss(0)
        expect(pings(20) == 20, "without loss all return")
        target.kill()
        expect(pings() == 0, "a dead target does not answer")
        target.start()
        expect(pings() == 3, "a restarted target does")


TESTS = (inside_build_root, command_line, one_guest, abandoned, two_guests)


def main():
    env.require_root()
    failed = 0
    for test in TESTS:
        print("%s: %s" % (test.__name__, test.__doc__.splitlines()[0]),
              flush=True)
        try:
            test()
        except (Failed, env.LabError) as error:
            failed += 1
            print("  FAILED: %s" % error)
    print("selftest: %s" % ("%d FAILED" % failed if failed else "all passed"))
    return 1 if failed else 0
