# SPDX-License-Identifier: GPL-2.0
#
# What administrators do, in any order, while a session is under load: a random walk over
# the actions of walk.py. Each must end as the model says; now and then everything that the
# session needs is put back, and its data has to move; in the end there is what the model
# says, and what the same actions make without a load.
#
#   WALK=<seconds>  how long (5 by default)
#   SEED=<number>   of the walk
#
# Not here: single actions with closer looks (test_load.py, test_ports.py).

import collections
import errno
import os
import time

import pytest

from .checks import Wrong, equal, expect, until
from .initiator import UNTIL_STOPPED
from .walk import DISKS, HCAS, KINDS, MAIN, SRPT, Model
from .wires import BACK

WALK = int(os.environ.get("WALK") or 5)
SEED = int(os.environ.get("SEED") or 1)
# Seconds of the walk between two looks at the session.
STAGE = 20

# What programs say otherwise than strerror().
ALSO = {errno.ENOENT: ("nonexistent directory",)}

LISTING = r"""
cd %s
echo "rdma_cm_port = $(cat discovery_auth/rdma_cm_port)"
links() {                   # links <directory> <its name>
    echo $2
    for k in $1/*; do
        [ ! -L $k ] || echo "$2 -> $(basename $(readlink $k))"
    done
}
cd %s
for g in *; do
    [ -d $g/acls ] || continue
    echo $g
    echo "$g/enable = $(cat $g/enable)"
    for a in $g/attrib/*; do echo "$g/${a##*/} = $(cat $a)"; done
    for l in $g/lun/lun_*; do
        [ ! -d $l ] || links $l $g/${l##*/}
    done
    for a in $g/acls/*; do
        [ -d $a ] || continue
        echo $g/${a##*/}
        for m in $a/lun_*; do
            [ ! -d $m ] || links $m $g/${a##*/}/${m##*/}
        done
    done
done
"""


def listing(target, model):
    """What there is, in the words of Model.listing()."""
    return sorted(target.quick(LISTING % (SRPT, model.port)).out.splitlines())


def carry_out(target, action):
    """Do it; it must end as the model says."""
    done = target.quick(action.script, timeout=action.seconds, check=False)
    said = done.out.strip()
    if action.error:
        right = done.rc != 0 and any(said.endswith(x) for x in (
            action.said, *ALSO.get(action.error, ())))
    else:
        right = done.rc == 0
    if not right:
        raise Wrong("%s: %s ended with status %d: %s" % (action.kind, action, done.rc, said))


def model_of(bench, seed=SEED):
    target = bench.target
    return Model(target.gid, bench.initiator.port_id, target.guest.up_script(), seed)


def walked(model, count):
    """A list of actions, without a machine."""
    return [model.next() for _ in range(count)]


def test_model():
    """each kind of action comes, with each outcome that it has; a seed says all; what is
    said to make a state is that state"""
    models = [Model("0xf", "0x1", "up", seed) for seed in (1, 1, 2)]
    one, same, other = ([repr(a) for a in walked(model, 3000)] for model in models)
    assert one == same != other
    assert models[0].listing() == models[1].listing()
    seen = collections.defaultdict(set)
    model = Model("0xf", "0x1", "up", 3)
    for action in walked(model, 20000):
        seen[action.kind].add(action.error)
    assert set(seen) == set(KINDS)
    assert seen["lun_removed"] == {0, errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY}
    assert seen["entry_made"] == {0, errno.ENOENT, errno.EEXIST, errno.EINVAL}
    assert seen["listener"] == {0, errno.EINVAL, errno.ERANGE}
    assert seen["map"] == {0, errno.EEXIST, errno.EINVAL}
    assert seen["parameter"] == {errno.EACCES}
    list(model.last())
    assert model.hca == HCAS[0] and not model.address
    assert "%s/enable = 1" % MAIN in model.listing()
    assert "%s/%s/lun_0 -> lun_0" % (MAIN, "0x1") in model.listing()
    made = model.making()
    assert all(line.split(" -> ")[0].rsplit("/", 1)[-1] in made for line in model.listing()
               if "=" not in line)


@pytest.mark.engine("lio")
@pytest.mark.roce("HCAs are made and renamed as those of RoCE are")
@pytest.mark.stock("it has no such files, and an HCA does not find its configuration")
@pytest.mark.timeout(240 + 4 * WALK)
def test_walk(bench):
    """every action that an administrator has, by chance, under load: each ends as it must,
    the session comes back by itself with its data, the state is as without a load"""
    target, initiator = bench.target, bench.initiator
    target.guest.system_bus()
    done = []

    def do(action):
        done.append(action)
        carry_out(target, action)

    with bench.session(megabytes=16) as disk:
        target.shell("\n".join("backstore %s 1024" % name for name in DISKS))
        initiator.patient()
        model = model_of(bench)
        equal(listing(target, model), model.listing(), "what is there at first")
        job = initiator.load(disk, UNTIL_STOPPED, "8m", depth=4)
        end, waits = time.monotonic() + WALK, []
        while time.monotonic() < end:
            stage = min(end, time.monotonic() + STAGE)
            while time.monotonic() < stage:
                do(model.next())
            for action in model.last():
                do(action)
            equal(listing(target, model), model.listing(), "what is there")
            equal(job.poll(), None, "status of the load")
            began = time.monotonic()
            initiator.moves(disk, BACK)
            waits.append(time.monotonic() - began)
        until(lambda: initiator.port_state() == ["running"], BACK, "the session runs")
        initiator.stop(job, disk)
        bench.fault("administrators (SEED=%d)" % SEED, "%d actions in %d s, each as expected; "
                    "data right, the state as without a load" % (len(done), WALK), max(waits))
        counts = collections.Counter((a.kind, a.said) for a in done)
        bench.say("\n".join("%-15s %5d  %s" % (kind, count, said or "done")
                            for (kind, said), count in sorted(counts.items())))
        initiator.logout()
        under_load = listing(target, model)
        target.quick(model.removing())
        target.run("rmmod ib_srpt && modprobe ib_srpt")
        fresh = model_of(bench)
        target.quick(fresh.making())
        for action in done:
            carry_out(target, action)
        equal(under_load, listing(target, model), "what is there with a load, and without,")
        expect(len(counts) > 5, "there were actions of several kinds")
        target.quick("rm -rf /root/.targetcli")
