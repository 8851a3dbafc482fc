# SPDX-License-Identifier: GPL-2.0
#
# Rates, percentiles, added-up channels, and counters that begin anew.

import random
import unittest

import fake
from top import rates, sysfs
from top.rates import between, percentile, view

BUCKETS = 24


def bucket_of(nanoseconds):
    """As docs/ABI has it."""
    for index in range(BUCKETS - 1):
        if nanoseconds < 2 ** (10 + index):
            return index
    return BUCKETS - 1


def counted(when, latency=None, kind=sysfs.Port, **counters):
    more = {"age": counters.pop("age")} if "age" in counters else {}
    return kind("x", when, counters, latency or {}, **more)


class Percentiles(unittest.TestCase):
    def test_bounds_are_those_of_the_abi(self):
        for index in range(BUCKETS):
            low, high = rates.bounds(index)
            self.assertEqual(bucket_of(low), index)
            if high is not None:
                self.assertEqual(bucket_of(high - 1), index)
                self.assertEqual(bucket_of(high), index + 1)
        self.assertEqual(rates.bounds(0), (0, 1024))
        self.assertEqual(rates.bounds(23), (2 ** 32, None))

    def test_nothing(self):
        self.assertIsNone(percentile([0] * BUCKETS, 0.5))
        self.assertIsNone(percentile([], 0.5))

    def test_within_a_bucket(self):
        buckets = [0] * BUCKETS
        buckets[4] = 100                    # 8192 to 16384 ns
        self.assertAlmostEqual(percentile(buckets, 0.5), 12288e-9)
        self.assertAlmostEqual(percentile(buckets, 0.25), 10240e-9)
        self.assertAlmostEqual(percentile(buckets, 1), 16384e-9)

    def test_the_last_bucket_has_no_end(self):
        buckets = [0] * (BUCKETS - 1) + [5]
        self.assertEqual(percentile(buckets, 0.99), 2 ** 32 / 1e9)

    def test_brute_force(self):
        """The same from every single command, spread evenly in its bucket."""
        source = random.Random(1)
        for _ in range(60):
            buckets = [0] * BUCKETS
            for _ in range(source.randint(1, 6)):
                # Hundreds, so that the rank is that of a command.
                buckets[source.randrange(BUCKETS - 1)] += 100 * source.randint(1, 3)
            times = []
            for index, count in enumerate(buckets):
                low, high = rates.bounds(index)
                times += [low + (high - low) * (i + 1) / count
                          for i in range(count)]
            for quantile in (0.5, 0.95, 0.99):
                wanted = times[round(quantile * len(times)) - 1]
                self.assertAlmostEqual(percentile(buckets, quantile) * 1e9,
                                       wanted, delta=1e-6 * wanted)

    def test_true_value_is_in_the_same_bucket(self):
        source = random.Random(2)
        for _ in range(200):
            times = sorted(int(source.lognormvariate(11, 2)) + 1
                           for _ in range(source.randint(1, 500)))
            buckets = [0] * BUCKETS
            for nanoseconds in times:
                buckets[bucket_of(nanoseconds)] += 1
            for quantile in (0.5, 0.95, 0.99):
                # Nearest rank: the smallest with at least this part below.
                rank = -(-quantile * 1000 * len(times) // 1000)
                true = times[int(rank) - 1]
                found = percentile(buckets, quantile) * 1e9
                low, high = rates.bounds(bucket_of(true))
                self.assertGreaterEqual(found, low)
                self.assertLessEqual(found, high or found)


class Rates(unittest.TestCase):
    def test_over_the_time_that_passed(self):
        old = counted(10.0, reads=100, writes=10, read_bytes=0, failed=1,
                      aborted=0, malformed=2, logins_refused=0)
        new = counted(12.5, reads=350, writes=35, read_bytes=10 ** 7, failed=2,
                      aborted=5, malformed=3, logins_refused=3)
        figures = between(old, new)
        self.assertEqual(figures.seconds, 2.5)
        self.assertAlmostEqual(figures.iops, 110)
        self.assertAlmostEqual(figures.read, 4e6)
        self.assertEqual(figures.written, 0)
        self.assertAlmostEqual(figures.errors, 4)

    def test_first_sample(self):
        self.assertIsNone(between(None, counted(1.0, reads=5)))

    def test_latency_of_the_interval_only(self):
        old = counted(1.0, {"engine": [1000] + [0] * 23})
        new = counted(2.0, {"engine": [1000] + [0] * 9 + [10] + [0] * 13})
        figures = between(old, new)
        self.assertEqual(sum(figures.latency["engine"]), 10)
        self.assertGreater(figures.percentile("engine", 0.5), 2 ** 19 / 1e9)
        self.assertIsNone(figures.percentile("send", 0.5))

    def test_counters_that_begin_anew(self):
        old = counted(1.0, {"engine": [5] + [0] * 23}, reads=500, writes=0)
        self.assertIsNone(between(old, counted(2.0, reads=20, writes=900)))
        self.assertIsNone(between(old, counted(2.0, {"engine": [4, 9] + [0] * 22},
                                               reads=501, writes=0)))
        self.assertEqual(between(old, counted(2.0, reads=500, writes=0)).iops, 0)

    def test_another_channel_with_the_same_name(self):
        old = counted(1.0, kind=sysfs.Session, age=50, reads=5)
        new = counted(2.0, kind=sysfs.Session, age=0, reads=6)
        self.assertIsNone(between(old, new))

    def test_a_counter_that_was_not_there(self):
        figures = between(counted(1.0, writes=1), counted(2.0, writes=2, reads=9))
        self.assertEqual(figures.rates, {"writes": 1})


class Views(fake.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.port()
        self.old = None

    def view(self, each_channel=False):
        new = sysfs.read(self.root)
        views = view(self.old, new, each_channel)
        self.old = new
        return views

    def at(self, seconds):
        """The sample before was that long ago."""
        for port in self.old.ports.values():
            port.when -= seconds
            for session in port.sessions.values():
                session.when -= seconds

    def assertDone(self, figures, number, what="iops"):
        """A machine that is busy takes longer, and the rates are lower. Channels
        are read a moment apart."""
        self.assertAlmostEqual(getattr(figures, what) * figures.seconds, number,
                               delta=number / 20)

    def test_channels_are_added_up(self):
        one, two = self.disk.login(1), self.disk.login(2, state="draining")
        other = self.disk.login(3, initiator="f" * 32, peer="10.0.0.3")
        self.view()
        self.at(10)
        one.count(reads=1000, read_bytes=10 ** 8)
        two.count(reads=500)
        two.took("engine", 7, 3)
        one.took("engine", 9, 4)
        other.count(writes=10)
        self.disk.count(reads=1500, writes=10)
        port, = self.view()
        self.assertEqual(port.initiators, 2)
        self.assertDone(port.figures, 1510)
        first, second = port.lines
        self.assertEqual(len(first.channels), 2)
        self.assertEqual(first.states, {"live": 1, "draining": 1})
        self.assertEqual(first.total("req_lim"), 124)
        self.assertDone(first.figures, 1500)
        self.assertDone(first.figures, 10 ** 8, "read")
        self.assertEqual(sum(first.figures.latency["engine"]), 7)
        self.assertDone(second.figures, 10)

    def test_each_channel(self):
        one = self.disk.login(1)
        self.disk.login(2)
        self.view()
        self.at(10)
        one.count(reads=1000)
        port, = self.view(each_channel=True)
        self.assertEqual([len(l.channels) for l in port.lines], [1, 1])
        self.assertDone(port.lines[0].figures, 1000)
        self.assertEqual(port.lines[1].figures.iops, 0)
        self.assertEqual(port.initiators, 1)

    def test_a_login_in_the_interval(self):
        self.view()
        self.at(10)
        self.disk.login(5, age=3).count(reads=100)
        port, = self.view()
        self.assertDone(port.lines[0].figures, 100)

    def test_an_old_channel_that_was_not_seen_before(self):
        self.view()
        self.at(10)
        self.disk.login(5, age=3000).count(reads=10 ** 9)
        port, = self.view()
        self.assertIsNone(port.lines[0].figures)

    def test_hca_that_came_back(self):
        session = self.disk.login(1)
        self.disk.count(reads=10 ** 6)
        session.count(reads=10 ** 6)
        self.view()
        self.at(1)
        self.disk.remove()
        port, = [self.port()]
        port.count(reads=50)
        port.login(2, age=0).count(reads=50)
        views = self.view()
        self.assertIsNone(views[0].figures)
        self.at(1)
        port.count(reads=70)
        views = self.view()
        self.assertDone(views[0].figures, 70)

    def test_never_negative(self):
        """Whatever counters do from sample to sample."""
        source = random.Random(3)
        session = self.disk.login(1)
        for _ in range(100):
            for folder in (self.disk, session):
                for name in folder.values:
                    folder.values[name] = source.choice(
                        (0, folder.values[name], source.randrange(10 ** 6)))
                for buckets in folder.buckets.values():
                    buckets[source.randrange(24)] = source.randrange(10)
                folder.count()
            for port in self.view():
                for figures in [port.figures] + [l.figures for l in port.lines]:
                    if figures:
                        self.assertGreaterEqual(min(figures.rates.values()), 0)
                        for buckets in figures.latency.values():
                            self.assertGreaterEqual(min(buckets), 0)

    def test_gone_port(self):
        self.view()
        self.disk.remove()
        self.assertEqual(self.view(), [])


if __name__ == "__main__":
    unittest.main()
