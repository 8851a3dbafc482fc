/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints srpt:*: their fields and formats. The macros of the kernel include
 * this file several times. trace.rs calls the tracepoints through the one-line
 * functions of trace.c.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM srpt

#if !defined(SRPT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SRPT_TRACE_H

#include <linux/tracepoint.h>

/* A login was granted. */
TRACE_EVENT(srpt_login,
	TP_PROTO(u64 channel, u64 ini_high, u64 ini_low, u32 req_lim),
	TP_ARGS(channel, ini_high, ini_low, req_lim),
	TP_STRUCT__entry(
		__field(u64, channel)
		__field(u64, ini_high)
		__field(u64, ini_low)
		__field(u32, req_lim)
	),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->ini_high = ini_high;
		__entry->ini_low = ini_low;
		__entry->req_lim = req_lim;
	),
	TP_printk("channel=%llu initiator=0x%016llx%016llx req_lim=%u",
		__entry->channel, __entry->ini_high, __entry->ini_low, __entry->req_lim)
);

/* A login was refused; reason is the code in SRP_LOGIN_REJ. */
TRACE_EVENT(srpt_login_refused,
	TP_PROTO(u64 ini_high, u64 ini_low, u32 reason),
	TP_ARGS(ini_high, ini_low, reason),
	TP_STRUCT__entry(__field(u64, ini_high) __field(u64, ini_low) __field(u32, reason)),
	TP_fast_assign(
		__entry->ini_high = ini_high;
		__entry->ini_low = ini_low;
		__entry->reason = reason;
	),
	TP_printk("initiator=0x%016llx%016llx reason=0x%x",
		__entry->ini_high, __entry->ini_low, __entry->reason)
);

/* A channel is closed; reason is a srp::machine::channel::CloseReason. */
TRACE_EVENT(srpt_close,
	TP_PROTO(u64 channel, const char *reason),
	TP_ARGS(channel, reason),
	TP_STRUCT__entry(__field(u64, channel) __string(reason, reason)),
	TP_fast_assign(
		__entry->channel = channel;
		__assign_str(reason);
	),
	TP_printk("channel=%llu reason=\"%s\"", __entry->channel, __get_str(reason))
);

/* The tear-down of a channel has finished. */
TRACE_EVENT(srpt_gone,
	TP_PROTO(u64 channel),
	TP_ARGS(channel),
	TP_STRUCT__entry(__field(u64, channel)),
	TP_fast_assign(__entry->channel = channel;),
	TP_printk("channel=%llu", __entry->channel)
);

/* An information unit arrived; tag and opcode are 0 if it is too short for them. */
TRACE_EVENT(srpt_iu,
	TP_PROTO(u64 channel, u8 opcode, u64 tag, u32 len),
	TP_ARGS(channel, opcode, tag, len),
	TP_STRUCT__entry(
		__field(u64, channel)
		__field(u64, tag)
		__field(u32, len)
		__field(u8, opcode)
	),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->opcode = opcode;
		__entry->tag = tag;
		__entry->len = len;
	),
	TP_printk("channel=%llu tag=0x%016llx opcode=0x%02x len=%u",
		__entry->channel, __entry->tag, __entry->opcode, __entry->len)
);

/* A SCSI command is submitted to the engine. */
TRACE_EVENT(srpt_submit,
	TP_PROTO(u64 channel, u64 tag, u64 lun, u8 op, u32 bytes),
	TP_ARGS(channel, tag, lun, op, bytes),
	TP_STRUCT__entry(
		__field(u64, channel)
		__field(u64, tag)
		__field(u64, lun)
		__field(u32, bytes)
		__field(u8, op)
	),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->tag = tag;
		__entry->lun = lun;
		__entry->op = op;
		__entry->bytes = bytes;
	),
	TP_printk("channel=%llu tag=0x%016llx lun=%llu op=0x%02x bytes=%u",
		__entry->channel, __entry->tag, __entry->lun, __entry->op, __entry->bytes)
);

DECLARE_EVENT_CLASS(srpt_bytes,
	TP_PROTO(u64 channel, u64 tag, u32 bytes),
	TP_ARGS(channel, tag, bytes),
	TP_STRUCT__entry(__field(u64, channel) __field(u64, tag) __field(u32, bytes)),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->tag = tag;
		__entry->bytes = bytes;
	),
	TP_printk("channel=%llu tag=0x%016llx bytes=%u",
		__entry->channel, __entry->tag, __entry->bytes)
);

/* RDMA READs of the initiator's data are about to be posted. */
DEFINE_EVENT(srpt_bytes, srpt_rdma_read,
	TP_PROTO(u64 channel, u64 tag, u32 bytes), TP_ARGS(channel, tag, bytes));

/* RDMA WRITEs of data for the initiator are about to be posted, before the response. */
DEFINE_EVENT(srpt_bytes, srpt_rdma_write,
	TP_PROTO(u64 channel, u64 tag, u32 bytes), TP_ARGS(channel, tag, bytes));

DECLARE_EVENT_CLASS(srpt_done,
	TP_PROTO(u64 channel, u64 tag, bool ok),
	TP_ARGS(channel, tag, ok),
	TP_STRUCT__entry(__field(u64, channel) __field(u64, tag) __field(bool, ok)),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->tag = tag;
		__entry->ok = ok;
	),
	TP_printk("channel=%llu tag=0x%016llx ok=%d", __entry->channel, __entry->tag, __entry->ok)
);

/* The initiator's data has arrived or could not be fetched. */
DEFINE_EVENT(srpt_done, srpt_data,
	TP_PROTO(u64 channel, u64 tag, bool ok), TP_ARGS(channel, tag, ok));

/* The send of a response succeeded or failed. */
DEFINE_EVENT(srpt_done, srpt_sent,
	TP_PROTO(u64 channel, u64 tag, bool ok), TP_ARGS(channel, tag, ok));

/* A response is about to be posted; if it is not signaled, no srpt_sent follows. */
TRACE_EVENT(srpt_response,
	TP_PROTO(u64 channel, u64 tag, u8 status, s32 delta, bool signaled),
	TP_ARGS(channel, tag, status, delta, signaled),
	TP_STRUCT__entry(__field(u64, channel) __field(u64, tag) __field(s32, delta)
		__field(u8, status) __field(bool, signaled)),
	TP_fast_assign(
		__entry->channel = channel;
		__entry->tag = tag;
		__entry->status = status;
		__entry->delta = delta;
		__entry->signaled = signaled;
	),
	TP_printk("channel=%llu tag=0x%016llx status=0x%02x delta=%d signaled=%d",
		__entry->channel, __entry->tag, __entry->status, __entry->delta, __entry->signaled)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE srpt_trace
#include <trace/define_trace.h>
