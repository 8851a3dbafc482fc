# SPDX-License-Identifier: GPL-2.0
#
# Prometheus's text format, by a parser that takes nothing but what the format
# allows, and the HTTP server.

import http.client
import re
import socket
import subprocess
import unittest

import fake
from top import prometheus, sysfs

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
VALUE = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf|NaN)"


def unescaped(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match[1] in labels:
            raise ValueError("labels: " + text)
        labels[match[1]] = unescaped(match[2])
        at = match.end()
    return labels


def parse(text):
    """name -> (type, [(sample's name, labels, value)]). Raises ValueError for
    anything that is not in the format's description."""
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    metrics, current, seen, helped = {}, None, set(), set()
    for line in text[:-1].split("\n"):
        head = re.fullmatch(r"# (HELP|TYPE) (%s) (.+)" % NAME, line)
        if head and head[1] == "HELP":
            if head[2] in helped:
                raise ValueError("second HELP: " + line)
            if re.search(r"\\(?![\\n])", head[3].replace("\\\\", "")):
                raise ValueError("escape: " + line)
            helped.add(head[2])
        elif head:
            if head[2] in metrics:
                raise ValueError("second TYPE, or samples apart: " + line)
            if head[2] not in helped:
                raise ValueError("no HELP before: " + line)
            if head[3] not in ("counter", "gauge", "histogram"):
                raise ValueError("type: " + line)
            current = head[2]
            metrics[current] = (head[3], [])
        else:
            sample = re.fullmatch(r"(%s)(?:\{(.*)\})? (%s)" % (NAME, VALUE), line)
            if not sample:
                raise ValueError("line: %r" % line)
            name, labels = sample[1], parse_labels(sample[2] or "")
            kind, samples = metrics[current]
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            if name not in [current + s for s in suffixes]:
                raise ValueError("%s among %s" % (name, current))
            key = (name, tuple(sorted(labels.items())))
            if key in seen:
                raise ValueError("twice: " + line)
            seen.add(key)
            samples.append((name, labels, float(sample[3])))
    for name, (kind, samples) in metrics.items():
        if not samples:
            raise ValueError("no samples: " + name)
        if kind == "histogram":
            check_histogram(name, samples)
        if kind == "counter" and (not name.endswith("_total")
                                  or min(s[2] for s in samples) < 0):
            raise ValueError("counter: " + name)
    return metrics


def check_histogram(name, samples):
    """Buckets in ascending order and cumulative, +Inf last, equal to _count."""
    groups = {}
    for sample, labels, value in samples:
        bound = labels.pop("le", None)
        if (bound is None) == (sample == name + "_bucket"):
            raise ValueError("le: " + name)
        group = groups.setdefault(tuple(sorted(labels.items())), ([], {}))
        if bound is None:
            group[1][sample] = value
        else:
            group[0].append((float(bound), value))
    for buckets, others in groups.values():
        bounds, values = zip(*buckets)
        if list(bounds) != sorted(set(bounds)) or bounds[-1] != float("inf"):
            raise ValueError("bounds: " + name)
        if list(values) != sorted(values):
            raise ValueError("not cumulative: " + name)
        if others.get(name + "_count") != values[-1]:
            raise ValueError("_count: " + name)


class Parser(unittest.TestCase):
    """The parser is only worth something if it refuses."""
    HEAD = "# HELP x_total y\n# TYPE x_total counter\n"
    HISTOGRAM = "# HELP h y\n# TYPE h histogram\n"

    def test_refuses(self):
        for text in (
                self.HEAD + "x_total 1", self.HEAD, "x_total 1\n",
                self.HEAD + "x_total  1\n", self.HEAD + "y 1\n",
                self.HEAD + 'x_total{a="b} 1\n', self.HEAD + 'x_total{a="\\q"} 1\n',
                self.HEAD + 'x_total{a="b"a="c"} 1\n',
                self.HEAD + "x_total 1\nx_total 2\n", self.HEAD + "x_total None\n",
                "# TYPE x counter\nx 1\n", self.HEAD.replace("counter", "count"),
                self.HEAD + "x_total 1\n" + self.HEAD + 'x_total{a="b"} 2\n',
                self.HEAD + "x_total -1\n",
                self.HISTOGRAM + 'h_bucket{le="1"} 2\nh_count 2\n',
                self.HISTOGRAM + 'h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\n'
                'h_count 1\n',
                self.HISTOGRAM + 'h_bucket{le="2"} 1\nh_bucket{le="1"} 1\n'
                'h_bucket{le="+Inf"} 1\nh_count 1\n',
                self.HISTOGRAM + 'h_bucket{le="+Inf"} 1\nh_count 2\n',
                self.HISTOGRAM + 'h_bucket{le="+Inf"} 1\n',
                self.HISTOGRAM + "h_bucket 1\n"):
            with self.assertRaises((ValueError, KeyError), msg=text):
                parse(text)

    def test_accepts(self):
        parse(self.HEAD + 'x_total{a="\\\\\\n\\"",b=""} 1e+09\n')
        parse(self.HISTOGRAM + 'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n'
              "h_count 2\n")


class Metrics(fake.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.port()
        self.disk.count(commands=11, reads=7, read_bytes=2 ** 63)
        for bucket in range(24):
            self.disk.took("engine", bucket, bucket + 1)
        fake.put(self.disk.path / "refusals/channel_limit", 4)
        self.other = self.port("srpt-rxe0-1", "rxe0", "Ethernet", enabled=0)
        for channel in (1, 2):
            self.disk.login(channel).count(writes=channel)
        self.other.login(9, peer="fe80::2")

    def metrics(self, session_latency=False):
        text = prometheus.metrics(sysfs.read(self.root), session_latency)
        return parse(text)

    def value(self, metrics, name, **labels):
        found = [v for _, l, v in metrics[name][1]
                 if labels.items() <= l.items()]
        self.assertEqual(len(found), 1, (name, labels))
        return found[0]

    def test_values(self):
        m = self.metrics()
        self.assertEqual(self.value(m, "srpt_ports"), 2)
        self.assertEqual(self.value(m, "srpt_port_commands_total", hca="mlx5_0"), 11)
        self.assertEqual(self.value(m, "srpt_port_read_bytes_total", hca="mlx5_0"),
                         2 ** 63)
        self.assertEqual(self.value(m, "srpt_port_refusals_total", hca="mlx5_0",
                                    reason="channel_limit"), 4)
        self.assertEqual(self.value(m, "srpt_port_enabled", hca="rxe0"), 0)
        self.assertEqual(self.value(m, "srpt_port_channels", hca="mlx5_0"), 2)
        self.assertEqual(self.value(m, "srpt_port_initiators", hca="mlx5_0"), 1)
        self.assertEqual(self.value(m, "srpt_port_info", link_layer="Ethernet"), 1)
        self.assertEqual(self.value(m, "srpt_session_writes_total", channel="2"), 2)
        self.assertEqual(self.value(m, "srpt_session_req_lim", channel="9"), 62)
        self.assertEqual(self.value(m, "srpt_session_info", channel="9",
                                    peer="fe80::2", state="live"), 1)
        for name in fake.PORT_COUNTERS:
            self.assertEqual(m["srpt_port_%s_total" % name][0], "counter")

    def test_histogram(self):
        kind, samples = self.metrics()["srpt_port_latency_seconds"]
        self.assertEqual(kind, "histogram")
        text = prometheus.metrics(sysfs.read(self.root))
        found = re.findall(r'^srpt_port_latency_seconds_bucket\{hca="mlx5_0",'
                           r'port="1",stage="engine",le="(.*)"\} (\d+)$', text, re.M)
        self.assertEqual(len(found), 24)
        for index, (bound, value) in enumerate(found[:-1]):
            self.assertEqual(float(bound), 2 ** (10 + index) / 1e9)
            self.assertEqual(int(value), (index + 1) * (index + 2) // 2)
        self.assertEqual(found[-1], ("+Inf", "300"))
        self.assertNotIn("_sum", text)
        self.assertEqual({l["stage"] for _, l, _ in samples}, set(fake.STAGES))

    def test_session_histograms_on_demand(self):
        self.assertNotIn("srpt_session_latency_seconds", self.metrics())
        samples = self.metrics(True)["srpt_session_latency_seconds"][1]
        self.assertEqual(len(samples), 3 * 4 * 25)

    def test_labels_are_escaped(self):
        page = prometheus.Page()
        page.add("gauge", "x", "a\\b\nc", {"a": 'q"\\\n'}, 1)
        self.assertEqual(page.text(), '# HELP x a\\\\b\\nc\n# TYPE x gauge\n'
                         'x{a="q\\"\\\\\\n"} 1\n')
        self.disk.set("link_layer", 'q"\\x')
        self.value(self.metrics(), "srpt_port_info", link_layer='q"\\x')

    def test_unknown_values_are_left_out(self):
        (self.other.path / "enabled").unlink()
        fake.put(self.other.path / "counters/reads", "?")
        m = self.metrics()
        self.assertEqual(len(m["srpt_port_enabled"][1]), 1)
        self.assertEqual(len(m["srpt_port_reads_total"][1]), 1)

    def test_program(self):
        status, out, _ = self.run_program("--prometheus", "--session-latency")
        self.assertEqual(status, 0)
        self.assertIn("srpt_session_latency_seconds", parse(out))


class Addresses(unittest.TestCase):
    def test_forms(self):
        for text, wanted in (("9100", ("127.0.0.1", 9100)),
                             ("0.0.0.0:1", ("0.0.0.0", 1)),
                             ("[::1]:9100", ("::1", 9100)),
                             ("localhost:80", ("localhost", 80))):
            self.assertEqual(prometheus.parse_address(text), wanted)


class Listening(fake.Case):
    def setUp(self):
        super().setUp()
        self.port().login(1)

    def serve(self, address):
        process = self.start("--listen", address, text=True,
                             stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        line = process.stderr.readline()
        match = re.fullmatch(r"srpt-top: serving http://(.*):(\d+)/metrics\n", line)
        self.assertTrue(match, line)
        return match[1], int(match[2])

    def ask(self, host, port, path, method="GET"):
        connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=8)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def test_metrics(self):
        host, port = self.serve("0")
        self.assertEqual(host, "127.0.0.1")
        # A peer that says nothing does not keep others from being served.
        with socket.create_connection((host, port)):
            status, headers, text = self.ask(host, port, "/metrics")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"],
                         "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn("srpt_port_commands_total", parse(text))
        status, headers, text = self.ask(host, port, "/metrics?x=y", "HEAD")
        self.assertEqual((status, text), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 1000)
        self.assertEqual(self.ask(host, port, "/")[0], 200)
        self.assertEqual(self.ask(host, port, "/../../etc/passwd")[0], 404)
        self.assertEqual(self.ask(host, port, "/metrics", "POST")[0], 501)

    def test_nothing_to_say_is_no_error(self):
        """The module may be loaded later."""
        fake.shutil.rmtree(self.root / "class/infiniband_srpt")
        status, _, text = self.ask(*self.serve("0"), "/metrics")
        self.assertEqual(status, 200)
        self.assertEqual(parse(text)["srpt_ports"][1], [("srpt_ports", {}, 0)])

    def test_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("no IPv6 here")
        host, port = self.serve("[::1]:0")
        self.assertEqual(host, "[::1]")
        self.assertEqual(self.ask(host, port, "/metrics")[0], 200)

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            status, _, error = self.run_program(
                "--listen", taken.getsockname()[1])
        self.assertEqual(status, 1)
        self.assertIn("cannot listen on 127.0.0.1", error)


if __name__ == "__main__":
    unittest.main()
