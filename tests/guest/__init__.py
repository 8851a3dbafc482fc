# SPDX-License-Identifier: GPL-2.0
#
# The guest tests: what runs inside virtual machines.
#
# Not here: anything that runs on the host only (the other folders of tests/).
