/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of bindgen for the headers every engine needs: verbs, connection
 * managers, MADs, and the prototypes of our own shims. Nothing here is
 * compiled into the module; engine headers have files of their own.
 */
#include <linux/completion.h>
#include <linux/configfs.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/in6.h>
#include <linux/inet.h>
#include <linux/kobject.h>
#include <linux/scatterlist.h>
#include <linux/socket.h>
#include <linux/sysfs.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>
#include <rdma/rw.h>

#include "../src/params.h"
#include "../src/shims.h"
#include "../src/trace.h"
