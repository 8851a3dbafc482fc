// SPDX-License-Identifier: GPL-2.0
/*
 * Makes queue pairs of connections, and ports, fail as those of an HCA whose firmware
 * hangs, refuses or reports twice, which rdma_rxe's never do. To be loaded before ib_srpt;
 * ib_srpt must go first.
 *
 *   echo Y > /sys/module/stuck/parameters/refuse    no way into the error state
 *   echo Y > /sys/module/stuck/parameters/lose      completions are lost
 *   echo Y > /sys/module/stuck/parameters/twice     receives complete twice
 *   echo Y > /sys/module/stuck/parameters/fixed     ports cannot be modified
 *
 * Not here: events about queues (bad_news.c).
 */
#include <linux/module.h>
#include <rdma/ib_verbs.h>

/* One HCA's, as the tests have one. */
static struct ib_device_ops saved;

static bool refuse;
module_param(refuse, bool, 0600);
MODULE_PARM_DESC(refuse, "Queue pairs cannot be put into the error state");

static bool lose;
module_param(lose, bool, 0600);
MODULE_PARM_DESC(lose, "Completions of connections are lost");

static bool twice;
module_param(twice, bool, 0600);
MODULE_PARM_DESC(twice, "Receives of connections complete twice");

static bool fixed;
module_param(fixed, bool, 0600);
MODULE_PARM_DESC(fixed, "Ports cannot be modified");

static int stuck_modify_port(struct ib_device *device, u32 port, int mask,
			     struct ib_port_modify *props)
{
	return fixed ? -EIO : saved.modify_port(device, port, mask, props);
}

static int stuck_modify_qp(struct ib_qp *qp, struct ib_qp_attr *attr, int mask,
			   struct ib_udata *udata)
{
	if (refuse && qp->qp_type == IB_QPT_RC && (mask & IB_QP_STATE) &&
	    attr->qp_state == IB_QPS_ERR)
		return -EIO;
	return saved.modify_qp(qp, attr, mask, udata);
}

static int stuck_poll_cq(struct ib_cq *cq, int entries, struct ib_wc *wc)
{
	int found, all, n;

	/* Those of management datagrams are on another queue. */
	if (cq->poll_ctx != IB_POLL_WORKQUEUE)
		return saved.poll_cq(cq, entries, wc);
	all = found = saved.poll_cq(cq, twice ? DIV_ROUND_UP(entries, 2) : entries, wc);
	if (lose)
		return 0;
	for (n = 0; twice && n < found && all < entries; n++) {
		if (wc[n].opcode & IB_WC_RECV)
			wc[all++] = wc[n];
	}
	return all;
}

static int stuck_add(struct ib_device *device)
{
	saved = device->ops;
	device->ops.modify_qp = stuck_modify_qp;
	device->ops.poll_cq = stuck_poll_cq;
	device->ops.modify_port = stuck_modify_port;
	return 0;
}

static void stuck_remove(struct ib_device *device, void *data)
{
	device->ops.modify_qp = saved.modify_qp;
	device->ops.poll_cq = saved.poll_cq;
	device->ops.modify_port = saved.modify_port;
}

static struct ib_client client = {
	.name = "stuck", .add = stuck_add, .remove = stuck_remove,
};

static int __init stuck_init(void)
{
	return ib_register_client(&client);
}

static void __exit stuck_exit(void)
{
	ib_unregister_client(&client);
}

module_init(stuck_init);
module_exit(stuck_exit);
MODULE_DESCRIPTION("Queue pairs that fail, for tests");
MODULE_LICENSE("GPL");
