# SPDX-License-Identifier: GPL-2.0
#
# The package behind scripts/srpt-top. sysfs.py reads, rates.py calculates;
# table.py, live.py, record.py, prometheus.py and chart.py show; cli.py is the
# command line.
