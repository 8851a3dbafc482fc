# SPDX-License-Identifier: GPL-2.0
#
# Tests of the documents, on the host (test_docs.py) and in virtual machines
# (tests/guest/test_documents.py).
