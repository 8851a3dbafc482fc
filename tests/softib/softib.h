/* SPDX-License-Identifier: GPL-2.0 */
/*
 * InfiniBand over Ethernet frames, for rdma_rxe: what rxe.patch calls, and what
 * it keeps per port. softib.c has the code.
 */
#ifndef SOFTIB_H
#define SOFTIB_H

#include <linux/if_ether.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

/* The Ethernet protocol number for experiments at one site. */
#define SOFTIB_PROTOCOL	htons(ETH_P_802_EX1)

enum {
	SOFTIB_PORTS	= 2,	/* of a device at most */
	SOFTIB_PKEYS	= 8,	/* in the P_Key table of a port */
};

/*
 * A port: which it is, set once; then the state that the subnet manager sets, as
 * far as it is not in struct ib_port_attr. port->port_lock guards that and
 * port->attr.
 */
struct softib {
	struct rxe_dev *rxe;
	struct rxe_port *port;
	struct net_device *ndev;	/* is compared, and no more */
	u32 number;
	u32 smi_index;		/* of queue pair 0, as port->qp_gsi_index is of 1 */
	bool disabled;		/* by the subnet manager: no link */
	u8 neighbor_mtu;	/* enum ib_mtu; 0 before it is set */
	u8 mkey_protection;
	u8 vl_high_limit;
	__be16 mkey_lease;
	__be64 mkey;
	__be16 pkeys[SOFTIB_PKEYS];

	struct mutex trap_lock;	/* guards what follows */
	struct ib_mad_agent *agent;
	struct delayed_work trap_work;
	unsigned int traps_left;	/* until the subnet manager has to have heard it */
	u32 trap_id;
};

struct net_device;
struct rdma_ah_attr;
struct rxe_av;
struct rxe_dev;
struct rxe_pkt_info;
struct rxe_port;
struct rxe_qp;
struct sk_buff;

int softib_init(void);
void softib_exit(void);
int softib_port_init(void);
void softib_port_exit(void);
int softib_setup(struct rxe_dev *rxe, const char *name, struct net_device *ndev);

/* ports: by number, a wrong one is taken for 1; by network card */
struct softib *softib_of(struct rxe_dev *rxe, u32 number);
struct softib *softib_on(struct rxe_dev *rxe, struct net_device *ndev);

/* address vectors */
void softib_av_from_attr(struct rxe_av *av, struct rdma_ah_attr *attr);
void softib_av_to_attr(struct rxe_av *av, struct rdma_ah_attr *attr);

/* packets on their way out */
u16 softib_pkey_at(struct softib *ib, u16 index);
u16 softib_pkey(struct rxe_qp *qp, u16 ud_index);
struct sk_buff *softib_init_packet(struct rxe_dev *rxe, struct rxe_av *av, int paylen,
				   struct rxe_pkt_info *pkt);
int softib_prepare(struct rxe_av *av, struct rxe_pkt_info *pkt, struct sk_buff *skb);
int softib_send(struct sk_buff *skb, struct rxe_pkt_info *pkt);
__be32 softib_icrc(struct rxe_pkt_info *pkt, __be32 crc);

/* packets on their way in */
bool softib_pkey_matches(struct rxe_pkt_info *pkt, u16 pkey, struct rxe_qp *qp);
bool softib_comes_from(struct rxe_pkt_info *pkt, struct rxe_av *av);
struct ib_grh *softib_grh(struct rxe_pkt_info *pkt);
void softib_complete(struct rxe_pkt_info *pkt, struct ib_wc *wc);
void softib_complete_user(struct rxe_pkt_info *pkt, struct ib_uverbs_wc *wc);

#endif /* SOFTIB_H */
