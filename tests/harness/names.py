# SPDX-License-Identifier: GPL-2.0
#
# The short names of tests, by which documents call them and -k finds them:
#
#   tests/guest/test_login.py::test_ipv4             guest.login.ipv4
#   tests/guest/test_conformance.py::test_conformance[tasks.abort]
#                                                    guest.conformance.tasks.abort
#   tests/docs/test_docs.py::test_links              docs.links
#   tests/top/test_live.py::Live::test_keys          top.live.keys
#
# A part that repeats the one before it is left out. Also here: the name of a run,
# which is that of the folder with all that it leaves.
#
# Not here: names of the parts that another tool reports (tools.py).

import os
import time


def run_name(config):
    """The same for all workers of a run (tests/conftest.py)."""
    if not hasattr(config, "srpt_run"):
        config.srpt_run = getattr(config, "workerinput", {}).get(
            "srpt_run") or "tests-%s-%d" % (time.strftime("%Y%m%d-%H%M%S"),
                                            os.getpid())
    return config.srpt_run


def name_of(nodeid):
    """The short name that belongs to a node id."""
    path, _, rest = nodeid.partition("::")
    rest, bracket, parameter = rest.partition("[")
    parts = path.removeprefix("tests/").removesuffix(".py").split("/")
    parts += rest.split("::")
    if bracket:
        parts.append(parameter.removesuffix("]"))
    name = []
    for part in parts:
        part = part.removeprefix("test_")
        if part and (not name or part.lower() != name[-1].lower()):
            name.append(part)
    return ".".join(name)
