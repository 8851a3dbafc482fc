# SPDX-License-Identifier: GPL-2.0
#
# The examples of docs/admin.md, so that what administrators read is what is
# tested. A block of code is found by the first comment in it.
#
# Not here: what is done with them (test_targetcli.py, test_multipath.py,
# test_srptools.py).

import re

from docs import documents
from lab import REPO

from .checks import Failed

PAGE = REPO / "docs/admin.md"

# What is called so in the examples.
TARGET_GID = "fe800000000000005054000000000001"
TARGET_GUID = "5054000000000001"
TARGET_IP = "10.0.0.1"
INITIATOR = "00000000000000005054000000000002"
INITIATOR_GUID = "5054000000000002"
HCA = "mlx5_0"


def block(title, **names):
    """The text of the block whose first comment begins with this, with the
    names of the keywords (those above, in small letters) exchanged for
    others."""
    found = [text for text in re.findall(r"^```\w*\n(.*?)^```$",
                                         PAGE.read_text(), re.M | re.S)
             if re.match(r"(#!.*\n)?# " + re.escape(title) + r"\b", text)]
    if len(found) != 1:
        raise Failed("%s has %d examples that begin with '# %s'"
                     % (PAGE.name, len(found), title))
    text = found[0]
    # The GUIDs are parts of the other names.
    for key in sorted(names, key=lambda k: -len(globals()[k.upper()])):
        text = text.replace(globals()[key.upper()], names[key])
    return text


def commands(title, **names):
    """The commands in the lines of such a block, without comments."""
    lines = map(documents.plain, block(title, **names).splitlines())
    return [line for line in lines if line]
