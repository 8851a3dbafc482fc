// SPDX-License-Identifier: GPL-2.0
/*
 * InfiniBand over Ethernet frames, for rdma_rxe: packets with the headers of the
 * InfiniBand link layer. A test tool, no product.
 *
 * A packet is what follows the Ethernet header: LRH, GRH if there is one, BTH and
 * so on, without the VCRC. Frames go to the broadcast address, and a port takes
 * those with its own LID, with a multicast LID, and, for queue pair 0, with the
 * permissive LID. That is a cable between two ports. Partitions, and what may be
 * sent in which state of the port, are those of the specification.
 *
 * Not here: the port and who manages it (softib_port.c); what rdma_rxe does as
 * ever, and calls this from (rxe.patch).
 */
#include <linux/crc32.h>
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/unaligned.h>

#include "rxe.h"
#include "rxe_loc.h"

MODULE_VERSION("softib");

/* local route header */
struct softib_lrh {
	u8 vl_version;
	u8 sl_next;
	__be16 dlid;
	__be16 words;		/* from here to the ICRC */
	__be16 slid;
} __packed;

#define PERMISSIVE	be16_to_cpu(IB_LID_PERMISSIVE)
#define FIRST_MULTICAST	be16_to_cpu(IB_MULTICAST_LID_BASE)
#define GRH_NEXT_HEADER	0x1b

/* In rxe_av.dmac, as there is no MAC address. User space has the type, too. */
struct softib_av {
	__be16 dlid;
	u8 path_bits;
	u8 sl;
	u8 has_grh;
	u8 unused;
};
static_assert(sizeof(struct softib_av) == ETH_ALEN);

static struct softib_av *softib_av(struct rxe_av *av)
{
	return (struct softib_av *)av->dmac;
}

/* --- ports ------------------------------------------------------------------ */

struct softib *softib_of(struct rxe_dev *rxe, u32 number)
{
	return &rxe->softib[number == SOFTIB_PORTS && rxe->ib_dev.phys_port_cnt == SOFTIB_PORTS];
}

struct softib *softib_on(struct rxe_dev *rxe, struct net_device *ndev)
{
	struct softib *second = softib_of(rxe, SOFTIB_PORTS);

	return second->ndev == ndev ? second : softib_of(rxe, 1);
}

static struct softib *softib_of_pkt(struct rxe_pkt_info *pkt)
{
	return softib_of(pkt->rxe, pkt->port_num);
}

static u16 path_mask(struct rxe_port *port)
{
	return (1 << port->attr.lmc) - 1;
}

/* --- address vectors ------------------------------------------------------- */

void softib_av_from_attr(struct rxe_av *av, struct rdma_ah_attr *attr)
{
	struct softib_av *ib = softib_av(av);

	ib->dlid = cpu_to_be16(rdma_ah_get_dlid(attr));
	ib->path_bits = rdma_ah_get_path_bits(attr);
	ib->sl = rdma_ah_get_sl(attr) & 0xf;
	ib->has_grh = !!(rdma_ah_get_ah_flags(attr) & IB_AH_GRH);
}

void softib_av_to_attr(struct rxe_av *av, struct rdma_ah_attr *attr)
{
	struct softib_av *ib = softib_av(av);

	attr->type = RDMA_AH_ATTR_TYPE_IB;
	rdma_ah_set_dlid(attr, be16_to_cpu(ib->dlid));
	rdma_ah_set_path_bits(attr, ib->path_bits);
	rdma_ah_set_sl(attr, ib->sl);
	rdma_ah_set_ah_flags(attr, ib->has_grh ? IB_AH_GRH : 0);
}

/* --- packets on their way out ---------------------------------------------- */

/* An entry of the P_Key table; 0 is no P_Key. */
u16 softib_pkey_at(struct softib *ib, u16 index)
{
	return index < SOFTIB_PKEYS ? be16_to_cpu(READ_ONCE(ib->pkeys[index])) : 0;
}

/* What a queue pair sends; queue pair 1 is told with each message. */
u16 softib_pkey(struct rxe_qp *qp, u16 ud_index)
{
	struct softib *ib = softib_of(to_rdev(qp->ibqp.device), qp->attr.port_num);

	switch (qp_type(qp)) {
	case IB_QPT_SMI:
		return IB_DEFAULT_PKEY_FULL;
	case IB_QPT_GSI:
		return softib_pkey_at(ib, ud_index);
	default:
		return softib_pkey_at(ib, qp->attr.pkey_index);
	}
}

struct sk_buff *softib_init_packet(struct rxe_dev *rxe, struct rxe_av *av, int paylen,
				   struct rxe_pkt_info *pkt)
{
	u32 number = softib_of(rxe, av->port_num)->number;
	struct net_device *ndev = ib_device_get_netdev(&rxe->ib_dev, number);
	int room = sizeof(struct softib_lrh) + sizeof(struct ib_grh);
	struct sk_buff *skb;

	if (!ndev)
		return NULL;
	room += LL_RESERVED_SPACE(ndev);
	dev_put(ndev);
	skb = alloc_skb(room + paylen, GFP_ATOMIC);
	if (!skb)
		return NULL;
	skb_reserve(skb, room);
	skb->protocol = SOFTIB_PROTOCOL;
	pkt->rxe = rxe;
	pkt->port_num = number;
	pkt->hdr = skb_put(skb, paylen);
	return skb;
}

int softib_prepare(struct rxe_av *av, struct rxe_pkt_info *pkt, struct sk_buff *skb)
{
	struct rxe_port *port = softib_of_pkt(pkt)->port;
	struct softib_av *ib = softib_av(av);
	u16 lid = port->attr.lid;
	struct softib_lrh *lrh;
	struct ib_grh *grh;

	pkt->mask &= ~RXE_GRH_MASK;
	if (ib->has_grh) {
		grh = __skb_push(skb, sizeof(*grh));
		grh->version_tclass_flow = cpu_to_be32(6 << 28 | av->grh.traffic_class << 20 |
						       (av->grh.flow_label & 0xfffff));
		grh->paylen = cpu_to_be16(pkt->paylen);
		grh->next_hdr = GRH_NEXT_HEADER;
		grh->hop_limit = av->grh.hop_limit;
		grh->sgid.global.subnet_prefix = port->subnet_prefix;
		grh->sgid.global.interface_id = port->port_guid;
		memcpy(&grh->dgid, &av->grh.dgid, sizeof(grh->dgid));
		pkt->mask |= RXE_GRH_MASK;
	}
	lrh = __skb_push(skb, sizeof(*lrh));
	lrh->vl_version = qp_type(pkt->qp) == IB_QPT_SMI ? 15 << 4 : 0;
	lrh->sl_next = ib->sl << 4 | (ib->has_grh ? IB_LNH_IBA_GLOBAL : IB_LNH_IBA_LOCAL);
	lrh->dlid = ib->dlid;
	lrh->words = cpu_to_be16(skb->len / 4);
	lrh->slid = ib->dlid == IB_LID_PERMISSIVE || !lid ? IB_LID_PERMISSIVE :
		    cpu_to_be16(lid | (ib->path_bits & path_mask(port)));
	skb_reset_network_header(skb);
	return 0;
}

/* Is this a LID of the port, and no other's? */
static bool is_own(struct rxe_port *port, u16 dlid)
{
	return port->attr.lid && (dlid & ~path_mask(port)) == port->attr.lid;
}

static void loop_back(struct sk_buff *skb, struct rxe_pkt_info *pkt)
{
	memcpy(SKB_TO_PKT(skb), pkt, sizeof(*pkt));
	if (WARN_ON(!ib_device_try_get(&pkt->rxe->ib_dev))) {
		kfree_skb(skb);
		return;
	}
	skb_pull(skb, pkt->hdr - skb->data);
	rxe_rcv(skb);
}

/* The packet is gone in any case. One that is lost on its way is no error. */
int softib_send(struct sk_buff *skb, struct rxe_pkt_info *pkt)
{
	struct softib_lrh *lrh = (struct softib_lrh *)skb->data;
	struct rxe_port *port = softib_of_pkt(pkt)->port;
	enum ib_port_state state = READ_ONCE(port->attr.state);
	struct net_device *ndev;

	if (is_own(port, be16_to_cpu(lrh->dlid))) {
		loop_back(skb, pkt);
		return 0;
	}
	if (state == IB_PORT_DOWN || (state != IB_PORT_ACTIVE && qp_type(pkt->qp) != IB_QPT_SMI))
		goto drop;
	ndev = ib_device_get_netdev(&pkt->rxe->ib_dev, pkt->port_num);
	if (!ndev)
		goto drop;
	skb->dev = ndev;
	if (dev_hard_header(skb, ndev, be16_to_cpu(SOFTIB_PROTOCOL), ndev->broadcast, NULL,
			    skb->len) < 0)
		kfree_skb(skb);
	else
		dev_queue_xmit(skb);
	dev_put(ndev);
	return 0;
drop:
	kfree_skb(skb);
	return 0;
}

/* Continues the ICRC over all headers from the BTH on; those before may change. */
__be32 softib_icrc(struct rxe_pkt_info *pkt, __be32 crc)
{
	u8 bth[RXE_BTH_BYTES];
	u32 sum = (__force u32)crc;

	memcpy(bth, pkt->hdr, sizeof(bth));
	bth[4] = 0xff;			/* is reserved, and may change, too */
	sum = crc32_le(sum, bth, sizeof(bth));
	sum = crc32_le(sum, pkt->hdr + RXE_BTH_BYTES,
		       rxe_opcode[pkt->opcode].length - RXE_BTH_BYTES);
	return (__force __be32)sum;
}

/* --- packets on their way in ----------------------------------------------- */

static struct softib_lrh *lrh_of(struct rxe_pkt_info *pkt)
{
	void *after = pkt->mask & RXE_GRH_MASK ? softib_grh(pkt) : (void *)pkt->hdr;

	return after - sizeof(struct softib_lrh);
}

/* The GRH that a packet came with, or zeroes that stand for none. */
struct ib_grh *softib_grh(struct rxe_pkt_info *pkt)
{
	static struct ib_grh none;

	if (!(pkt->mask & RXE_GRH_MASK))
		return &none;
	return (struct ib_grh *)pkt->hdr - 1;
}

static bool is_for_us(struct rxe_port *port, u16 dlid, u32 qpn)
{
	enum ib_port_state state = READ_ONCE(port->attr.state);

	if (state == IB_PORT_DOWN || (state == IB_PORT_INIT && qpn))
		return false;
	if (dlid == PERMISSIVE)
		return qpn == 0;
	return dlid >= FIRST_MULTICAST || is_own(port, dlid);
}

static int softib_rcv(struct sk_buff *skb, struct net_device *ndev, struct packet_type *type,
		      struct net_device *orig_dev)
{
	struct softib_lrh *lrh;
	struct rxe_pkt_info *pkt;
	struct softib *ib;
	struct rxe_dev *rxe;
	int length, headers;
	bool global;
	u8 *bth;

	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb)
		return NET_RX_DROP;
	/* rxe_rcv() lets go of it. */
	rxe = rxe_get_dev_from_net(ndev);
	if (!rxe)
		goto drop;
	if (skb_linearize(skb) || skb->len < sizeof(*lrh))
		goto put;
	lrh = (struct softib_lrh *)skb->data;
	global = (lrh->sl_next & 3) == IB_LNH_IBA_GLOBAL;
	if (!global && (lrh->sl_next & 3) != IB_LNH_IBA_LOCAL)
		goto put;
	headers = sizeof(*lrh) + (global ? sizeof(struct ib_grh) : 0);
	length = 4 * (be16_to_cpu(lrh->words) & 0x7ff);
	/* Ethernet pads what is short. */
	if (length > skb->len || length < headers + RXE_BTH_BYTES + RXE_ICRC_SIZE)
		goto put;
	bth = skb->data + headers;
	ib = softib_on(rxe, ndev);
	if (!is_for_us(ib->port, be16_to_cpu(lrh->dlid), get_unaligned_be24(bth + 5)))
		goto put;
	if (pskb_trim(skb, length))
		goto put;
	skb_pull(skb, headers);

	pkt = SKB_TO_PKT(skb);
	memset(pkt, 0, sizeof(*pkt));
	pkt->rxe = rxe;
	pkt->port_num = ib->number;
	pkt->hdr = bth;
	pkt->mask = global ? RXE_GRH_MASK : 0;
	pkt->paylen = length - headers;
	rxe_rcv(skb);
	return NET_RX_SUCCESS;
put:
	ib_device_put(&rxe->ib_dev);
drop:
	kfree_skb(skb);
	return NET_RX_DROP;
}

static struct packet_type softib_packets = {
	.type = SOFTIB_PROTOCOL,
	.func = softib_rcv,
};

/* Queue pair 0 takes any, queue pair 1 any of the table, others one. */
bool softib_pkey_matches(struct rxe_pkt_info *pkt, u16 pkey, struct rxe_qp *qp)
{
	struct softib *ib = softib_of_pkt(pkt);
	int index;

	switch (qp_type(qp)) {
	case IB_QPT_SMI:
		return true;
	case IB_QPT_GSI:
		for (index = 0; index < SOFTIB_PKEYS; index++) {
			if (pkey_match(pkey, softib_pkey_at(ib, index))) {
				pkt->pkey_index = index;
				return true;
			}
		}
		return false;
	default:
		pkt->pkey_index = qp->attr.pkey_index;
		return pkey_match(pkey, softib_pkey_at(ib, pkt->pkey_index));
	}
}

/* A connection takes packets from its peer's LID only. */
bool softib_comes_from(struct rxe_pkt_info *pkt, struct rxe_av *av)
{
	return lrh_of(pkt)->slid == softib_av(av)->dlid;
}

void softib_complete(struct rxe_pkt_info *pkt, struct ib_wc *wc)
{
	struct softib_lrh *lrh = lrh_of(pkt);

	wc->wc_flags = pkt->mask & RXE_GRH_MASK ? IB_WC_GRH : 0;
	wc->network_hdr_type = RDMA_NETWORK_IB;
	wc->slid = be16_to_cpu(lrh->slid);
	wc->sl = lrh->sl_next >> 4;
	wc->dlid_path_bits = be16_to_cpu(lrh->dlid) & path_mask(softib_of_pkt(pkt)->port);
	wc->pkey_index = pkt->pkey_index;
}

void softib_complete_user(struct rxe_pkt_info *pkt, struct ib_uverbs_wc *wc)
{
	struct softib_lrh *lrh = lrh_of(pkt);

	wc->wc_flags = pkt->mask & RXE_GRH_MASK ? IB_WC_GRH : 0;
	wc->slid = be16_to_cpu(lrh->slid);
	wc->sl = lrh->sl_next >> 4;
	wc->dlid_path_bits = be16_to_cpu(lrh->dlid) & path_mask(softib_of_pkt(pkt)->port);
	wc->pkey_index = pkt->pkey_index;
}

int softib_init(void)
{
	int err = softib_port_init();

	if (!err)
		dev_add_pack(&softib_packets);
	return err;
}

void softib_exit(void)
{
	dev_remove_pack(&softib_packets);
	softib_port_exit();
}
