# SPDX-License-Identifier: GPL-2.0
#
# A virtual machine that boots a disk image as a computer would: Debian's own
# initrd, systemd, its file system on a virtio disk that keeps what is written.
# Commands reach it through the lab's agent, which runs as a service.
#
# Not here: making images (image.py), the tests (run).

from pathlib import Path

from lab import Guest, channel, qemu
from lab import kernel as lab_kernel
from lab.channel import GuestDied

# Seconds for a boot with systemd. Emulation is slow, and the first boot of a
# disk has more to do.
BOOT = 400

UNIT = """\
[Unit]
Description=Agent of the lab
After=systemd-modules-load.service systemd-udev-settle.service
[Service]
ExecStart=/usr/bin/python3 -I -S /usr/local/lib/lab-agent.py
Environment=HOME=/root LANG=C.UTF-8
StandardInput=null
"""


def add_agent(fs):
    """Let a machine's files start the agent when they are booted."""
    agent = (Path(channel.agent.__file__)).read_bytes()
    (fs / "usr/local/lib/lab-agent.py").write_bytes(agent)
    (fs / "etc/systemd/system/lab-agent.service").write_text(UNIT)
    wants = fs / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lab-agent.service").symlink_to("../lab-agent.service")


class DiskGuest(Guest):
    """A guest with a disk; see Guest for the rest."""

    def __init__(self, name, run_dir, release, image, initrd, disk, append="",
                 allow=()):
        super().__init__(name, run_dir, mem=1536, append=append, allow=allow,
                         kernel=lab_kernel.Kernel(release, image, disk, ""),
                         limit=3600)
        self.initrd, self.disk = initrd, disk

    def ready(self, timeout=BOOT):
        self._greeted(timeout)
        return self

    def boot(self, append=""):
        """Boot, with these kernel parameters; returns self."""
        self.append = append
        return self.launch().ready()

    def shutdown(self, how):
        """`systemctl reboot` or `poweroff`: QEMU ends with either."""
        try:
            self.channel.spawn("systemctl " + how, 60)
        except GuestDied:
            pass
        ended = self.qemu.wait(240)
        self.kill()
        return ended

    def _options(self):
        path = str(self.disk).replace(",", ",,")
        words = [qemu.console(None), qemu.APPEND, "root=/dev/vda rw", self.append]
        return qemu.machine(None, self.smp, False) + [
            "-m", str(self.mem), "-kernel", str(self.kernel.image),
            "-initrd", str(self.initrd), "-append", " ".join(words),
            "-drive", "if=none,id=disk,format=raw,cache=unsafe,file=" + path,
            "-device", "virtio-blk-pci,drive=disk",
            "-device", "virtio-serial-pci", "-chardev",
            "socket,id=agent,path=%s/agent,server=on,wait=off" % self.sockets,
            "-device", "virtserialport,chardev=agent,name="
            + channel.agent.PORT,
            "-netdev", "user,id=wire,restrict=on", "-device",
            "virtio-net-pci,netdev=wire,romfile="]
