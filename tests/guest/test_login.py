# SPDX-License-Identifier: GPL-2.0
#
# Logins that succeed, and data that is right: IPv4, IPv6, several channels,
# immediate data, many descriptors, a second login of the same initiator.
#
# Not here: who is let in (test_acl.py), refusals (test_reject.py), trouble
# (test_load.py, test_faults.py).

import contextlib

import pytest

from . import peer
from .checks import contains, equal, expect, until
from .initiator import TOOLS
from .test_reject import RESOURCES, TAG
from .test_rogue import works
from .usage import free_kib

# Where an SRP_LOGIN_RSP says what became of older channels.
NO_CHANNEL, TERMINATED, MAINTAINED = 0, 1, 2

COUNTED = "packets of InfiniBand or RoCE are counted"


@pytest.mark.timeout(240)
def test_ipv4(bench):
    """log in over IPv4, verify data of all sizes, log out"""
    with bench.session() as disk:
        expect(bench.target.connections() >= 1, "the target has a connection")
        equal(bench.initiator.port_state(), ["running"], "remote ports")
        bench.initiator.fio_mix(disk)


@pytest.mark.timeout(120)
@pytest.mark.ip("it is about addresses of IP")
def test_ipv6(bench):
    """log in over IPv6, to [address]:port, and verify data"""
    with bench.configured():
        disk, = bench.initiator.login(dest=bench.target.guest.ip6)
        out = bench.target.run("rdma resource show cm_id").out
        expect("fd09::1" in out and "CONNECT" in out,
               "the connection is an IPv6 one:\n" + out)
        bench.initiator.fio(disk, "4m", "64k", 8)
        bench.initiator.logout()
        bench.target.wait_for_connections(0)


@pytest.mark.timeout(90)
@pytest.mark.stock("it listens for IPv6 only then")
@pytest.mark.ip("it is about addresses of IP")
def test_bindv6only(bench):
    """net.ipv6.bindv6only, which is about sockets, does not keep IPv4 away"""
    target = bench.target
    setting = "echo %d > /proc/sys/net/ipv6/bindv6only"
    target.run(setting % 1)
    try:
        for dest in (target.guest.ip, target.guest.ip6):
            with bench.configured():
                disk, = bench.initiator.login(dest=dest)
                bench.initiator.fio(disk, "1m", "64k", 8)
                bench.initiator.logout()
                target.wait_for_connections(0)
    finally:
        target.run(setting % 0)


@pytest.mark.timeout(150)
def test_again_and_again(bench):
    """10 logins and logouts leave no queue pair behind"""
    initiator = bench.initiator
    with bench.configured():
        for _ in range(10):
            initiator.login()
            expect(bench.target.queue_pairs() >= 1, "there is a queue pair")
            initiator.logout(unload=False)
            bench.target.wait_for_connections(0)
        initiator.logout()


@pytest.mark.timeout(90)
def test_kernel_log(bench):
    """the target's log tells of a login, who it was, and of its end"""
    target, initiator = bench.target, bench.initiator
    word = "login of" if target.variant == "rust" else "SRP_LOGIN_REQ"
    mark = target.mark()
    with bench.session("max_sect=8192,ch_count=2"):
        pass
    log = target.log_since(mark)
    lines = [x for x in log.splitlines() if word in x]
    equal(len(lines), 2, "number of logins in the log:\n" + log)
    who = initiator.port_id[2:]
    text = log.replace(":", "")
    expect(who in text, "the log names the initiator port:\n" + log)
    if target.variant == "rust":
        expect(initiator.peer_name in log, "the log names the address")
        expect("clos" in log, "the log tells of the end:\n" + log)


@pytest.mark.timeout(150)
def test_channels(bench):
    """2 and 4 channels; I/O from either CPU uses them"""
    target, initiator = bench.target, bench.initiator
    for count in (2, 4):
        with bench.two_cpus(), \
                bench.session("max_sect=8192,ch_count=%d" % count) as disk:
            host, = initiator.hosts()
            shown = initiator.run("cat /sys/class/scsi_host/host%d/ch_count"
                                  % host).out
            equal(int(shown), count, "channels of the initiator")
            equal(target.connections(), count, "channels of the target")
            queues = initiator.run("ls /sys/block/%s/mq | wc -l"
                                   % disk[5:]).out
            expect(int(queues) >= 2, "hardware queues: " + queues)
            for cpu in (0, 1):
                initiator.fio(disk, "1m", "4k", 8,
                              more=["--cpus_allowed=%d" % cpu])


@pytest.mark.timeout(120)
@pytest.mark.no_iwarp(COUNTED)
def test_immediate_data(bench):
    """with immediate data, small writes need no RDMA READ; without, each
    does"""
    initiator = bench.initiator
    writes = 64
    for use in ("Y", "N"):
        with bench.session(params="use_imm_data=" + use) as disk:
            # Neighbours are not to become one request.
            initiator.quick("echo 2 > /sys/block/%s/queue/nomerges" % disk[5:])
            with initiator.wire() as small:
                initiator.fio(disk, writes * 4096, 4096, 4)
            with initiator.wire() as large:
                initiator.fio(disk, writes * 16384, 16384, 4)
        if use == "Y":
            equal(small["read request"], 0, "READs for small writes")
        else:
            expect(small["read request"] >= writes,
                   "each small write is fetched: %s" % small)
        expect(large["read request"] >= writes,
               "each large write is fetched: %s" % large)
        expect(small["write"] >= writes and large["write"] >= writes,
               "each read is an RDMA WRITE: %s %s" % (small, large))


@pytest.mark.timeout(180)
@pytest.mark.no_iwarp(COUNTED)
def test_many_descriptors(bench):
    """255 memory descriptors in one command, in both directions"""
    initiator = bench.initiator
    pages, requests = 255, 6
    with bench.session("max_sect=8192,cmd_sg_entries=255",
                       params="never_register=Y") as disk:
        queue = "/sys/block/%s/queue/" % disk[5:]
        initiator.run("echo 4096 > %smax_sectors_kb; cat %smax_segments"
                      % (queue, queue))
        # Between pages that are not neighbours, nothing can be merged; now
        # and then, two of them are by chance.
        wanted = pages * requests * 99 // 100
        with initiator.wire() as counts:
            initiator.run([TOOLS + "/scatter.py", disk, str(pages),
                           str(requests)], timeout=120)
        expect(counts["read request"] >= wanted,
               "every descriptor is read by itself: %s" % counts)
        expect(counts["write"] >= wanted,
               "every descriptor is written by itself: %s" % counts)
        expect(counts["send"] < wanted,
               "the requests were not split: %s" % counts)


@pytest.mark.timeout(90)
def test_small_information_units(bench):
    """a target with the smallest srp_max_req_size works with an initiator
    that is told"""
    with bench.session("max_it_iu_size=996", params="cmd_sg_entries=32",
                       target_params="srp_max_req_size=996") as disk:
        bench.initiator.fio(disk, "4m", "64k", 8)
        bench.initiator.fio(disk, "256k", "512", 8)


@pytest.mark.timeout(120)
@pytest.mark.stock("it drops responses when its send queue is full")
def test_small_responses(bench):
    """the smallest response buffers and send queue still carry everything"""
    target = bench.target
    with bench.configured(attributes={"srp_max_rsp_size": 40,
                                      "srp_sq_size": 16}):
        disk, = bench.initiator.login()
        bench.initiator.fio(disk, "4m", "64k", 32)
        bench.initiator.fio(disk, "1m", "4k", 32)
        bench.initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
@pytest.mark.stock("in SRQ mode it warns and frees what is in use")
def test_shared_receive_queue(bench):
    """with use_srq=1, channels share receive buffers, and data is right"""
    target = bench.target
    with bench.configured(params="srpt_srq_size=256",
                          attributes={"use_srq": 1}):
        disk, = bench.initiator.login("ch_count=2,max_sect=8192")
        out = target.run("rdma resource show srq").out
        expect("srqn" in out, "there is a shared receive queue: " + out)
        bench.initiator.fio(disk, "1m", "4k", 32)
        bench.initiator.fio(disk, "4m", "64k", 16)
        bench.initiator.logout()
        target.wait_for_connections(0)


# What a channel of the C driver takes of the target's memory with its defaults and
# rxe, in KiB, seen with this very test; a quarter of it is the limit.
OF_THE_C_DRIVER = 10859
CHANNELS = 16


@pytest.mark.timeout(120)
@pytest.mark.stock("it is what is compared with")
@pytest.mark.unsanitized("that kernel takes more memory for each allocation")
@pytest.mark.no_iwarp("memory regions of siw take most of it, with either driver")
def test_memory_of_channels(bench):
    """an idle channel with immediate data takes a quarter of the memory that the C
    driver takes for one, and gives it back"""
    target = bench.target

    def login(one):
        one.login(iu_len=8260, imm_offset=68, flags=peer.IMMEDIATE | peer.MULTI)

    with bench.configured(acls=[]), contextlib.ExitStack() as stack:
        first, *others = [stack.enter_context(bench.peer())
                          for _ in range(CHANNELS + 1)]
        target.add_acl(first.port_id)
        login(first)
        before = free_kib(target)
        for one in others:
            login(one)
        each = (before - free_kib(target)) // CHANNELS
        bench.say("a channel takes %d KiB" % each)
        expect(0 < each <= OF_THE_C_DRIVER // 4, "%d KiB per channel" % each)
        for one in others:
            one.order("disconnect")
        target.wait_for_connections(1)
        # What is freed goes through lists of the kernel's.
        until(lambda: (before - free_kib(target)) // CHANNELS < each // 10, 30,
              "the memory is back: %d KiB of a channel are kept"
              % ((before - free_kib(target)) // CHANNELS))


@pytest.mark.timeout(60)
@pytest.mark.stock("its queues are those of the RDMA core's pool, which keeps them")
def test_queues_are_given_back(bench):
    """a session has completion queues of its own, which go with it"""
    target = bench.target

    def queues():
        return len(target.run("rdma resource show cq").out.splitlines())
    target.load()
    before = queues()
    with bench.session("ch_count=2"):
        expect(queues() >= before + 1,
               "there are more queues than %d: %d" % (before, queues()))
    target.load()
    until(lambda: queues() == before, 10, "as many queues as before")
    target.unload()


@pytest.mark.timeout(120)
def test_several_disks(bench):
    """four logical units in one login, all used at the same time"""
    with bench.session(disks=4, megabytes=8) as disks:
        jobs = [bench.initiator.spawn(["fio"] + bench.initiator.fio_words(
            disk, "2m", "4k", 8, "randwrite"), timeout=90) for disk in disks]
        for job in jobs:
            bench.initiator.finish(job)
        vendor = bench.target.vendor.decode()
        luns = bench.initiator.run("lsscsi -g | grep -c " + vendor).out
        equal(int(luns), 4, "logical units that call themselves " + vendor)


@pytest.mark.timeout(90)
def test_login_response(bench):
    """SRP_LOGIN_RSP, byte by byte"""
    with bench.configured(acls=[]) as target, bench.peer() as one:
        target.add_acl(one.port_id)
        data = one.login(tag=0xfeedfacecafebeef, iu_len=500)
        equal(data[0], peer.LOGIN_RSP, "opcode")
        equal(data[8:16].hex(), "feedfacecafebeef", "tag")
        credits = int.from_bytes(data[4:8], "big")
        expect(1 <= credits <= 128, "request limit %d" % credits)
        equal(int.from_bytes(data[16:20], "big"), 8276, "max_it_iu_len")
        longest = int.from_bytes(data[20:24], "big")
        if target.variant == "rust":
            equal(longest, 256, "max_ti_iu_len")
        equal(int.from_bytes(data[24:26], "big"), 6, "buf_fmt")
        equal(data[26], NO_CHANNEL, "flags: no older channel, no immediate "
              "data")
        equal((data[1:4], data[27:]), (bytes(3), bytes(25)), "reserved bytes")
        one.order("disconnect")
        target.wait_for_connections(0)


@pytest.mark.timeout(90)
def test_multichannel_result(bench):
    """what becomes of older channels is done, and said in the response"""
    with bench.configured(acls=[]) as target, bench.peer() as one, \
            bench.peer() as two, bench.peer() as three:
        target.add_acl(one.port_id)
        equal(one.login()[26], NO_CHANNEL, "result of the first login")
        equal(two.login(flags=1)[26], MAINTAINED, "result of a second channel")
        equal(target.connections(), 2, "connections")
        equal(three.login()[26], TERMINATED, "result of a new login")
        heard = (one.ended(), two.ended())
        if target.variant == "rust":
            equal(heard, (peer.MULTI_CHANNEL,) * 2,
                  "what the old channels hear")
        target.wait_for_connections(1)
        answer = three.ask(peer.cmd(7, [peer.TEST_UNIT_READY]))
        expect(answer.tag == 7, "the new channel works: %s" % answer)
        three.order("disconnect")
        target.wait_for_connections(0)


@pytest.mark.timeout(150)
def test_same_identity(bench):
    """a login with the identity of a session replaces it; the initiator's
    reconnect replaces the newcomer in turn"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk, bench.peer(extension=0) as thief:
        equal(thief.port_id, initiator.port_id, "identity")
        initiator.patient()
        equal(thief.login()[26], TERMINATED, "result of the login")
        heard = thief.ended(30)
        if target.variant == "rust":
            equal(heard, peer.MULTI_CHANNEL, "what the newcomer hears when "
                  "ib_srp reconnects")
        until(lambda: initiator.port_state() == ["running"], 30,
              "the initiator is back")
        initiator.fio(disk, "1m")


def refused_by(target, one, bound, **fields):
    """The login of this peer is refused, and the log names the bound."""
    mark = target.mark()
    word, _, data = one.connect(one.request(tag=TAG, **fields))
    equal((word, data[:32].hex()), (
        "rejected", peer.login_rej(TAG, RESOURCES).hex()), "answer to the login")
    contains(target.log_since(mark), bound, "the kernel log")


@pytest.mark.timeout(120)
@pytest.mark.stock("it has no bounds")
def test_bounds(bench):
    """a login beyond a bound is refused and the log names the bound; a login that
    ends the channels of its initiator is not, and others are let in"""
    target = bench.target
    params = ("max_channels_per_nexus=2 max_channels_per_entry=0 "
              "max_channels_per_port=5")
    with bench.configured(acls=[], params=params), contextlib.ExitStack() as stack:
        def peers(count, extension):
            found = [stack.enter_context(bench.peer(extension=extension))
                     for _ in range(count)]
            if target.engine == "lio" and extension not in named:
                target.add_acl(found[0].port_id)
                named.add(extension)
            return found

        named = set()

        first = peers(3, 1)
        for one in first[:2]:
            one.login(flags=peer.MULTI)
        refused_by(target, first[2], "max_channels_per_nexus", flags=peer.MULTI)
        # It takes the place of the two.
        again, = peers(1, 1)
        again.login()
        works(again)
        target.wait_for_connections(1)
        for extension in (2, 3):
            for one in peers(2, extension):
                one.login(flags=peer.MULTI)
                works(one)
        refused_by(target, *peers(1, 4), "max_channels_per_port", flags=peer.MULTI)
        again.order("disconnect")
        target.wait_for_connections(4)
        last, = peers(1, 4)
        last.login()
        works(last)


@pytest.mark.engine("lio")
@pytest.mark.stock("it has no bounds")
@pytest.mark.ip("it is about addresses of IP")
def test_bound_of_an_entry(bench):
    """an entry that lets in several initiators has so many channels, theirs together"""
    target, guest = bench.target, bench.initiator.guest
    with bench.configured(acls=[guest.ip], params="max_channels_per_entry=2"), \
            contextlib.ExitStack() as stack:
        peers = [stack.enter_context(bench.peer(extension=n)) for n in (1, 2, 3)]
        for one in peers[:2]:
            one.login()
            works(one)
        refused_by(target, peers[2], "max_channels_per_entry")
        # One that takes the place of its own channel is let in.
        again = stack.enter_context(bench.peer(extension=1))
        again.login()
        works(again)


@pytest.mark.stock("it has one listener for both")
@pytest.mark.ip("it is about addresses of IP")
def test_port_taken_in_one_family(bench):
    """a port number that another program has for IPv4 serves logins over IPv6, and
    the log says so; when that has gone and the number is written again, both"""
    target, initiator = bench.target, bench.initiator
    with bench.configured([initiator.port_id]):
        other = target.spawn("rping -s -a 0.0.0.0 -p 7001", timeout=90)
        until(lambda: ":7001 " in target.run("rdma resource show cm_id").out, 20,
              "rping listens")
        mark = target.mark()
        equal(target.listen(7001), "", "error of the change")
        contains(target.log_since(mark), "no RDMA/CM logins over IPv4: ", "the log")
        initiator.login(dest=target.guest.ip6, port=7001)
        initiator.logout()
        other.kill()
        other.wait(check=False)
        equal(target.listen(7001), "", "error of writing the number again")
        initiator.login(dest=target.guest.ip, port=7001)
        initiator.logout()


@pytest.mark.engine("lio")
@pytest.mark.roce("iWARP: the same; InfiniBand: opensm finds no path to such a node")
def test_without_node_guid(bench):
    """an HCA whose node GUID is zero serves the service GUID 0"""
    target, initiator = bench.target, bench.initiator
    with bench.target_module("odd_hca", "no_guid=1"), bench.configured():
        initiator.login(guid="0" * 16)
        initiator.logout()
        target.wait_for_connections(0)
