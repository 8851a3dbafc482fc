# SPDX-License-Identifier: GPL-2.0
#
# The module as such: what modinfo and sysfs say about it, its parameters, and
# that loading and unloading leaves nothing behind.
#
# Not here: the configfs tree (test_configfs.py).

import re

import pytest

from .checks import contains, equal, expect
from .lio import SRPT
from .target import CM_PORT, PARAMETERS
from .usage import growing, relevant, usage

CYCLES, BATCHES = 30, 3
# A leak of one object per cycle shows as 50 in every batch.
TOLERANCE = 25


def cycle(target, count):
    """Load and unload `count` times."""
    target.load()               # installs it the first time
    stock = target.variant == "stock" and target.engine == "lio"
    how = "--ignore-install" if stock else ""
    target.run("set -e\nrmmod ib_srpt\nfor i in $(seq %d); do "
               "modprobe %s ib_srpt; rmmod ib_srpt; done" % (count - 1, how),
               timeout=200)


@pytest.mark.timeout(300)
def test_load_unload(bench):
    """load and unload 3 times 30 times; no slab cache, no vmalloc area grows"""
    target = bench.target
    cycle(target, 5)
    usages = [usage(target)]
    for _ in range(BATCHES):
        cycle(target, CYCLES)
        usages.append(usage(target))
    first, last = usages[0], usages[-1]
    expect(sum(n.startswith("kmalloc") for n in relevant(last)) > 10,
           "the kmalloc caches are looked at")
    grown = growing(usages, TOLERANCE)
    expect(not grown, "nothing grows by more than %d in each %d cycles: %s"
           % (TOLERANCE, CYCLES, grown))
    equal(last["modules"], first["modules"], "number of modules")


@pytest.mark.timeout(90)
def test_unload_with_traces(bench):
    """after unloading, no memory of the module is left in vmallocinfo"""
    target = bench.target
    target.load()
    inside = target.run("grep -c '^ib_srpt ' /proc/modules").out.strip()
    equal(inside, "1", "lines of /proc/modules that begin with it")
    target.unload()
    out = target.run("grep -E 'srpt' /proc/vmallocinfo /proc/kallsyms "
                     "/proc/slabinfo | head -n 5; true").out
    equal(out, "", "what still names the module after unloading")


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.roce("the test of the package makes an HCA for RoCE")
@pytest.mark.stock("it is no package of ours")
def test_autopkgtest(bench):
    """the package's own test (debian/tests/login): target and initiator on one
    machine, which it leaves as it was"""
    target = bench.target
    target.load()
    out = target.run("sh /repo/scripts/deb/debian/tests/login", timeout=100).out
    contains(out, "8 MiB written to /dev/sd", "the test")
    equal(out.splitlines()[-1], "logged out and unloaded", "its last line")
    target.run("modprobe -r ib_srp")


@pytest.mark.timeout(60)
@pytest.mark.engine("lio")
@pytest.mark.stock("its version and description are its own")
def test_identity(bench):
    """modinfo and /sys/module say what this is"""
    target = bench.target
    target.load()
    info = {}
    for line in target.run("modinfo /lab/modules/ib_srpt.ko").out.splitlines():
        name, _, value = line.partition(":")
        info.setdefault(name, []).append(value.strip())
    source = (bench.repo / "src/modinfo.c").read_text()
    version = source.split('SRPT_VERSION "')[1].split('"')[0]
    equal(info["name"], ["ib_srpt"], "name")
    equal(info["version"], [version], "version")
    equal(info["license"], ["GPL"], "license")
    contains(info["description"][0], "Rust", "the description")
    contains(" ".join(info["softdep"]), "target_core_mod", "softdep")
    names = sorted(p.split(":")[0] for p in info["parm"])
    equal(names, ["ib_cm_on_roce", "max_channels_per_entry",
                  "max_channels_per_nexus", "max_channels_per_port",
                  "max_inline_data", "max_unconfirmed_logins", "rdma_cm_port",
                  "srp_max_req_size",
                  "srpt_service_guid", "srpt_srq_size", "target_requests"],
          "parameters")
    release = target.run("uname -r").out.strip()
    expect(info["vermagic"][0].startswith(release + " "),
           "it is built for this kernel: " + info["vermagic"][0])
    equal(target.read("/sys/module/ib_srpt/version"), version,
          "/sys/module/ib_srpt/version")
    target.run("mkdir %s" % SRPT)
    equal(target.read(SRPT + "/version"), version, "version in configfs")
    target.run("rmdir %s" % SRPT)
    taint = target.read("/sys/module/ib_srpt/taint")
    expect(set(taint) <= set("OE"), "no taint but out-of-tree and unsigned: "
           + taint)
    target.unload()


@pytest.mark.timeout(60)
@pytest.mark.engine("lio")
def test_parameters(bench):
    """names, modes, defaults and formats are those of the C driver"""
    target = bench.target
    target.load()
    wanted = {"srp_max_req_size": ("444", "8276"),
              "srpt_srq_size": ("444", "4095"),
              "srpt_service_guid": ("444", "0x0000000000000000")}
    if target.variant == "rust":
        wanted["rdma_cm_port"] = ("644", "0")
        wanted["ib_cm_on_roce"] = ("444", "N")
        wanted["target_requests"] = ("444", "1")
        wanted["max_channels_per_nexus"] = ("444", "256")
        wanted["max_channels_per_entry"] = ("444", "512")
        wanted["max_channels_per_port"] = ("444", "8192")
        wanted["max_unconfirmed_logins"] = ("444", "64")
        wanted["max_inline_data"] = ("444", "64")
    out = target.run("cd %s; for f in *; do echo $f $(stat -c %%a $f) "
                     "$(cat $f); done" % PARAMETERS).out
    found = {}
    for line in out.splitlines():
        name, mode, value = line.split()
        found[name] = (mode, value)
    # An HCA is there, so the GUID may already be its node GUID.
    guid = found.get("srpt_service_guid", ("", ""))
    if guid[1] == "0x" + target.guid:
        wanted["srpt_service_guid"] = ("444", guid[1])
    equal(found, wanted, "parameters")
    target.unload()
    target.load("srp_max_req_size=996 srpt_srq_size=4 "
                "srpt_service_guid=0x0002c90300a0b1c2")
    equal(target.parameter("srp_max_req_size"), "996", "srp_max_req_size")
    equal(target.parameter("srpt_srq_size"), "4", "srpt_srq_size")
    equal(target.parameter("srpt_service_guid"), "0x0002c90300a0b1c2",
          "srpt_service_guid")
    target.unload()
    target.load("srpt_service_guid=ABCDEF0123456789")
    equal(target.parameter("srpt_service_guid"), "0xabcdef0123456789",
          "srpt_service_guid without 0x, capital letters")
    target.unload()


@pytest.mark.timeout(90)
@pytest.mark.engine("lio")
def test_bad_parameters(bench):
    """a parameter outside its limits keeps the module from loading"""
    target = bench.target
    bad = ["srp_max_req_size=995", "srp_max_req_size=10",
           "srp_max_req_size=x", "srpt_srq_size=3", "srpt_srq_size=65536",
           "srpt_service_guid=xyz",
           "srpt_service_guid=0x112233445566778899"]
    if target.variant == "rust":
        bad += ["srp_max_req_size=-1", "rdma_cm_port=65536", "rdma_cm_port=-1", "rdma_cm_port=x",
                "ib_cm_on_roce=2", "target_requests=3"]
    for params in bad:
        done = target.load(params, check=False)
        expect(done.rc != 0, params + " is refused")
        wanted = ("Numerical result out of range",) \
            if "0x1122" in params or "65536" in params else ()
        expect(any(text in done.out for text in
                   ("Invalid argument", "Invalid parameters") + wanted),
               "%s is called invalid: %s" % (params, done.out.strip()))
        equal(target.run("ls /sys/module | grep -c '^ib_srpt$'",
                         check=False).out.strip(), "0", "modules loaded")


@pytest.mark.engine("lio")
def test_large_requests(bench):
    """srp_max_req_size has no upper limit, as with the C driver"""
    target = bench.target
    mark = target.mark()
    target.load("srp_max_req_size=100000")
    equal(target.parameter("srp_max_req_size"), "100000", "srp_max_req_size")
    if target.variant == "rust":
        contains(target.log_since(mark), "srp_max_req_size=100000 "
                 "is more than 65536, which is used", "the kernel log")
    target.unload()


@pytest.mark.timeout(90)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no such parameter")
def test_rdma_cm_port(bench):
    """rdma_cm_port: at load time, at run time, and the same in configfs"""
    target = bench.target
    inside = SRPT + "/discovery_auth/rdma_cm_port"
    outside = PARAMETERS + "/rdma_cm_port"

    def listening():
        """Ports on which somebody in the kernel listens."""
        out = target.run("rdma resource show cm_id").out
        return {int(p) for p in re.findall(r"state LISTEN.*?src-addr \S*:"
                                           r"(\d+)", out)}

    target.load("rdma_cm_port=%d" % CM_PORT)
    equal(target.read(outside), str(CM_PORT), "the parameter")
    equal(listening(), {CM_PORT}, "ports that listen")
    target.run("mkdir " + SRPT)
    equal(target.read(inside), str(CM_PORT), "the value in configfs")
    equal(target.write(outside, 7777), "", "error of a change in sysfs")
    equal(target.read(inside), "7777", "the value in configfs")
    equal(listening(), {7777}, "ports that listen")
    equal(target.write(inside, "0x1e62"), "", "error of a change in configfs")
    equal(target.read(outside), "7778", "the parameter")
    equal(listening(), {7778}, "ports that listen")
    for path in (inside, outside):
        for value in ("65536", "-1", "x", "1 2"):
            expect(target.write(path, value), "%s refuses %s" % (path, value))
    equal((target.read(inside), target.read(outside)), ("7778", "7778"),
          "the values after that")
    equal(listening(), {7778}, "ports that listen")
    equal(target.write(outside, 0), "", "error of switching it off")
    equal(listening(), set(), "ports that listen")
    equal(target.read(inside), "0", "the value in configfs")
    target.run("rmdir " + SRPT)
    equal(target.write(outside, CM_PORT), "", "error without configfs")
    equal(listening(), {CM_PORT}, "ports that listen")
    target.unload()
    equal(listening(), set(), "ports that listen after unloading")


@pytest.mark.timeout(60)
@pytest.mark.engine("lio")
def test_busy_port(bench):
    """a port that is taken in both families is refused, and nothing changes"""
    target = bench.target
    target.load()
    target.run("mkdir " + SRPT)
    inside = SRPT + "/discovery_auth/rdma_cm_port"
    equal(target.write(inside, CM_PORT), "", "error of the first port")
    # rping binds a port of the same port space.
    other = target.spawn("rping -s -a :: -p 6666", timeout=60)
    target.run("for i in $(seq 100); do rdma resource show cm_id | "
               "grep -q ':6666' && exit; sleep 0.1; done; exit 1")
    error = target.write(inside, 6666)
    expect(error, "the taken port is refused")
    equal(target.read(inside), str(CM_PORT), "the port after that")
    other.kill()
    other.wait(check=False)
    target.unconfigure()
