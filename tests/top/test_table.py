# SPDX-License-Identifier: GPL-2.0
#
# The table as text: widths, units, what is cut off; and srpt-top --once.

import unittest

import fake
from top import rates, sysfs, table


class Cells(unittest.TestCase):
    def test_count(self):
        for value, wanted in ((None, "-"), (0, "0"), (0.04, "0.0"), (0.25, "0.2"),
                              (9.94, "9.9"), (9.96, "10"), (3, "3"), (999, "999"),
                              (99999, "99999"), (99999.6, "100k"),
                              (123456, "123k"), (999600, "1.0M"), (12.3e6, "12.3M"),
                              (5e9, "5.0G"), (1e30, "huge")):
            self.assertEqual(table.count(value), wanted, value)

    def test_duration(self):
        for value, wanted in ((None, "-"), (0, "0ns"), (820e-9, "820ns"),
                              (1.2e-6, "1.2us"), (9.96e-6, "10us"),
                              (999.6e-6, "1.0ms"), (123e-6, "123us"),
                              (0.5, "500ms"), (1.5, "1.5s"),
                              (2 ** 32 / 1e9, ">4.3s")):
            self.assertEqual(table.duration(value), wanted, value)

    def test_nothing_is_wider_than_its_column(self):
        for exponent in range(-12, 25):
            for digits in (1, 1.5, 9.949, 9.951, 9.99999):
                value = digits * 10.0 ** exponent
                for cell in (table.count(value), table.megabytes(value),
                             table.duration(value)):
                    self.assertLessEqual(len(cell), 5, value)
        for value in (0, 9999, 10000, 123456, 10 ** 12):
            self.assertLessEqual(len(table.small(value)), 4)

    def test_ago(self):
        for value, wanted in ((0, "0s"), (99, "99s"), (100, "1m"), (5999, "99m"),
                              (6000, "1h"), (359999, "99h"), (360000, "4d"),
                              (10 ** 20, "999d")):
            self.assertEqual(table.ago(value), wanted, value)

    def test_cuts(self):
        self.assertEqual(table.front_cut("fe80::1234", 6), "~:1234")
        self.assertEqual(table.back_cut("rocep129s0f0/1", 8), "rocep12~")
        self.assertEqual(table.shorter_state("disconnecting", 13), "disconnecting")
        self.assertEqual(table.shorter_state("disconnecting", 5), "disco")
        self.assertEqual(table.shorter_state("2 of 3 live", 5), "2/3")
        self.assertEqual(table.shorter_state("something else", 5), "some~")


class Tables(fake.Case):
    def views(self, each_channel=False):
        """Everything at its widest."""
        one = self.port("srpt-rocep129s0f0np0v12-1", "rocep129s0f0np0v12", "Ethernet")
        two = self.port("srpt-mlx5_0-1", enabled=0)
        one.login(1, peer="fe80:1234:5678:9abc:def0:1234:5678:9abc",
                  state="disconnecting", req_lim=12345, active=123456)
        one.login(2, peer="fe80:1234:5678:9abc:def0:1234:5678:9abc")
        two.login(3, peer="GID fe80::5054:0:2", initiator="ab" * 16)
        sample = sysfs.read(self.root)
        latency = {stage: [0] * 23 + [9] for stage in fake.STAGES}
        views = rates.view(None, sample, each_channel)
        for v in views:
            wide = {name: 123456789.0 for name in fake.PORT_COUNTERS}
            v.figures = rates.Figures(1.0, wide, latency)
            for line in v.lines:
                line.figures = v.figures
        return views

    def test_80_columns(self):
        self.check_80(False)

    def test_80_columns_for_each_channel(self):
        self.check_80(True)

    def check_80(self, each_channel):
        ports, below = table.tables(self.views(each_channel), width=80,
                                    each_channel=each_channel)
        self.assertEqual(len(ports), 3)
        self.assertEqual(len(below), 6 if each_channel else 5)
        for line in ports + below:
            self.assertLessEqual(len(line), 80)
        # Nothing was cut at the right: that is where percentiles are.
        for line in ports[1:]:
            self.assertTrue(line.endswith(">4.3s >4.3s >4.3s"), line)

    def test_number_of_a_channel(self):
        self.port().login(12345)
        views = rates.view(None, sysfs.read(self.root), True)
        rows = table.tables(views, width=80, each_channel=True)[1]
        self.assertEqual(rows[0].split()[:4], "peer initiat chan state".split())
        self.assertEqual(rows[2].split()[:4], "10.0.0.2 ~000002 ~345 live".split())
        rows = table.tables(views, each_channel=True)[1]
        self.assertIn("000002 12345 live", rows[2])

    def test_columns_are_one_below_the_other(self):
        ports, below = table.tables(self.views(), width=80)
        self.assertEqual({len(line) for line in ports}, {len(ports[0])})
        rows = [l for l in below if not l.endswith(":")]
        self.assertEqual({len(line) for line in rows}, {80})

    def test_what_is_cut_at_80(self):
        text = "\n".join(sum(table.tables(self.views(), width=80), []))
        self.assertIn("mlx5_0/1", text)
        self.assertIn("\nrocep129s0f0np0v1~ ", text)
        self.assertIn("~1234:5678:9abc ", text)
        self.assertIn(" 1/2 ", text)
        self.assertIn("123k", text)

    def test_wider(self):
        views = self.views()
        for width in (100, 120, 150, 400, None):
            ports, below = table.tables(views, width=width)
            text = "\n".join(ports + below)
            for line in ports + below:
                self.assertLessEqual(len(line), width or 1000)
            if width is None or width > 130:
                self.assertIn("fe80:1234:5678:9abc:def0:1234:5678:9abc", text)
                self.assertIn("00000000000000005054000000000002", text)
                self.assertNotIn(table.CUT, text)
        self.assertIn("1 of 2 live", text)

    def test_narrow_is_cut_off(self):
        views = self.views()
        for width in (1, 20, 79):
            for line in sum(table.tables(views, width=width), []):
                self.assertLessEqual(len(line), width)

    def test_order(self):
        port = self.port()
        port.login(1, initiator="1" * 32)
        port.login(2, initiator="2" * 32)
        views = rates.view(None, sysfs.read(self.root))
        views[0].lines[1].figures = rates.Figures(1.0, {"reads": 5.0})
        rows = table.tables(views)[1]
        self.assertIn("1" * 32, rows[2])
        rows = table.tables(views, by_load=True)[1]
        self.assertIn("2" * 32, rows[2])


class Refused(fake.Case):
    def table(self, *lines, width=80):
        self.port().refuse(*lines)
        return table.refused(rates.view(None, sysfs.read(self.root)), width)

    def test_names_can_be_copied(self):
        below = self.table(fake.REFUSED, fake.PLAINLY_REFUSED)
        self.assertEqual(below[1:], [
            "mlx5_0/1:",
            "  4s     8 0x10006 10.9.0.2        " + fake.INITIATOR,
            " " * 35 + "5054:00ff:fe09:0002",
            " " * 35 + "10.9.0.2",
            " " * 11 + "ACL 10.9.0.1 is the target's own address, not the "
            "initiator's",
            " 11m     1 0x10003 fe80::5054:0:2  0x" + "ab" * 16])

    def test_the_longest_names_are_whole_at_80(self):
        address = "fe80:1234:5678:9abc:def0:1234:5678:9abc"
        line = "9 0x10006 %s GID %s; it may be named %s or %s; ACL %s matches, " \
            "but its portal group is not enabled" % (
                fake.INITIATOR, address, fake.INITIATOR, address, fake.INITIATOR)
        for width in (80, 100, 300, None):
            text = "\n".join(self.table(line, width=width))
            for piece in text.splitlines():
                self.assertLessEqual(len(piece), width or 1000)
            words = text.split()
            self.assertIn(address, words)
            self.assertEqual(words.count(fake.INITIATOR), 2)
            self.assertEqual(words[-1], "enabled")

    def test_repeated_logins_are_one(self):
        below = self.table(fake.REFUSED, fake.PLAINLY_REFUSED,
                           fake.REFUSED.replace("4", "90", 1))
        self.assertEqual(below[2].split()[:3], "4s 16 0x10006".split())
        self.assertEqual(len(below), 7)

    def test_narrow_is_cut_off(self):
        for width in (1, 20, 79):
            for line in self.table(fake.REFUSED, width=width):
                self.assertLessEqual(len(line), width)

    def test_once(self):
        port = self.port()
        port.login(1)
        out = self.run_program("--once", "-i", "0.1")[1]
        self.assertNotIn("entry", out)
        port.refuse(fake.REFUSED)
        out = self.run_program("--once", "-i", "0.1")[1]
        self.assertIn(" %s\n" % fake.INITIATOR, out)
        self.assertIn(" 5054:00ff:fe09:0002\n", out)
        self.assertIn("own address", out)
        (port.path / "login_refused").unlink()
        status, out, _ = self.run_program("--once", "-i", "0.1")
        self.assertEqual(status, 0)
        self.assertNotIn("entry", out)


class Once(fake.Case):
    def test_once(self):
        port = self.port()
        port.login(1)
        status, out, error = self.run_program("--once", "--interval", "0.2",
                                              environ={"COLUMNS": "80"})
        self.assertEqual((status, error), (0, ""))
        lines = out.splitlines()
        self.assertEqual(lines[0].split()[:5], "port link on init IOPS".split())
        self.assertEqual(lines[1].split(),
                         "mlx5_0/1 InfiniBand yes 1 0 0 0 0 - - -".split())
        self.assertEqual(lines[2], "")
        self.assertEqual(lines[4], "mlx5_0/1:")
        self.assertEqual(lines[5].split(),
                         "10.0.0.2 ~00000002 1 live 62 2 0 0 0 - - -".split())
        self.assertLessEqual(max(map(len, lines)), 80)

    def test_a_pipe_gets_everything(self):
        self.port().login(1)
        out = self.run_program("--once", "-i", "0.1")[1]
        self.assertIn("00000000000000005054000000000002", out)

    def test_no_session(self):
        self.port()
        self.assertIn("\nno sessions\n", self.run_program("--once", "-i", "0.1")[1])

    def test_options(self):
        self.port()
        for options in (["--interval", "0"], ["--interval", "nan"],
                        ["--interval", "x"], ["--json", "--once"],
                        ["--count", "0", "--json"], ["--count", "3", "--once"],
                        ["--output", "x", "--once"], ["--stage", "disk"],
                        ["--listen", "::1:80"], ["--listen", "x:y"],
                        ["--listen", "1:99999"], ["--listen", ":80"]):
            status, out, error = self.run_program(*options)
            self.assertEqual((status, out), (2, ""), options)
            self.assertIn("usage:", error)

    def test_no_terminal(self):
        self.port()
        status, _, error = self.run_program()
        self.assertEqual(status, 1)
        self.assertIn("--once", error)

    def test_help_says_what_percentiles_are(self):
        out = self.run_program("--help")[1]
        self.assertIn("interpolated", out)
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80)


if __name__ == "__main__":
    unittest.main()
