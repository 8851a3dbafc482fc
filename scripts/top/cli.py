# SPDX-License-Identifier: GPL-2.0
#
# The command line of srpt-top: options, and the modes that only print.
#
# Not here: the live table (live.py), the HTTP server (prometheus.py).

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from . import chart, live, prometheus, rates, record, sysfs, table

DESCRIPTION = """\
Shows what the SRP target ib_srpt does: for every port of an HCA and every
initiator that is logged in, commands and megabytes per second and how long
commands took. Without one of the modes below it is a live table.

Rates are differences of the kernel's counters, divided by the time that really
passed between two samples. "-" means that it is not known (yet): there was no
sample before, or the counters have begun anew.
"""

EPILOG = """\
The kernel counts commands in latency classes that double: less than 1.024 us,
2.048 us and so on. Within a class, percentiles are interpolated as if commands
were spread evenly; the true value is in the same class, so it may be up to
twice or half of what is shown. What took 4.3 s or more is shown as ">4.3s".

The stages of a command: receive (until the storage engine has it), engine (in
the engine, disks included, transfers not), fetch (until the initiator's data
has come, for writes), send (from the engine's answer until the HCA has sent
it; with LIO mostly not known of writes). Percentiles of stages cannot be added
up.

IOPS are commands that moved data; MB are 1000000 bytes; err/s are commands that
failed or were aborted, malformed requests and refused logins. state "2/3":
that many channels of an initiator are live. "~" stands for what was cut off.

The last refused logins of each port have the names that an access control entry
for the initiator could have, one below the other, to be copied, and an entry
that was perhaps meant for it.

Keys of the live table: q quit, s next stage, c channels one by one or added up,
o busiest first, r refused logins or initiators, j and k (or arrows) scroll.

Exit status: 0; 1 if there is no port or something failed; 2 for wrong options.
"""


def seconds(text):
    value = float(text)
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError("must be 0.1 to 86400 seconds")
    return value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def address(text):
    try:
        return prometheus.parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error))


def parser():
    top = argparse.ArgumentParser(
        prog="srpt-top", usage="srpt-top [mode] [options]", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = top.add_argument_group("modes").add_mutually_exclusive_group()
    modes.add_argument("--once", action="store_true",
                       help="print the table for one interval and end")
    modes.add_argument("--json", action="store_true",
                       help="print a JSON object per interval, on a line each")
    modes.add_argument("--record", metavar="FILE",
                       help="write these lines into a new file")
    modes.add_argument("--chart", metavar="FILE",
                       help="draw a recorded run as SVG (see --output)")
    modes.add_argument("--prometheus", action="store_true",
                       help="print all counters in Prometheus's text format")
    modes.add_argument("--listen", metavar="[ADDRESS:]PORT", type=address,
                       help="serve that as /metrics over HTTP, on 127.0.0.1 "
                       "unless an address is given; no encryption, no password")
    top.add_argument("-i", "--interval", metavar="SECONDS", type=seconds,
                     default=1.0, help="time between samples (default: 1)")
    top.add_argument("-n", "--count", metavar="N", type=positive,
                     help="with --json and --record: end after N intervals")
    top.add_argument("-s", "--stage", choices=sysfs.STAGES, default="engine",
                     help="whose latency is shown (default: engine)")
    top.add_argument("-c", "--channels", action="store_true",
                     help="show every channel, with its number in the kernel "
                     "log; without it, those of an initiator at a port are "
                     "added up")
    top.add_argument("-o", "--output", metavar="FILE",
                     help="with --chart: where to write (default: standard "
                     "output)")
    top.add_argument("--session-latency", action="store_true",
                     help="with --prometheus and --listen: also the histograms "
                     "of every channel, 100 lines each")
    top.add_argument("--root", metavar="DIRECTORY", default="/sys",
                     help="read another directory than /sys")
    return top


def fail(text):
    print("srpt-top: " + text, file=sys.stderr)
    return 1


def intervals(options):
    """(sample, views) for each interval, the first after one has passed."""
    old = sysfs.read(options.root)
    due = time.monotonic()
    while True:
        # Late? Then the next interval is not shorter.
        due = max(due + options.interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        new = sysfs.read(options.root)
        yield new, rates.view(old, new, options.channels)
        old = new


def once(options):
    sample, views = next(intervals(options))
    if not sample.ports:
        return fail(sysfs.why_nothing(sample, options.root))
    # What is read by another program is not cut off.
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    width = shutil.get_terminal_size().columns if limited else None
    ports, below = table.tables(views, options.stage, width,
                                each_channel=options.channels)
    if len(below) == 1:
        below = ["no sessions"]
    refused = table.refused(views, width)
    if len(refused) > 1:
        below += ["", *refused]
    print("\n".join(ports + [""] + below))
    return 0


def lines(options, write):
    """A JSON line for each interval."""
    for number, (sample, views) in enumerate(intervals(options), 1):
        write(record.line(sample, views) + "\n")
        if number == options.count:
            return 0
    return 0


def print_lines(options):
    def write(text):
        sys.stdout.write(text)
        sys.stdout.flush()
    return lines(options, write)


def record_lines(options):
    try:
        file = open(options.record, "x", encoding="utf-8", buffering=1)
    except FileExistsError:
        return fail("%s is there already; choose another name" % options.record)
    with file:
        print("srpt-top: recording to %s%s" % (
            options.record, "" if options.count else ", end with Ctrl-C"),
            file=sys.stderr)
        return lines(options, file.write)


def draw(options):
    try:
        picture = chart.svg(chart.load(options.chart), options.stage)
    except ValueError as error:
        return fail(str(error))
    if options.output:
        Path(options.output).write_text(picture, encoding="utf-8")
    else:
        sys.stdout.write(picture)
    return 0


def run(options):
    if options.chart:
        return draw(options)
    if options.listen:
        return prometheus.serve(options)
    if not (options.once or options.json or options.record or options.prometheus):
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return fail("this is no terminal: use --once or --json")
        return live.run(options)
    sample = sysfs.read(options.root)
    if not sample.ports:
        return fail(sysfs.why_nothing(sample, options.root))
    if options.prometheus:
        sys.stdout.write(prometheus.metrics(sample, options.session_latency))
        return 0
    if options.once:
        return once(options)
    return print_lines(options) if options.json else record_lines(options)


def main(argv=None):
    top = parser()
    options = top.parse_args(argv)
    if options.output and not options.chart:
        top.error("--output needs --chart")
    if options.count and not (options.json or options.record):
        top.error("--count needs --json or --record")
    # Like other tools when `head` has seen enough.
    if not options.listen:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        return fail(str(error))
