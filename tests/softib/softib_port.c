// SPDX-License-Identifier: GPL-2.0
/*
 * The InfiniBand port of a changed rdma_rxe: its state, the subnet management
 * agent by which a subnet manager changes that, and the trap that tells the subnet
 * manager that the capabilities of the port have changed. A test tool, no product.
 *
 * States and attributes are those of the specification; M_Keys are kept and not
 * checked, there is one virtual lane, and one GUID per port. A device has one port,
 * or two.
 *
 * Not here: packets (softib.c).
 */
#include <linux/netdevice.h>
#include <linux/unaligned.h>
#include <linux/utsname.h>
#include <net/addrconf.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_smi.h>

#include "rxe.h"
#include "rxe_loc.h"

/* The second port of devices that are made while it is set; "" is none. */
static char second_port[IFNAMSIZ];
module_param_string(second_port, second_port, sizeof(second_port), 0644);
MODULE_PARM_DESC(second_port, "network card of the second port of devices that are made");

/* --- trap 144 -------------------------------------------------------------- */

/* A trap is repeated, as packets may be lost, until the subnet manager answers. */
enum { TRAPS = 5 };
#define TRAP_PAUSE	HZ

enum {
	NOTICE_GENERIC	= 0x80,
	NOTICE_INFORM	= 4,
	NOTICE_CA	= 1,
};

struct softib_notice {
	u8 type;
	u8 producer[3];
	__be16 number;
	__be16 issuer_lid;
	__be16 toggle_count;
	/* trap 144 */
	__be16 reserved;
	__be16 lid;
	u8 reserved2;
	u8 other_changes;
	__be32 capabilities;
	u8 reserved3[44];
} __packed;
static_assert(sizeof(struct softib_notice) == IB_SMP_DATA_SIZE);

static void softib_sent(struct ib_mad_agent *agent, struct ib_mad_send_wc *wc)
{
	rdma_destroy_ah(wc->send_buf->ah, RDMA_DESTROY_AH_SLEEPABLE);
	ib_free_send_mad(wc->send_buf);
}

static void send_trap(struct softib *ib)
{
	struct ib_mad_agent *agent = ib->agent;
	struct ib_port_attr *port = &ib->port->attr;
	struct rdma_ah_attr attr = { .type = RDMA_AH_ATTR_TYPE_IB };
	struct softib_notice *notice;
	struct ib_mad_send_buf *buf;
	struct ib_smp *smp;

	buf = ib_create_send_mad(agent, 0, 0, 0, IB_MGMT_MAD_HDR, IB_MGMT_MAD_DATA, GFP_KERNEL,
				 IB_MGMT_BASE_VERSION);
	if (IS_ERR(buf))
		return;
	rdma_ah_set_port_num(&attr, ib->number);
	rdma_ah_set_dlid(&attr, port->sm_lid);
	rdma_ah_set_sl(&attr, port->sm_sl);
	buf->ah = rdma_create_ah(agent->qp->pd, &attr, RDMA_CREATE_AH_SLEEPABLE);
	if (IS_ERR(buf->ah))
		goto free;

	smp = buf->mad;
	smp->base_version = IB_MGMT_BASE_VERSION;
	smp->mgmt_class = IB_MGMT_CLASS_SUBN_LID_ROUTED;
	smp->class_version = 1;
	smp->method = IB_MGMT_METHOD_TRAP;
	smp->tid = cpu_to_be64((u64)agent->hi_tid << 32 | ib->trap_id);
	smp->attr_id = IB_SMP_ATTR_NOTICE;
	notice = (struct softib_notice *)smp->data;
	notice->type = NOTICE_GENERIC | NOTICE_INFORM;
	notice->producer[2] = NOTICE_CA;
	notice->number = IB_NOTICE_TRAP_CAP_MASK_CHG;
	notice->issuer_lid = cpu_to_be16(port->lid);
	notice->lid = cpu_to_be16(port->lid);
	notice->capabilities = cpu_to_be32(port->port_cap_flags);
	if (!ib_post_send_mad(buf, NULL))
		return;
	rdma_destroy_ah(buf->ah, RDMA_DESTROY_AH_SLEEPABLE);
free:
	ib_free_send_mad(buf);
}

static void trap_work(struct work_struct *work)
{
	struct softib *ib = container_of(work, struct softib, trap_work.work);

	mutex_lock(&ib->trap_lock);
	/* A subnet manager that is yet to bring up the port reads the mask itself. */
	if (ib->port->attr.state != IB_PORT_ACTIVE || !ib->port->attr.sm_lid)
		ib->traps_left = 0;
	if (ib->agent && ib->traps_left) {
		ib->traps_left--;
		send_trap(ib);
		mod_delayed_work(rxe_wq, &ib->trap_work, TRAP_PAUSE);
	}
	mutex_unlock(&ib->trap_lock);
}

static void trap(struct softib *ib)
{
	mutex_lock(&ib->trap_lock);
	if (ib->agent) {
		ib->traps_left = TRAPS;
		ib->trap_id++;
		mod_delayed_work(rxe_wq, &ib->trap_work, 0);
	}
	mutex_unlock(&ib->trap_lock);
}

static void trap_was_heard(struct softib *ib, __be64 tid)
{
	mutex_lock(&ib->trap_lock);
	if ((u32)be64_to_cpu(tid) == ib->trap_id)
		ib->traps_left = 0;
	mutex_unlock(&ib->trap_lock);
}

static void stop_traps(struct softib *ib)
{
	struct ib_mad_agent *agent = ib->agent;

	if (!agent)
		return;
	mutex_lock(&ib->trap_lock);
	ib->agent = NULL;
	mutex_unlock(&ib->trap_lock);
	cancel_delayed_work_sync(&ib->trap_work);
	ib_unregister_mad_agent(agent);
}

static void softib_remove(struct ib_device *dev, void *data)
{
	struct rxe_dev *rxe = to_rdev(dev);
	u32 number;

	rdma_for_each_port(dev, number)
		stop_traps(softib_of(rxe, number));
}

/* As a client of the device, which goes before the management datagrams do. */
static int softib_add(struct ib_device *dev)
{
	struct ib_mad_agent *agent;
	struct softib *ib;
	u32 number;

	if (dev->ops.driver_id != RDMA_DRIVER_RXE)
		return -EOPNOTSUPP;
	rdma_for_each_port(dev, number) {
		agent = ib_register_mad_agent(dev, number, IB_QPT_SMI, NULL, 0, softib_sent, NULL,
					      NULL, 0);
		if (IS_ERR(agent)) {
			softib_remove(dev, NULL);
			return PTR_ERR(agent);
		}
		ib = softib_of(to_rdev(dev), number);
		mutex_lock(&ib->trap_lock);
		ib->agent = agent;
		mutex_unlock(&ib->trap_lock);
	}
	return 0;
}

static struct ib_client softib_client = {
	.name = "softib",
	.add = softib_add,
	.remove = softib_remove,
};

/* --- the port -------------------------------------------------------------- */

static void raise(struct softib *ib, enum ib_event_type type)
{
	struct ib_event event = {
		.device = &ib->rxe->ib_dev,
		.element.port_num = ib->number,
		.event = type,
	};

	ib_dispatch_event(&event);
}

/*
 * The state follows the link. From INIT on it is the subnet manager that changes
 * it, except that a link that goes takes it down.
 */
static void follow_link(struct softib *ib, struct net_device *ndev)
{
	struct ib_port_attr *port = &ib->port->attr;
	bool link = ib_get_curr_port_state(ndev) == IB_PORT_ACTIVE;
	enum ib_port_state before;

	spin_lock_bh(&ib->port->port_lock);
	before = port->state;
	if (link && !ib->disabled) {
		if (before == IB_PORT_DOWN)
			WRITE_ONCE(port->state, IB_PORT_INIT);
		port->phys_state = IB_PORT_PHYS_STATE_LINK_UP;
	} else {
		WRITE_ONCE(port->state, IB_PORT_DOWN);
		port->phys_state = ib->disabled ? IB_PORT_PHYS_STATE_DISABLED :
				   IB_PORT_PHYS_STATE_POLLING;
	}
	link = port->state != IB_PORT_DOWN;
	spin_unlock_bh(&ib->port->port_lock);

	if (!link && before != IB_PORT_DOWN)
		rxe_counter_inc(ib->rxe, RXE_CNT_LINK_DOWNED);
	if (!link && before == IB_PORT_ACTIVE)
		raise(ib, IB_EVENT_PORT_ERR);
}

static void report_port_event(struct ib_device *dev, struct net_device *ndev,
			      unsigned long what)
{
	follow_link(softib_on(to_rdev(dev), ndev), ndev);
}

/* The subnet manager takes the link down for a moment, or until it says more. */
static void bounce(struct softib *ib, bool disable)
{
	struct net_device *ndev = ib_device_get_netdev(&ib->rxe->ib_dev, ib->number);

	if (!ndev)
		return;
	ib->disabled = true;
	follow_link(ib, ndev);
	if (!disable) {
		ib->disabled = false;
		follow_link(ib, ndev);
	}
	dev_put(ndev);
}

static int enable_driver(struct ib_device *dev)
{
	struct net_device *ndev;
	u32 number;

	rdma_for_each_port(dev, number) {
		ndev = ib_device_get_netdev(dev, number);
		if (!ndev)
			return -ENODEV;
		follow_link(softib_of(to_rdev(dev), number), ndev);
		dev_put(ndev);
	}
	return 0;
}

static u8 neighbor_mtu(struct softib *ib)
{
	u8 most = ib->port->attr.active_mtu, set = ib->neighbor_mtu;

	return set && set < most ? set : most;
}

static int query_port(struct ib_device *dev, u32 number, struct ib_port_attr *attr)
{
	struct softib *ib = softib_of(to_rdev(dev), number);
	struct rxe_port *port = ib->port;

	spin_lock_bh(&port->port_lock);
	*attr = port->attr;
	attr->max_mtu = port->attr.active_mtu;
	attr->active_mtu = neighbor_mtu(ib);
	attr->subnet_prefix = be64_to_cpu(port->subnet_prefix);
	spin_unlock_bh(&port->port_lock);
	return 0;
}

static int query_gid(struct ib_device *dev, u32 number, int index, union ib_gid *gid)
{
	struct rxe_port *port = softib_of(to_rdev(dev), number)->port;

	if (index)
		return -EINVAL;
	gid->global.subnet_prefix = port->subnet_prefix;
	gid->global.interface_id = port->port_guid;
	return 0;
}

static int query_pkey(struct ib_device *dev, u32 number, u16 index, u16 *pkey)
{
	if (index >= SOFTIB_PKEYS)
		return -EINVAL;
	*pkey = softib_pkey_at(softib_of(to_rdev(dev), number), index);
	return 0;
}

static int modify_port(struct ib_device *dev, u32 number, int mask, struct ib_port_modify *attr)
{
	struct softib *ib = softib_of(to_rdev(dev), number);
	struct ib_port_attr *port = &ib->port->attr;
	u32 before;
	bool changed;

	if (mask & ~IB_PORT_RESET_QKEY_CNTR)
		return -EOPNOTSUPP;
	spin_lock_bh(&ib->port->port_lock);
	before = port->port_cap_flags;
	port->port_cap_flags |= attr->set_port_cap_mask;
	port->port_cap_flags &= ~attr->clr_port_cap_mask;
	changed = port->port_cap_flags != before;
	if (mask & IB_PORT_RESET_QKEY_CNTR)
		port->qkey_viol_cntr = 0;
	spin_unlock_bh(&ib->port->port_lock);
	if (changed)
		trap(ib);
	return 0;
}

static enum rdma_link_layer get_link_layer(struct ib_device *dev, u32 number)
{
	return IB_LINK_LAYER_INFINIBAND;
}

static int get_port_immutable(struct ib_device *dev, u32 number, struct ib_port_immutable *port)
{
	port->core_cap_flags = RDMA_CORE_PORT_IBA_IB;
	port->pkey_tbl_len = SOFTIB_PKEYS;
	port->gid_tbl_len = 1;
	port->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

/* --- the subnet management agent ------------------------------------------- */

enum {
	UNSUPPORTED	= 3 << 2,	/* of method and attribute */
	INVALID		= 7 << 2,	/* value */
};

/* LinkSpeed SDR; LinkWidth 1X and 4X */
enum { SDR = 1, WIDTH_1X = 1, WIDTH_4X = 2 };

/* values for PortPhysicalState in Set(PortInfo) */
enum { PHYS_POLLING = 2, PHYS_DISABLED = 3 };

static void get_node_info(struct softib *ib, void *data)
{
	struct ib_node_info *info = data;
	struct rxe_dev *rxe = ib->rxe;

	info->base_version = IB_MGMT_BASE_VERSION;
	info->class_version = 1;
	info->node_type = RDMA_NODE_IB_CA;
	info->num_ports = rxe->ib_dev.phys_port_cnt;
	info->sys_guid = rxe->attr.sys_image_guid;
	info->node_guid = rxe->ib_dev.node_guid;
	info->port_guid = ib->port->port_guid;
	info->partition_cap = cpu_to_be16(SOFTIB_PKEYS);
	info->device_id = cpu_to_be16(rxe->attr.vendor_part_id);
	info->revision = cpu_to_be32(rxe->attr.hw_ver);
	info->local_port_num = ib->number;
	put_unaligned_be24(rxe->attr.vendor_id, info->vendor_id);
}

static void get_port_info(struct softib *ib, void *data)
{
	struct ib_port_attr *port = &ib->port->attr;
	struct ib_port_info *info = data;

	spin_lock_bh(&ib->port->port_lock);
	info->mkey = ib->mkey;
	info->gid_prefix = ib->port->subnet_prefix;
	info->lid = cpu_to_be16(port->lid);
	info->sm_lid = cpu_to_be16(port->sm_lid);
	info->cap_mask = cpu_to_be32(port->port_cap_flags);
	info->mkey_lease_period = ib->mkey_lease;
	info->local_port_num = ib->number;
	info->link_width_enabled = WIDTH_1X | WIDTH_4X;
	info->link_width_supported = WIDTH_1X | WIDTH_4X;
	info->link_width_active = WIDTH_4X;
	info->linkspeed_portstate = SDR << 4 | port->state;
	info->portphysstate_linkdown = port->phys_state << 4 | PHYS_POLLING;
	info->mkeyprot_resv_lmc = ib->mkey_protection << 6 | port->lmc;
	info->linkspeedactive_enabled = SDR << 4 | SDR;
	info->neighbormtu_mastersmsl = neighbor_mtu(ib) << 4 | port->sm_sl;
	info->vlcap_inittype = 1 << 4;
	info->vl_high_limit = ib->vl_high_limit;
	info->inittypereply_mtucap = port->active_mtu;
	info->operationalvl_pei_peo_fpi_fpo = 1 << 4;
	info->pkey_violations = cpu_to_be16(port->bad_pkey_cntr);
	info->qkey_violations = cpu_to_be16(port->qkey_viol_cntr);
	info->guid_cap = 1;
	info->clientrereg_resv_subnetto = port->subnet_timeout;
	info->resv_resptimevalue = 18;		/* 1 s */
	spin_unlock_bh(&ib->port->port_lock);
}

static int set_port_info(struct softib *ib, const void *data)
{
	struct rxe_port *port = ib->port;
	struct ib_port_attr *attr = &port->attr;
	const struct ib_port_info *info = data;
	u8 state = info->linkspeed_portstate & 0xf;
	u8 physical = info->portphysstate_linkdown >> 4;
	bool gid, lid, sm, active;
	int status = 0;

	spin_lock_bh(&port->port_lock);
	gid = port->subnet_prefix != info->gid_prefix;
	lid = attr->lid != be16_to_cpu(info->lid) || attr->lmc != (info->mkeyprot_resv_lmc & 7);
	sm = attr->sm_lid != be16_to_cpu(info->sm_lid) ||
	     attr->sm_sl != (info->neighbormtu_mastersmsl & 0xf);
	port->subnet_prefix = info->gid_prefix;
	attr->lid = be16_to_cpu(info->lid);
	attr->lmc = info->mkeyprot_resv_lmc & 7;
	attr->sm_lid = be16_to_cpu(info->sm_lid);
	attr->sm_sl = info->neighbormtu_mastersmsl & 0xf;
	attr->subnet_timeout = info->clientrereg_resv_subnetto & 0x1f;
	ib->mkey = info->mkey;
	ib->mkey_lease = info->mkey_lease_period;
	ib->mkey_protection = info->mkeyprot_resv_lmc >> 6;
	ib->vl_high_limit = info->vl_high_limit;
	ib->neighbor_mtu = info->neighbormtu_mastersmsl >> 4;

	active = state == IB_PORT_ACTIVE && attr->state == IB_PORT_ARMED;
	if (active || (state == IB_PORT_ARMED && attr->state == IB_PORT_INIT))
		WRITE_ONCE(attr->state, state);
	else if (state != IB_PORT_NOP && state != IB_PORT_DOWN && state != attr->state)
		status = INVALID;
	spin_unlock_bh(&port->port_lock);

	if (state == IB_PORT_DOWN || physical == PHYS_DISABLED || physical == PHYS_POLLING)
		bounce(ib, physical == PHYS_DISABLED);
	if (gid)
		raise(ib, IB_EVENT_GID_CHANGE);
	if (lid)
		raise(ib, IB_EVENT_LID_CHANGE);
	if (sm)
		raise(ib, IB_EVENT_SM_CHANGE);
	if (active)
		raise(ib, IB_EVENT_PORT_ACTIVE);
	if (info->clientrereg_resv_subnetto & 0x80)
		raise(ib, IB_EVENT_CLIENT_REREGISTER);
	return status;
}

/* Users of a table that did not change want to hear nothing. */
static void set_pkeys(struct softib *ib, const void *data)
{
	bool changed;

	spin_lock_bh(&ib->port->port_lock);
	changed = memcmp(ib->pkeys, data, sizeof(ib->pkeys));
	memcpy(ib->pkeys, data, sizeof(ib->pkeys));
	spin_unlock_bh(&ib->port->port_lock);
	if (changed)
		raise(ib, IB_EVENT_PKEY_CHANGE);
}

/* Carries out a request and fills in the answer; returns its status. */
static int answer(struct softib *ib, const struct ib_smp *in, struct ib_smp *out)
{
	struct ib_device *dev = &ib->rxe->ib_dev;
	bool set = in->method == IB_MGMT_METHOD_SET;
	u32 modifier = be32_to_cpu(in->attr_mod);
	int status = 0;

	switch (in->attr_id) {
	case IB_SMP_ATTR_NODE_DESC:
		if (set)
			return UNSUPPORTED;
		memcpy(out->data, dev->node_desc, IB_SMP_DATA_SIZE);
		return 0;
	case IB_SMP_ATTR_NODE_INFO:
		if (set)
			return UNSUPPORTED;
		get_node_info(ib, out->data);
		return 0;
	case IB_SMP_ATTR_PORT_INFO:
		/* of this port, or of one by its number */
		if (modifier > dev->phys_port_cnt)
			return INVALID;
		if (modifier)
			ib = softib_of(ib->rxe, modifier);
		if (set)
			status = set_port_info(ib, in->data);
		get_port_info(ib, out->data);
		return status;
	case IB_SMP_ATTR_GUID_INFO:
		if (modifier)
			return INVALID;
		memcpy(out->data, &ib->port->port_guid, sizeof(ib->port->port_guid));
		return 0;
	case IB_SMP_ATTR_PKEY_TABLE:
		if (modifier)
			return INVALID;
		if (set)
			set_pkeys(ib, in->data);
		memcpy(out->data, ib->pkeys, sizeof(ib->pkeys));
		return 0;
	case IB_SMP_ATTR_SL_TO_VL_TABLE:
	case IB_SMP_ATTR_VL_ARB_TABLE:
		return 0;		/* zeroes: all on lane 0 */
	}
	return UNSUPPORTED;
}

static int process_mad(struct ib_device *dev, int flags, u32 number, const struct ib_wc *wc,
		       const struct ib_grh *grh, const struct ib_mad *in, struct ib_mad *out,
		       size_t *out_size, u16 *out_pkey_index)
{
	const struct ib_smp *smp = (const struct ib_smp *)in;
	struct ib_smp *reply = (struct ib_smp *)out;
	struct softib *ib = softib_of(to_rdev(dev), number);
	bool directed = smp->mgmt_class == IB_MGMT_CLASS_SUBN_DIRECTED_ROUTE;
	bool asks = smp->method == IB_MGMT_METHOD_GET || smp->method == IB_MGMT_METHOD_SET;
	int status;

	if (!directed && smp->mgmt_class != IB_MGMT_CLASS_SUBN_LID_ROUTED) {
		/* rdma_rxe also answers answers. */
		if (!asks)
			return IB_MAD_RESULT_SUCCESS;
		/* rdma_rxe knows one port; it counts per device. */
		status = rxe_process_mad(dev, flags, 1, wc, grh, in, out, out_size,
					 out_pkey_index);
		/* Its answers have no header. */
		if (status & IB_MAD_RESULT_REPLY) {
			out->mad_hdr = in->mad_hdr;
			out->mad_hdr.method = IB_MGMT_METHOD_GET_RESP;
		}
		return status;
	}
	if (smp->method == IB_MGMT_METHOD_TRAP_REPRESS) {
		trap_was_heard(ib, smp->tid);
		return IB_MAD_RESULT_SUCCESS | IB_MAD_RESULT_CONSUMED;
	}
	/* The subnet manager, a program, answers for SMInfo, and wants all else. */
	if (!asks || smp->attr_id == IB_SMP_ATTR_SM_INFO)
		return IB_MAD_RESULT_SUCCESS;

	*reply = *smp;
	memset(reply->data, 0, sizeof(reply->data));
	status = answer(ib, smp, reply);
	reply->method = IB_MGMT_METHOD_GET_RESP;
	reply->status = cpu_to_be16(status) | (directed ? IB_SMP_DIRECTION : 0);
	return IB_MAD_RESULT_SUCCESS | IB_MAD_RESULT_REPLY;
}

/* --- devices ------------------------------------------------ */

static const struct ib_device_ops softib_ops = {
	.enable_driver = enable_driver,
	.get_link_layer = get_link_layer,
	.get_port_immutable = get_port_immutable,
	.modify_port = modify_port,
	.process_mad = process_mad,
	.query_gid = query_gid,
	.query_pkey = query_pkey,
	.query_port = query_port,
	.report_port_event = report_port_event,
};

static void setup_port(struct rxe_dev *rxe, u32 number, struct rxe_port *port,
		       struct net_device *ndev)
{
	struct softib *ib = softib_of(rxe, number);

	ib->rxe = rxe;
	ib->port = port;
	ib->number = number;
	ib->ndev = ndev;
	ib->pkeys[0] = cpu_to_be16(IB_DEFAULT_PKEY_FULL);
	mutex_init(&ib->trap_lock);
	INIT_DELAYED_WORK(&ib->trap_work, trap_work);

	port->attr.gid_tbl_len = 1;
	port->attr.pkey_tbl_len = SOFTIB_PKEYS;
	port->attr.active_width = IB_WIDTH_4X;
	port->attr.port_cap_flags = IB_PORT_TRAP_SUP | IB_PORT_SYS_IMAGE_GUID_SUP |
				    IB_PORT_CM_SUP | IB_PORT_CAP_MASK_NOTICE_SUP |
				    IB_PORT_CLIENT_REG_SUP;
	follow_link(ib, ndev);
}

/* Gives a device that is being made a second port, on this network card. */
static int add_second_port(struct rxe_dev *rxe, struct net_device *ndev)
{
	struct rxe_port *port = &rxe->second_port;
	struct rxe_dev *other = rxe_get_dev_from_net(ndev);
	int err;

	if (other) {
		ib_device_put(&other->ib_dev);
		return -EEXIST;
	}
	rxe->ib_dev.phys_port_cnt = SOFTIB_PORTS;
	err = ib_device_set_netdev(&rxe->ib_dev, ndev, SOFTIB_PORTS);
	if (err)
		return err;
	*port = rxe->port;
	spin_lock_init(&port->port_lock);
	addrconf_addr_eui48((u8 *)&port->port_guid, ndev->dev_addr);
	setup_port(rxe, SOFTIB_PORTS, port, ndev);
	return 0;
}

/*
 * Before the device is registered, and before it gets rdma_rxe's own operations,
 * which do not replace those that are there. The port has the GUID of rdma_rxe,
 * the node one that can be told from it, as with hardware.
 */
int softib_setup(struct rxe_dev *rxe, const char *name, struct net_device *ndev)
{
	struct ib_device *dev = &rxe->ib_dev;
	u8 *guid = (u8 *)&dev->node_guid;
	char *second_name = strim(second_port);
	struct net_device *second;
	int err = 0;

	guid[3] = 0x03;
	guid[4] = 0x00;
	rxe->attr.sys_image_guid = dev->node_guid;
	rxe->attr.max_pkeys = SOFTIB_PKEYS;
	snprintf(dev->node_desc, sizeof(dev->node_desc), "%s %s", init_utsname()->nodename, name);
	ib_set_device_ops(dev, &softib_ops);
	setup_port(rxe, 1, &rxe->port, ndev);

	if (*second_name) {
		second = dev_get_by_name(dev_net(ndev), second_name);
		if (!second)
			return -ENODEV;
		/* rdma_rxe keeps one MTU for both. */
		err = second == ndev || second->mtu != ndev->mtu ? -EINVAL :
		      add_second_port(rxe, second);
		dev_put(second);
	}
	return err;
}

int softib_port_init(void)
{
	return ib_register_client(&softib_client);
}

void softib_port_exit(void)
{
	ib_unregister_client(&softib_client);
}
