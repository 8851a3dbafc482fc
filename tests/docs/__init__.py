# SPDX-License-Identifier: GPL-2.0
#
# Tests of the documents, on the host (run) and in virtual machines
# (tests/guest/t_documents.py).
