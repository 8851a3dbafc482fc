/* SPDX-License-Identifier: GPL-2.0 */
/* Functions of trace.c, and tracepoints that Rust looks at first. Input of bindgen. */
#ifndef SRPT_TRACE_SHIMS_H
#define SRPT_TRACE_SHIMS_H

#include <linux/tracepoint-defs.h>
#include <linux/types.h>

DECLARE_TRACEPOINT(srpt_gone);
DECLARE_TRACEPOINT(srpt_iu);
DECLARE_TRACEPOINT(srpt_submit);
DECLARE_TRACEPOINT(srpt_rdma_read);
DECLARE_TRACEPOINT(srpt_rdma_write);
DECLARE_TRACEPOINT(srpt_data);
DECLARE_TRACEPOINT(srpt_response);
DECLARE_TRACEPOINT(srpt_sent);

void srpt_trace_login(u64 channel, u64 ini_high, u64 ini_low, u32 req_lim);
void srpt_trace_login_refused(u64 ini_high, u64 ini_low, u32 reason);
void srpt_trace_close(u64 channel, const char *reason);
void srpt_trace_gone(u64 channel);
void srpt_trace_iu(u64 channel, u8 opcode, u64 tag, u32 len);
void srpt_trace_submit(u64 channel, u64 tag, u64 lun, u8 op, u32 bytes);
void srpt_trace_rdma_read(u64 channel, u64 tag, u32 bytes);
void srpt_trace_rdma_write(u64 channel, u64 tag, u32 bytes);
void srpt_trace_data(u64 channel, u64 tag, bool ok);
void srpt_trace_response(u64 channel, u64 tag, u8 status, s32 delta, bool signaled);
void srpt_trace_sent(u64 channel, u64 tag, bool ok);

#endif
