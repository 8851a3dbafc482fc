# SPDX-License-Identifier: GPL-2.0
#
# The tracepoints srpt:*, and what scripts/trace-timeline makes of them.
#
# Not here: counters and histograms (test_sysfs.py).

import contextlib
import json
import re
import subprocess
import sys

import pytest

from lab import REPO

from .checks import equal, expect, sit_through
from .target import TRACING

WHY = "it has no tracepoints"
EVENTS = ("close data gone iu login login_refused rdma_read rdma_write response "
          "sent submit").split()
WRITE_10, READ_10 = "0x2a", "0x28"


@contextlib.contextmanager
def traced(bench):
    """Records all events meanwhile; yields a list that gets the lines."""
    run = bench.target.run
    run("echo 8192 > %s/buffer_size_kb; echo > %s/trace; "
        "echo 1 > %s/events/srpt/enable" % ((TRACING,) * 3))
    lines = []
    yield lines
    run("echo 0 > %s/events/srpt/enable" % TRACING)
    lines += run("cat %s/trace" % TRACING).out.splitlines()


def timelines(lines):
    """What the script says, as objects, and as text."""
    script = REPO / "scripts/trace-timeline"
    made = [subprocess.run([sys.executable, script, *more], text=True, check=True,
                           input="\n".join(lines), capture_output=True).stdout
            for more in ([], ["--json"])]
    return [json.loads(line) for line in made[1].splitlines()], made[0]


@pytest.mark.timeout(90)
@pytest.mark.stock(WHY)
def test_life_of_commands(bench):
    """every step of writes and reads is recorded, from login to logout; the
    script makes a timeline of each command"""
    target, initiator = bench.target, bench.initiator
    target.load()
    found = target.run("ls -d %s/events/srpt/*/" % TRACING, check=False).out
    equal(sorted(path.rstrip("/").rsplit("/srpt_", 1)[-1]
                 for path in found.split()), EVENTS, "events")
    # The trace is lost when the module goes.
    with bench.configured():
        with traced(bench) as lines:
            disk, = initiator.login("max_sect=8192,ch_count=1",
                                    "use_imm_data=N")
            initiator.run("dd if=/dev/zero of=%s bs=16k count=8 oflag=direct "
                          "&& dd if=%s of=/dev/null bs=16k count=8 "
                          "iflag=direct" % (disk, disk))
            initiator.logout()
            target.wait_for_connections(0)
            sit_through(0.5, "the channel goes after its queue pair")
    text = "\n".join(lines)
    for event in ("login", "close", "gone"):
        expect(re.search(r": srpt_%s: channel=1\b" % event, text), event)
    expect("initiator=" + initiator.port_id in text, "the initiator")
    commands, printed = timelines(lines)
    steps = {WRITE_10: ["iu", "submit", "rdma_read", "data", "response"],
             READ_10: ["iu", "submit", "rdma_write", "response", "sent"]}
    seen = {WRITE_10: 0, READ_10: 0}
    for command in commands:
        signaled = next(fields["signaled"] for _, event, fields in
                        command["steps"] if event == "response")
        equal(command["steps"][-1][1], ["response", "sent"][int(signaled)],
              "end of %s" % command)
        times = [after for after, _, _ in command["steps"]]
        equal(times, sorted(times), "times")
        fields = {event: fields for _, event, fields in command["steps"]}
        op = fields.get("submit", {}).get("op")
        if op in seen and fields["submit"]["bytes"] == "16384":
            equal([event for _, event, _ in command["steps"]][:len(steps[op])],
                  steps[op], "steps of " + op)
            equal(fields["response"]["status"], "0x00", "status")
            seen[op] += 1
    expect(all(count >= 8 for count in seen.values()), "commands: %s" % seen)
    expect("us  rdma_read" in printed and "(no end" not in printed,
           "the timeline:\n" + printed[:2000])


@pytest.mark.timeout(90)
@pytest.mark.stock(WHY)
@pytest.mark.parametrize("inline", ["64", "0"])
def test_signaled(bench, inline):
    """responses with GOOD and without data are copied, and at most 15 of them one
    after the other do not complete; without copies all complete; the data is
    right"""
    target, initiator = bench.target, bench.initiator
    with bench.configured(params="" if inline == "64" else
                          "max_inline_data=" + inline):
        disk, = initiator.login("max_sect=8192,ch_count=1")
        with traced(bench) as lines:
            # Immediate data: READs for it would complete.
            initiator.fio(disk, size="1m", bs="4k", depth=1)
        initiator.logout()
    commands, _ = timelines(lines)
    responses = []
    for command in commands:
        steps = {event: fields for _, event, fields in command["steps"]}
        # The last ones may be cut off.
        if {"submit", "response"} <= set(steps):
            responses.append((steps["submit"]["op"],
                              steps["response"]["status"],
                              steps["response"]["signaled"]))
    writes = [signaled for op, _, signaled in responses if op == WRITE_10]
    expect(len(writes) >= 256, "writes: %d" % len(writes))
    equal({signaled for op, _, signaled in responses if op == READ_10}, {"1"},
          "responses with data")
    equal({signaled for _, status, signaled in responses if status != "0x00"}
          - {"1"}, set(), "responses with another status than GOOD")
    if inline != "64" or target.engine != "lio":
        equal(set(writes), {"1"}, "responses of writes")
        return
    in_order = re.findall(r"srpt_response:.* signaled=(\d)", "\n".join(lines))
    longest = max(len(run) for run in "".join(in_order).split("1"))
    expect(writes.count("0") >= len(writes) // 2, "not signaled: %d of %d"
           % (writes.count("0"), len(writes)))
    # Callers that post at the same time see the same count.
    expect(1 < longest <= 15 + 2, "one after the other: %d" % longest)


@pytest.mark.stock(WHY)
def test_refusals(bench):
    """a refused login, with its reason"""
    target, initiator = bench.target, bench.initiator
    with bench.configured(), traced(bench) as lines:
        target.enable(False)
        initiator.refused()
        initiator.logout()
    expect(any(re.search(r": srpt_login_refused: initiator=%s reason=0x10001"
                         % initiator.port_id, line) for line in lines),
           "the event:\n" + "\n".join(lines[-5:]))
