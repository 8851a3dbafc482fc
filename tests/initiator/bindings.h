/* SPDX-License-Identifier: GPL-2.0 */
/* What build.rs gives to bindgen. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <infiniband/ib.h>
#include <rdma/rdma_cma.h>
#include <infiniband/verbs.h>
#include <infiniband/umad.h>
