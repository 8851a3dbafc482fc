# SPDX-License-Identifier: GPL-2.0
#
# Device management: what srp_daemon asks a port to find targets. Datagrams of
# our own: over InfiniBand to a LID, as srp_daemon's; over RoCE, which srp_daemon itself
# refuses, with a global route header.
#
# The header and layout of every attribute, byte by byte, are also a matter of
# the host tests; here, that the agent is there when it should be, says what is
# configured, and goes away cleanly.

import pytest

from .checks import contains, equal, expect, sit_through, until
from .dm import (CLASS_PORT_INFO, GET_RESP, IO_UNIT_INFO,
                 IOC_PROFILE, SERVICE_ENTRIES, SET, Answer, Asker,
                 daemon_scan, is_announced, number)
from .target import PARAMETERS

pytestmark = pytest.mark.no_iwarp("it has no device management")

# "The attribute is not supported": also what the kernel itself answers to a
# request that no agent takes.
UNSUPPORTED = 0x000c
INVALID, NO_IOC, NO_SERVICE = 0x001c, 0x0100, 0x0200

EVERYTHING = ("class-port-info", "io-unit-info", "ioc-profile:1",
              "services:1:0:0")


def padded(data):
    return data + bytes(192 - len(data))


@pytest.mark.timeout(120)
def test_discovery(bench):
    """srp_daemon's way from a port to a target; what it finds logs in"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        asker = Asker(bench)
        found = daemon_scan(asker.get, asker.gid)
        guid = target.service_guid
        line = ("id_ext=%s,ioc_guid=%s,dgid=%s,pkey=ffff,service_id=%s"
                % (guid, guid, asker.gid, guid))
        equal([text for text, _ in found], [line], "lines for add_target")
        _, shown = found[0]
        equal(shown["id"], target.identification, "identification")
        equal((shown["slot"], shown["slots"]), (1, 16), "slot and slots")
        equal(shown["largest message"], 8276, "largest message")
        equal(shown["change id"], 1, "change id")
        # The same names over the connection manager that is there.
        words = dict(word.split("=") for word in line.split(","))
        equal(words["id_ext"], words["ioc_guid"], "id_ext")
        disk, = initiator.login(guid=words["ioc_guid"])
        initiator.fio(disk, "256k")
        # The agent answers while sessions live.
        equal(asker.status(*EVERYTHING), [0] * 4, "statuses")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")


@pytest.mark.timeout(90)
@pytest.mark.stock("it puts the vendor id into the wrong three bytes, and "
                   "reflects parts of the request")
def test_attributes(bench):
    """every attribute, byte by byte; nothing of the request comes back"""
    target = bench.target
    target.load()
    asker = Asker(bench)
    # Everything but the header that has a meaning is full of rubbish. (The
    # kernel numbers transactions itself.)
    rubbish = b"\xee" * 256

    def ask(attribute, modifier):
        mad = bytearray(rubbish)
        mad[:4] = 1, 6, 1, 1
        mad[4:6] = bytes(2)
        mad[16:18] = attribute.to_bytes(2, "big")
        mad[20:24] = modifier.to_bytes(4, "big")
        answer, = asker.ask("raw:" + mad.hex())
        expect(isinstance(answer, Answer), "an answer: %s" % (answer,))
        equal(answer.bytes[:4], bytes((1, 6, 1, GET_RESP)), "first bytes")
        equal(answer.status, 0, "status of attribute %#x" % attribute)
        equal((answer.attribute, answer.modifier), (attribute, modifier),
              "attribute and modifier")
        equal(answer.bytes[6:8] + answer.bytes[18:20] + answer.header,
              bytes(2 + 2 + 40), "reserved fields")
        return answer.data

    guid = bytes.fromhex(target.service_guid)
    device = "/sys/class/infiniband/rxe0/"
    vendor = int(target.run("cat %s/device/vendor 2>/dev/null || "
                            "ibv_devinfo -v -d rxe0 | awk '/vendor_id:/ "
                            "{print $2}'" % device).out, 0)
    part, version = (int(target.run(
        "ibv_devinfo -v -d rxe0 | awk '/%s:/ {print $2}'" % name).out, 0)
        for name in ("vendor_part_id", "hw_ver"))
    equal(ask(CLASS_PORT_INFO, 0), padded(bytes((1, 1, 0, 0, 0, 0, 0, 20))),
          "ClassPortInfo")
    equal(ask(IO_UNIT_INFO, 0),
          padded(b"\0\1\x10\0" + b"\x10" + bytes(7) + b"\xff" * 120),
          "IOUnitInfo")
    vendors = ((vendor & 0xffffff) << 8).to_bytes(4, "big")
    profile = (guid + vendors + part.to_bytes(4, "big") +
               (version & 0xffff).to_bytes(2, "big") + bytes(2) +
               vendors + bytes(4) +
               bytes.fromhex("0100 609e 0108 0001") + bytes(4) +
               (128).to_bytes(2, "big") + bytes((0, 4)) +
               (8276).to_bytes(4, "big") + (65536).to_bytes(4, "big") +
               bytes((0x2b, 0, 1)) + bytes(9) + target.identification.encode())
    equal(ask(IOC_PROFILE, 1), padded(profile), "IOControllerProfile")
    service = b"SRP.T10:" + guid.hex().encode() + bytes(16) + guid
    for modifier in (0x10000, 0x10100, 0x10300):
        equal(ask(SERVICE_ENTRIES, modifier), padded(service),
              "ServiceEntries")
    target.unload()


@pytest.mark.timeout(90)
@pytest.mark.stock("it answers for slot 2, and 'no controller' where the "
                   "range of services is wrong")
def test_errors(bench):
    """unknown attributes and methods, slots and ranges that are not there"""
    target = bench.target
    target.load()
    asker = Asker(bench)
    wanted = {}
    for slot in (2, 3, 16):
        wanted["ioc-profile:%x" % slot] = NO_IOC
        wanted["services:%x:0:0" % slot] = NO_IOC
    for slot in (0, 17, 0xff, 0x101, 0xffff):
        wanted["ioc-profile:%x" % slot] = INVALID
        wanted["services:%x:0:0" % slot] = INVALID
    wanted["ioc-profile:10001"] = wanted["ioc-profile:ffffffff"] = INVALID
    for first, last in ((1, 0), (0, 4), (0, 255), (255, 0), (252, 0)):
        wanted["services:1:%x:%x" % (first, last)] = INVALID
    for first, last in ((1, 1), (1, 4), (255, 255), (252, 255)):
        wanted["services:1:%x:%x" % (first, last)] = NO_SERVICE
    for attribute in (0, 2, 0x0f, 0x13, 0x20, 0x21, 0x22, 0x23, 0x24, 0xffff):
        wanted["mad:1:%x:0" % attribute] = UNSUPPORTED
        wanted["mad:2:%x:0" % attribute] = UNSUPPORTED
    for attribute in (CLASS_PORT_INFO, IO_UNIT_INFO, IOC_PROFILE,
                      SERVICE_ENTRIES):
        wanted["mad:%x:%x:1" % (SET, attribute)] = UNSUPPORTED
    questions = list(wanted)
    for question, answer in zip(questions, asker.ask(*questions)):
        expect(isinstance(answer, Answer), "%s is answered" % question)
        equal((answer.method, answer.status), (GET_RESP, wanted[question]),
              "method and status of the answer to " + question)
        equal(answer.data, bytes(192), "attribute in the answer to " + question)
    # Methods without an answer, and those of nobody.
    for method in (3, 5, 7, 0x12, 0x15):
        answer, = asker.ask("mad:%x:%x:0" % (method, IO_UNIT_INFO),
                            timeout=200, retries=1)
        equal(answer, "timeout", "answer to method %#x" % method)
    target.unload()


@pytest.mark.timeout(90)
def test_errors_in_common(bench):
    """the errors on which both drivers agree"""
    target = bench.target
    target.load()
    asker = Asker(bench)
    equal(asker.status("ioc-profile:0", "ioc-profile:11", "ioc-profile:3",
                       "ioc-profile:10", "services:0:0:0", "services:11:0:0",
                       "services:3:0:0", "mad:1:13:0", "mad:2:1:0"),
          [INVALID, INVALID, NO_IOC, NO_IOC, INVALID, INVALID, NO_IOC,
           UNSUPPORTED, UNSUPPORTED], "statuses")
    target.unload()


@pytest.mark.timeout(90)
@pytest.mark.stock("it tries once")
def test_announced_later(bench):
    """a port that cannot be changed for a while is announced when something about
    it changes"""
    target = bench.target
    fixed = "echo %s > /sys/module/stuck/parameters/fixed"
    with bench.target_module("stuck"):
        target.run(fixed % "Y")
        with bench.configured():
            contains(target.run("dmesg").out, "not announced, initiators cannot "
                     "discover it", "the kernel log")
            equal(is_announced(target), False, "announcement")
            target.run(fixed % "N")
            target.run("ip link set eth0 down && ip link set eth0 up")
            until(lambda: is_announced(target), 15, "announced after the event")


@pytest.mark.timeout(90)
def test_presence(bench):
    """the agent answers from load to unload, whether or not the target is
    configured or enabled; the port says so while it lets initiators in"""
    target = bench.target

    def announced():
        return is_announced(target)

    asker = Asker(bench)

    def answers(what, enabled=False):
        equal(asker.status(*EVERYTHING), [0] * 4, "statuses, " + what)
        # An initiator that is told of a target and is refused may not ask again.
        equal(announced(), enabled or target.variant == "stock",
              "announcement, " + what)

    for _ in range(2):
        # What the kernel says for a class without an agent.
        equal(asker.status("io-unit-info"), [UNSUPPORTED],
              "status without the module")
        equal(announced(), False, "announcement without the module")
        target.load()
        answers("nothing configured")
        target.configure([bench.initiator.port_id], enable=False)
        answers("disabled")
        target.enable()
        answers("enabled", enabled=True)
        if target.engine == "lio":
            # Entries that come and go are noticed by the look every five seconds.
            target.remove_acl(bench.initiator.port_id)
            until(lambda: announced() == (target.variant == "stock"), 15,
                  "withdrawn without an entry")
            target.add_acl(bench.initiator.port_id)
            until(announced, 15, "announced with an entry again")
        target.enable(False)
        answers("disabled again")
        target.unconfigure()


@pytest.mark.timeout(90)
@pytest.mark.engine("lio")
def test_follows_configuration(bench):
    """the profile says what parameters and attributes say"""
    target = bench.target
    guid = "0x0123456789abcdef"
    target.load("srp_max_req_size=2132 srpt_service_guid=" + guid)
    equal(target.read(PARAMETERS + "/srpt_service_guid"), guid,
          "srpt_service_guid")
    target.run("mkdir -p " + target.tpg())
    asker = Asker(bench)
    (line, _), = daemon_scan(asker.get, asker.gid)
    equal(line, "id_ext=%s,ioc_guid=%s,dgid=%s,pkey=ffff,service_id=%s,"
          "max_it_iu_size=2132" % (guid[2:], guid[2:], asker.gid, guid[2:]),
          "line for add_target")
    for size in (65536, 1 << 20, 1 << 24):
        target.write(target.tpg() + "/attrib/srp_max_rdma_size", size)
        equal(number(asker.get(IOC_PROFILE, 1).data, 48, 4), size,
              "largest transfer")
    target.unconfigure()


@pytest.mark.timeout(180)
def test_unload_under_questions(bench):
    """load and unload while questions keep coming"""
    target = bench.target
    asker = Asker(bench)
    target.load()
    job = asker.keep_asking(60, *EVERYTHING)
    for _ in range(5):
        target.unload()
        target.load()
        sit_through(0.2, "questions come meanwhile")
    expect(job.poll() is None, "it was being asked all the time")
    answers, timeouts, errors = asker.counts(job)
    # In between the kernel answers; what is being handled while the agent
    # goes is lost, and an impatient client may give up on a slow machine.
    expect(answers > 100 and timeouts < answers / 10 and not errors,
           "%d answers, %d timeouts, %d errors" % (answers, timeouts, errors))
    equal(asker.status(*EVERYTHING), [0] * 4, "statuses")
    target.unload()


@pytest.mark.timeout(180)
def test_hca_removed_under_questions(bench):
    """the HCA goes while questions keep coming; back again, it answers"""
    target = bench.target
    target.load()
    asker = Asker(bench)
    job = asker.keep_asking(60, *EVERYTHING)
    for _ in range(3):
        sit_through(0.5, "questions come meanwhile")
        target.remove_hca()
        target.add_hca()
    expect(job.poll() is None, "it was being asked all the time")
    answers, _, errors = asker.counts(job)
    expect(answers > 10 and not errors,
           "%d answers, %d errors" % (answers, errors))
    equal(asker.status(*EVERYTHING), [0] * 4, "statuses")
    target.unload()
