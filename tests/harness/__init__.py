# SPDX-License-Identifier: GPL-2.0
#
# What the tests of all folders share: their names (names.py), where their time
# goes (clock.py), running other tools and reading their results (tools.py), and
# what a run prints at its end (report.py, a plugin of pytest).
#
# Not here: tests, and fixtures of one folder (its conftest.py).
