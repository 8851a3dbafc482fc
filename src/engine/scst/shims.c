// SPDX-License-Identifier: GPL-2.0
/* One-line shims over SCST's inlines, macros and fields; no logic. */
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/workqueue.h>
#include "shims.h"

/* Before 3.10 SCST's symbols are in no namespace. */
#ifdef SCST_NAMESPACE
MODULE_IMPORT_NS(SCST_NAMESPACE);
#endif

/* Before 3.10 SCST expects one caller of scst_cmd_init_done() at a time, unless told otherwise. */
#if SCST_VERSION_CODE < SCST_VERSION(3, 10, 0, 0)
#define SRPT_SCST_HAS_CALLERS(tgtt) ((tgtt)->multithreaded_init_done = 1)
#else
#define SRPT_SCST_HAS_CALLERS(tgtt) ((void)0)
#endif

/* In scst.ko if and only if it was built with tracing, which makes struct scst_cmd longer. */
extern typeof(void (const void *data, int len)) debug_print_buffer __weak;
bool srpt_scst_core_traces(void)
{ return debug_print_buffer != NULL; }
#if defined(CONFIG_SCST_TRACING) || defined(CONFIG_SCST_DEBUG)
bool srpt_scst_headers_trace(void) { return true; }
#else
bool srpt_scst_headers_trace(void) { return false; }
#endif

bool srpt_scst_may_sleep(void)
{ return preemptible() && !rcu_preempt_depth(); }
int srpt_scst_register_template(struct scst_tgt_template *tgtt)
{ SRPT_SCST_HAS_CALLERS(tgtt); return scst_register_target_template(tgtt); }
void *srpt_scst_tgt_priv(struct scst_tgt *tgt)
{ return smp_load_acquire(&tgt->tgt_priv); }
void srpt_scst_set_tgt_priv(struct scst_tgt *tgt, void *priv)
{ smp_store_release(&tgt->tgt_priv, priv); }
void *srpt_scst_sess_priv(struct scst_session *sess)
{ return scst_sess_get_tgt_priv(sess); }
struct scst_tgt *srpt_scst_kobj_to_tgt(struct kobject *kobj)
{ return container_of(kobj, struct scst_tgt, tgt_kobj); }
struct scst_session *srpt_scst_kobj_to_sess(struct kobject *kobj)
{ return container_of(kobj, struct scst_session, sess_kobj); }

void srpt_scst_set_tag(struct scst_cmd *cmd, u64 tag)
{ scst_cmd_set_tag(cmd, tag); }
void srpt_scst_set_queue_type(struct scst_cmd *cmd, enum scst_cmd_queue_type type)
{ scst_cmd_set_queue_type(cmd, type); }
void srpt_scst_set_expected(struct scst_cmd *cmd, int dir, int len)
{ scst_cmd_set_expected(cmd, dir, len); }
void srpt_scst_ask_for_buf(struct scst_cmd *cmd)
{ scst_cmd_set_tgt_need_alloc_data_buf(cmd); }
bool srpt_scst_takes_buf(struct scst_cmd *cmd)
{ return !cmd->dh_data_buf_alloced && !cmd->cmd_dif_actions; }
int srpt_scst_bufflen(struct scst_cmd *cmd)
{ return scst_cmd_get_bufflen(cmd); }
void srpt_scst_set_buf(struct scst_cmd *cmd, struct scatterlist *sg)
{ scst_cmd_set_tgt_sg(cmd, sg, 1); }
void srpt_scst_set_hw_error(struct scst_cmd *cmd)
{ scst_set_cmd_error(cmd, SCST_LOAD_SENSE(scst_sense_hardw_error)); }
void srpt_scst_set_delivery(struct scst_cmd *cmd, int status)
{ scst_set_delivery_status(cmd, status); }
bool srpt_scst_aborted_on_xmit(struct scst_cmd *cmd)
{ return scst_cmd_aborted_on_xmit(cmd); }
int srpt_scst_direction(struct scst_cmd *cmd)
{ return scst_cmd_get_data_direction(cmd); }
int srpt_scst_read_len(struct scst_cmd *cmd)
{ return scst_cmd_get_adjusted_resp_data_len(cmd); }
struct scatterlist *srpt_scst_sg(struct scst_cmd *cmd)
{ return scst_cmd_get_sg(cmd); }
int srpt_scst_sg_cnt(struct scst_cmd *cmd)
{ return scst_cmd_get_sg_cnt(cmd); }
int srpt_scst_write_fields(struct scst_cmd *cmd, struct scatterlist **sg, int *sg_cnt)
{ return scst_cmd_get_write_fields(cmd, sg, sg_cnt); }
u8 srpt_scst_status(struct scst_cmd *cmd)
{ return scst_cmd_get_status(cmd); }
const u8 *srpt_scst_sense(struct scst_cmd *cmd)
{ return scst_sense_valid(cmd->sense) ? scst_cmd_get_sense_buffer(cmd) : NULL; }
int srpt_scst_sense_len(struct scst_cmd *cmd)
{ return scst_cmd_get_sense_buffer_len(cmd); }
bool srpt_scst_resid(struct scst_cmd *cmd, int *resid)
{ return scst_get_resid(cmd, resid, NULL); }

void srpt_scst_flush_timeouts(struct scst_session *sess)
{ flush_work(&sess->hw_pending_work.work); }
int srpt_scst_abort_task(struct scst_session *sess, u64 tag, void *priv)
{ return scst_rx_mgmt_fn_tag(sess, SCST_ABORT_TASK, tag, SCST_NON_ATOMIC, priv); }
int srpt_scst_mgmt_lun(struct scst_session *sess, int fn, const void *lun, void *priv)
{ return scst_rx_mgmt_fn_lun(sess, fn, lun, 8, SCST_NON_ATOMIC, priv); }
void *srpt_scst_mgmt_priv(struct scst_mgmt_cmd *mcmd)
{ return scst_mgmt_cmd_get_tgt_priv(mcmd); }
int srpt_scst_mgmt_status(struct scst_mgmt_cmd *mcmd)
{ return scst_mgmt_cmd_get_status(mcmd); }
int srpt_scst_aen_event(struct scst_aen *aen)
{ return scst_aen_get_event_fn(aen); }
struct scst_session *srpt_scst_aen_sess(struct scst_aen *aen)
{ return scst_aen_get_sess(aen); }
const u8 *srpt_scst_aen_sense(struct scst_aen *aen)
{ return scst_aen_get_sense(aen); }
int srpt_scst_aen_sense_len(struct scst_aen *aen)
{ return scst_aen_get_sense_len(aen); }
