# SPDX-License-Identifier: GPL-2.0
#
# What is particular to the SCST engine: names, parameters, attributes, security
# groups, events, reservations. Run with ENGINE=scst SCST_DIR=<built SCST tree>.
#
# Not here: what is done under load (test_scst_load.py), what holds for both engines
# (the other files).

import contextlib

import pytest

from . import peer
from .checks import contains, equal, expect, until
from .dm import Asker
from .scst import DRIVER, SYSFS
from .target import PARAMETERS

pytestmark = pytest.mark.engine("scst")

# Name: mode and default, as in SCST's driver, where it has them.
PARAMETERS_OF_SCST = {
    "srpt_service_guid": ("444", None),
    "srp_max_req_size": ("444", "8276"),
    "srp_max_rsp_size": ("644", "256"),
    "srp_max_rdma_size": ("644", "65536"),
    "use_srq": ("644", "N"),
    "srpt_srq_size": ("644", "4095"),
    "srpt_sq_size": ("444", "256"),
}

# Attributes of a target that are the driver's, with their modes.
TARGET_FILES = {"login_info": "444", "comp_v_mask": "644", "device": "444",
                "link_layer": "444", "port_id": "644", "enabled": "644"}
SESSION_FILES = {"req_lim": "444", "req_lim_delta": "444", "ch_state": "444",
                 "comp_vector": "444", "force_close": "200"}

# Sense key, additional sense code and qualifier.
LUNS_CHANGED = (6, 0x3f, 0x0e)


def modes(target, directory, names):
    out = target.run("cd %s; stat -c '%%n %%a' %s" % (directory,
                                                     " ".join(names))).out
    return dict(line.split() for line in out.splitlines())


# --- the module -----------------------------------------------------------

@pytest.mark.timeout(90)
@pytest.mark.stock("its version is its own")
def test_identity(bench):
    """modinfo: name, description, what is loaded first, namespace"""
    target = bench.target
    target.load()
    info = {}
    for line in target.run("modinfo /lab/modules/ib_srpt.ko").out.splitlines():
        name, _, value = line.partition(":")
        info.setdefault(name, []).append(value.strip())
    equal(info["name"], ["ib_srpt"], "name")
    contains(info["description"][0], "Rust", "the description")
    contains(" ".join(info["softdep"]), "scst", "softdep")
    contains(" ".join(info["import_ns"]), "SCST", "namespaces")
    contains(info["depends"][0].split(","), "scst", "modules it depends on")
    used = target.read("/sys/module/scst/refcnt")
    expect(int(used) >= 2, "scst is in use: %s" % used)
    equal(target.run("ls " + SYSFS + "/targets").out.split(),
          ["copy_manager", "ib_srpt"], "target drivers")
    target.unload()
    equal(target.run("ls " + SYSFS + "/targets").out.split(),
          ["copy_manager"], "target drivers after unloading")


@pytest.mark.timeout(90)
def test_parameters(bench):
    """names, modes and defaults of the parameters are those of SCST's driver
    """
    target = bench.target
    target.load()
    out = target.run("cd %s; for f in *; do echo $f $(stat -c %%a $f) "
                     "$(cat $f); done" % PARAMETERS).out
    found = dict((w[0], (w[1], w[2])) for w in map(str.split,
                                                   out.splitlines()))
    for name, (mode, default) in PARAMETERS_OF_SCST.items():
        expect(name in found, "there is a parameter " + name)
        equal(found[name][0], mode, "mode of " + name)
        if default is not None:
            equal(found[name][1], default, "default of " + name)
    equal(found["rdma_cm_port"][1], "0", "default of rdma_cm_port")
    if target.variant == "rust":
        equal(set(found) - set(PARAMETERS_OF_SCST),
              {"rdma_cm_port", "ib_cm_on_roce", "target_requests",
               "max_channels_per_nexus", "max_channels_per_entry",
               "max_channels_per_port", "max_unconfirmed_logins",
               "max_inline_data", "session_per_channel"},
              "other parameters")
    target.unload()
    bad = ("srp_max_req_size=995", "srp_max_rsp_size=39", "srpt_srq_size=3",
           "srpt_srq_size=65536", "srpt_sq_size=15")
    for params in bad:
        expect(target.load(params, check=False).rc != 0,
               params + " is refused")
        expect(not target.loaded(), "nothing is loaded")
    target.load("srp_max_req_size=996 srp_max_rsp_size=40 srpt_srq_size=4 "
                "srpt_sq_size=16 use_srq=Y srp_max_rdma_size=131072")
    equal([target.parameter(n) for n in (
        "srp_max_req_size", "srp_max_rsp_size", "srpt_srq_size",
        "srpt_sq_size", "use_srq", "srp_max_rdma_size")],
        ["996", "40", "4", "16", "Y", "131072"], "values")
    if target.variant == "rust":
        equal(target.parameter("session_per_channel"), "N", "default")
    target.unload()


# --- target and session attributes ----------------------------------------

@pytest.mark.timeout(90)
def test_target_files(bench):
    """name of the target; login_info, device, link_layer: modes and contents
    """
    target = bench.target
    target.load()
    equal(target.run("ls " + DRIVER).out.split(), [target.name], "targets")
    equal(modes(target, target.directory, TARGET_FILES), TARGET_FILES,
          "modes")
    equal(target.attribute("device"), "rxe0", "device")
    target.run("rdma dev set rxe0 name other0")
    equal(target.attribute("device"), "other0", "device with a new name")
    target.run("rdma dev set other0 name rxe0")
    equal(target.attribute("link_layer"), "Ethernet", "link_layer")
    equal(target.attribute("enabled"), "0", "enabled")
    guid = target.parameter("srpt_service_guid")[2:]
    gid = target.gid[2:]
    equal(target.attribute("login_info"),
          "tid_ext=%s,ioc_guid=%s,pkey=ffff,dgid=%s,service_id=%s"
          % (guid, guid, gid, guid), "login_info")
    target.unload()
    # What the README of SCST's driver makes of it logs in.
    with bench.configured():
        line = target.attribute("login_info")
        words = dict(w.split("=") for w in line.split(","))
        bench.initiator.login(guid=words["tid_ext"])
        bench.initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(150)
def test_comp_v_mask(bench):
    """comp_v_mask: its format, its limits, and that channels obey it"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        path = target.directory + "/comp_v_mask"
        shown = target.attribute("comp_v_mask").split("\n")
        equal(shown[1:], ["[key]"], "second line")
        expect(int(shown[0].replace(",", ""), 16) >= 1, "a mask: " + shown[0])
        for bad in ("0", "x", "ffffffff", "100000000"):
            expect(target.put(bad, path), "%s is refused" % bad)
        equal(target.attribute("comp_v_mask").split("\n")[0], shown[0],
              "the mask after that")
        several = int(shown[0].replace(",", ""), 16) > 1
        for mask in (1, 2) if several else (1,):
            target.must("%x" % mask, path)
            equal(target.attribute("comp_v_mask"), "%x\n[key]" % mask,
                  "the mask")
            initiator.login("max_sect=8192,ch_count=2")
            vectors = [vector for name in target.sessions()
                       for vector in target.session(name, "comp_vector").split()]
            equal(vectors, [str(mask.bit_length() - 1)] * 2, "vectors of channels")
            initiator.logout(unload=False)
            target.wait_for_connections(0)
        initiator.logout()


@pytest.mark.timeout(90)
def test_port_id(bench):
    """port_id: default, [key], length, and what device management says"""
    target = bench.target
    target.load()
    path = target.directory + "/port_id"

    def announced():
        return Asker(bench).identification()

    equal(target.attribute("port_id"), "SCST SRP target", "by default")
    if target.variant == "rust":
        equal(announced(), "SCST SRP target", "in the profile")
    target.must("storage 7  ", path)
    equal(target.attribute("port_id"), "storage 7\n[key]", "what was set")
    if target.variant == "rust":
        equal(announced(), "storage 7", "in the profile")
    target.must("x" * 63, path)
    equal(target.attribute("port_id"), "x" * 63 + "\n[key]", "63 characters")
    contains(target.put("x" * 64, path), "too long", "error of 64 characters")
    equal(target.attribute("port_id"), "x" * 63 + "\n[key]", "after that")
    target.must("SCST SRP target", path)
    equal(target.attribute("port_id"), "SCST SRP target",
          "the default again")
    target.unload()


def look_at_session(bench, name, channels):
    """The files of a session with this many channels."""
    target, initiator = bench.target, bench.initiator
    directory = "%s/sessions/%s" % (target.directory, name)
    equal(modes(target, directory, SESSION_FILES), SESSION_FILES, "modes")
    if target.variant == "rust":
        equal(target.session(name, "initiator_name"), initiator.guest.ip,
              "initiator_name")
    equal(target.session(name, "ch_state"), "live", "ch_state")
    limit = int(target.session(name, "req_lim"))
    expect(channels <= limit <= 128 * channels, "req_lim: %d" % limit)
    delta = int(target.session(name, "req_lim_delta"))
    expect(0 <= delta <= 128 * channels, "req_lim_delta: %d" % delta)
    vectors = target.session(name, "comp_vector").split()
    expect(len(vectors) == channels and all(0 <= int(vector) < 64 for vector in vectors),
           "comp_vector: %s" % vectors)


def written_kb(target):
    return sum(int(target.session(name, "write_io_count_kb"))
               for name in target.sessions())


@pytest.mark.timeout(150)
@pytest.mark.stock("each channel is a session there")
def test_sessions(bench):
    """two channels share one session, which has the initiator's name: its files,
    its name after the next login, one channel that goes"""
    target, initiator = bench.target, bench.initiator
    name = initiator.guest.ip
    with bench.session("max_sect=8192,ch_count=2") as disk:
        equal(target.sessions(), [name], "sessions")
        look_at_session(bench, name, 2)
        limit = int(target.session(name, "req_lim"))
        # Another initiator at the same address is another session.
        with bench.peer(extension=9) as other:
            other.login()
            other.settle()
            equal(sorted(target.sessions()), [name, name + "_1"], "with another one")
            look_at_session(bench, name + "_1", 1)
            # A second channel of it joins, and the first one goes.
            with bench.peer(extension=9) as second:
                second.login(flags=peer.LOSOLNT | peer.MULTI)
                look_at_session(bench, name + "_1", 2)
                other.order("disconnect")
                until(lambda: target.queue_pairs() == 3, 30, "one channel is gone")
                look_at_session(bench, name + "_1", 1)
                answer = second.ask(peer.cmd(1, peer.inquiry(), data_in=second.at(0, 36)))
                equal((answer.tag, answer.status), (1, 0), "answer on the other")
                second.order("disconnect")
            until(lambda: target.sessions() == [name], 30, "its session is gone")
        equal(int(target.session(name, "req_lim")), limit, "req_lim of the first")
        initiator.fio(disk, "1m")
        expect(written_kb(target) >= 1024, "kilobytes written")
    with bench.session("max_sect=8192,ch_count=1"):
        equal(target.sessions(), [name], "a name is free again")


@pytest.mark.timeout(120)
def test_session_per_channel(bench):
    """session_per_channel: each channel is a session, as with SCST's driver"""
    target = bench.target
    params = "session_per_channel=Y" if target.variant == "rust" else ""
    with bench.session("max_sect=8192,ch_count=2", target_params=params) as disk:
        names = sorted(target.sessions())
        equal(len(names), 2, "sessions: %s" % names)
        if target.variant == "rust":
            equal(names[0], bench.initiator.guest.ip, "name of the first session")
        # SCST makes the second name different.
        expect(names[1].startswith(names[0] + "_"), "names: %s" % names)
        for name in names:
            look_at_session(bench, name, 1)
        bench.initiator.fio(disk, "1m")
        expect(written_kb(target) >= 1024, "kilobytes written")
    # A name is free again when its session has ended.
    with bench.session("max_sect=8192,ch_count=1", target_params=params):
        equal(target.sessions(), names[:1], "sessions")


@pytest.mark.timeout(180)
def test_stays_readable(bench):
    """attributes are read all the time while channels come and go"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        job = target.spawn("while true; do cat %s/sessions/*/* "
                           "%s/* >/dev/null 2>&1; done"
                           % (target.directory, target.directory), 170)
        for _ in range(6):
            initiator.login("max_sect=8192,ch_count=2")
            initiator.logout(unload=False)
            target.wait_for_connections(0)
        equal(job.poll(), None, "status of the reader")
        job.kill()
        job.wait(check=False)
        initiator.logout()


# --- who gets what --------------------------------------------------------

@pytest.mark.timeout(150)
def test_groups(bench):
    """ini_groups: an initiator that is named gets its group's disks, others
    the target's"""
    target, initiator = bench.target, bench.initiator
    here = target.directory
    # What stands for this initiator: its address, or the C driver's idea.
    name = initiator.guest.ip if target.variant == "rust" \
        else target.guest.ip
    patterns = (name, name[:-1] + "?", "10.9.*", "!192.168.1.1")

    with bench.configured(megabytes=64):
        target.shell("disk small 32\n"
                     "put 'create some' %s/ini_groups/mgmt\n"
                     "put 'add small 0' %s/ini_groups/some/luns/mgmt"
                     % (here, here))
        names = here + "/ini_groups/some/initiators/mgmt"
        disk, = initiator.login()
        equal(initiator.megabytes(disk), 64, "disk of everybody")
        initiator.logout(unload=False)
        target.wait_for_connections(0)
        for pattern in patterns:
            target.must("add " + pattern, names)
            disk, = initiator.login()
            equal(initiator.megabytes(disk), 32, "disk through " + pattern)
            initiator.logout(unload=False)
            target.wait_for_connections(0)
            target.must("del " + pattern, names)
        target.must("add 10.9.0.77", names)
        disk, = initiator.login()
        equal(initiator.megabytes(disk), 64, "disk when others are named")
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(240)
def test_handlers(bench):
    """vdisk_blockio and vdisk_fileio verify, vdisk_nullio takes everything"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        target.shell("modprobe brd rd_nr=1 rd_size=32768\n"
                     "put 'add_device block filename=/dev/ram0' "
                     "handlers/vdisk_blockio/mgmt\n"
                     "put 'add_device none size_mb=32' "
                     "handlers/vdisk_nullio/mgmt\n"
                     "put 'add block 1' %s/luns/mgmt\n"
                     "put 'add none 2' %s/luns/mgmt"
                     % (target.directory, target.directory))
        file, block, none = initiator.login(disks=3)
        initiator.fio_mix(file)
        initiator.fio(block, "4m", "64k", 8)
        initiator.fio(block, "1m", "4k", 16)
        initiator.run("dd if=/dev/zero of=%s bs=64k count=64 oflag=direct; "
                      "dd if=%s of=/dev/null bs=64k count=64 iflag=direct"
                      % (none, none))
        initiator.logout()
        target.wait_for_connections(0)
    target.run("rmmod brd")


# --- events ---------------------------------------------------------------

@contextlib.contextmanager
def logged_in(bench, **fields):
    with bench.configured(), bench.peer() as one:
        one.login(**fields)
        one.settle()
        yield one
        if one.job.poll() is None:
            one.order("disconnect")
        bench.target.wait_for_connections(0)


@pytest.mark.timeout(90)
@pytest.mark.stock("it reports unit attentions only")
def test_events(bench):
    """a disk is added and removed: SRP_AER_REQ, and a unit attention"""
    target = bench.target
    luns = target.directory + "/luns/mgmt"
    with logged_in(bench, flags=peer.AESOLNT) as one:
        target.shell("disk more 8\nput 'add more 7' " + luns)
        event = one.receive()
        expect(isinstance(event, bytes) and event[0] == peer.AER_REQ,
               "an event: %s" % (event,))
        equal((event[36] & 0x7f, event[38], event[48], event[49]),
              (0x70,) + LUNS_CHANGED, "REPORTED LUNS DATA HAS CHANGED")
        # The next one waits for the answer to the first.
        target.must("del 7", luns)
        equal(one.receive(2), "timeout", "before the answer")
        one.send(peer.answer_to(event))
        event = one.receive()
        expect(isinstance(event, bytes) and event[0] == peer.AER_REQ,
               "the other event: %s" % (event,))
        one.send(peer.answer_to(event))
        # Who does not listen finds a unit attention as well.
        answer = one.ask(peer.cmd(1, [peer.TEST_UNIT_READY]))
        equal((answer.status, answer.sense[2] & 15, answer.sense[12],
               answer.sense[13]), (2,) + LUNS_CHANGED, "unit attention")


# --- reservations ---------------------------------------------------------

# PERSISTENT RESERVE OUT: Write Exclusive, Exclusive Access, the same for registrants
# only, and for all registrants.
TYPES = (1, 3, 5, 6, 7, 8)


@pytest.mark.timeout(150)
@pytest.mark.stock("SCST ties a registration to one of its sessions, which are channels there")
def test_reservations(bench):
    """persistent reservations of ib_srp with a channel for each CPU: each type,
    asked for and used through both; the TransportID names the initiator port"""
    target, initiator = bench.target, bench.initiator

    def on(cpu, *words):
        initiator.run(["taskset", "-c", str(cpu), *words])

    def reserve(cpu, *words):
        on(cpu, "sg_persist", "--out", "--param-rk=123abc", *words, disk)

    with bench.two_cpus(), bench.session("max_sect=8192,ch_count=2") as disk:
        equal((target.queue_pairs(), len(target.sessions())), (2, 1), "channels, sessions")
        on(0, "sg_persist", "--out", "--register", "--param-sark=123abc", disk)
        for kind in TYPES:
            reserve(1, "--reserve", "--prout-type=%d" % kind)
            for cpu in (0, 1):
                on(cpu, "dd", "if=/dev/zero", "of=" + disk, "bs=4k", "count=4",
                   "oflag=direct")
            reserve(0, "--release", "--prout-type=%d" % kind)
        contains(initiator.full_status(disk), "04" + "00" * 7 +
                 initiator.port_id[2:], "full status")
        reserve(1, "--clear")
