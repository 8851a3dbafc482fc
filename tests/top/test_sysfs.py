# SPDX-License-Identifier: GPL-2.0
#
# What is read from sysfs, and what happens when it is not as it should be.

import os
import re
import threading
import time
import unittest

import fake
from top import sysfs


class Reading(fake.Case):
    def read(self):
        return sysfs.read(self.root)

    def test_everything_is_read(self):
        port = self.port("srpt-mlx5_0-1")
        port.count(commands=7, reads=5, logins=1)
        port.took("engine", 3, 4)
        port.login(17, peer="GID fe80::1", state="draining", age=9)
        fake.put(port.path / "refusals/no_resources", 3)
        sample = self.read()
        self.assertTrue(sample.present)
        read = sample.ports["srpt-mlx5_0-1"]
        self.assertEqual((read.hca, read.number, read.label),
                         ("mlx5_0", "1", "mlx5_0/1"))
        self.assertEqual((read.link_layer, read.enabled), ("InfiniBand", True))
        self.assertEqual(sorted(read.counters), sorted(fake.PORT_COUNTERS))
        self.assertEqual(read.counters["commands"], 7)
        self.assertEqual(read.latency["engine"], [0, 0, 0, 4] + [0] * 20)
        self.assertEqual(list(read.latency), list(fake.STAGES))
        self.assertEqual(read.refusals["no_resources"], 3)
        session, = read.sessions.values()
        self.assertEqual(session.initiator, "00000000000000005054000000000002")
        self.assertEqual(session.channel, "17")
        self.assertEqual((session.peer, session.state), ("GID fe80::1", "draining"))
        self.assertEqual((session.req_lim, session.active, session.sq_used,
                          session.age), (62, 2, 1, 9))

    def test_names_with_hyphens(self):
        port = self.port("srpt-my-hca-12", device="my-hca")
        self.assertEqual(self.read().ports["srpt-my-hca-12"].label, "my-hca/12")
        (port.path / "device").unlink()
        self.assertEqual(self.read().ports["srpt-my-hca-12"].label, "my-hca/12")

    def test_natural_order(self):
        for number in (10, 2, 1):
            self.port("srpt-mlx5_%d-1" % number, "mlx5_%d" % number)
        self.assertEqual([p.hca for p in self.read().ports.values()],
                         ["mlx5_1", "mlx5_2", "mlx5_10"])

    def test_links_as_in_a_class(self):
        port = self.port()
        elsewhere = self.root / "devices"
        elsewhere.mkdir()
        port.path.rename(elsewhere / "port")
        port.path.symlink_to("../../devices/port")
        self.assertEqual(len(self.read().ports), 1)

    def test_files_beside_ports_do_not_matter(self):
        self.port()
        fake.put(self.root / "class/infiniband_srpt/version", "1")
        self.assertEqual(list(self.read().ports), ["srpt-mlx5_0-1"])

    def test_nonsense_is_unknown(self):
        port = self.port()
        session = port.login(1)
        port.set("enabled", "")
        session.set("req_lim", "many")
        session.set("active", "")
        session.set("peer", "\x1b[2J10.0.0.1")
        fake.put(port.path / "latency/engine", "1 2 3")
        fake.put(port.path / "latency/send", " ".join(["-1"] * 24))
        fake.put(port.path / "counters/reads", "0x12")
        read = self.read().ports["srpt-mlx5_0-1"]
        self.assertIsNone(read.enabled)
        self.assertEqual(list(read.latency), ["receive", "fetch"])
        self.assertNotIn("reads", read.counters)
        self.assertIn("writes", read.counters)
        session, = read.sessions.values()
        self.assertIsNone(session.req_lim)
        self.assertIsNone(session.active)
        self.assertEqual(session.peer, "?[2J10.0.0.1")

    def test_missing_attributes_are_unknown(self):
        port = self.port()
        session = port.login(1)
        for name in ("peer", "state", "req_lim", "age", "initiator_port_id"):
            (session.path / name).unlink()
        for name in ("enabled", "link_layer"):
            (port.path / name).unlink()
        read = self.read().ports["srpt-mlx5_0-1"]
        self.assertIsNone(read.enabled)
        session, = read.sessions.values()
        self.assertEqual((session.peer, session.state, session.req_lim),
                         ("", "", None))
        self.assertEqual(session.initiator, "00000000000000005054000000000002")


class RefusedLogins(fake.Case):
    def read(self, data):
        """What is read if the file has these bytes; None: there is none."""
        file = self.port().path / "login_refused"
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        port, = sysfs.read(self.root).ports.values()
        return port.login_refused

    def test_lines(self):
        data = "%s\n%s\n" % (fake.REFUSED, fake.PLAINLY_REFUSED)
        newest, oldest = self.read(data.encode())
        self.assertEqual(
            (newest.age, newest.reason, newest.initiator, newest.peer),
            (4, "0x10006", fake.INITIATOR, "10.9.0.2"))
        self.assertEqual(newest.names, [fake.INITIATOR, "5054:00ff:fe09:0002",
                                        "10.9.0.2"])
        self.assertEqual(newest.hint, "ACL 10.9.0.1 is the target's own address, "
                         "not the initiator's")
        self.assertEqual(
            (oldest.age, oldest.reason, oldest.initiator, oldest.peer),
            (700, "0x10003", "0x" + "ab" * 16, "GID fe80::5054:0:2"))
        self.assertEqual((oldest.names, oldest.hint), ([], ""))

    def test_names_alone_and_a_hint_alone(self):
        start = "1 0x10006 %s an unknown address; " % fake.INITIATOR
        for end, names, hint in (
                ("it may be named x", ["x"], ""),
                ("it may be named x or y; and this; and that", ["x", "y"],
                 "and this; and that"),
                ("something else", [], "something else")):
            login, = self.read((start + end).encode())
            self.assertEqual((login.peer, login.names, login.hint),
                             ("an unknown address", names, hint))

    def test_no_file(self):
        self.assertIsNone(self.read(None))

    def test_nothing_in_it(self):
        for data in (b"", b"\n"):
            self.assertEqual(self.read(data), [])

    def test_nonsense_is_left_out(self):
        data = b"\0\n\xff\xfe\n-1 0x10006 x y\n%s\n4 0x10006\n%s" % (
            fake.PLAINLY_REFUSED.encode(), fake.REFUSED.encode()[:30])
        login, = self.read(data)
        self.assertEqual(login.age, 700)

    def test_nothing_controls_a_terminal(self):
        odd = "\x1b[2J\r\x9b\x85\u2028\u202e\x07"
        data = ("1 0x10006 %s 10.0.0.1%s; it may be named x%s or y; %s ACL"
                % (fake.INITIATOR, odd, odd, odd)).encode() + b"\xff\xc0\n"
        login, = self.read(data)
        self.assertEqual(login.peer, "10.0.0.1?[2J??????")
        self.assertEqual(login.names, ["x?[2J??????", "y"])
        self.assertEqual(login.hint, "?[2J?????? ACL\ufffd\ufffd")


class Vanishing(fake.Case):
    """Every file is removed at the very moment it is about to be read, and
    everything behind it; nobody may see an exception or half of something."""

    def vanish_at(self, step):
        """Remove the directory of a session (or of the port) when the step-th
        file below it is asked for. Returns what was read and whether it got
        that far."""
        root = self.root / "class/infiniband_srpt"
        steps = [0]
        original = sysfs.text, sysfs.os.listdir, sysfs.lines

        def maybe(path):
            if not str(path).startswith(str(self.victim.path)):
                return
            steps[0] += 1
            if steps[0] == step:
                self.victim.remove()

        def text(path):
            maybe(path)
            return original[0](path)

        def listdir(path):
            maybe(path)
            return original[1](path)

        def lines(path):
            maybe(path)
            return original[2](path)

        sysfs.text, sysfs.os.listdir, sysfs.lines = text, listdir, lines
        try:
            return sysfs.read(self.root), steps[0] >= step
        finally:
            sysfs.text, sysfs.os.listdir, sysfs.lines = original
            self.assertTrue(root.is_dir())

    def test_session(self):
        port = self.port()
        port.login(1)
        step, reached = 0, True
        while reached:
            step += 1
            self.victim = port.login(2)
            sample, reached = self.vanish_at(step)
            sessions = sample.ports[port.path.name].sessions
            channels = [s.channel for s in sessions.values()]
            self.assertEqual(channels, ["1"] if reached else ["1", "2"], step)
            for session in sessions.values():
                self.assertEqual(len(session.counters), len(fake.COUNTERS))
        self.assertGreater(step, 20)

    def test_port(self):
        self.port("srpt-other-1", "other")
        step, reached = 0, True
        while reached:
            step += 1
            self.victim = self.port("srpt-mlx5_0-1")
            self.victim.login(1)
            sample, reached = self.vanish_at(step)
            names = sorted(sample.ports)
            self.assertEqual(names, ["srpt-other-1"] if reached else
                             ["srpt-mlx5_0-1", "srpt-other-1"], step)
            self.assertEqual(sample.uncounted, [])
        self.assertGreater(step, 40)

    def test_file(self):
        """It is listed, but not there when it is opened."""
        port = self.port()
        reads = port.login(2).path / "counters/reads"
        port.login(1)
        reads.unlink()
        reads.symlink_to("nowhere")
        sessions = sysfs.read(self.root).ports[port.path.name].sessions
        self.assertEqual([s.channel for s in sessions.values()], ["1"])

    def test_under_load(self):
        """Sessions come and go in another thread while it is read."""
        port = self.port()
        ended = threading.Event()

        def churn():
            channel = 0
            while not ended.is_set():
                channel += 1
                port.login(channel).remove()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            until = time.monotonic() + 1
            while time.monotonic() < until:
                read = sysfs.read(self.root).ports
                self.assertEqual(list(read), ["srpt-mlx5_0-1"])
        finally:
            ended.set()
            thread.join()


class Nothing(fake.Case):
    def check(self, pattern):
        for mode in ("--once", "--json", "--prometheus"):
            status, out, error = self.run_program(mode)
            self.assertEqual((status, out), (1, ""), mode)
            self.assertRegex(error, re.compile(pattern, re.S))

    def test_no_module(self):
        self.check("Is the module loaded.*modprobe ib_srpt")

    def test_no_hca(self):
        (self.root / "class/infiniband_srpt").mkdir()
        self.check("loaded, but found no HCA")

    def test_not_ours(self):
        module = self.root / "module/ib_srpt"
        module.mkdir(parents=True)
        self.check("the C driver .* is loaded, and logins are served by it")
        (module / "version").write_text("0.1\n")
        self.check("another module .* is loaded, version 0.1; that of an OFED is empty")
        (module / "parameters").mkdir()
        (module / "parameters/max_channels_per_nexus").write_text("256\n")
        self.check("Is the module loaded")

    def test_other_module(self):
        os.makedirs(self.root / "class/infiniband_srpt/srpt-mlx5_0-1")
        self.check("no counters: is another ib_srpt loaded.*modinfo")


if __name__ == "__main__":
    unittest.main()
