# SPDX-License-Identifier: GPL-2.0
#
# The kernel that KERNEL= or PEER_KERNEL= names, and where modules and programs for
# it are built.
#
# Not here: how each is made (root.py, sanitized.py, arm64.py).

from . import arm64, env, root, sanitized


def chosen_kernel(variable="KERNEL"):
    """The kernel.Kernel that this variable chooses; made first if necessary."""
    kind = env.kernel_choice(variable)
    if kind == "sanitized":
        return sanitized.get().kernel()
    if kind in arm64.FLAVOURS:
        return arm64.get().kernel(kind)
    return root.get().kernel()


def build_fs():
    """The root file system in which what such machines run is built, for
    enter.command()."""
    kinds = {env.kernel_choice(), env.kernel_choice("PEER_KERNEL")}
    return arm64.build_fs() if kinds & set(arm64.FLAVOURS) else root.get().fs
