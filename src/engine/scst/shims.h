/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prototypes of the one-line shims over SCST's inlines, macros and fields; no
 * logic. They hide the layout of SCST's structures from the Rust code.
 */
#ifndef SRPT_SCST_SHIMS_H
#define SRPT_SCST_SHIMS_H

#include <linux/kobject.h>
#include <scst.h>

/* In shims.c. */
bool srpt_scst_may_sleep(void);
bool srpt_scst_core_traces(void);
bool srpt_scst_headers_trace(void);
int srpt_scst_register_template(struct scst_tgt_template *tgtt);
void *srpt_scst_tgt_priv(struct scst_tgt *tgt);
void srpt_scst_set_tgt_priv(struct scst_tgt *tgt, void *priv);
void *srpt_scst_sess_priv(struct scst_session *sess);
struct scst_tgt *srpt_scst_kobj_to_tgt(struct kobject *kobj);
struct scst_session *srpt_scst_kobj_to_sess(struct kobject *kobj);
void srpt_scst_set_tag(struct scst_cmd *cmd, u64 tag);
void srpt_scst_set_queue_type(struct scst_cmd *cmd, enum scst_cmd_queue_type type);
void srpt_scst_set_expected(struct scst_cmd *cmd, int dir, int len);
void srpt_scst_ask_for_buf(struct scst_cmd *cmd);
bool srpt_scst_takes_buf(struct scst_cmd *cmd);
int srpt_scst_bufflen(struct scst_cmd *cmd);
void srpt_scst_set_buf(struct scst_cmd *cmd, struct scatterlist *sg);
void srpt_scst_set_hw_error(struct scst_cmd *cmd);
void srpt_scst_set_delivery(struct scst_cmd *cmd, int status);
bool srpt_scst_aborted_on_xmit(struct scst_cmd *cmd);
int srpt_scst_direction(struct scst_cmd *cmd);
int srpt_scst_read_len(struct scst_cmd *cmd);
struct scatterlist *srpt_scst_sg(struct scst_cmd *cmd);
int srpt_scst_sg_cnt(struct scst_cmd *cmd);
int srpt_scst_write_fields(struct scst_cmd *cmd, struct scatterlist **sg, int *sg_cnt);
u8 srpt_scst_status(struct scst_cmd *cmd);
const u8 *srpt_scst_sense(struct scst_cmd *cmd);
int srpt_scst_sense_len(struct scst_cmd *cmd);
bool srpt_scst_resid(struct scst_cmd *cmd, int *resid);
void srpt_scst_flush_timeouts(struct scst_session *sess);
int srpt_scst_abort_task(struct scst_session *sess, u64 tag, void *priv);
int srpt_scst_mgmt_lun(struct scst_session *sess, int fn, const void *lun, void *priv);
void *srpt_scst_mgmt_priv(struct scst_mgmt_cmd *mcmd);
int srpt_scst_mgmt_status(struct scst_mgmt_cmd *mcmd);
int srpt_scst_aen_event(struct scst_aen *aen);
struct scst_session *srpt_scst_aen_sess(struct scst_aen *aen);
const u8 *srpt_scst_aen_sense(struct scst_aen *aen);
int srpt_scst_aen_sense_len(struct scst_aen *aen);

/* In params.c. */
extern unsigned int srpt_scst_param_max_rdma_size;
extern unsigned int srpt_scst_param_max_rsp_size;
extern unsigned int srpt_scst_param_sq_size;
extern bool srpt_scst_param_use_srq;
extern bool srpt_scst_param_session_per_channel;

#endif
