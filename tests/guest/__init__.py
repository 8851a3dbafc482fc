# SPDX-License-Identifier: GPL-2.0
#
# The guest tests: what runs inside virtual machines. Importing this package
# registers all of them, in the order in which they run: those for one machine
# first, and those that spoil their machines last.
#
# Not here: running them (runner.py), anything that runs on the host only
# (tests/run).

from . import t_module, t_configfs          # noqa: F401  one machine
from . import t_login, t_acl, t_reject      # noqa: F401  a pair
from . import t_sysfs, t_trace, t_documents    # noqa: F401
from . import t_dm, t_ports, t_ibcm, t_leaks, t_memory    # noqa: F401
from . import t_rogue, t_protocol, t_conformance, t_fuzz    # noqa: F401
from . import t_load, t_faults              # noqa: F401
from . import t_srptools, t_targetcli, t_multipath    # noqa: F401
from . import t_scst, t_scst_load, t_scstadmin    # noqa: F401
