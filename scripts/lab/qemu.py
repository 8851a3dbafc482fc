# SPDX-License-Identifier: GPL-2.0
#
# One QEMU process: the common part of its command line, starting and ending
# it, and its monitor (QMP).
#
# Not here: the time limit (supervise.py), what runs in the guest (guest.py),
# the agent's channel (channel.py), and how two guests are wired together (pair.py).

import json
import os
import socket
import subprocess
import sys
import threading
import time

from . import env

# Boot parameters every guest gets. Messages of level "notice" and up reach
# the console during boot; the guest's first process lets "info" through, too.
# RCU stalls get a longer limit because a loaded host makes an emulated CPU
# stand still for seconds.
APPEND = ("printk.time=1 printk.devkmsg=on loglevel=6 "
          "panic=-1 mitigations=off net.ifnames=0 "
          "rcupdate.rcu_cpu_stall_timeout=120 "
          "watchdog_thresh=60 nmi_watchdog=0 "
          "workqueue.watchdog_thresh=120 audit=0 selinux=0 apparmor=0 "
          "i8042.noaux i8042.nokbd tsc=reliable random.trust_cpu=on "
          "cryptomgr.notests raid=noautodetect nokaslr")


# No five-level page tables, and no claim of being good at moving bytes: the kernel
# believes it, moves single bytes by `rep movsb`, of which an emulator executes each, and
# a machine takes a third more processor time.
CPU = "max,la57=off,erms=off,fsrm=off,fsrs=off,fzrm=off"


def console(foreign):
    """The boot parameter that names the console."""
    return "console=ttyAMA0" if foreign else "console=ttyS0"


def machine(foreign, smp, icount):
    """Options for the machine and its processors. Emulation, unless LAB_ACCEL=kvm
    asks for the hardware; `foreign` is the kernel.Foreign of another architecture."""
    if foreign:
        # A processor of servers, with atomic instructions and pages of 4 and 16 KiB.
        return ["-M", "virt,gic-version=3", "-accel", "tcg,thread=multi", "-cpu",
                "neoverse-n1", "-smp", str(smp)]
    # Without the PIT the kernel measures its clock with the HPET. On a busy host it
    # got it wrong with the PIT by a factor, in 4 of 351 boots ("PIT calibration
    # deviates from HPET"), and time passed four times as fast.
    options = ["-M", "q35,usb=off,pit=off"]
    if icount:
        return options + [
            "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1",
            "-cpu", CPU]
    if os.environ.get("LAB_ACCEL", "tcg") == "kvm":
        return options + ["-accel", "kvm", "-cpu", "host", "-smp", str(smp)]
    return options + ["-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(smp)]


def share(tag, path, readonly):
    """Options for a directory that the guest sees over 9p."""
    name = str(path).replace(",", ",,")
    return ["-fsdev", "local,id=fs-%s,path=%s,security_model=passthrough,"
            "multidevs=remap%s" % (tag, name, ",readonly=on" if readonly
                                   else ""),
            "-device", "virtio-9p-pci,fsdev=fs-%s,mount_tag=%s" % (tag, tag)]


def program(fs, foreign):
    """The words that start QEMU: the one in the root, run by the root's own
    dynamic loader; LAB_QEMU=<program> overrides it. That for another architecture
    is in the layer over the root.

    The host's QEMU is not used because it may be older than 8.1, which has
    "accel/tcg: Always lock pages before translation". Before that a virtual
    CPU could keep a stale translation of code that another CPU was patching.
    With QEMU 7.2, 3 of 14 boots with two CPUs died early of a leftover
    breakpoint ("Oops: int3" in sched_clock_cpu), which fits that bug; with
    QEMU 10.0 none was seen."""
    libraries = "%s/usr/lib/x86_64-linux-gnu" % fs
    start = [libraries + "/ld-linux-x86-64.so.2", "--library-path"]
    if foreign:
        return start + ["%s/usr/lib/x86_64-linux-gnu:%s" % (foreign.layer, libraries),
                        "%s/usr/bin/qemu-system-aarch64" % foreign.layer]
    own = os.environ.get("LAB_QEMU")
    if own:
        return [own]
    return start + [libraries, "--argv0", "qemu-system-x86_64",
                    "%s/usr/bin/qemu-system-x86_64" % fs,
                    "-L", "%s/usr/share/qemu" % fs, "-L", "%s/usr/share/seabios" % fs]


class Qemu:
    """A running QEMU, started by the words of program(). `options` are what the
    guest adds to the basics."""

    def __init__(self, program, options, sockets, console, log, limit):
        self.qmp_path = str(sockets / "qmp")
        cmd = program + [
               "-nodefaults", "-display", "none", "-no-reboot",
               "-chardev", "file,id=console,path=%s,append=on" % console,
               "-serial", "chardev:console",
               "-chardev", "socket,id=qmp,path=%s,server=on,wait=off"
               % self.qmp_path, "-mon", "chardev=qmp,mode=control",
               "-object", "rng-random,id=rng,filename=/dev/urandom",
               "-device", "virtio-rng-pci,rng=rng"] + options
        self.log = log
        with open(log, "ab") as out:
            out.write((" ".join(cmd) + "\n").encode())
            out.flush()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B",
                 os.path.join(os.path.dirname(__file__), "supervise.py"),
                 str(limit)] + cmd,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
                start_new_session=True)
        # The supervisor's first line is the process number of QEMU itself.
        self.pid = int(self.process.stdout.readline() or b"0")
        self.lock = threading.Lock()
        self.qmp = None

    def alive(self):
        return self.process.poll() is None

    def wait(self, timeout):
        """True if QEMU has ended within that time."""
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        """End QEMU at once, like pulling the plug."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        if not self.wait(10):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        with self.lock:
            if self.qmp:
                self.qmp.close()
                self.qmp = None

    def reason(self):
        """Why it ended, in words, from its log and exit status."""
        with open(self.log, errors="replace") as f:
            lines = f.read().splitlines()[-8:]
        return "status %s; its log ends with:\n  %s" % (
            self.process.poll(), "\n  ".join(x[:300] for x in lines))

    def command(self, name, /, **arguments):
        """A QMP command; returns its result, raises LabError on refusal."""
        with self.lock:
            if self.qmp is None:
                self.qmp = connect(self.qmp_path, self.alive, 10)
                self.qmp.settimeout(30)
                self.stream = self.qmp.makefile("rb")
                self.stream.readline()                  # the greeting
                self._ask("qmp_capabilities", {})
            return self._ask(name, arguments)

    def _ask(self, name, arguments):
        order = {"execute": name}
        if arguments:
            order["arguments"] = arguments
        try:
            self.qmp.sendall(json.dumps(order).encode() + b"\n")
            while True:
                line = self.stream.readline()
                if not line:
                    raise env.LabError("QEMU's monitor is gone")
                reply = json.loads(line)
                if "return" in reply:
                    return reply["return"]
                if "error" in reply:
                    raise env.LabError("QEMU refused %s: %s"
                                       % (name, reply["error"]["desc"]))
        except OSError as error:
            raise env.LabError("QEMU's monitor does not answer: %s" % error)

    def human(self, text):
        """A command of the human monitor, for example "info registers"."""
        return self.command("human-monitor-command",
                            **{"command-line": text})


def connect(path, alive, timeout):
    """Connect to a socket that QEMU is about to create."""
    end = time.monotonic() + timeout
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            if not alive() or time.monotonic() > end:
                raise env.LabError("QEMU did not start (no %s)" % path)
            time.sleep(0.02)
