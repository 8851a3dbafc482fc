# SPDX-License-Identifier: GPL-2.0
#
# What a command costs on the target's side, in instructions.
#
# Not here: whether commands do what they should (tests/guest).
