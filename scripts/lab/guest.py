# SPDX-License-Identifier: GPL-2.0
#
# One virtual machine as tests and tools see it: start it, run commands in it,
# move files, load modules, cut its network, kill it, and the verdict on its
# console.
#
# Not here: two machines on one wire (pair.py), QEMU's process (qemu.py), the
# rules for consoles (console.py).

import atexit
import os
import shlex
import shutil
import sys
import tempfile
import time
import weakref
from pathlib import Path

from . import channel, chosen, console, env, hcas, kernel, qemu, root
from .channel import GuestDied

# Where things are in the guest.
REPO_IN_GUEST = "/repo"
SHARE_IN_GUEST = "/results"

# Seconds, like all limits here before they are multiplied with env.pace().
READY_TIMEOUT = 120
HUNG_TASK = 60

# MiB of memory; KASAN takes an eighth, and keeps freed memory for a while.
MEMORY = {"stock": 1536, "sanitized": 2560, "arm64": 1536, "arm64-16k": 2048}

# More kernel parameters. The allocator keeps pointers to objects that it has
# handed out in its per-CPU arrays (sheaves) until others take their place, and
# kmemleak takes them for references; caches that are being debugged have none.
APPEND = {"sanitized": "slab_debug=F,kmalloc-*"}

# rdma_rxe (7.3) frees packets of a queue pair that ends while it holds the
# queue pair's lock with interrupts off. If their memory belongs to a page pool,
# as virtio_net's does, that may let softirqs in, the next packet wants the same
# lock, and the processor spins for ever. virtio_net has no page pool when
# packets may be larger than a page and buffers cannot be merged.
NO_PAGE_POOL = "mrg_rxbuf=off,host_mtu=9000"

# Network and RDMA in the guest. Neighbours are entered by hand and for good:
# a cut wire must not look like an address problem afterwards. The queueing
# discipline that loses packets is there from the start and only changed later:
# while one is exchanged the kernel refuses packets, and rdma_rxe takes a refused
# management datagram for the end of its queue pair for those.
NETWORK = r"""
set -e
hostname {name}
{hung} || :
ip link set lo up
ipv6=/proc/sys/net/ipv6/conf/eth0               # not with ipv6.disable=1
if [ -d $ipv6 ]; then
    echo 0 > $ipv6/accept_ra; echo 0 > $ipv6/accept_dad
    echo 1 > $ipv6/keep_addr_on_down
fi
modprobe sch_netem
tc qdisc add dev eth0 root netem limit 100000
ip link set eth0 mtu {mtu} up
ip addr add 10.9.0.{number}/24 dev eth0
[ ! -d $ipv6 ] || ip addr add fd09::{number}/64 dev eth0 nodad
{neighbours}
"""
HUNG = "echo %d > /proc/sys/kernel/hung_task_timeout_secs"
NEIGHBOUR = """
for a in 10.9.0.{number} fd09::{number} {linklocal}; do
    ip neigh replace $a lladdr {mac} nud permanent dev eth0
done
"""
RDMA = "modprobe -a ib_uverbs ib_umad rdma_ucm\n"
# An HCA of each kind of env.TRANSPORTS. Its module has to be brought first,
# unless the kernel has it.
ADD_HCA = {
    "rxe": "modprobe rdma_rxe\nrdma link add rxe0 type rxe netdev eth0\n",
    "siw": "rdma link add siw0 type siw netdev eth0\n",
    "ib": "rdma link add rxe0 type rxe netdev eth0\n",
}
# Unloads a module with all that use it.
DROP = """
drop() {
    [ -d /sys/module/$1 ] || return 0
    for user in /sys/module/$1/holders/*; do
        [ ! -e $user ] || drop ${user##*/} || return
    done
    rmmod $1
}
"""
SIW_IN_GUEST = "/lab/modules/siw.ko"
# Both modules are called rdma_rxe; at most one of them is loaded. They tell
# themselves apart by their version.
SOFTIB_IN_GUEST = "/lab/modules/softib/rdma_rxe.ko"
IS_SOFTIB = "grep -qsx softib /sys/module/rdma_rxe/version"
SECOND_PORT = "/sys/module/rdma_rxe/parameters/second_port"
BRING_SOFTIB = """
if ! {is_softib}; then
    [ ! -d /sys/module/rdma_rxe ] || rmmod rdma_rxe || exit
    mkdir -p {folder} && cat > {file} &&
        modprobe -a ib_core $(modinfo -F depends {file} | tr , ' ') &&
        insmod {file}
fi
""".format(is_softib=IS_SOFTIB, file=SOFTIB_IN_GUEST,
           folder=os.path.dirname(SOFTIB_IN_GUEST))

# The subnet manager looks at the subnet each second (10 s is its default): what
# it finds out by looking, and not by a trap, tests wait for.
PARTITIONS = "/run/lab/partitions.conf"
SM_LOG = "/var/log/opensm.log"
START_SM = "mkdir -p /run/lab; opensm -B -s 1 -f %s -P %s %%s >/dev/null" % (
    SM_LOG, PARTITIONS)
STOP_SM = """
pids=$(pidof opensm) || exit 0
kill $pids
for i in $(seq 100); do
    pidof opensm >/dev/null || exit 0
    sleep 0.1
    [ $i != 60 ] || kill -9 $pids
done
echo "opensm does not end"
exit 1
"""
PORT_STATE = "/sys/class/infiniband/%s/ports/%d/state"

# What the shell of Guest.quick() does not take from busybox.
PROGRAMS = "".join('%s() { %s "$@"; }\n' % (path.rsplit("/")[-1], path) for path in (
    "/usr/sbin/modprobe", "/usr/sbin/rmmod", "/usr/sbin/insmod", "/usr/bin/ip",
    "/usr/bin/mount", "/usr/bin/ps", "/usr/bin/pgrep", "/usr/bin/dmesg"))


def quick(script):
    """The words that run such a script."""
    return ["busybox", "sh", "-c", PROGRAMS + script]


_running = weakref.WeakSet()


@atexit.register
def _end_all():
    for guest in list(_running):
        guest.kill()


def mac_of(number, card=0):
    return "52:54:00:09:%02x:%02x" % (card, number)


def linklocal_of(number, card=0):
    """The IPv6 link-local address that belongs to mac_of()."""
    return "fe80::5054:ff:fe09:%x" % (card << 8 | number)


class Guest:
    """A virtual machine. Use it in a `with` statement: leaving it ends the
    machine and raises ConsoleError if its kernel complained.

    name        names the console file and the host in the guest
    run_dir     where consoles go; a new directory under build/lab by default
    smp, mem    virtual CPUs and memory in MiB (None: what the kernel needs)
    number      the last part of its addresses 10.9.0.N and fd09::N
    wire        QEMU -netdev options with id=wire (see pair.py); None gives a
                private network without any neighbour
    peers       numbers of the other guests on the wire
    mtu         of eth0
    rdma        make an HCA on eth0, rxe0 or siw0
    transport   which of them; by default what TRANSPORT= says
    manages     over InfiniBand: the subnet manager runs here
    kernel      a kernel.Kernel; default: LAB_KERNEL=<dir>, or the one that
                KERNEL= names
    append      more kernel parameters
    shares      more directories: (host path, guest path, "ro" or "rw")
    allow       excused console lines: (expression, reason)
    fail_fast   waiting for a command ends with ConsoleError as soon as the
                kernel complains
    limit       seconds after which QEMU is ended, whatever happens
    icount      deterministic emulation: guest time counts instructions
    more        more options of QEMU
    pcap        save the traffic of eth0 as <name>.pcap
    """

    def __init__(self, name="guest", run_dir=None, smp=2, mem=None, number=1,
                 wire=None, peers=(), mtu=1500, rdma=True, kernel=None,
                 append="", shares=(), allow=(), fail_fast=True, limit=1800,
                 icount=False, pcap=False, transport=None, manages=True,
                 more=()):
        env.require_root()
        self.name = name
        self.root = root.get()
        self.kernel = kernel or default_kernel()
        foreign = self.kernel.foreign
        self.fs = foreign.fs if foreign else self.root.fs
        self.run_dir = Path(run_dir or env.new_run_dir(name)).resolve()
        self.share = self.run_dir / "share"
        self.share.mkdir(parents=True, exist_ok=True)
        self.smp, self.number = smp, number
        self.mem = mem or MEMORY[self.kernel.kind]
        self.wire, self.peers, self.mtu = wire, tuple(peers), mtu
        self.rdma, self.append = rdma, append
        self.transport = self._booted = transport or env.transport()
        self.manages = manages
        self.shares = list(shares)
        self.fail_fast, self.limit = fail_fast, limit * env.pace()
        self.icount, self.pcap, self.more = icount, pcap, list(more)
        self.console = console.Console(
            name, self.run_dir / (name + ".console"), allow)
        self.log = self.run_dir / (name + ".qemu.log")
        self.qemu = self.channel = self.sockets = None
        self.boot_seconds = None
        self.netem = False              # packets are lost or delayed
        self.plugged = None             # what is in the slot
        self.boots = 0

    # --- life and death ---------------------------------------------------

    def launch(self):
        """Start QEMU without waiting for the guest; ready() must follow."""
        if self.alive():
            raise env.LabError("guest '%s' already runs" % self.name)
        self._clean()
        self.netem, self.plugged = False, None
        self.boots += 1
        self._began = time.monotonic()
        self.sockets = Path(tempfile.mkdtemp(prefix="lab-"))
        _running.add(self)
        self.qemu = qemu.Qemu(self._program(), self._options(), self.sockets,
                              self.console.path, self.log, self.limit)
        try:
            self.channel = channel.Channel(str(self.sockets / "agent"),
                                           self.qemu.alive, self._pulse)
        except env.LabError as error:
            why = self.qemu.reason()
            self.kill()
            raise GuestDied("guest '%s': %s: %s" % (self.name, error, why)) \
                from None
        return self

    def ready(self, timeout=READY_TIMEOUT):
        """Wait until the agent answers, then set up network and RDMA."""
        self._greeted(timeout)
        script = NETWORK.format(name=self.name, mtu=self.mtu,
                                hung=HUNG % round(HUNG_TASK * env.pace()),
                                number=self.number,
                                neighbours=self._neighbours())
        self.transport = self._booted
        if self.rdma:
            if env.core_parameters():
                self.run("modprobe ib_core " + env.core_parameters())
            self._bring(self.transport)
            script += RDMA + ADD_HCA[self.transport]
        self.run(script, timeout=60)
        if self.rdma:
            self.start_sm()
        self.boot_seconds = time.monotonic() - self._began
        return self

    def _greeted(self, timeout):
        """Wait until the agent answers."""
        timeout *= env.pace()
        end = time.monotonic() + timeout
        while not self.channel.greeted.wait(0.2):
            self._pulse()
            if time.monotonic() > end:
                self.kill()
                raise GuestDied("guest '%s' did not come up in %d s; its "
                                "console ends with:\n%s" % (
                                    self.name, timeout, self.console.tail()))
        if self.channel.hello is None:
            self.qemu.wait(5)
            raise GuestDied("guest '%s' ended during boot (QEMU: %s); its "
                            "console ends with:\n%s" % (
                                self.name, self.qemu.reason(),
                                self.console.tail()))

    def start(self):
        """Boot and wait until it is ready; returns self."""
        self.launch().ready()
        if self.rdma:
            self.wait_active()
        return self

    def alive(self):
        return self.qemu is not None and self.qemu.alive()

    def kill(self):
        """End the machine at once, like pulling the plug."""
        if self.qemu is not None:
            self.qemu.kill()
        self._clean()

    def poweroff(self, timeout=20):
        """Let the guest write out and switch itself off; kill it if it does
        not."""
        if self.alive():
            try:
                self.channel.spawn("sync; echo o > /proc/sysrq-trigger", 10)
            except GuestDied:
                pass
            self.qemu.wait(timeout)
        self.kill()

    def restart(self, graceful=False):
        """End it (hard by default) and boot again."""
        self.poweroff() if graceful else self.kill()
        return self.start()

    def _clean(self):
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.sockets = None
        _running.discard(self)

    def __enter__(self):
        if not self.alive():
            self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.poweroff(5) if kind is None else self.kill()
        conclude([self], value)

    # --- commands ---------------------------------------------------------

    def spawn(self, cmd, timeout=None, input=b"", binary=False, env=None,
              cwd=None, tty=False, keep_input=False, on_output=None):
        """Start a command and return its Job at once.

        cmd         text for bash, or a list of arguments
        timeout     seconds after which the guest kills it
        input       sent to its standard input, which is then closed
        keep_input  leave the input open for Job.write()
        binary      output as bytes instead of text
        tty         give it a terminal
        on_output   called with each piece of output (bytes) instead of
                    collecting it
        """
        if self.channel is None:
            raise GuestDied("guest '%s' does not run" % self.name)
        return self.channel.spawn(cmd, timeout, input, binary, env, cwd, tty,
                                  keep_input, on_output)

    def run(self, cmd, timeout=60, check=True, **kwargs):
        """Run a command to its end; returns Result(rc, out), which unpacks
        as a pair. A timeout gives rc 124 if check is False, else raises
        CommandTimeout; see Job.wait()."""
        return self.spawn(cmd, timeout, **kwargs).wait(check=check)

    def quick(self, script, *arguments, **options):
        """run() for a script in a plain shell that has the usual small programs
        built in: under emulation, a program takes far longer to start than
        what such a script wants of it. PROGRAMS are those of the system."""
        return self.run(quick(script), *arguments, **options)

    def put(self, path, data, mode=0o644):
        """Write a file in the guest; data is text, bytes, or a host Path."""
        if isinstance(data, Path):
            data = data.read_bytes()
        if isinstance(data, str):
            data = data.encode()
        place = shlex.quote(str(path))
        self.run("mkdir -p $(dirname %s) && cat > %s && chmod %o %s"
                 % (place, place, mode, place), input=data)

    def get(self, path):
        """The contents of a file in the guest, as bytes."""
        return self.run(["cat", str(path)], binary=True).out

    # --- modules ----------------------------------------------------------

    def install_module(self, path, load=True, params="", name=None):
        """Install a built module (a host path) and load it.

        It goes to /lab/modules, and modprobe is told to take it from there,
        its dependencies first. That is much faster than running depmod over
        thousands of modules, and `modprobe <name>` by anyone, as targetcli
        does, gets this one."""
        path = Path(path)
        name = name or path.name.split(".ko")[0].replace("-", "_")
        inside = "/lab/modules/%s.ko" % name
        self.put(inside, kernel.plain(path))
        release = self.run(["uname", "-r"]).out.strip()
        magic = self.run(["modinfo", "-F", "vermagic", inside]).out.split()
        if magic and magic[0] != release:
            raise env.LabError("%s is built for %s, the guest runs %s"
                               % (path, magic[0], release))
        depends = self.run(["modinfo", "-F", "depends", inside]).out.strip()
        first = ""
        if depends:
            first = "modprobe -a %s && " % depends.replace(",", " ")
        self.put("/etc/modprobe.d/lab-%s.conf" % name,
                 "install %s %sinsmod %s %s $CMDLINE_OPTS\n"
                 % (name, first, inside, params))
        if load:
            self.run(["modprobe", name])
        return name

    def load_stock(self, name, params=""):
        """Load the distribution's own module, whatever was installed."""
        self.run("modprobe --ignore-install %s %s" % (name, params))

    def unload(self, name, timeout=60):
        self.run(["rmmod", name], timeout=timeout)

    def system_bus(self):
        """Start D-Bus, which targetcli wants to see."""
        self.run("[ -S /run/dbus/system_bus_socket ] || { mkdir -p /run/dbus"
                 " && dbus-uuidgen --ensure && dbus-daemon --system --fork; }")

    # --- the HCA ----------------------------------------------------------

    @property
    def hca(self):
        """Its name."""
        return env.TRANSPORTS[self.transport]

    def add_hca(self, wait=True):
        """Make it; over InfiniBand, wait until the subnet manager has found it."""
        self.run("set -e\n" + ADD_HCA[self.transport])
        self.start_sm()
        if wait:
            self.wait_active()

    def remove_hca(self, timeout=60):
        self.stop_sm()
        self.run("rdma link delete " + self.hca, timeout=timeout)

    def remake_hca(self, second=""):
        """Over InfiniBand, the same HCA again with another port on this network card,
        or without one. wait_active() is due then."""
        self.remove_hca()
        self.run("echo '%s' > %s" % (second, SECOND_PORT))
        self.add_hca(wait=False)

    def change_hca(self, transport):
        """Until the next boot, an HCA of another kind instead. Over InfiniBand,
        wait_active() is due when all have changed."""
        if transport != self.transport:
            self.remove_hca()
            self.transport = transport
            self._bring(transport)
            self.add_hca(wait=False)

    def reload_rdma(self, core=None):
        """Unload all of RDMA and load it anew, ib_core with these parameters
        instead of those that guests have otherwise."""
        self.remove_hca()
        self.quick(DROP + "drop ib_core")
        self.run("modprobe ib_core " + (core or env.core_parameters()))
        self._bring(self.transport)
        self.run("set -e\n" + RDMA + ADD_HCA[self.transport])

    def _bring(self, transport):
        """Bring and load what the kernel does not have."""
        if transport == "ib":
            self.run(BRING_SOFTIB,
                     input=hcas.SOFTIB.module(self.kernel).read_bytes())
        if transport == "rxe":
            self.run("if %s; then rmmod rdma_rxe; fi" % IS_SOFTIB)
        if transport == "siw":
            module = hcas.SIW.module(self.kernel)
            self.run("[ -d /sys/module/siw ] || { mkdir -p %s && cat > %s && "
                     "modprobe ib_core && insmod %s; }" % (
                         os.path.dirname(SIW_IN_GUEST), SIW_IN_GUEST,
                         SIW_IN_GUEST), input=module.read_bytes())

    # --- InfiniBand: the subnet -------------------------------------------

    def start_sm(self, partitions="", options=""):
        """Start the subnet manager, if this guest has it: with the text of its
        file of partitions, and with more options."""
        if self.transport == "ib" and self.manages:
            if partitions:
                self.put(PARTITIONS, partitions)
            self.run(START_SM % options)

    def stop_sm(self):
        if self.transport == "ib" and self.manages:
            self.run("rm -f %s\n%s" % (PARTITIONS, STOP_SM))

    def restart_sm(self, partitions="", options=""):
        self.stop_sm()
        self.start_sm(partitions, options)

    def port_state(self, hca="rxe0", number=1):
        """DOWN, INIT, ARMED or ACTIVE."""
        return self.run(["cat", PORT_STATE % (hca, number)]).out.split()[-1]

    def wait_active(self, timeout=60):
        """Over InfiniBand, wait until the subnet manager has brought up the
        port. It does so when there is a port at the other end of the cable."""
        if self.transport != "ib" or not self.peers:
            return
        end = time.monotonic() + timeout * env.pace()
        while self.port_state() != "ACTIVE":
            if time.monotonic() > end:
                raise env.LabError(
                    "the port of guest '%s' is %s after %d s: no subnet manager "
                    "has brought it up" % (self.name, self.port_state(), timeout))
            time.sleep(0.3)

    # --- network ----------------------------------------------------------

    def add_card(self, wire):
        """Plug in another network card, eth1, with a wire of Fabric.wire(). There is one
        slot, for a card or a disk."""
        self.plugged = "a network card"
        self.qemu.command("netdev_add", **wire, id="wire1")
        self._monitored("device_add virtio-net-pci,id=nic1,netdev=wire1,bus=slot1,"
                        "romfile=,%s,mac=%s" % (NO_PAGE_POOL, mac_of(self.number, 1)))
        self._wait_for("-e /sys/class/net/eth1")
        self.run("ip link set eth1 mtu %d up" % self.mtu)

    def remove_card(self):
        """Pull it out again."""
        self._pull("nic1")
        self.qemu.command("netdev_del", id="wire1")
        self.plugged = None

    def add_disk(self, path):
        """Plug in a disk, /dev/vda, whose contents are in this file and survive the
        machine, if what was written has reached the disk."""
        self.plugged = "a disk"
        self.qemu.command("blockdev-add", **{
            "driver": "raw", "node-name": "image1",
            "file": {"driver": "file", "filename": str(path)}})
        self._monitored("device_add virtio-blk-pci,id=disk1,drive=image1,bus=slot1")
        self.run("modprobe virtio_blk")
        self._wait_for("-b /dev/vda")

    def remove_disk(self):
        self._pull("disk1")
        self.qemu.command("blockdev-del", **{"node-name": "image1"})
        self.plugged = None

    def _pull(self, device):
        """Pull out a device. Its slot is switched off a moment after the driver has let
        go."""
        self._monitored("device_del " + device)
        end = time.monotonic() + 30 * env.pace()
        while any(item["name"] == device for item in self.qemu.command(
                "qom-list", path="/machine/peripheral")):
            if time.monotonic() > end:
                raise env.LabError("%s of guest '%s' does not go" % (device, self.name))
            time.sleep(0.1)

    def _monitored(self, command):
        """A command of QEMU's monitor that says nothing when it succeeds."""
        said = self.monitor(command).strip()
        if said:
            raise env.LabError("QEMU, asked for %s, says: %s" % (command, said))

    def _wait_for(self, test):
        self.quick("for i in $(seq 300); do [ %s ] && exit; sleep 0.1; done; exit 1" % test)

    def _neighbours(self):
        """A script that enters them."""
        return "".join(NEIGHBOUR.format(number=p, mac=mac_of(p),
                                        linklocal=linklocal_of(p))
                       for p in self.peers)

    def set_up(self, up):
        """Take eth0 down, as an administrator does, or up again. The carrier
        stays; the kernel forgets the neighbours."""
        self.run(self.up_script() if up else "ip link set eth0 down")

    def up_script(self):
        """A script that takes eth0 up."""
        return "ip link set eth0 up\n" + self._neighbours()

    def set_link(self, up, card="nic"):
        """Plug in or pull out the cable of this guest's eth0, or of eth1, nic1."""
        self.qemu.command("set_link", name=card, up=bool(up))

    def loss(self, percent, more=""):
        """Lose this share of the packets that this guest sends (netem in
        the guest; it acts on eth0 below the HCA). `more` adds netem
        options such as "delay 5ms"."""
        self.run("tc qdisc change dev eth0 root netem limit 100000 "
                 "loss %g%% %s" % (percent, more))
        self.netem = bool(percent or more)

    @property
    def ip(self):
        return "10.9.0.%d" % self.number

    @property
    def ip6(self):
        return "fd09::%d" % self.number

    # --- the kernel's mood ------------------------------------------------

    @property
    def console_path(self):
        return self.console.path

    def check_console(self):
        """Raise ConsoleError if the kernel has complained so far."""
        self.console.check()

    def limit_waits(self, seconds=None):
        """From now on the kernel complains about a task that waits so long in
        it; without an argument, as after the boot."""
        self.run(HUNG % (seconds or round(HUNG_TASK * env.pace())))

    def monitor(self, text):
        """A command of QEMU's human monitor."""
        return self.qemu.human(text)

    def _pulse(self):
        """Called while somebody waits for this guest."""
        if self.fail_fast and self.console.bad_lines():
            time.sleep(1)               # let the rest of the report out
            self.console.check()

    # --- QEMU's command line ----------------------------------------------

    def _program(self):
        return qemu.program(self.root.fs, self.kernel.foreign)

    def _options(self):
        shares = [(str(env.REPO), REPO_IN_GUEST, "ro")]
        if str(env.REPO) != REPO_IN_GUEST:
            shares.append((str(env.REPO), str(env.REPO), "ro"))
        shares.append((str(self.share), SHARE_IN_GUEST, "rw"))
        if self.fs not in self.kernel.modules.parents:
            shares.append((str(self.kernel.modules),
                           "/usr/lib/modules/" + self.kernel.release, "ro"))
        shares += [(str(h), str(g), m) for h, g, m in self.shares]

        options = qemu.machine(self.kernel.foreign, self.smp, self.icount)
        options += ["-m", str(self.mem), "-kernel", str(kernel.bootable(self.kernel)),
                    "-initrd",
                    str(kernel.initramfs(self.kernel, self.fs))]
        options += qemu.share("root", self.fs, True)
        words = [qemu.console(self.kernel.foreign), qemu.APPEND]
        for n, (host, inside, mode) in enumerate(shares):
            options += qemu.share("s%d" % n, host, mode == "ro")
            words.append("lab.share=s%d:%s:%s" % (n, mode, inside))
        words += [APPEND.get(self.kernel.kind, ""), self.append]
        options += ["-append", " ".join(words)]
        options += ["-device", "virtio-serial-pci", "-chardev",
                    "socket,id=agent,path=%s/agent,server=on,wait=off"
                    % self.sockets, "-device",
                    "virtserialport,chardev=agent,name=" + channel.agent.PORT]
        # A guest of its own has QEMU's user network, closed to the outside.
        options += ["-netdev", self.wire or
                    "user,id=wire,restrict=on,net=10.9.0.0/24,"
                    "host=10.9.0.254,dns=10.9.0.253,dhcpstart=10.9.0.100",
                    "-device", "virtio-net-pci,id=nic,netdev=wire,romfile=,"
                    + NO_PAGE_POOL + ",mac=" + mac_of(self.number),
                    # for add_card() and add_disk()
                    "-device", "pcie-root-port,id=slot1,chassis=1"]
        if self.pcap:
            options += ["-object", "filter-dump,id=dump,netdev=wire,file="
                        "%s/%s.%d.pcap" % (self.run_dir, self.name,
                                           self.boots)]
        return options + self.more


def default_kernel(variable="KERNEL"):
    """The kernel.Kernel that guests boot unless they are given another. One of
    LAB_KERNEL's is treated like the kind that KERNEL= names."""
    if os.environ.get("LAB_KERNEL"):
        own = kernel.custom(os.environ["LAB_KERNEL"])
        own.kind = env.kernel_choice()
        return own
    return chosen.chosen_kernel(variable)


def conclude(guests, error):
    """The end of a run: complain about consoles. With an error already on
    its way, only add to it."""
    for guest in guests:
        try:
            guest.check_console()
        except console.ConsoleError as found:
            if error is None:
                raise
            if error is not found and str(found) != str(error):
                text = str(found)
                if hasattr(error, "add_note"):
                    error.add_note(text)
                else:
                    print(text, file=sys.stderr)
