// SPDX-License-Identifier: GPL-2.0
/* Instantiates the tracepoints of srpt_trace.h; one-line functions over them for Rust. */
#include "trace.h"

#define CREATE_TRACE_POINTS
#include "srpt_trace.h"

void srpt_trace_login(u64 channel, u64 ini_high, u64 ini_low, u32 req_lim)
{ trace_srpt_login(channel, ini_high, ini_low, req_lim); }
void srpt_trace_login_refused(u64 ini_high, u64 ini_low, u32 reason)
{ trace_srpt_login_refused(ini_high, ini_low, reason); }
void srpt_trace_close(u64 channel, const char *reason)
{ trace_srpt_close(channel, reason); }
void srpt_trace_gone(u64 channel)
{ trace_srpt_gone(channel); }
void srpt_trace_iu(u64 channel, u8 opcode, u64 tag, u32 len)
{ trace_srpt_iu(channel, opcode, tag, len); }
void srpt_trace_submit(u64 channel, u64 tag, u64 lun, u8 op, u32 bytes)
{ trace_srpt_submit(channel, tag, lun, op, bytes); }
void srpt_trace_rdma_read(u64 channel, u64 tag, u32 bytes)
{ trace_srpt_rdma_read(channel, tag, bytes); }
void srpt_trace_rdma_write(u64 channel, u64 tag, u32 bytes)
{ trace_srpt_rdma_write(channel, tag, bytes); }
void srpt_trace_data(u64 channel, u64 tag, bool ok)
{ trace_srpt_data(channel, tag, ok); }
void srpt_trace_response(u64 channel, u64 tag, u8 status, s32 delta, bool signaled)
{ trace_srpt_response(channel, tag, status, delta, signaled); }
void srpt_trace_sent(u64 channel, u64 tag, bool ok)
{ trace_srpt_sent(channel, tag, ok); }
