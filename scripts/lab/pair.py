# SPDX-License-Identifier: GPL-2.0
#
# Two virtual machines, target and initiator, on one virtual wire, and the
# few things that concern both of them.
#
# Not here: one machine (guest.py).

import shutil
import tempfile
import time
from pathlib import Path

from . import env
from .guest import Guest, conclude


class Pair:
    """A target and an initiator, each a Guest with one virtual CPU.

    The target is 10.9.0.1 and fd09::1, the initiator 10.9.0.2 and fd09::2;
    both have an HCA on eth0. Over InfiniBand, the subnet manager runs on the
    initiator. Use it in a `with` statement, as a Guest. All
    keyword arguments other than these go to both guests; `target` and
    `initiator` are dicts with arguments for one of them only."""

    def __init__(self, run_dir=None, mtu=1500, target=None, initiator=None,
                 **both):
        env.require_root()
        self.run_dir = Path(run_dir or env.new_run_dir("pair")).resolve()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.wires = Path(tempfile.mkdtemp(prefix="lab-wire-"))
        both.setdefault("smp", 1)

        def make(name, number, peer, only):
            arguments = dict(both, name=name, run_dir=self.run_dir, mtu=mtu,
                             number=number, peers=[peer],
                             wire=self._wire(number, peer))
            arguments.update(only or {})
            return Guest(**arguments)

        self.target = make("target", 1, 2, target)
        self.initiator = make("initiator", 2, 1, initiator)
        self.target.manages = False
        self.guests = (self.target, self.initiator)

    def _wire(self, number, peer):
        """One end of the wire: a stream socket in a directory of our own. A
        slow receiver makes the sender wait. With datagram sockets, QEMU's
        sender can sleep for ever under load (unix), or packets are lost
        (UDP). The target listens; the initiator connects again whenever
        either of them was restarted, and what is sent meanwhile is lost."""
        end = "stream,id=wire,addr.type=unix,addr.path=%s/wire" % self.wires
        if number < peer:
            return end + ",server=on"
        return end + ",server=off,reconnect-ms=200"

    def start(self):
        """Boot both at the same time; returns self."""
        began = time.monotonic()
        try:
            for guest in self.guests:
                guest.launch()
            for guest in self.guests:
                guest.ready()
            self.wait_active()
        except BaseException:
            self.kill()
            raise
        self.boot_seconds = time.monotonic() - began
        return self

    def kill(self):
        for guest in self.guests:
            guest.kill()
        shutil.rmtree(self.wires, ignore_errors=True)

    def stop(self):
        """Switch both off; the initiator first, as it is the user."""
        self.initiator.poweroff(5)
        self.target.poweroff(5)
        self.kill()

    def change_hca(self, transport):
        """Until the next boot, HCAs of another kind instead."""
        for guest in self.guests:
            guest.change_hca(transport)
        self.wait_active()

    def wait_active(self):
        """Over InfiniBand, wait until the subnet manager has brought up all
        ports."""
        for guest in self.guests:
            if guest.rdma:
                guest.wait_active()

    def cut(self):
        """Cut the wire, as if beyond a switch: nothing arrives any more, and
        neither end is told. (Without a carrier rxe takes a failed send for
        the end of the queue pair, that of the connection manager included,
        and no connection is possible ever after: see unplug.)"""
        self.loss(100)

    def mend(self):
        self.loss(0)

    def unplug(self):
        """Pull both plugs: both ends lose their carrier."""
        for guest in self.guests:
            guest.set_link(False)

    def plug(self):
        for guest in self.guests:
            guest.set_link(True)

    def loss(self, percent, more=""):
        """Lose packets in both directions; see Guest.loss()."""
        for guest in self.guests:
            guest.loss(percent, more)

    def check_console(self):
        for guest in self.guests:
            guest.check_console()

    def __enter__(self):
        if not any(g.alive() for g in self.guests):
            self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop() if kind is None else self.kill()
        conclude(self.guests, value)
