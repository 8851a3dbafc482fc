# SPDX-License-Identifier: GPL-2.0
#
# The initiator machine as tests see it: the stock ib_srp, the disks it finds,
# verified I/O on them, and what travelled over the wire.
#
# Not here: the target (target.py), the peer that breaks rules (peer.py).

import contextlib
import json
import re
import shlex
import signal

from lab import demo, env
from lab.guest import linklocal_of, quick

from .checks import Failed, Wrong, expect, until
from .kernel_log import KernelLog
from .target import CM_PORT, expected

TOOLS = "/repo/tests/guest/tools"

# InfiniBand opcodes of reliable connections, as wire_count.py reports them.
WIRE = {"send": (0x00, 0x01, 0x04), "read request": (0x0c,),
        "write": (0x06, 0x0a)}          # first or only packet of each message

# Seconds of a load that a test ends with stop(); more than any test may take.
UNTIL_STOPPED = 900

# What ib_srp says of each refusal over iWARP: ECONNRESET.
REJECTED = "REJ reason 0xffffff98"

# What logins ask for by default: as many channels as there are CPUs, counting the
# one that is off.
TWO_CHANNELS = "max_sect=8192,ch_count=2"

ADD_TARGET = "/sys/class/infiniband_srp/srp-%s-%d/add_target"

# Log in and wait for the disks; prints their names, one per line.
LOGIN = r"""
[ -d /sys/module/ib_srp ] || modprobe ib_srp {params}
[ -d /sys/module/sd_mod ] || modprobe sd_mod
before=" $(ls /sys/block | tr '\n' ' ') "
echo {string} > {file} || exit
for i in $(seq 300); do
    disks=
    for disk in /sys/block/sd*; do
        # No disk yet: the pattern itself.
        [ -e "$disk" ] || continue
        name=${{disk##*/}}
        case "$before" in *" $name "*) continue ;; esac
        [ -b /dev/$name ] && [ "$(cat "$disk/size")" != 0 ] &&
            disks="$disks /dev/$name"
    done
    set -- $disks
    [ $# -ge {disks} ] && {{ printf '%s\n' $disks; exit 0; }}
    sleep 0.1
done
echo "only these disks appeared: $disks"
exit 3
"""

# The stock ib_srp that is told to remove a port while it is blocked, that is while
# the connection has just been lost, lets go of the SCSI host and then looks at
# the host's commands (srp_terminate_io): now and then an Oops. Nobody is blocked
# for longer than fast_io_fail_tmo.
LOGOUT = r"""
for i in $(seq 400); do
    grep -qsx blocked /sys/class/srp_remote_ports/{ports}/state || break
    sleep 0.1
done
for f in /sys/class/srp_remote_ports/{ports}/delete; do
    [ -e $f ] && echo 1 > $f
done
left() {{
    [ -n "$(ls -d /sys/class/srp_remote_ports/{ports} 2>/dev/null)" ]
}}
for i in $(seq 1200); do
    left || break
    sleep 0.1
done
if left; then
    echo "the remote port does not go away"
    exit 1
fi
{unload}
"""

# A disk that was found a moment ago may still be read when its host goes, which
# keeps the module for that time. It is not kept for ever.
UNLOAD = r"""
if [ -d /sys/module/ib_srp ]; then
    for i in $(seq 100); do
        [ "$(cat /sys/module/ib_srp/refcnt)" = 0 ] && break
        sleep 0.1
    done
    rmmod ib_srp
fi
"""

LEFT_BEHIND = r"""
for port in /sys/class/srp_remote_ports/*; do
    [ -e $port ] && echo $port
done
[ -d /sys/module/ib_srp ] && echo "ib_srp is loaded"
[ -d /sys/module/ibcm_peer ] && echo "ibcm_peer is loaded"
case "$(rdma resource show)" in
    *": @HCA@: "*" qp @QPS@ "*) ;;
    *) rdma resource show qp | grep -v 'type GSI' ;;
esac
pgrep -a 'fio|srp_peer|ibcm_peer|wire_count|srp_daemon'
true
"""

# Parts of a fio run that, together, take all block sizes and queue depths.
MIX = ((512, 16, "256k"), (4096, 32, "2m"), (65536, 8, "8m"),
       (1048576, 4, "16m"))
# The same with less data, for a slow kernel.
SMALL_MIX = ((512, 16, "128k"), (4096, 32, "1m"), (65536, 8, "2m"),
             (1048576, 4, "8m"))


class Initiator(KernelLog):
    """One guest in the role of the initiator, logging in to `target`."""

    def __init__(self, guest, target):
        self.guest = guest
        self.target = target
        self.run, self.spawn, self.quick = guest.run, guest.spawn, guest.quick

    @property
    def hca(self):
        """The name of the HCA that it logs in through."""
        return self.guest.hca

    port_number = 1
    """The port of the HCA."""

    @property
    def guid(self):
        """GUID of its port, of which iWARP has none."""
        if self.guest.transport == "siw":
            return "0" * 16
        return demo.port_guid(self.guest)

    @property
    def port_id(self):
        """Initiator port identifier of a login without initiator_ext."""
        return "0x0000000000000000" + self.guid

    @property
    def target_gid(self):
        """GID of the port of the target that native logins go to: 0x and digits."""
        return self.target.gid

    @property
    def peer_name(self):
        """How the target writes where its logins come from."""
        if self.guest.transport == "ib":
            return "GID " + linklocal_of(self.guest.number)
        return self.guest.ip

    # --- login and logout -------------------------------------------------

    def string(self, more="", guid=None, dest=None, port=CM_PORT, pkey="ffff"):
        """What goes into add_target: for a login over IP, or over InfiniBand for
        a native one, unless it says where to."""
        guid = guid or self.target.service_guid
        if self.guest.transport == "ib" and not dest:
            return "id_ext=%s,ioc_guid=%s,%s%s" % (
                guid, guid, self.target.ib_service(pkey, self.target_gid), more and "," + more)
        dest = dest or self.target.guest.ip
        if ":" in dest:
            dest = "[%s]" % dest
        return "id_ext=%s,ioc_guid=%s,dest=%s:%d%s" % (
            guid, guid, dest, port, more and "," + more)

    def login_script(self, more="", params="", disks=1, hca=None, **where):
        """A script for quick() that logs in, by default through its first HCA."""
        return LOGIN.format(
            params=params, file=ADD_TARGET % (hca or self.hca, self.port_number), disks=disks,
            string=shlex.quote(self.string(more, **where)))

    def try_login(self, more="", params="", disks=1, timeout=60, **where):
        """Log in; returns the command's result."""
        return self.quick(self.login_script(more, params, disks, **where),
                          check=False, timeout=timeout)

    def login(self, more=TWO_CHANNELS, params="", disks=1, timeout=60,
              **where):
        """Log in; returns the names of the disks. Fails if there are not
        exactly as many as expected."""
        done = self.try_login(more, params, disks, timeout, **where)
        if done.rc:
            raise Failed("login failed (status %d): %s\nkernel log:\n%s" % (
                done.rc, done.out.strip(),
                self.run("dmesg | tail -n 8").out))
        found = done.out.split()
        expect(len(found) == disks, "%d disks appear: %s" % (disks, found))
        return found

    def refused(self, more="", params="", **where):
        """Log in, expecting a refusal; returns the reason from SRP_LOGIN_REJ
        as a number, None if the kernel log names none."""
        mark = self.mark()
        self.target.run("echo %s > /dev/kmsg" % mark)
        done = self.try_login(more, params, 0, **where)
        expect(done.rc == 1, "the login is refused")
        log = self.log_since(mark)
        if self.guest.transport == "siw":
            # ib_srp expects a reason of the InfiniBand CM before it looks into
            # SRP_LOGIN_REJ, and iWARP has none. The target says what it was.
            log = self.target.run("dmesg").out.rsplit(mark, 1)[-1]
            found = re.findall(r"refused: .*\(reason (0x[0-9a-f]+)\)", log)
            return int(found[-1], 16) if found else None
        # The one reason that ib_srp puts in words.
        if "requested max_it_iu_len too large" in log:
            return 0x00010002
        found = re.findall(
            r"SRP LOGIN (?:from \S+ to \S+ )?REJECTED, reason (0x[0-9a-f]+)", log)
        return int(found[-1], 16) if found else None

    @staticmethod
    def logout_script(unload=True, ports="port-*"):
        """A script for quick() that logs out of these remote ports."""
        return LOGOUT.format(unload=UNLOAD if unload else "", ports=ports)

    def logout(self, unload=True, timeout=150):
        """Log out of everything. A login that is being tried while the
        target is away ends after 80 s at the latest, and is waited for."""
        self.quick(self.logout_script(unload), timeout=timeout)

    def hosts(self):
        """SCSI host numbers of the logins."""
        out = self.quick("for r in /sys/class/srp_remote_ports/port-*; do "
                       "[ -e $r ] && echo ${r##*port-}; done; true").out
        return [int(line.split(":")[0]) for line in out.split()]

    def channels(self):
        """How many channels the logins have."""
        out = self.quick("cat /sys/class/scsi_host/host*/ch_count").out
        return sum(map(int, out.split()))

    def port_state(self):
        """States of all remote ports: running, blocked, failfast, lost."""
        return self.quick("cat /sys/class/srp_remote_ports/port-*/state "
                          "2>/dev/null; true").out.split()

    def set_port(self, **values):
        """Set reconnect_delay and the like on all remote ports. They depend
        on each other, so the order of the arguments matters."""
        self.quick("set -e\nfor r in /sys/class/srp_remote_ports/port-*; do\n%s"
                   "\ndone" % "\n".join("echo %s > $r/%s" % (v, k)
                                        for k, v in values.items()))

    def patient(self):
        """Retry quickly and never give up: I/O waits for the target."""
        self.set_port(reconnect_delay=1, dev_loss_tmo=600,
                      fast_io_fail_tmo="off")

    def impatient(self):
        """Fail I/O soon once the connection is lost."""
        self.set_port(fast_io_fail_tmo=2, dev_loss_tmo=600, reconnect_delay=1)

    # --- disks ------------------------------------------------------------

    def megabytes(self, disk):
        """Size of a disk."""
        return int(self.run("cat /sys/block/%s/size" % disk[5:]).out) >> 11

    def full_status(self, disk):
        """What a disk says of its registrants, as hexadecimal digits. In it the
        protocol SRP (04), seven reserved bytes and a port identifier."""
        out = self.run("sg_persist --in --read-full-status -H " + disk).out
        # The bytes of lines: offset, up to 16 bytes, text.
        return "".join(re.sub(r"\s", "", x) for x in re.findall(
            r"^ *[0-9a-f]+ {2,}((?:[0-9a-f]{2}(?: {1,2}|$)){1,16})", out, re.M))

    # --- input and output -------------------------------------------------

    def fio_mix(self, disk, timeout=180):
        """Write and verify with many block sizes and queue depths."""
        job = ["[global]", "filename=" + disk, "ioengine=libaio", "direct=1",
               "thread=1", "verify=crc32c", "verify_fatal=1", "rw=randwrite",
               "group_reporting=1"]
        offset = 0
        for size, depth, amount in MIX if env.pace() == 1 else SMALL_MIX:
            job += ["[b%d]" % size, "stonewall", "bs=%d" % size,
                    "iodepth=%d" % depth, "size=" + amount,
                    "offset=%dm" % offset]
            offset += 16
        self.guest.put("/tmp/mix.fio", "\n".join(job) + "\n")
        return self._fio(["/tmp/mix.fio"], timeout)

    def fio(self, disk, size="4m", bs="4k", depth=16, rw="randwrite",
            timeout=120, more=()):
        """Write and verify once."""
        return self._fio(self.fio_words(disk, size, bs, depth, rw, more),
                         timeout)

    def _fio(self, words, timeout):
        done = self.run(["fio"] + words, timeout=timeout, check=False)
        self._verified("fio", done)
        return done.out

    @staticmethod
    def _verified(what, done, interrupted=False):
        """fio, which has ended, found nothing wrong."""
        if done.rc and not (interrupted and done.rc == 128):
            # fio says EILSEQ when what it reads is not what it wrote.
            raise (Wrong if "err=84" in done.out else Failed)("%s ended with status %d:\n%s" % (
                what, done.rc, done.out[-2500:]))
        expect("err= 0" in done.out, "%s: fio reports no error:\n%s"
               % (what, done.out[-2500:]))

    @staticmethod
    def fio_words(disk, size, bs, depth, rw, more=()):
        return ["--name=v", "--filename=" + disk, "--rw=" + rw,
                "--bs=" + str(bs), "--size=" + str(size),
                "--iodepth=%d" % depth, "--ioengine=libaio", "--direct=1",
                "--thread", "--verify=crc32c", "--verify_fatal=1"] + list(more)

    def load(self, disk, seconds, size="32m", bs="4k", depth=16, more=()):
        """Start I/O that verifies as it goes for this time; returns the Job.
        finish() says whether it was right. How long a recovery takes is not
        known beforehand: for tests that wait for one, UNTIL_STOPPED and
        stop()."""
        words = self.fio_words(disk, size, bs, depth, "randwrite", [
            "--time_based", "--runtime=%d" % seconds, "--verify_backlog=64",
            "--verify_backlog_batch=64"] + list(more))
        job = self.spawn(["fio"] + words, timeout=seconds + 240)
        self.moves(disk)
        return job

    @staticmethod
    def stat(disk):
        """The file with what was read and written so far."""
        return "/sys/block/%s/stat" % disk.split("/")[-1]

    def sectors(self, disk):
        """Sectors read and written so far."""
        out = self.run(["cat", self.stat(disk)]).out
        words = out.split()
        return int(words[2]) + int(words[6])

    def moves(self, disk, timeout=30):
        """Wait until data moves on the disk."""
        begin = self.sectors(disk)
        until(lambda: self.sectors(disk) > begin, timeout,
              "data moves on " + disk)

    def finish(self, job, timeout=300):
        """The load must end by itself, everything verified."""
        self._verified("the load", job.wait(timeout, check=False))

    def stop(self, job, disk, size="256k"):
        """End a load early: nothing that it read back differed, and data
        that is written now reads back right."""
        expect(job.poll() is None, "the load still runs")
        job.signal(signal.SIGINT)
        self._verified("the load", job.wait(60, check=False),
                       interrupted=True)
        self.fio(disk, size)

    @contextlib.contextmanager
    def wire(self):
        """Count what passes eth0 meanwhile; yields a dict that is filled at
        the end: numbers of messages by the names in WIRE."""
        counts = {}
        job = self.spawn([TOOLS + "/wire_count.py"], 300, keep_input=True)
        until(lambda: "counting" in job.output, 30, "the packet counter runs")
        yield counts
        job.close_input()
        raw = json.loads(job.wait(30).out.splitlines()[-1])
        expect(raw.pop("dropped") == 0, "no packet escaped the counter")
        for name, codes in WIRE.items():
            counts[name] = sum(raw.get(str(code), 0) for code in codes)

    def tool(self, program):
        """Path in the guest of a program that was compiled on the host."""
        inside = "/lab/" + program.name
        if self.run(["test", "-x", inside], check=False).rc:
            self.guest.put(inside, program, 0o755)
        return inside

    def left_behind(self):
        """A job that prints what a test left."""
        return self.spawn(quick(expected(LEFT_BEHIND)), 60)

    def restart(self):
        """Boot the machine again after it has been killed."""
        self.guest.start()
        self.be_patient()

    def be_patient(self):
        """ib_srp waits up to 80 s for the answer of a target that is away."""
        self.guest.limit_waits(180 * env.pace())
