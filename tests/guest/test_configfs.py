# SPDX-License-Identifier: GPL-2.0
#
# The configfs tree: paths, modes, defaults and limits as existing tools know
# them, and which names are taken.
#
# Not here: what an access control entry lets in (test_acl.py), rdma_cm_port
# (test_module.py).

import pytest

from .checks import contains, equal, expect
from .lio import SRPT, guid_name

pytestmark = pytest.mark.engine("lio")

# The tree below srpt/<port>/<tpg>, files with their modes; directories end
# with a slash. This is what rtslib and administrators' scripts rely on.
TPG_TREE = """
acls/ attrib/ attrib/srp_max_rdma_size:644 attrib/srp_max_rsp_size:644
attrib/srp_sq_size:644 attrib/use_srq:644 auth/ enable:644 lun/ np/ param/
rtpi:644
""".split()

ATTRIBUTES = {
    # name: default, values that are taken, values that are not
    "srp_max_rdma_size": (65536, (65536, 65537, 16777216),
                          (0, 65535, 16777217, "x", "-1", "")),
    "srp_max_rsp_size": (256, (40, 256, 1024), (0, 39, 1025, "x", "-1")),
    "srp_sq_size": (256, (4, 16, 65535), (0, 3, 65536, "x", "-1")),
    "use_srq": (0, (1, 0), (2, "x", "-1")),
}

# Names of access control entries.
GOOD_ACLS = ("0x00000000000000005054000000000001",
             "00000000000000005054000000000002",
             "0xABCDEF00000000005054000000000003",
             "5054:0000:0000:0004", "10.9.0.77", "fd09::77",
             "fd09:0000:0000:0000:0000:0000:0000:0078")
BAD_ACLS = ("initiator", "0xzz", "10.9.0", "10.9.0.256", "0x123",
            "5054:0000:0000", "fd09::1::2", "iqn.2026-11.org.example")
# The C driver takes these; ours is stricter.
STRICTER_ACLS = ("5054:0000:0000:0004:0005", "5054:0000:0000:0004x",
                 "0x0000000000000000505400000000000123", "0x")


def tree(target, path):
    out = target.run("cd %s && find . -mindepth 1 -type d -printf '%%P/\\n' "
                     "-o -type f -printf '%%P:%%m\\n'" % path).out
    return sorted(out.split())


@pytest.mark.timeout(90)
def test_paths(bench):
    """every path, mode and default is that of the C driver"""
    target = bench.target
    target.load()
    target.run("mkdir " + SRPT)
    found = tree(target, SRPT)
    equal(found, ["discovery_auth/", "discovery_auth/rdma_cm_port:644",
                  "version:444"], "tree of srpt")
    target.run("mkdir -p " + target.tpg())
    equal(tree(target, target.tpg()), sorted(TPG_TREE),
          "tree of a portal group")
    port = tree(target, target.tpg() + "/..")
    for name in ("param/", "fabric_statistics/",
                 "param/direct_complete_supported:444"):
        expect(name in port, "the port directory has " + name)
    equal(target.read(target.tpg() + "/enable"), "0", "enable")
    equal(target.read(SRPT + "/discovery_auth/rdma_cm_port"), "0",
          "rdma_cm_port")
    acl = target.tpg() + "/acls/" + GOOD_ACLS[0]
    target.run("mkdir " + acl)
    for name in ("attrib/", "auth/", "param/", "fabric_statistics/"):
        expect(name in tree(target, acl), "the ACL directory has " + name)
    if target.variant == "rust":
        contains(target.read(acl + "/info"), "No active", "info")
    target.unconfigure()


@pytest.mark.timeout(120)
def test_attributes(bench):
    """attributes keep good values and refuse bad ones with EINVAL"""
    target = bench.target
    target.load()
    target.run("mkdir -p " + target.tpg())
    for name, (default, good, bad) in ATTRIBUTES.items():
        path = "%s/attrib/%s" % (target.tpg(), name)
        equal(target.read(path), str(default), name)
        for value in good:
            equal(target.write(path, value), "",
                  "error of %s = %s" % (name, value))
            equal(target.read(path), str(value), name)
        equal(target.write(path, default), "", "error of the default")
        for value in bad:
            error = target.write(path, value)
            expect(error == "Invalid argument" or
                   isinstance(value, str) and error,
                   "%s = '%s' is refused (%s)" % (name, value, error))
            equal(target.read(path), str(default), name + " after that")
        equal(target.write(path, hex(default)), "", "error of hexadecimal")
        equal(target.read(path), str(default), name + " from hexadecimal")
    target.unconfigure()


@pytest.mark.no_iwarp("its ports have no GUID")
@pytest.mark.timeout(60)
def test_port_names(bench):
    """a port is taken by its GID or its GUID, and by nothing else"""
    target = bench.target
    target.load()
    target.run("mkdir " + SRPT)
    guid = guid_name(target.guid)
    for name in (target.gid, guid):
        target.run("mkdir %s/%s" % (SRPT, name))
    for name in ("port", target.gid[2:], target.gid + "0",
                 target.gid[:-1] + "f", target.guid,
                 guid.upper() if guid.upper() != guid else guid + ":",
                 guid[:-1], target.guest.hca, "0x" + "0" * 32):
        done = target.run("mkdir %s/%s" % (SRPT, name), check=False)
        expect(done.rc != 0, "'%s' is refused" % name)
        contains(done.out, "Invalid argument", "the error of '%s'" % name)
    names = set(target.run("ls " + SRPT).out.split())
    equal(names, {target.gid, guid, "discovery_auth", "version"}, "srpt")
    # Portal groups: any name, any number, under both.
    for port in (target.gid, guid):
        for tpg in ("tpgt_1", port, "x", "second"):
            target.run("mkdir %s/%s/%s" % (SRPT, port, tpg))
    contains(target.run("mkdir %s/np/10.0.0.1:5555 2>&1; true"
                        % target.tpg()).out, "mkdir", "a network portal")
    target.unconfigure()


@pytest.mark.no_iwarp("its ports have no GUID")
@pytest.mark.timeout(60)
def test_shared_attributes(bench):
    """portal groups of one port share its attributes, whatever its name"""
    target = bench.target
    target.load()
    guid = guid_name(target.guid)
    one = "%s/%s/a" % (SRPT, target.gid)
    two = "%s/%s/b" % (SRPT, guid)
    target.run("mkdir -p %s %s" % (one, two))
    target.write(one + "/attrib/srp_max_rsp_size", 512)
    equal(target.read(two + "/attrib/srp_max_rsp_size"), "512",
          "srp_max_rsp_size of the other portal group")
    target.unconfigure()


@pytest.mark.timeout(90)
def test_acl_names(bench):
    """names of access control entries: which are taken, which are not"""
    target = bench.target
    target.load()
    target.run("mkdir -p " + target.tpg())
    acls = target.tpg() + "/acls/"
    for name in GOOD_ACLS:
        done = target.run("mkdir " + acls + name, check=False)
        equal(done.rc, 0, "status of mkdir %s" % name)
    bad = BAD_ACLS + (STRICTER_ACLS if target.variant == "rust" else ())
    for name in bad:
        done = target.run("mkdir " + acls + name, check=False)
        expect(done.rc != 0, "'%s' is refused" % name)
        contains(done.out, "Invalid argument", "the error of '%s'" % name)
    equal(sorted(target.run("ls " + acls).out.split()), sorted(GOOD_ACLS),
          "access control entries")
    target.unconfigure()


@pytest.mark.timeout(60)
def test_enable(bench):
    """enable takes 0 and 1; a portal group in use is refused removal"""
    target = bench.target
    target.configure([GOOD_ACLS[0]])
    path = target.tpg() + "/enable"
    equal(target.read(path), "1", "enable")
    for value in (0, 1, 1, 0, 1):
        equal(target.write(path, value), "", "error of %d" % value)
        equal(target.read(path), str(value), "enable")
    expect(target.write(path, "x"), "'x' is refused")
    equal(target.read(path), "1", "enable after that")
    # configfs does not remove what has something in it, and the module stays
    # as long as it has directories.
    expect(target.run("rmdir " + target.tpg(), check=False).rc != 0,
           "a portal group with ACLs is not removed")
    expect(target.run("rmmod ib_srpt", check=False).rc != 0,
           "the module is not unloaded under its configuration")
    target.unconfigure()


@pytest.mark.timeout(60)
def test_churn(bench):
    """create and remove the whole tree 30 times"""
    target = bench.target
    target.load()
    target.shell("""
for i in $(seq 30); do
    mkdir -p srpt/%(gid)s/t1 srpt/%(gid)s/t2
    mkdir srpt/%(gid)s/t1/acls/%(acl)s
    echo 1 > srpt/%(gid)s/t1/enable
    echo 5555 > srpt/discovery_auth/rdma_cm_port
    rmdir srpt/%(gid)s/t1/acls/%(acl)s srpt/%(gid)s/t2 srpt/%(gid)s/t1
    rmdir srpt/%(gid)s
    echo 0 > srpt/discovery_auth/rdma_cm_port
    rmdir srpt
done
""" % {"gid": target.gid, "acl": GOOD_ACLS[0]})
    expect(target.run("[ -d %s ]" % SRPT, check=False).rc != 0,
           "nothing is left")
    target.unload()
