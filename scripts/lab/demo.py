# SPDX-License-Identifier: GPL-2.0
#
# A demonstration that the lab itself works: two guests on one wire that talk
# RDMA, and the distribution's own SRP target and initiator on top. Also the
# stock target's configuration, which tests use as a baseline.
#
# Not here: the project's own demonstration and tests.

import time

from .guest import linklocal_of
from .pair import Pair

RDMA_CM_PORT = 5555


def port_guid(guest, card=0):
    """The GUID of rxe0's port, or of that on another card, as 16 hexadecimal digits."""
    gid = linklocal_of(guest.number, card)[len("fe80::"):]
    return "".join("%04x" % int(part, 16) for part in gid.split(":"))


# One RAM disk behind the kernel's ib_srpt, open for one initiator port.
STOCK_TARGET = r"""
set -e
modprobe target_core_mod
mountpoint -q /sys/kernel/config ||
    mount -t configfs configfs /sys/kernel/config
cd /sys/kernel/config/target
disk=$PWD/core/rd_mcp_0/disk0
mkdir -p $disk
echo rd_pages={pages} > $disk/control
echo 1 > $disk/enable
mkdir -p srpt
tpg=$PWD/srpt/0xfe80000000000000{target}/0xfe80000000000000{target}
acl=$tpg/acls/0x0000000000000000{initiator}
mkdir -p $tpg/lun/lun_0
ln -s $disk $tpg/lun/lun_0/disk
mkdir $acl
mkdir $acl/lun_0
ln -s $tpg/lun/lun_0 $acl/lun_0/lun
echo {port} > srpt/discovery_auth/rdma_cm_port
echo 1 > $tpg/enable
"""

LOGIN = r"""
set -e
modprobe -a ib_srp sd_mod
before=$(ls /sys/block | tr '\n' ' ')
echo "id_ext=0x{target},ioc_guid=0x{target},dest={address}:{port}{more}" \
    > /sys/class/infiniband_srp/srp-rxe0-1/add_target
for i in $(seq 100); do
    for disk in /sys/block/sd*; do
        name=${{disk##*/}}
        case " $before " in *" $name "*) continue ;; esac
        [ -b /dev/$name ] && {{ echo /dev/$name; exit 0; }}
    done
    sleep 0.1
done
echo "no disk appeared" >&2
exit 1
"""


def stock_target(pair, megabytes=32):
    """Configure the kernel's own ib_srpt on the pair's target."""
    pair.target.load_stock("ib_srpt")
    pair.target.run(STOCK_TARGET.format(
        target=port_guid(pair.target), initiator=port_guid(pair.initiator),
        pages=megabytes * 256, port=RDMA_CM_PORT))


def login(pair, more=",max_sect=8192"):
    """Log the pair's initiator in; returns the disk's device name."""
    return pair.initiator.run(LOGIN.format(
        target=port_guid(pair.target), address=pair.target.ip,
        port=RDMA_CM_PORT, more=more)).out.split()[-1]


def main(mtu=1500):
    """The command `lab pair-demo`."""
    with Pair(mtu=mtu) as pair:
        target, initiator = pair.target, pair.initiator
        print("two guests ready in %.1f s; consoles in %s"
              % (pair.boot_seconds, pair.run_dir))
        for address in (target.ip, target.ip6):
            out = initiator.run("ping -c 3 -i 0.2 " + address).out
            print("ping %-10s %s" % (address, out.splitlines()[-1]))
        for guest in pair.guests:
            print("%-10s %s" % (guest.name,
                                guest.run("rdma link").out.strip()))
        server = target.spawn("ibv_rc_pingpong -d rxe0 -g 1 -n 200", 60)
        target.run("until ss -ltn | grep -q :18515; do sleep 0.1; done")
        out = initiator.run("ibv_rc_pingpong -d rxe0 -g 1 -n 200 "
                            + target.ip).out
        server.wait()
        print("ibv_rc_pingpong:", out.splitlines()[-1].strip())
        stock_target(pair)
        began = time.monotonic()
        disk = login(pair)
        print("stock ib_srpt and stock ib_srp: logged in, %s after %.1f s"
              % (disk, time.monotonic() - began))
        print(initiator.run("lsscsi").out.strip())
        out = initiator.run(
            "fio --name=verify --filename=%s --rw=randwrite --bs=4k --size=4M "
            "--iodepth=16 --ioengine=libaio --direct=1 --verify=crc32c "
            "| grep IOPS" % disk, timeout=120).out
        print("fio with verification:\n%s" % out.rstrip())
    print("consoles are clean")
    return 0
