// SPDX-License-Identifier: GPL-2.0
/*
 * Reports asynchronous events about the newest queue pair, its completion queue
 * and the newest shared receive queue of all HCAs, which rdma_rxe never does by itself. To be loaded
 * before those are made; ib_srpt must go first.
 *
 *   echo last_wqe > /sys/module/bad_news/parameters/report
 *   echo srq_err > /sys/module/bad_news/parameters/report
 *   echo cq_err > /sys/module/bad_news/parameters/report
 */
#include <linux/module.h>
#include <rdma/ib_verbs.h>

/* One HCA's, as the tests have one. */
static struct ib_device_ops saved;
static struct ib_qp *qp;
static struct ib_srq *srq;

static int noted_create_qp(struct ib_qp *created, struct ib_qp_init_attr *attr,
			   struct ib_udata *udata)
{
	int ret = saved.create_qp(created, attr, udata);

	if (!ret && attr->qp_type == IB_QPT_RC)
		qp = created;
	return ret;
}

static int noted_create_srq(struct ib_srq *created,
			    struct ib_srq_init_attr *attr,
			    struct ib_udata *udata)
{
	srq = created;
	return saved.create_srq(created, attr, udata);
}

static int report(const char *what, const struct kernel_param *param)
{
	struct ib_event event = {};

	if (sysfs_streq(what, "last_wqe") && qp) {
		event.device = qp->device;
		event.element.qp = qp;
		event.event = IB_EVENT_QP_LAST_WQE_REACHED;
		qp->event_handler(&event, qp->qp_context);
		return 0;
	}
	if (sysfs_streq(what, "srq_err") && srq && srq->event_handler) {
		event.device = srq->device;
		event.element.srq = srq;
		event.event = IB_EVENT_SRQ_ERR;
		srq->event_handler(&event, srq->srq_context);
		return 0;
	}
	if (sysfs_streq(what, "cq_err") && qp && qp->send_cq->event_handler) {
		event.device = qp->device;
		event.element.cq = qp->send_cq;
		event.event = IB_EVENT_CQ_ERR;
		qp->send_cq->event_handler(&event, qp->send_cq->cq_context);
		return 0;
	}
	return -EINVAL;
}

static const struct kernel_param_ops report_ops = { .set = report };

module_param_cb(report, &report_ops, NULL, 0200);
MODULE_PARM_DESC(report, "last_wqe, srq_err, cq_err");

static int bad_news_add(struct ib_device *device)
{
	saved = device->ops;
	device->ops.create_qp = noted_create_qp;
	device->ops.create_srq = noted_create_srq;
	return 0;
}

static void bad_news_remove(struct ib_device *device, void *data)
{
	device->ops.create_qp = saved.create_qp;
	device->ops.create_srq = saved.create_srq;
}

static struct ib_client client = {
	.name = "bad_news", .add = bad_news_add, .remove = bad_news_remove,
};

static int __init bad_news_init(void)
{
	return ib_register_client(&client);
}

static void __exit bad_news_exit(void)
{
	ib_unregister_client(&client);
}

module_init(bad_news_init);
module_exit(bad_news_exit);
MODULE_DESCRIPTION("Events of queues, for tests");
MODULE_LICENSE("GPL");
