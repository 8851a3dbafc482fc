// SPDX-License-Identifier: GPL-2.0
/*
 * A peer that connects through the InfiniBand connection manager and says
 * whatever it is told to. User space has no access to that connection manager,
 * and the stock initiator needs a subnet manager to find its way; this makes
 * the path record by hand, so that a software RoCE device will do.
 *
 * It knows nothing about SRP: the bytes come from tests/guest/peer.py. Each
 * open file of /dev/ibcm_peer is one connection with one queue pair. An order
 * is a line that is written, the answer is what is read then:
 *
 *   open <interface> <gid index> <gid> <mac> <service>
 *                        the network interface whose RDMA device is used, with
 *                        which of its GIDs; and where to connect to: GID, MAC
 *                        address and service id of the target, in hex. Answers
 *                        with the own GID
 *   set <name> <value>   a parameter of the request, see set_parameter()
 *   request <hex>        connect with this private data, without confirmation
 *   rtu                  confirm
 *   connect <hex>        both
 *   reject <reason>      reject the answer instead
 *   again <hex>          a request of another connection with the same queue
 *                        pair, as after a crash
 *   resolve              ask for the datagram queue pair of the service
 *   event <ms>           the next event of the connection manager, or "none"
 *   send <hex>           send a message and wait for its completion
 *   recv <ms>            wait for a message
 *   fill <offset> <hex>  write to the memory the target may access
 *   dump <offset> <len>  show that memory
 *   disconnect
 *   stubborn             from now on leave the target's disconnect unanswered
 *
 * Closing the file ends the connection. It must be closed before the device is
 * removed.
 */
#include <linux/delay.h>
#include <linux/hex.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>

enum {
	RECVS = 64,		/* messages the target may have under way */
	MESSAGE = 4096,		/* longest message in either direction, bytes */
	MEMORY = 256 << 10,	/* what the target may read and write, bytes */
	EVENTS = 16,		/* events that are kept until they are asked for */
	LINE = 2 * MESSAGE + 256,
	TIMEOUT = 30000,	/* ms for anything the target must do */
	PORT = 1,
};

struct event {
	enum ib_cm_event_type type;
	int reason;
	u8 data[IB_CM_REP_PRIVATE_DATA_SIZE];
	int len;
};

/* A connection as the connection manager sees it. */
struct conn {
	struct peer *peer;
	struct ib_cm_id *id;
	spinlock_t lock;	/* the members below */
	struct event events[EVENTS];
	unsigned int first, count;
};

struct message {
	struct ib_cqe cqe;
	struct peer *peer;
	u8 *data;
	u64 dma;
	int len;
};

struct peer {
	struct mutex lock;	/* one order at a time */
	struct ib_device *dev;
	const struct ib_gid_attr *sgid;
	struct ib_pd *pd;
	struct ib_cq *cq;
	struct ib_qp *qp;
	struct conn conn, again;
	struct sa_path_rec path;
	struct ib_cm_req_param req;
	struct message recvs[RECVS], out;
	struct message *queue[RECVS];	/* received, in order */
	int first, queued;
	int send_status;	/* of the last send, -1 while it runs */
	u8 *memory;
	u64 memory_dma;
	bool gone, stubborn;
	char answer[LINE];
	size_t len, pos;	/* of the answer, and how far it was read */
};

static __printf(2, 3) void answer(struct peer *p, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	p->len += vscnprintf(p->answer + p->len, sizeof(p->answer) - p->len, format, args);
	va_end(args);
}

static void answer_hex(struct peer *p, const char *word, const void *data, size_t len)
{
	answer(p, "%s ", word);
	len = min(len, (sizeof(p->answer) - p->len - 2) / 2);
	bin2hex(p->answer + p->len, data, len);
	p->len += 2 * len;
	answer(p, "\n");
}

/* Length of the bytes that the text names, which end up in `out`. */
static int unhex(const char *text, u8 *out, size_t room)
{
	size_t len = strcspn(text, " \n") / 2;

	return len > room || hex2bin(out, text, len) ? -EINVAL : (int)len;
}

/* --- events of the connection manager --- */

static const char *event_name(enum ib_cm_event_type type)
{
	switch (type) {
	case IB_CM_REQ_ERROR: return "request-unanswered";
	case IB_CM_REP_RECEIVED: return "reply";
	case IB_CM_REJ_RECEIVED: return "rejected";
	case IB_CM_DREQ_RECEIVED: return "dreq";
	case IB_CM_DREP_RECEIVED: return "drep";
	case IB_CM_DREQ_ERROR: return "dreq-unanswered";
	case IB_CM_TIMEWAIT_EXIT: return "timewait-exit";
	case IB_CM_MRA_RECEIVED: return "mra";
	case IB_CM_SIDR_REP_RECEIVED: return "resolved";
	case IB_CM_SIDR_REQ_ERROR: return "resolve-unanswered";
	default: return "other";
	}
}

/* Process context, on the work queue of ib_cm or of ib_mad. */
static int handler(struct ib_cm_id *id, const struct ib_cm_event *event)
{
	struct conn *c = id->context;
	struct event *e;
	unsigned long flags;

	spin_lock_irqsave(&c->lock, flags);
	if (c->count < EVENTS) {
		e = &c->events[(c->first + c->count++) % EVENTS];
		memset(e, 0, sizeof(*e));
		e->type = event->event;
		if (e->type == IB_CM_REP_RECEIVED) {
			e->len = IB_CM_REP_PRIVATE_DATA_SIZE;
		} else if (e->type == IB_CM_REJ_RECEIVED) {
			e->reason = event->param.rej_rcvd.reason;
			e->len = IB_CM_REJ_PRIVATE_DATA_SIZE;
		} else if (e->type == IB_CM_SIDR_REP_RECEIVED) {
			e->reason = event->param.sidr_rep_rcvd.status;
		}
		memcpy(e->data, event->private_data, e->len);
	}
	spin_unlock_irqrestore(&c->lock, flags);
	switch (event->event) {
	case IB_CM_DREQ_RECEIVED:
		if (!READ_ONCE(c->peer->stubborn))
			ib_send_cm_drep(id, NULL, 0);
		fallthrough;
	case IB_CM_REJ_RECEIVED:
	case IB_CM_DREP_RECEIVED:
	case IB_CM_DREQ_ERROR:
	case IB_CM_TIMEWAIT_EXIT:
		if (c == &c->peer->conn)
			WRITE_ONCE(c->peer->gone, true);
		break;
	default:
		break;
	}
	return 0;
}

/* Take the next event; false if there is none within this time. */
static bool next_event(struct conn *c, struct event *e, int ms)
{
	bool found = false;

	for (;; ms -= 5) {
		spin_lock_irq(&c->lock);
		if (c->count) {
			*e = c->events[c->first];
			c->first = (c->first + 1) % EVENTS;
			c->count--;
			found = true;
		}
		spin_unlock_irq(&c->lock);
		if (found || ms <= 0)
			return found;
		msleep(5);
	}
}

static void answer_event(struct peer *p, const struct event *e)
{
	char word[40];

	if (e->type == IB_CM_REJ_RECEIVED || e->type == IB_CM_SIDR_REP_RECEIVED)
		snprintf(word, sizeof(word), "%s %d", event_name(e->type), e->reason);
	else
		snprintf(word, sizeof(word), "%s", event_name(e->type));
	answer_hex(p, word, e->data, e->len);
}

/* --- messages --- */

static void recv_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct message *m = container_of(wc->wr_cqe, struct message, cqe);
	struct peer *p = m->peer;

	if (wc->status != IB_WC_SUCCESS) {
		WRITE_ONCE(p->gone, true);
		return;
	}
	m->len = wc->byte_len;
	ib_dma_sync_single_for_cpu(p->dev, m->dma, MESSAGE, DMA_FROM_DEVICE);
	p->queue[(p->first + p->queued++) % RECVS] = m;
}

static void send_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct message *m = container_of(wc->wr_cqe, struct message, cqe);

	m->peer->send_status = wc->status;
}

static int post_recv(struct message *m)
{
	struct ib_sge sge = {
		.addr = m->dma, .length = MESSAGE, .lkey = m->peer->pd->local_dma_lkey,
	};
	struct ib_recv_wr wr = { .wr_cqe = &m->cqe, .sg_list = &sge, .num_sge = 1 };

	m->cqe.done = recv_done;
	ib_dma_sync_single_for_device(m->peer->dev, m->dma, MESSAGE, DMA_FROM_DEVICE);
	return ib_post_recv(m->peer->qp, &wr, NULL);
}

static void do_send(struct peer *p, const char *hex)
{
	struct ib_sge sge = { .addr = p->out.dma, .lkey = p->pd->local_dma_lkey };
	struct ib_send_wr wr = {
		.wr_cqe = &p->out.cqe, .sg_list = &sge, .num_sge = 1,
		.opcode = IB_WR_SEND, .send_flags = IB_SEND_SIGNALED,
	};
	int ms, len = unhex(hex, p->out.data, MESSAGE);

	if (len < 0 || p->send_status == -1) {
		answer(p, "error not a message, or the last one is under way\n");
		return;
	}
	sge.length = len;
	p->out.cqe.done = send_done;
	p->send_status = -1;
	ib_dma_sync_single_for_device(p->dev, p->out.dma, MESSAGE, DMA_TO_DEVICE);
	if (ib_post_send(p->qp, &wr, NULL)) {
		p->send_status = 0;
		answer(p, "send-error refused\n");
		return;
	}
	for (ms = 0; p->send_status == -1 && ms < TIMEOUT; ms++) {
		ib_process_cq_direct(p->cq, -1);
		fsleep(1000);
	}
	if (p->send_status == IB_WC_SUCCESS)
		answer(p, "sent\n");
	else
		answer(p, "send-error %d\n", p->send_status);
}

static void do_recv(struct peer *p, int ms)
{
	struct message *m;

	ib_process_cq_direct(p->cq, -1);
	for (; !p->queued && !READ_ONCE(p->gone) && ms > 0; ms--) {
		fsleep(1000);
		ib_process_cq_direct(p->cq, -1);
	}
	if (!p->queued) {
		answer(p, READ_ONCE(p->gone) ? "disconnected\n" : "timeout\n");
		return;
	}
	m = p->queue[p->first];
	p->first = (p->first + 1) % RECVS;
	p->queued--;
	answer_hex(p, "message", m->data, m->len);
	if (!READ_ONCE(p->gone) && post_recv(m))
		answer(p, "error ib_post_recv\n");
}

/* --- the connection --- */

static int make_message(struct peer *p, struct message *m, enum dma_data_direction dir)
{
	m->peer = p;
	m->data = kzalloc(MESSAGE, GFP_KERNEL);
	if (!m->data)
		return -ENOMEM;
	m->dma = ib_dma_map_single(p->dev, m->data, MESSAGE, dir);
	return ib_dma_mapping_error(p->dev, m->dma);
}

static int make_qp(struct peer *p)
{
	struct ib_qp_init_attr init = {
		.send_cq = p->cq, .recv_cq = p->cq, .qp_type = IB_QPT_RC,
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		/* One of each for ib_drain_qp(). */
		.cap = { .max_send_wr = 16, .max_recv_wr = RECVS + 1,
			 .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ib_qp_attr attr = {
		.qp_state = IB_QPS_INIT, .port_num = PORT,
		.qp_access_flags = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_READ |
				   IB_ACCESS_REMOTE_WRITE,
	};

	p->qp = ib_create_qp(p->pd, &init);
	if (IS_ERR(p->qp))
		return PTR_ERR(p->qp);
	return ib_modify_qp(p->qp, &attr, IB_QP_STATE | IB_QP_PORT | IB_QP_PKEY_INDEX |
			    IB_QP_ACCESS_FLAGS);
}

/* Everything that is needed for a connection, or a part of it after an error;
 * close_peer() copes with that.
 */
static int open_peer(struct peer *p, const char *name, int index)
{
	struct net_device *ndev = dev_get_by_name(&init_net, name);
	int i, ret;

	if (!ndev)
		return -ENODEV;
	p->dev = ib_device_get_by_netdev(ndev, RDMA_DRIVER_UNKNOWN);
	dev_put(ndev);
	if (!p->dev)
		return -ENODEV;
	p->sgid = rdma_get_gid_attr(p->dev, PORT, index);
	if (IS_ERR(p->sgid))
		return PTR_ERR(p->sgid);
	p->pd = ib_alloc_pd(p->dev, IB_PD_UNSAFE_GLOBAL_RKEY);
	if (IS_ERR(p->pd))
		return PTR_ERR(p->pd);
	p->cq = ib_alloc_cq(p->dev, p, RECVS + 32, 0, IB_POLL_DIRECT);
	if (IS_ERR(p->cq))
		return PTR_ERR(p->cq);
	ret = make_qp(p);
	if (ret)
		return ret;
	p->memory = kzalloc(MEMORY, GFP_KERNEL);
	if (!p->memory)
		return -ENOMEM;
	p->memory_dma = ib_dma_map_single(p->dev, p->memory, MEMORY, DMA_BIDIRECTIONAL);
	ret = ib_dma_mapping_error(p->dev, p->memory_dma) ?:
	      make_message(p, &p->out, DMA_TO_DEVICE);
	for (i = 0; !ret && i < RECVS; i++)
		ret = make_message(p, &p->recvs[i], DMA_FROM_DEVICE) ?:
		      post_recv(&p->recvs[i]);
	if (ret)
		return ret;
	p->conn.id = ib_create_cm_id(p->dev, handler, &p->conn);
	return PTR_ERR_OR_ZERO(p->conn.id);
}

static void free_message(struct message *m, enum dma_data_direction dir)
{
	if (m->dma)
		ib_dma_unmap_single(m->peer->dev, m->dma, MESSAGE, dir);
	kfree(m->data);
}

static void close_peer(struct peer *p)
{
	int i;

	if (!IS_ERR_OR_NULL(p->again.id))
		ib_destroy_cm_id(p->again.id);
	if (!IS_ERR_OR_NULL(p->conn.id))
		ib_destroy_cm_id(p->conn.id);
	if (!IS_ERR_OR_NULL(p->qp)) {
		ib_drain_qp(p->qp);
		ib_destroy_qp(p->qp);
	}
	if (!IS_ERR_OR_NULL(p->cq))
		ib_free_cq(p->cq);
	for (i = 0; i < RECVS; i++)
		free_message(&p->recvs[i], DMA_FROM_DEVICE);
	free_message(&p->out, DMA_TO_DEVICE);
	if (p->memory_dma)
		ib_dma_unmap_single(p->dev, p->memory_dma, MEMORY, DMA_BIDIRECTIONAL);
	kfree(p->memory);
	if (!IS_ERR_OR_NULL(p->pd))
		ib_dealloc_pd(p->pd);
	if (!IS_ERR_OR_NULL(p->sgid))
		rdma_put_gid_attr(p->sgid);
	if (p->dev)
		ib_device_put(p->dev);
}

static void do_open(struct peer *p, const char *args)
{
	char name[IFNAMSIZ], gid[33], mac[13];
	u64 service;
	int index, ret;
	u8 dmac[ETH_ALEN];

	if (p->dev || sscanf(args, "%15s %d %32s %12s %llx", name, &index, gid, mac,
			     &service) != 5 ||
	    unhex(gid, p->path.dgid.raw, 16) != 16 || unhex(mac, dmac, ETH_ALEN) != ETH_ALEN) {
		answer(p, "error usage, or open already\n");
		return;
	}
	ret = open_peer(p, name, index);
	if (ret) {
		answer(p, "error opening: %d\n", ret);
		return;
	}
	p->path.rec_type = SA_PATH_REC_TYPE_ROCE_V2;
	p->path.sgid = p->sgid->gid;
	sa_path_set_dmac(&p->path, dmac);
	p->path.roce.route_resolved = true;
	p->path.service_id = cpu_to_be64(service);
	p->path.hop_limit = 64;
	p->path.reversible = 1;
	p->path.pkey = cpu_to_be16(0xffff);
	p->path.mtu_selector = IB_SA_EQ;
	p->path.mtu = IB_MTU_1024;
	p->path.rate_selector = IB_SA_EQ;
	p->path.rate = IB_RATE_10_GBPS;
	p->path.packet_life_time_selector = IB_SA_EQ;
	p->path.packet_life_time = 16;
	p->req = (struct ib_cm_req_param) {
		.primary_path = &p->path, .ppath_sgid_attr = p->sgid,
		.service_id = p->path.service_id,
		.qp_num = p->qp->qp_num, .qp_type = IB_QPT_RC, .starting_psn = 0x123456,
		.responder_resources = 4, .initiator_depth = 1,
		.remote_cm_response_timeout = 20, .local_cm_response_timeout = 20,
		.flow_control = 1, .retry_count = 7, .rnr_retry_count = 7,
		.max_cm_retries = 7,
	};
	answer_hex(p, "opened", p->sgid->gid.raw, 16);
}

static void set_parameter(struct peer *p, const char *args)
{
	char name[16];
	int value;

	if (sscanf(args, "%15s %i", name, &value) != 2)
		answer(p, "error usage\n");
	else if (!strcmp(name, "patience"))	/* for our answer: 4 us << value */
		p->req.local_cm_response_timeout = value;
	else if (!strcmp(name, "hurry"))	/* with the target's answer */
		p->req.remote_cm_response_timeout = value;
	else if (!strcmp(name, "life"))		/* of packets: 4 us << value */
		p->path.packet_life_time = value;
	else if (!strcmp(name, "retries"))	/* of both sides */
		p->req.max_cm_retries = value;
	else if (!strcmp(name, "type"))		/* enum ib_qp_type */
		p->req.qp_type = value;
	else if (!strcmp(name, "reads"))	/* the target may have under way */
		p->req.responder_resources = value;
	else if (!strcmp(name, "pkey"))
		p->path.pkey = cpu_to_be16(value);
	else
		answer(p, "error no such parameter\n");
	if (!p->len)
		answer(p, "set\n");
}

/* Bring the queue pair to the state, as the answer has it. */
static int modify(struct peer *p, enum ib_qp_state state)
{
	struct ib_qp_attr attr = { .qp_state = state };
	int mask, ret = ib_cm_init_qp_attr(p->conn.id, &attr, &mask);

	if (ret)
		return ret;
	if (state == IB_QPS_RTR)
		attr.max_dest_rd_atomic = 4;
	else
		attr.max_rd_atomic = 1;
	return ib_modify_qp(p->qp, &attr, mask);
}

/* Send the request and wait for the answer, which is then in `e`. */
static int request(struct peer *p, struct conn *c, const char *hex, struct event *e)
{
	u8 data[IB_CM_REQ_PRIVATE_DATA_SIZE];
	int ret, len = unhex(hex, data, sizeof(data));

	if (len < 0)
		return len;
	p->req.private_data = data;
	p->req.private_data_len = len;
	ret = ib_send_cm_req(c->id, &p->req);
	p->req.private_data = NULL;
	if (ret)
		return ret;
	do {
		if (!next_event(c, e, TIMEOUT))
			return -ETIMEDOUT;
	} while (e->type == IB_CM_MRA_RECEIVED);
	return 0;
}

static void do_request(struct peer *p, const char *hex, bool confirm)
{
	struct event e;
	int ret = request(p, &p->conn, hex, &e);

	if (!ret && e.type == IB_CM_REP_RECEIVED)
		ret = modify(p, IB_QPS_RTR) ?: modify(p, IB_QPS_RTS);
	if (!ret && e.type == IB_CM_REP_RECEIVED && confirm)
		ret = ib_send_cm_rtu(p->conn.id, NULL, 0);
	if (ret) {
		answer(p, "error connecting: %d\n", ret);
	} else if (e.type == IB_CM_REP_RECEIVED) {
		answer_hex(p, confirm ? "established" : "reply", e.data, e.len);
		answer(p, "memory %llx %x %d\n", p->memory_dma, p->pd->unsafe_global_rkey,
		       MEMORY);
	} else {
		answer_event(p, &e);
	}
}

static void do_again(struct peer *p, const char *hex)
{
	struct event e;
	int ret = 0;

	if (!p->again.id) {
		p->again.id = ib_create_cm_id(p->dev, handler, &p->again);
		ret = PTR_ERR_OR_ZERO(p->again.id);
	}
	ret = ret ?: request(p, &p->again, hex, &e);
	if (ret)
		answer(p, "error connecting again: %d\n", ret);
	else
		answer_event(p, &e);
}

static void do_resolve(struct peer *p)
{
	struct ib_cm_sidr_req_param param = {
		.path = &p->path, .sgid_attr = p->sgid, .service_id = p->path.service_id,
		.timeout_ms = 1000, .max_cm_retries = 7,
	};
	struct event e;
	int ret = ib_send_cm_sidr_req(p->conn.id, &param);

	if (!ret && !next_event(&p->conn, &e, TIMEOUT))
		ret = -ETIMEDOUT;
	if (ret)
		answer(p, "error resolving: %d\n", ret);
	else
		answer_event(p, &e);
}

static void say(struct peer *p, int ret, const char *word)
{
	if (ret)
		answer(p, "error %s: %d\n", word, ret);
	else
		answer(p, "%s\n", word);
}

static void obey(struct peer *p, char *line)
{
	int offset, len, used = 0;
	struct event e;

	if (!strncmp(line, "open ", 5)) {
		do_open(p, line + 5);
	} else if (IS_ERR_OR_NULL(p->conn.id)) {
		answer(p, "error not open\n");
	} else if (!strncmp(line, "set ", 4)) {
		set_parameter(p, line + 4);
	} else if (!strncmp(line, "connect ", 8)) {
		do_request(p, line + 8, true);
	} else if (!strncmp(line, "request ", 8)) {
		do_request(p, line + 8, false);
	} else if (!strncmp(line, "again ", 6)) {
		do_again(p, line + 6);
	} else if (!strncmp(line, "resolve", 7)) {
		do_resolve(p);
	} else if (!strncmp(line, "rtu", 3)) {
		say(p, ib_send_cm_rtu(p->conn.id, NULL, 0), "confirmed");
	} else if (sscanf(line, "reject %d", &len) == 1) {
		/* Who gave up waiting is found by its device's GUID. */
		used = len == IB_CM_REJ_TIMEOUT ? sizeof(p->dev->node_guid) : 0;
		say(p, ib_send_cm_rej(p->conn.id, len, used ? &p->dev->node_guid : NULL, used,
				      NULL, 0), "rejecting");
	} else if (!strncmp(line, "disconnect", 10)) {
		say(p, ib_send_cm_dreq(p->conn.id, NULL, 0), "disconnecting");
	} else if (!strncmp(line, "stubborn", 8)) {
		WRITE_ONCE(p->stubborn, true);
		answer(p, "stubborn\n");
	} else if (sscanf(line, "event %d", &len) == 1) {
		if (next_event(&p->conn, &e, len))
			answer_event(p, &e);
		else
			answer(p, "none\n");
	} else if (!strncmp(line, "send ", 5)) {
		do_send(p, line + 5);
	} else if (sscanf(line, "recv %d", &len) == 1) {
		do_recv(p, len);
	} else if (sscanf(line, "fill %d %n", &offset, &used) == 1 && used &&
		   offset >= 0 && offset < MEMORY) {
		len = unhex(line + used, p->memory + offset, MEMORY - offset);
		answer(p, len < 0 ? "error not hex\n" : "filled\n");
	} else if (sscanf(line, "dump %d %d", &offset, &len) == 2 && offset >= 0 &&
		   len >= 0 && len <= MESSAGE && offset <= MEMORY - len) {
		answer_hex(p, "memory", p->memory + offset, len);
	} else {
		answer(p, "error unknown order\n");
	}
}

/* --- the device file --- */

static int peer_open(struct inode *inode, struct file *file)
{
	struct peer *p = kvzalloc(sizeof(*p), GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	mutex_init(&p->lock);
	p->conn.peer = p->again.peer = p;
	spin_lock_init(&p->conn.lock);
	spin_lock_init(&p->again.lock);
	file->private_data = p;
	return nonseekable_open(inode, file);
}

static int peer_release(struct inode *inode, struct file *file)
{
	struct peer *p = file->private_data;

	close_peer(p);
	kvfree(p);
	return 0;
}

static ssize_t peer_write(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	struct peer *p = file->private_data;
	char *line;

	if (len > LINE)
		return -EMSGSIZE;
	line = memdup_user_nul(text, len);
	if (IS_ERR(line))
		return PTR_ERR(line);
	mutex_lock(&p->lock);
	p->len = p->pos = 0;
	obey(p, line);
	mutex_unlock(&p->lock);
	kfree(line);
	return len;
}

static ssize_t peer_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct peer *p = file->private_data;

	mutex_lock(&p->lock);
	len = min(len, p->len - p->pos);
	if (copy_to_user(to, p->answer + p->pos, len))
		len = 0;
	p->pos += len;
	mutex_unlock(&p->lock);
	return len;
}

static const struct file_operations peer_fops = {
	.owner = THIS_MODULE,
	.open = peer_open,
	.release = peer_release,
	.read = peer_read,
	.write = peer_write,
};

static struct miscdevice peer_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ibcm_peer",
	.fops = &peer_fops,
};

module_misc_device(peer_device);

MODULE_DESCRIPTION("Test peer on the InfiniBand connection manager");
MODULE_LICENSE("GPL");
