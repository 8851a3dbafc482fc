# SPDX-License-Identifier: GPL-2.0
#
# /sys/class/infiniband_srpt: every file, what it shows and takes, and what
# becomes of it when sessions, HCAs and the module go. What the files mean is in
# docs/ABI/sysfs-class-infiniband_srpt.
#
# Not here: SCST's own files (test_scst.py), configfs (test_configfs.py).

import contextlib
import json
import re
import pytest

from lab import env

from . import peer
from .checks import Late, contains, equal, expect, sit_through, until
from .dm import Asker
from .initiator import UNTIL_STOPPED
from .target import CM_PORT

HCA = env.TRANSPORTS[env.transport()]
PORT = "/sys/class/infiniband_srpt/srpt-%s-1" % HCA
WHY = "it has no such directory"
INVALID = "Invalid argument"

FILES = {
    "login_info": 0o444, "login_info_rdma_cm": 0o444, "enabled": 0o444,
    "device": 0o444, "link_layer": 0o444, "rdma_cm_port": 0o444,
    "login_refused": 0o444,
    "port_id": 0o644, "comp_v_mask": 0o644,
    "srp_max_rdma_size": 0o644, "srp_max_rsp_size": 0o644,
    "srp_sq_size": 0o644, "use_srq": 0o644,
}
SESSION_FILES = {
    "initiator_port_id": 0o444, "peer": 0o444, "channels": 0o444,
    "state": 0o444, "req_lim": 0o444, "active": 0o444, "sq_used": 0o444,
    "comp_vector": 0o444, "age": 0o444, "disconnect": 0o200,
}
COUNTERS = ("commands reads writes read_bytes write_bytes failed aborted "
            "task_management malformed credits_starved sq_full").split()
STAGES = "receive engine fetch send".split()
REFUSALS = ("unable_establish no_resources iu_too_large unable_associate "
            "unsupported_format multichannel channel_limit").split()
BUCKETS = 24


def modes(bench, directory):
    """The modes of all files below a directory, by relative path; those that
    every device has are left out."""
    out = bench.target.run("cd %s/ && find . -type f -printf '%%m %%P\\n'"
                           % directory).out
    found = {path: int(mode, 8) for mode, path in
             (line.split() for line in out.splitlines())}
    return {path: mode for path, mode in found.items()
            if path != "uevent" and not path.startswith("power/")}


def expected_modes(files, refusals=False):
    more = ["counters/" + name for name in COUNTERS]
    more += ["latency/" + name for name in STAGES]
    if refusals:
        more += ["counters/logins", "counters/logins_refused"]
        more += ["refusals/" + name for name in REFUSALS]
    return {**files, **{name: 0o444 for name in more}}


def numbers(bench, directory):
    """All counters and histograms of a directory, read in one go."""
    out = bench.target.run("cd %s/ && grep -H . counters/* latency/*"
                           % directory).out
    found = {}
    for line in out.splitlines():
        name, _, value = line.partition(":")
        values = [int(word) for word in value.split()]
        found[name] = values if name.startswith("latency/") else values[0]
    return found


def sessions(bench):
    """Names of the sessions' directories."""
    return bench.target.run("ls %s/sessions" % PORT).out.split()


@pytest.mark.stock(WHY)
def test_files(bench):
    """the files of a port: names, modes, contents"""
    target = bench.target
    target.load()
    equal(modes(bench, PORT), expected_modes(FILES, True), "files and modes")
    equal(target.read(PORT + "/device"), HCA, "device")
    equal(target.read(PORT + "/link_layer"),
          "InfiniBand" if target.guest.transport == "ib" else "Ethernet", "link layer")
    equal(target.read(PORT + "/rdma_cm_port"), "0", "port number")
    equal(target.read(PORT + "/login_info_rdma_cm"), "", "without a listener")
    equal(target.read(PORT + "/enabled"), "0", "enabled")
    guid = target.service_guid
    equal(target.read(PORT + "/login_info"),
          "tid_ext=%s,ioc_guid=%s,pkey=ffff,dgid=%s,service_id=%s"
          % (guid, guid, target.gid[2:], guid), "login_info")
    shown = numbers(bench, PORT)
    equal({name: value for name, value in shown.items()
           if name.startswith("counters/") and value}, {}, "counters")
    expect(all(value == [0] * BUCKETS
               for name, value in shown.items()
               if name.startswith("latency/")), "no times")
    equal(sessions(bench), [], "sessions")
    target.unload()
    expect(target.run("[ -e /sys/class/infiniband_srpt ]", check=False).rc,
           "without the module there is no directory")


@pytest.mark.roce("login_info_rdma_cm has the addresses of the GID table, in which "
                  "iWARP has none")
@pytest.mark.stock(WHY)
def test_follows(bench):
    """enabled and the port number are followed; login_info_rdma_cm is ready to
    be written to add_target"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        equal(target.read(PORT + "/enabled"), "1", "enabled")
        equal(target.read(PORT + "/rdma_cm_port"), str(CM_PORT), "port")
        target.enable(False)
        equal(target.read(PORT + "/enabled"), "0", "enabled")
        target.enable()
        lines = target.read(PORT + "/login_info_rdma_cm").splitlines()
        equal(len(set(lines)), len(lines), "lines, each of them once")
        v4 = [x for x in lines if "dest=%s:" % target.guest.ip in x]
        v6 = [x for x in lines if "dest=[%s]:" % target.guest.ip6 in x]
        equal((len(v4), len(v6)), (1, 1), "lines with the addresses")
        expect(not any("[fe80" in line for line in lines),
               "no link-local address")
        initiator.run("modprobe ib_srp; echo '%s' > /sys/class/infiniband_srp/"
                      "srp-%s-1/add_target" % (v4[0], HCA))
        until(lambda: len(sessions(bench)) > 0, 30, "a session")
        initiator.logout()
        target.wait_for_connections(0)
        target.listen(0)
        equal(target.read(PORT + "/login_info_rdma_cm"), "", "without it")


@pytest.mark.stock(WHY)
@pytest.mark.engine("lio")
def test_attributes(bench):
    """tunable values: limits, errors, and one state behind sysfs and configfs"""
    target = bench.target
    with bench.configured():
        attrib = target.tpg() + "/attrib/"
        for name, good, bad in (
                ("srp_max_rdma_size", (65536, 1 << 24), (65535, (1 << 24) + 1)),
                ("srp_max_rsp_size", (40, 1024), (39, 1025)),
                ("srp_sq_size", (4, 65535), (3, 65536)),
                ("use_srq", (1, 0), (2, -1))):
            path = PORT + "/" + name
            before = target.read(path)
            equal(before, target.read(attrib + name), name + " in configfs")
            for value in (*bad, "", "x", "1 1", "99999999999999999999"):
                equal(target.write(path, value), INVALID,
                      "%s := '%s'" % (name, value))
            equal(target.read(path), before, name + " after bad values")
            for value in good:
                equal(target.write(path, value), "", name)
                equal(target.read(attrib + name), str(value), "in configfs")
            equal(target.write(path, hex(good[0])), "", name + ", hexadecimal")
            equal(target.read(path), str(good[0]), name)
            equal(target.write(attrib + name, before), "", "in configfs")
            equal(target.read(path), before, name)


@pytest.mark.no_iwarp("it has no device management")
@pytest.mark.stock(WHY)
def test_port_id(bench):
    """port_id: its limits, and that device management and the engine say the same"""
    target = bench.target
    target.load()
    path = PORT + "/port_id"

    def announced():
        return Asker(bench).identification()

    usual = target.read(path)
    equal((usual, announced()), (target.identification,) * 2, "by default")
    for value in ("storage 7", "Schrank \u00fc", "x" * 63):
        equal(target.write(path, value), "", "port_id := '%s'" % value)
        equal((target.read(path), announced()), (value, value), "what was set")
    for value in ("", "x" * 64, "\u00fc" * 32, "a\tb"):
        equal(target.write(path, value), INVALID, "port_id := '%s'" % value)
    expect(target.run("printf 'a\\377b' > " + path, check=False).rc,
           "what is no UTF-8 is refused")
    equal(target.read(path), "x" * 63, "port_id after bad values")
    equal(target.write(path, usual), "", "the default again")
    target.unload()


@pytest.mark.timeout(120)
@pytest.mark.stock(WHY)
def test_comp_v_mask(bench):
    """comp_v_mask: its form, its limits, and that new channels obey it"""
    target, initiator = bench.target, bench.initiator
    path = PORT + "/comp_v_mask"

    def vectors():
        return sorted(int(target.read("%s/sessions/%s/comp_vector"
                                      % (PORT, name)))
                      for name in sessions(bench))

    with bench.configured():
        usual = target.read(path)
        expect(re.fullmatch("[0-9a-f,]+", usual), "a mask: " + usual)
        mask = int(usual.replace(",", ""), 16)
        equal(mask & (mask + 1), 0, "vectors that are left out at first")
        width = mask.bit_length()
        equal(width, int(target.run("nproc --all").out), "vectors of this HCA")
        for bad in ("0", "", "x", "1,", "-1", "%x" % (mask + 1),
                    "1" + 8 * "0", "1" + 16 * "0"):
            equal(target.write(path, bad), INVALID, "comp_v_mask := " + bad)
        equal(target.read(path), usual, "the mask after bad values")
        for bit in range(width):
            equal(target.write(path, "%x" % (1 << bit)), "", "one vector")
            initiator.login("max_sect=8192,ch_count=2")
            equal(vectors(), [bit, bit], "vectors of two channels")
            initiator.logout(unload=False)
            target.wait_for_connections(0)
        equal(target.write(path, "00000000,%08x" % mask), "", "all of them")
        equal(target.read(path), usual, "the mask")
        disk, = initiator.login("max_sect=8192,ch_count=%d" % width)
        equal(vectors(), list(range(width)), "each in its turn")
        # A live channel keeps its own.
        equal(target.write(path, "1"), "", "another mask")
        initiator.fio(disk, "64k")
        equal(vectors(), list(range(width)), "vectors of live channels")
        initiator.logout()
        equal(target.write(path, usual), "", "all of them")


@pytest.mark.stock(WHY)
def test_a_session(bench):
    """the directories of a session of two channels, from login to logout"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.fio(disk, "256k")
        names = sessions(bench)
        equal(len(names), 2, "sessions")
        for name in names:
            here = "%s/sessions/%s" % (PORT, name)
            expect(re.fullmatch(initiator.port_id[2:] + r"-[0-9]+", name),
                   "the name: " + name)
            equal(modes(bench, here), expected_modes(SESSION_FILES), "files")
            for file, value in (("initiator_port_id", initiator.port_id),
                                ("peer", initiator.peer_name),
                                ("channels", "2"), ("state", "live"),
                                ("active", "0"), ("sq_used", "0")):
                equal(target.read(here + "/" + file), value, file)
            expect(0 < int(target.read(here + "/req_lim")) <= 128, "req_lim")
            age = int(target.read(here + "/age"))
            sit_through(1.5, "it counts seconds")
            expect(age < int(target.read(here + "/age")) < 60, "it gets older")
            for file in ("peer", "state"):
                expect(target.write(here + "/" + file, "x"), "not written")
    target.load()
    equal(sessions(bench), [], "sessions of a new life")
    target.unload()


@pytest.mark.timeout(90)
@pytest.mark.stock(WHY)
def test_counters(bench):
    """counters and histograms of sessions add up to those of the port, say what
    was done, and stay when the session goes"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        disk, = initiator.login("max_sect=8192")
        before = numbers(bench, PORT)
        initiator.run("dd if=/dev/zero of=%s bs=16k count=64 oflag=direct && "
                      "dd if=%s of=/dev/null bs=64k count=16 iflag=direct"
                      % (disk, disk))
        port = numbers(bench, PORT)
        parts = [numbers(bench, "%s/sessions/%s" % (PORT, name))
                 for name in sessions(bench)]
        for name in port:
            if name.startswith("latency/"):
                equal([sum(column) for column in zip(
                    *(part[name] for part in parts))], port[name], name)
            elif "logins" not in name:
                equal(sum(part[name] for part in parts), port[name], name)
        more = {name: port["counters/" + name] - before["counters/" + name]
                for name in COUNTERS}
        # The initiator may ask for more on its own account.
        expect(64 <= more["writes"] <= 80, "writes: %s" % more)
        expect(16 <= more["reads"] <= 40, "reads: %s" % more)
        expect(more["write_bytes"] >= 1 << 20, "bytes: %s" % more)
        expect(1 << 20 <= more["read_bytes"] < 2 << 20, "bytes: %s" % more)
        expect(more["commands"] >= more["reads"] + more["writes"], "commands")
        equal(sum(port["latency/fetch"]), port["counters/writes"],
              "times of fetching")
        done = port["counters/commands"] - port["counters/aborted"]
        for stage in ("receive", "engine"):
            equal(sum(port["latency/" + stage]), done, "times of " + stage)
        # With LIO most writes have a response that does not complete.
        sent = sum(port["latency/send"])
        reads, writes = port["counters/reads"], port["counters/writes"]
        least, most = ((reads, done - writes // 2)
                       if target.engine == "lio" else (done, done))
        expect(least <= sent <= most, "times of send: %d" % sent)
        equal((port["counters/malformed"], port["counters/logins_refused"]),
              (0, 0), "nothing bad")
        initiator.logout()
        target.wait_for_connections(0)
        until(lambda: not sessions(bench), 10, "the sessions go")
        after = numbers(bench, PORT)
        for name in ("commands", "reads", "writes", "write_bytes"):
            expect(after["counters/" + name] >= port["counters/" + name],
                   name + " after the logout")


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock(WHY)
def test_full_send_queue(bench):
    """a transfer that finds no room in the send queue is counted once, and not
    prepared again before there is room"""
    with bench.session("max_sect=8192,ch_count=1", attributes={"srp_sq_size": 16}) as disk:
        before = numbers(bench, PORT)
        # The WRITEs are read back.
        bench.initiator.fio(disk, "16m", "32k", 32, more=["--verify_backlog=64"])
        after = numbers(bench, PORT)
        grown = {name: after["counters/" + name] - before["counters/" + name]
                 for name in ("reads", "writes", "sq_full")}
        expect(0 < grown["sq_full"] <= grown["reads"] + grown["writes"],
               "transfers that found no room are some of all: %s" % grown)


@pytest.mark.stock(WHY)
def test_bad_things(bench):
    """refusals by reason, malformed units, failed commands, task management
    are counted"""
    target = bench.target
    with bench.configured(acls=[]):
        if not target.admits_all:
            with bench.peer() as one:
                equal(one.connect(one.request())[0], "rejected", "no access")
            equal(target.read(PORT + "/refusals/channel_limit"), "1", "refusals")
            equal(target.read(PORT + "/counters/logins_refused"), "1", "refused")
        with bench.peer() as one:
            target.add_acl(one.port_id)
            one.login()
            one.settle()
            before = numbers(bench, PORT)
            # An additional CDB that is not there; blocks that the disk does
            # not have; a function that nobody knows.
            one.ask(peer.cmd(1, peer.inquiry(), add_cdb_len=63 << 2))
            one.ask(peer.cmd(2, peer.read_10(0xfffffff0, 8),
                             data_in=one.at(0, 4096)))
            one.ask(peer.tsk_mgmt(3, 0x99))
            after = numbers(bench, PORT)
            for name, n in (("malformed", 1), ("failed", 1), ("commands", 1),
                            ("task_management", 1)):
                equal(after["counters/" + name] - before["counters/" + name],
                      n, name)
            equal(after["counters/logins"], 1, "logins")
            one.order("disconnect")
        target.wait_for_connections(0)


@pytest.mark.timeout(90)
@pytest.mark.stock(WHY)
def test_srpt_top(bench):
    """scripts/srpt-top sees a session under load: as JSON, for Prometheus, and
    as a table"""
    target, initiator = bench.target, bench.initiator
    top = "/repo/scripts/srpt-top"
    with bench.session("max_sect=8192,ch_count=2") as disk:
        job = initiator.load(disk, UNTIL_STOPPED)
        out = target.run([top, "--json", "--count", "2"], timeout=60).out
        metrics = target.run([top, "--prometheus"], timeout=60).out
        screen = target.run([top, "--once"], timeout=60).out
        initiator.stop(job, disk)
    samples = [json.loads(line) for line in out.splitlines()]
    equal(len(samples), 2, "samples")
    contains(out, '"%s"' % HCA, "JSON")
    contains(out, initiator.port_id[2:], "JSON")
    contains(out, initiator.peer_name, "JSON")
    found = re.search(r"^srpt_port_commands_total\{[^}]*%s[^}]*\} ([0-9]+)$" % HCA,
                      metrics, re.M)
    expect(found and int(found.group(1)) > 0,
           "commands are counted:\n" + metrics[:1500])
    contains(screen, HCA, "the table")
    contains(screen, "live", "the table")


@pytest.mark.timeout(150)
@pytest.mark.stock(WHY)
def test_disconnect(bench):
    """disconnect ends all channels of an initiator under load, who comes back;
    other values change nothing"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.patient()
        before = sessions(bench)
        path = "%s/sessions/%s/disconnect" % (PORT, before[0])
        for value in ("0", "2", "", "yes"):
            equal(target.write(path, value), INVALID, "'%s'" % value)
        equal(sessions(bench), before, "sessions")
        job = initiator.load(disk, UNTIL_STOPPED)
        mark = target.mark()

        # Under load on a slow host the initiator may reconnect by itself: then the
        # name is gone, and the next one is taken.
        def disconnected():
            before[:] = sessions(bench)
            return before and not target.write(
                "%s/sessions/%s/disconnect" % (PORT, before[0]), "1")

        until(disconnected, 60, "disconnect")
        until(lambda: not set(before) & set(sessions(bench)), 60,
              "the old channels go")
        until(lambda: len(sessions(bench)) == 2, 60, "it comes back")
        initiator.moves(disk, 90)
        initiator.stop(job, disk)
    contains(target.log_since(mark), "disconnected by the administrator",
             "the kernel log")


@pytest.mark.engine("lio")
@pytest.mark.roce("elsewhere an initiator cannot ask so soon")
@pytest.mark.stock(WHY)
def test_early_login(bench):
    """a login that comes while its HCA is being added has a directory, or is refused"""
    target = bench.target
    with bench.configured(acls=[]), contextlib.ExitStack() as stack:
        # One for each attempt, so that these follow each other at once.
        peers = [stack.enter_context(bench.peer()) for _ in range(10)]
        target.add_acl(peers[0].port_id)
        target.remove_hca()
        job = target.spawn("rdma link add %s type rxe netdev eth0" % HCA, timeout=60)
        until(lambda: HCA in target.quick("ls /sys/class/infiniband").out, 20, "the HCA", 0.01)
        words = (one.connect(one.request())[0] for one in peers)
        if "established" not in words:
            raise Late("not one of ten logins is granted")
        bench.say("the HCA %s added then" % ("was being" if job.poll() is None else "had been"))
        job.wait(60)
        equal(len(sessions(bench)), 1, "directories of sessions")
    target.wait_for_connections(0)


@pytest.mark.timeout(120)
@pytest.mark.stock(WHY)
def test_dump(bench):
    """debugfs: channels, and commands with state and age, under load"""
    target, initiator = bench.target, bench.initiator
    target.run("mountpoint -q /sys/kernel/debug || "
               "mount -t debugfs debugfs /sys/kernel/debug")
    path = "/sys/kernel/debug/ib_srpt/channels"
    with bench.session("max_sect=8192,ch_count=2") as disk:
        equal(target.run("stat -c %a /sys/kernel/debug/ib_srpt/channels").out.strip(),
              "400", "mode")
        job = initiator.load(disk, UNTIL_STOPPED)

        def busy():
            text = target.read(path)
            return text if "  command tag" in text else None
        text = until(busy, 60, "a command is seen", 0)
        initiator.stop(job, disk)
        heads = [x for x in text.splitlines() if not x.startswith(" ")]
        equal(len(heads), 2, "channels")
        for line in heads:
            expect(re.fullmatch(
                "channel [0-9]+ of %s from %s: live, [0-9]+ s, req_lim [0-9]+, "
                "active [0-9]+, sq_used [0-9]+, held 0, busy [0-9]+" % (
                    initiator.port_id, initiator.peer_name), line), line)
        for line in (x for x in text.splitlines() if x.startswith(" ")):
            expect(re.fullmatch(
                "  command tag 0x[0-9a-f]{16}: [A-Z][A-Za-z]+, [0-9]+ ms, "
                "answered by the engine", line), line)
    target.load()
    equal(target.read(path), "", "without sessions")
    target.unload()
    expect(target.run("[ -e /sys/kernel/debug/ib_srpt ]", check=False).rc,
           "without the module there is no directory")


@pytest.mark.timeout(240)
@pytest.mark.stock(WHY)
def test_read_all_the_time(bench):
    """all files are read without a pause while sessions, the HCA and the module
    come and go"""
    target, initiator = bench.target, bench.initiator
    reader = target.spawn(
        ["nice", "-n", "19", "sh", "-c", "n=0; while [ ! -e /tmp/enough ]; do n=$((n + $(grep -rsh "
         "'' /sys/class/infiniband_srpt/*/ /sys/kernel/debug/ib_srpt | wc -l))); done; echo $n"],
        timeout=230)
    try:
        for _ in range(4):
            with bench.session("max_sect=8192,ch_count=2") as disk:
                initiator.fio(disk, "128k")
        with bench.configured():
            initiator.login("max_sect=8192,ch_count=2")
            target.remove_hca()
            equal(target.queue_pairs(), 0, "queue pairs")
            target.add_hca()
            target.run("touch /tmp/enough")
            initiator.logout()
    finally:
        target.run("touch /tmp/enough")
    count = int(reader.wait(60).out.split()[-1])
    target.run("rm /tmp/enough")
    expect(count > 1000, "lines were read: %d" % count)
