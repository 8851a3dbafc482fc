// SPDX-License-Identifier: GPL-2.0
/*
 * One-line functions over kernel inlines and macros, without logic. Those that
 * differ between RDMA headers depend on macros that bindings/probes defines; no
 * other file of the module depends on such differences.
 */
#include <linux/ratelimit.h>
#include "probes_generated.h"
#include "shims.h"

u64 srpt_ib_dma_map_single(struct ib_device *dev, void *cpu, size_t len,
			   enum dma_data_direction dir)
{ return ib_dma_map_single(dev, cpu, len, dir); }
void srpt_ib_dma_unmap_single(struct ib_device *dev, u64 addr, size_t len,
			      enum dma_data_direction dir)
{ ib_dma_unmap_single(dev, addr, len, dir); }
int srpt_ib_dma_mapping_error(struct ib_device *dev, u64 addr)
{ return ib_dma_mapping_error(dev, addr); }
bool srpt_ib_dma_need_sync(struct ib_device *dev, u64 addr)
{ return !ib_uses_virt_dma(dev) && dma_need_sync(dev->dma_device, addr); }
void srpt_ib_dma_sync_single_for_cpu(struct ib_device *dev, u64 addr, size_t len,
				     enum dma_data_direction dir)
{ ib_dma_sync_single_for_cpu(dev, addr, len, dir); }
void srpt_ib_dma_sync_single_for_device(struct ib_device *dev, u64 addr, size_t len,
					enum dma_data_direction dir)
{ ib_dma_sync_single_for_device(dev, addr, len, dir); }
void srpt_cq_silence(struct ib_cq *cq)
{ disable_work_sync(&cq->work); }
void srpt_qp_stand_in(struct ib_qp *stand_in, struct ib_qp *qp)
{ *stand_in = *qp; qp->mrs_used = 0;
	INIT_LIST_HEAD(&stand_in->rdma_mrs); spin_lock_init(&stand_in->mr_lock); }
int srpt_ib_post_recv(struct ib_qp *qp, const struct ib_recv_wr *wr)
{ return ib_post_recv(qp, wr, NULL); }
int srpt_ib_post_srq_recv(struct ib_srq *srq, const struct ib_recv_wr *wr)
{ return ib_post_srq_recv(srq, wr, NULL); }
int srpt_ib_post_send_chain(struct ib_qp *qp, const struct ib_send_wr *wr,
			    const struct ib_send_wr **bad)
{ return ib_post_send(qp, wr, bad); }
u32 srpt_rdma_start_port(const struct ib_device *dev)
{ return rdma_start_port(dev); }
u32 srpt_rdma_end_port(const struct ib_device *dev)
{ return rdma_end_port(dev); }
bool srpt_rdma_protocol_ib(const struct ib_device *dev, u32 port)
{ return rdma_protocol_ib(dev, port); }
bool srpt_rdma_protocol_roce(const struct ib_device *dev, u32 port)
{ return rdma_protocol_roce(dev, port); }
bool srpt_ipv6_mod_enabled(void)
{ return ipv6_mod_enabled(); }
void *srpt_alloc_pages_exact(size_t size)
{ return alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO); }
void srpt_free_pages_exact(void *virt, size_t size)
{ free_pages_exact(virt, size); }
void *srpt_get_free_pages(unsigned int order)
{ return (void *)__get_free_pages((GFP_KERNEL & ~__GFP_DIRECT_RECLAIM) | __GFP_ZERO | __GFP_COMP |
				  __GFP_NOWARN, order); }
void srpt_free_pages(void *virt, unsigned int order)
{ free_pages((unsigned long)virt, order); }
bool srpt_rdma_protocol_iwarp(const struct ib_device *dev, u32 port)
{ return rdma_protocol_iwarp(dev, port); }
bool srpt_rdma_cap_ib_mad(const struct ib_device *dev, u32 port)
{ return rdma_cap_ib_mad(dev, port); }
struct ib_mad_send_buf *srpt_ib_create_send_mad(struct ib_mad_agent *agent, u32 qpn, u16 pkey_index,
						int hdr, int data)
{ return ib_create_send_mad(agent, qpn, pkey_index, 0, hdr, data, GFP_KERNEL,
			    IB_MGMT_BASE_VERSION); }
int srpt_ib_cm_listen(struct ib_cm_id *id, __be64 service_id)
#if SRPT_CM_LISTEN_HAS_MASK
{ return ib_cm_listen(id, service_id, 0); }
#else
{ return ib_cm_listen(id, service_id); }
#endif
int srpt_rdma_reject(struct rdma_cm_id *id, const void *data, u8 len, u8 reason)
#if SRPT_REJECT_HAS_REASON
{ return rdma_reject(id, data, len, reason); }
#else
{ return rdma_reject(id, data, len); }
#endif
struct ib_mad_agent *srpt_ib_register_mad_agent(struct ib_device *dev, u32 port,
						struct ib_mad_reg_req *req,
						ib_mad_send_handler sent,
						ib_mad_recv_handler received, void *context)
#if SRPT_MAD_AGENT_HAS_FLAGS
{ return ib_register_mad_agent(dev, port, IB_QPT_GSI, req, 0, sent, received, context, 0); }
#else
{ return ib_register_mad_agent(dev, port, IB_QPT_GSI, req, 0, sent, received, context); }
#endif
bool srpt_rdma_cap_ib_cm(const struct ib_device *dev, u32 port)
{ return rdma_cap_ib_cm(dev, port); }
void srpt_sg_set_part(struct scatterlist *dst, struct scatterlist *src, unsigned int skip,
		      unsigned int len)
{ sg_set_page(dst, sg_page(src), len, src->offset + skip); }
struct scatterlist *srpt_sg_next(struct scatterlist *sg)
{ return sg_next(sg); }
void srpt_sg_set_one(struct scatterlist *sg, const void *data, unsigned int len)
{ sg_set_buf(sg, data, len); sg_mark_end(sg); }
void srpt_sg_mark_end(struct scatterlist *sg)
{ sg_mark_end(sg); }
void *srpt_dev_get_drvdata(const struct device *dev)
{ return dev_get_drvdata(dev); }
struct kobject *srpt_dev_kobj(struct device *dev)
{ return &dev->kobj; }

static DEFINE_RATELIMIT_STATE(srpt_ratelimit_state, 5 * HZ, 20);
bool srpt_ratelimit(void)
{ return __ratelimit(&srpt_ratelimit_state); }
