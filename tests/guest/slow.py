# SPDX-License-Identifier: GPL-2.0
#
# A disk in the target that takes its time: scsi_debug, whose answers can be
# delayed, and what the engine makes of it (Target.slow_disk()).
#
# Not here: tests that use it (test_load.py, test_protocol.py, test_scst_load.py).

from .checks import until

# Leaves the disk's device in $d.
SCSI_DEBUG = r"""
modprobe sd_mod
modprobe scsi_debug dev_size_mb=16 delay=0
for i in $(seq 100); do
    for d in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*; do
        [ -e "$d" ] && [ -b /dev/${d##*/} ] && break 2
    done
    sleep 0.1
done
d=/dev/${d##*/}
"""
DELAY = "/sys/bus/pseudo/drivers/scsi_debug/delay"


def ticks_per_second(target):
    """CONFIG_HZ of the target's kernel."""
    found = target.run(
        "grep -hs ^CONFIG_HZ= /usr/lib/modules/$(uname -r)/config "
        "/usr/lib/modules/$(uname -r)/build/.config "
        "/usr/lib/modules/$(uname -r)/build/include/config/auto.conf "
        "/boot/config-$(uname -r) | head -n 1", check=False).out.strip()
    return int(found.split("=")[1]) if "=" in found else 250


def delay(target, seconds, within=60):
    """Let the slow disk take this long for a command. scsi_debug refuses a
    change while commands wait in it."""
    ticks = round(seconds * ticks_per_second(target))
    until(lambda: target.run("echo %d > %s" % (ticks, DELAY),
                             check=False).rc == 0, within,
          "the disk takes %g s for a command" % seconds)


def remove(target):
    """After the target was unconfigured."""
    target.run("rmmod scsi_debug")
