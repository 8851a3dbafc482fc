# SPDX-License-Identifier: GPL-2.0
#
# The lab: a root file system, a build environment and virtual machines for
# building and testing the module. Put the checkout's scripts directory on
# sys.path and `from lab import Guest, Pair`.
#
# Not here: any code; this only names what tests use.

from .channel import (CommandFailed, CommandTimeout, GuestDied, Job,  # noqa
                      Result)
from .console import ConsoleError, check_file  # noqa: F401
from .env import LabError, REPO, cache_dir, new_run_dir  # noqa: F401
from .guest import Guest  # noqa: F401
from .pair import Pair  # noqa: F401
