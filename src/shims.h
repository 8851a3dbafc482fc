/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prototypes of the one-line functions over kernel inlines and macros that
 * bindgen does not translate, and of the version's in modinfo.c. Input of bindgen.
 *
 * Not here, nor in shims.c: any logic.
 */
#ifndef SRPT_SHIMS_H
#define SRPT_SHIMS_H

#include <linux/device.h>
#include <linux/scatterlist.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_mad.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>

u64 srpt_ib_dma_map_single(struct ib_device *dev, void *cpu, size_t len,
			   enum dma_data_direction dir);
void srpt_ib_dma_unmap_single(struct ib_device *dev, u64 addr, size_t len,
			      enum dma_data_direction dir);
int srpt_ib_dma_mapping_error(struct ib_device *dev, u64 addr);
bool srpt_ib_dma_need_sync(struct ib_device *dev, u64 addr);
void srpt_ib_dma_sync_single_for_cpu(struct ib_device *dev, u64 addr, size_t len,
				     enum dma_data_direction dir);
void srpt_ib_dma_sync_single_for_device(struct ib_device *dev, u64 addr, size_t len,
					enum dma_data_direction dir);
void srpt_cq_silence(struct ib_cq *cq);
void srpt_qp_stand_in(struct ib_qp *stand_in, struct ib_qp *qp);
int srpt_ib_post_recv(struct ib_qp *qp, const struct ib_recv_wr *wr);
int srpt_ib_post_srq_recv(struct ib_srq *srq, const struct ib_recv_wr *wr);
int srpt_ib_post_send_chain(struct ib_qp *qp, const struct ib_send_wr *wr,
			    const struct ib_send_wr **bad);
u32 srpt_rdma_start_port(const struct ib_device *dev);
u32 srpt_rdma_end_port(const struct ib_device *dev);
bool srpt_rdma_protocol_ib(const struct ib_device *dev, u32 port);
bool srpt_rdma_protocol_roce(const struct ib_device *dev, u32 port);
bool srpt_rdma_protocol_iwarp(const struct ib_device *dev, u32 port);
bool srpt_ipv6_mod_enabled(void);
void *srpt_alloc_pages_exact(size_t size);
void srpt_free_pages_exact(void *virt, size_t size);
void *srpt_get_free_pages(unsigned int order);
void srpt_free_pages(void *virt, unsigned int order);
bool srpt_rdma_cap_ib_mad(const struct ib_device *dev, u32 port);
struct ib_mad_send_buf *srpt_ib_create_send_mad(struct ib_mad_agent *agent, u32 qpn, u16 pkey_index,
						int hdr, int data);
int srpt_ib_cm_listen(struct ib_cm_id *id, __be64 service_id);
int srpt_rdma_reject(struct rdma_cm_id *id, const void *data, u8 len, u8 reason);
struct ib_mad_agent *srpt_ib_register_mad_agent(struct ib_device *dev, u32 port,
						struct ib_mad_reg_req *req,
						ib_mad_send_handler sent,
						ib_mad_recv_handler received, void *context);
bool srpt_rdma_cap_ib_cm(const struct ib_device *dev, u32 port);
void srpt_sg_set_part(struct scatterlist *dst, struct scatterlist *src, unsigned int skip,
		      unsigned int len);
void srpt_sg_set_one(struct scatterlist *sg, const void *data, unsigned int len);
void srpt_sg_mark_end(struct scatterlist *sg);
struct scatterlist *srpt_sg_next(struct scatterlist *sg);
bool srpt_ratelimit(void);
const char *srpt_version(void);
void *srpt_dev_get_drvdata(const struct device *dev);
struct kobject *srpt_dev_kobj(struct device *dev);

#endif
