# SPDX-License-Identifier: GPL-2.0
#
# A scripted SRP peer on the InfiniBand connection manager: the same as Peer,
# but carried by the kernel module modules/ibcm_peer.c, because over RoCE user space
# has no access to that connection manager. It needs a target that was loaded with
# ib_cm_on_roce.
#
# Not here: what the target should make of it (test_ibcm.py).

import contextlib

from lab.guest import mac_of

from . import peer
from .checks import until
from .initiator import TOOLS
from .lio import guid_name

# Reasons of the connection manager itself.
INVALID_SERVICE, INVALID_TRANSPORT, STALE = 8, 9, 10

UC = 3                          # enum ib_qp_type


@contextlib.contextmanager
def target(bench, acls=(), params="", **options):
    """A configured target that takes IB/CM logins over RoCE, and the module
    for peers on the initiator machine."""
    params = "ib_cm_on_roce=Y " + params
    with bench.configured(acls=list(acls), params=params, **options) as one:
        load(bench)
        yield one
        unload(bench)


def load(bench):
    bench.initiator.guest.install_module(bench.test_module("ibcm_peer"))


def unload(bench):
    # A process that was killed takes a moment to close its file.
    until(lambda: bench.initiator.run("rmmod ibcm_peer", check=False).rc == 0,
          20, "ibcm_peer can be removed")


class IbPeer(peer.Peer):
    """One connection. Use it in a `with` statement.

    extension   the first half of its initiator port identifier
    index       which of its GIDs is used; 0 is that of the port's GUID
    gid         the target's GID, the one of its port's GUID by default
    service     the service id, the target's GUID by default
    settings    parameters of the request, see modules/ibcm_peer.c
    """

    def __init__(self, bench, extension=1, index=0, gid=None, service=None,
                 **settings):
        self.initiator = bench.initiator
        self.target = bench.target
        self.port_id = "0x%016x%s" % (extension, self.initiator.guid)
        self.form = peer.login_req_ib
        self.lines = 0
        self.job = self.initiator.spawn([TOOLS + "/ibcm_peer.py"],
                                        timeout=300, keep_input=True)
        self._line("ready")
        answer = self.order("open eth0 %d %s %s %s" % (
            index, gid or self.target.gid[2:],
            mac_of(self.target.guest.number).replace(":", ""),
            service or self.target.service_guid))
        self.gid = answer.split()[1]
        for name, value in settings.items():
            self.order("set %s %d" % (name, value))

    @property
    def guid_name(self):
        """The name of its port in an access control entry."""
        return guid_name(self.gid[16:])

    def tries_to_connect(self, data):
        """Connect with this private data; False if the target's answer comes
        too late."""
        words = self.order("connect " + data.hex()).split()
        if words[0] == "established":
            self._memory()
        elif words[0] != "request-unanswered":
            raise peer.Failed("connecting: " + " ".join(words))
        return words[0] == "established"

    def half_login(self, **fields):
        """A login up to the target's answer, which is not confirmed."""
        words = self.order("request " + self.request(**fields).hex()).split()
        if words[0] != "reply":
            raise peer.Failed("the peer's login: " + " ".join(words))
        self._memory()
        return bytes.fromhex(words[1])[:52]

    def event(self, timeout=10):
        """The next event of the connection manager, or "none"."""
        return self.order("event %d" % (timeout * 1000)).strip()

    def await_event(self, name, timeout=10):
        """Skip events until this one; says which one came last if none of
        them was."""
        last = "none"
        while True:
            event = self.event(timeout)
            if event.split()[0] == name:
                return name
            if event == "none":
                return last
            last = event
