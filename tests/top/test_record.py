# SPDX-License-Identifier: GPL-2.0
#
# JSON, recorded runs, and the charts that are drawn of them.

import json
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree as xml
from datetime import datetime

import fake
from top import chart

SVG = "{http://www.w3.org/2000/svg}"


class Json(fake.Case):
    def test_lines(self):
        port = self.port()
        session = port.login(7, peer="10.0.0.9", state="draining")
        port.login(8, peer="10.0.0.9")
        process = self.start("--json", "--count", 3, "--interval", 2, text=True,
                             stdout=subprocess.PIPE)
        with process.stdout:
            first = json.loads(process.stdout.readline())
            for folder in (port, session):
                folder.count(commands=300, reads=200, writes=100,
                             read_bytes=5 * 10 ** 6, failed=10)
                folder.took("engine", 5, 300)
            objects = [first] + [json.loads(l) for l in process.stdout]
        self.assertEqual(process.wait(), 0)
        self.assertEqual(len(objects), 3)
        times = [datetime.fromisoformat(o["time"]).timestamp() for o in objects]
        for before, after in zip(times, times[1:]):
            self.assertGreater(after - before, 1.9)
        found, = objects[1]["ports"]
        self.assertEqual((found["name"], found["hca"], found["port"]),
                         ("srpt-mlx5_0-1", "mlx5_0", "1"))
        self.assertEqual((found["link_layer"], found["enabled"]),
                         ("InfiniBand", True))
        self.assertEqual(found["counters"]["commands"], 300)
        self.assertEqual(found["refusals"]["no_resources"], 0)
        seconds = found["seconds"]
        self.assertAlmostEqual(found["iops"] * seconds, 300, delta=1)
        self.assertAlmostEqual(found["per_second"]["commands"] * seconds, 300,
                               delta=1)
        self.assertAlmostEqual(found["read_bytes_per_second"] * seconds, 5e6,
                               delta=1e4)
        self.assertAlmostEqual(found["errors_per_second"] * seconds, 10, delta=1)
        engine = found["latency"]["engine"]
        self.assertEqual(engine["count"], 300)
        self.assertEqual(engine["buckets"][5], 300)
        self.assertAlmostEqual(engine["p50"], 1.5 * 2 ** 14 / 1e9)
        self.assertIsNone(found["latency"]["send"]["p99"])
        line, = found["sessions"]
        self.assertEqual(line["channels"], ["7", "8"])
        self.assertEqual(line["peers"], ["10.0.0.9"])
        self.assertEqual(line["states"], {"draining": 1, "live": 1})
        self.assertEqual((line["req_lim"], line["active"]), (124, 4))
        # The intervals of channels are not quite the same.
        self.assertAlmostEqual(line["iops"] * line["seconds"], 300, delta=60)
        self.assertEqual(objects[2]["ports"][0]["iops"], 0)

    def test_refused_logins(self):
        self.port().refuse(fake.REFUSED, fake.PLAINLY_REFUSED)
        older = self.port("srpt-rxe0-1", "rxe0")
        (older.path / "login_refused").unlink()
        out = self.run_program("--json", "-n", 1, "-i", 0.1)[1]
        ports = json.loads(out)["ports"]
        self.assertEqual(ports[0]["login_refused"], [
            {"age": 4, "times": 8, "reason": "0x10006", "initiator": fake.INITIATOR,
             "peer": "10.9.0.2",
             "names": [fake.INITIATOR, "5054:00ff:fe09:0002", "10.9.0.2"],
             "hint": "ACL 10.9.0.1 is the target's own address, not the "
                     "initiator's"},
            {"age": 700, "times": 1, "reason": "0x10003", "initiator": "0x" + "ab" * 16,
             "peer": "GID fe80::5054:0:2", "names": [], "hint": ""}])
        self.assertIsNone(ports[1]["login_refused"])

    def test_each_channel(self):
        port = self.port()
        port.login(7)
        port.login(8)
        out = self.run_program("--json", "-n", 1, "-i", 0.1, "-c")[1]
        sessions = json.loads(out)["ports"][0]["sessions"]
        self.assertEqual([s["channels"] for s in sessions], [["7"], ["8"]])

    def test_what_is_unknown_is_null(self):
        port = self.port()
        port.count(reads=500)
        process = self.start("--json", "-n", 2, "-i", 2, text=True,
                             stdout=subprocess.PIPE)
        with process.stdout:
            process.stdout.readline()
            port.restart()
            found, = json.loads(process.stdout.readline())["ports"]
        process.wait()
        self.assertIsNone(found["iops"])
        self.assertEqual(found["per_second"], {})

    def test_a_reader_that_has_seen_enough(self):
        self.port()
        process = self.start("--json", "-i", 0.1, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        with process.stderr:
            self.assertEqual(process.stderr.read(), b"")
        self.assertEqual(process.wait(), -signal.SIGPIPE)


class Record(fake.Case):
    def test_record_and_chart(self):
        self.port()
        file, picture = self.folder / "run.jsonl", self.folder / "run.svg"
        status, out, error = self.run_program("--record", file, "-n", 3, "-i", 0.1)
        self.assertEqual((status, out), (0, ""))
        self.assertIn("recording", error)
        self.assertEqual(len(file.read_text().splitlines()), 3)
        status, out, error = self.run_program("--chart", file, "--output", picture)
        self.assertEqual((status, out, error), (0, "", ""))
        self.assertEqual(xml.parse(picture).getroot().tag, SVG + "svg")
        self.assertEqual(self.run_program("--chart", file)[1],
                         picture.read_text())

    def test_ctrl_c_ends_it(self):
        self.port()
        file = self.folder / "run.jsonl"
        process = self.start("--record", file, "-i", 0.1, stderr=subprocess.PIPE)
        until = time.monotonic() + 30
        while not (file.exists() and file.read_text()):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        self.assertNotIn(b"Traceback", process.communicate(timeout=30)[1])
        self.assertEqual(process.returncode, 0)
        self.assertTrue(file.read_text().endswith("}\n"))

    def test_nothing_is_overwritten(self):
        self.port()
        file = self.folder / "run.jsonl"
        file.write_text("precious")
        status, _, error = self.run_program("--record", file, "-n", 1)
        self.assertEqual(status, 1)
        self.assertIn("choose another name", error)
        self.assertEqual(file.read_text(), "precious")

    def test_no_record(self):
        file = self.folder / "x"
        for text in ("", "hello\n", "{}\n", "[]\n", '{"time":"x","ports":[]}\n'):
            file.write_text(text)
            status, out, error = self.run_program("--chart", file)
            self.assertEqual((status, out), (1, ""), text)
            self.assertIn(str(file), error)
        self.assertEqual(self.run_program("--chart", self.folder / "none")[0], 1)


def entry(seconds, latency=None, **ports):
    """A line of a record; ports are (iops, read, write) or None."""
    moment = datetime.fromtimestamp(1.7e9 + seconds).astimezone()
    return {"time": moment.isoformat(timespec="milliseconds"), "ports": [
        {"name": name, "hca": name, "port": "1", "sessions": [],
         "iops": values and values[0],
         "read_bytes_per_second": values and values[1],
         "write_bytes_per_second": values and values[2],
         "latency": {"engine": {"buckets": latency}} if latency else {}}
        for name, values in ports.items()]}


class Chart(fake.Case):
    def draw(self, entries, stage="engine", tail=""):
        """{panel's series -> points}, and the root of the SVG."""
        file = self.folder / "run"
        file.write_text("".join(json.dumps(e) + "\n" for e in entries) + tail)
        root = xml.fromstring(chart.svg(chart.load(file), stage))
        series = {}
        for group in root.iter(SVG + "g"):
            points = [[tuple(map(float, p.split(",")))
                       for p in line.get("points").split()]
                      for line in group.iter(SVG + "polyline")]
            points += [[(float(c.get("cx")), float(c.get("cy")))]
                       for c in group.iter(SVG + "circle")]
            series[group.find(SVG + "title").text] = points
        return series, root

    def texts(self, root):
        return [t.text for t in root.iter(SVG + "text")]

    def test_series(self):
        buckets = [0] * 10 + [50, 50] + [0] * 12
        series, root = self.draw([
            entry(i, buckets, mlx5_0=(i * 100, 1e6 * i, 2e6), rxe0=(50, 0, 1e6))
            for i in range(11)])
        self.assertEqual(sorted(series), [
            "mlx5_0/1", "mlx5_0/1 read", "mlx5_0/1 write", "p50", "p95", "p99",
            "rxe0/1", "rxe0/1 read", "rxe0/1 write"])
        for pieces in series.values():
            self.assertEqual([len(p) for p in pieces], [11])
        texts = self.texts(root)
        for wanted in ("IOPS", "Throughput", "Latency, stage: engine, all ports",
                       "commands per second", "MB/s", "time (log scale)",
                       "time since the start", "mlx5_0/1, max 1000", "10 s",
                       "mlx5_0/1 read, max 10", "1 ms"):
            self.assertIn(wanted, texts)
        # A light background, below everything else.
        self.assertEqual(root.find(SVG + "rect").get("fill"), "#ffffff")

    def test_points_are_where_they_belong(self):
        series, root = self.draw([entry(0, a=(0, 0, 0)), entry(5, a=(500, 0, 0)),
                                  entry(10, a=(1000, 0, 0))])
        (x0, y0), (x1, y1), (x2, y2) = series["a/1"][0]
        self.assertAlmostEqual(x1 - x0, x2 - x1, delta=0.2)
        self.assertAlmostEqual(y0 - y1, y1 - y2, delta=0.2)
        self.assertLess(y2, y0)
        # The point for 500 is between the lines of the ticks for 400 and 600.
        ticks = {t.text: float(t.get("y")) - 4 for t in root.iter(SVG + "text")
                 if t.get("text-anchor") == "end" and float(t.get("y")) < 290}
        self.assertAlmostEqual(ticks["1000"], y2, delta=0.2)
        self.assertAlmostEqual((ticks["400"] + ticks["600"]) / 2, y1, delta=0.2)

    def test_gaps_are_gaps(self):
        values = [(1, 1, 1), (2, 1, 1), None, (3, 1, 1), None, (4, 1, 1), (5, 1, 1)]
        series, _ = self.draw([entry(i, a=v) for i, v in enumerate(values)])
        self.assertEqual(sorted(len(p) for p in series["a/1"]), [1, 2, 2])
        self.assertEqual(series["p50"], [])

    def test_a_port_that_comes_and_goes(self):
        series, _ = self.draw([entry(0), entry(1, a=(1, 1, 1)),
                               entry(2, a=(1, 1, 1)), entry(3)])
        self.assertEqual([len(p) for p in series["a/1"]], [2])

    def test_one_sample_and_an_incomplete_line(self):
        series, _ = self.draw([entry(0, a=(5, 0, 0))], tail='{"time":"2026-')
        self.assertEqual([len(p) for p in series["a/1"]], [1])

    def test_no_port_at_all(self):
        self.assertEqual(sorted(self.draw([entry(0), entry(1)])[0]),
                         ["p50", "p95", "p99"])

    def test_many_ports(self):
        ports = {"p%d" % i: (1, 1, 1) for i in range(20)}
        series, _ = self.draw([entry(i, **ports) for i in range(3)])
        self.assertIn("15 others", series)
        self.assertEqual(len(series), 6 + 12 + 3)

    def test_a_long_run(self):
        """Put together to fewer points, of the same level."""
        series, _ = self.draw([entry(i, a=(100, 0, 0)) for i in range(5000)])
        points, = series["a/1"]
        self.assertEqual(len(points), 1000)
        self.assertEqual(len({y for _, y in points}), 1)

    def test_names_are_escaped(self):
        series, _ = self.draw([entry(0, **{"<&\">": (1, 1, 1)})])
        self.assertIn("<&\">/1", series)

    def test_everything_is_inside(self):
        buckets = [1] * 24
        series, root = self.draw([
            entry(i * 3600, buckets, a=(10 ** (i % 9), 1e9, 12345),
                  **{"a_port_with_a_long_name": (1, 2, 3)}) for i in range(30)])
        width, height = float(root.get("width")), float(root.get("height"))
        for pieces in series.values():
            for x, y in sum(pieces, []):
                self.assertTrue(0 <= x <= width and 0 <= y <= height)
        for text in root.iter(SVG + "text"):
            x = float(text.get("x"))
            # As wide as letters of a common font are.
            end = x + 0.6 * float(text.get("font-size")) * len(text.text)
            self.assertTrue(0 <= x < width)
            if text.get("text-anchor") == "start":
                self.assertLess(end, width, text.text)
            self.assertTrue(0 <= float(text.get("y")) <= height)


if __name__ == "__main__":
    unittest.main()
