/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What sysfs.c (the macros of the files in sysfs) and sysfs.rs (everything
 * else) share: the numbers of the files, the functions that Rust implements,
 * and one-line shims. Read by bindgen. What the files are for is in
 * docs/ABI/sysfs-class-infiniband_srpt.
 */
#ifndef SRPT_SYSFS_H
#define SRPT_SYSFS_H

#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>

/* Files of a port that can be read, and those that can be written, too. */
#define SRPT_PORT_FILES(RO, RW)		\
	RO(login_info)			\
	RO(login_info_rdma_cm)		\
	RO(enabled)			\
	RO(device)			\
	RO(link_layer)			\
	RO(rdma_cm_port)		\
	RO(login_refused)		\
	RW(port_id)			\
	RW(comp_v_mask)			\
	RW(srp_max_rdma_size)		\
	RW(srp_max_rsp_size)		\
	RW(srp_sq_size)			\
	RW(use_srq)

/* Files of a session that can be read; disconnect is not among them. */
#define SRPT_SESSION_FILES(RO)		\
	RO(initiator_port_id)		\
	RO(peer)			\
	RO(channels)			\
	RO(state)			\
	RO(req_lim)			\
	RO(active)			\
	RO(sq_used)			\
	RO(comp_vector)			\
	RO(age)

/* In the order of srp::stats::Counter. */
#define SRPT_COUNTERS(RO)		\
	RO(commands)			\
	RO(reads)			\
	RO(writes)			\
	RO(read_bytes)			\
	RO(write_bytes)			\
	RO(failed)			\
	RO(aborted)			\
	RO(task_management)		\
	RO(malformed)			\
	RO(credits_starved)		\
	RO(sq_full)

/* What is counted about ports only. */
#define SRPT_PORT_COUNTERS(RO)		\
	RO(logins)			\
	RO(logins_refused)

/* In the order of srp::stats::Stage. */
#define SRPT_STAGES(RO)			\
	RO(receive)			\
	RO(engine)			\
	RO(fetch)			\
	RO(send)

/* In the order of the reasons' codes. */
#define SRPT_REFUSALS(RO)		\
	RO(unable_establish)		\
	RO(no_resources)		\
	RO(iu_too_large)		\
	RO(unable_associate)		\
	RO(unsupported_format)		\
	RO(multichannel)		\
	RO(channel_limit)

#define SRPT_NUMBER(_name) SRPT_FILE_##_name,
enum srpt_file {
	SRPT_PORT_FILES(SRPT_NUMBER, SRPT_NUMBER)
	SRPT_SESSION_FILES(SRPT_NUMBER)
	SRPT_FILE_disconnect,
	SRPT_PORT_COUNTERS(SRPT_NUMBER)
};
#undef SRPT_NUMBER

#define SRPT_NUMBER(_name) SRPT_COUNTER_##_name,
enum srpt_counter { SRPT_COUNTERS(SRPT_NUMBER) SRPT_COUNTERS_END };
#undef SRPT_NUMBER
#define SRPT_NUMBER(_name) SRPT_STAGE_##_name,
enum srpt_stage { SRPT_STAGES(SRPT_NUMBER) SRPT_STAGES_END };
#undef SRPT_NUMBER
#define SRPT_NUMBER(_name) SRPT_REFUSAL_##_name,
enum srpt_refusal { SRPT_REFUSALS(SRPT_NUMBER) SRPT_REFUSALS_END };
#undef SRPT_NUMBER

/* Numbers of the files in counters/, latency/ and refusals/. */
enum { SRPT_FIRST_COUNTER = 0x100, SRPT_FIRST_STAGE = 0x200, SRPT_FIRST_REFUSAL = 0x300 };

/* In sysfs.rs. */
ssize_t srpt_port_show(struct device *dev, struct device_attribute *attr, char *buf);
ssize_t srpt_port_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count);
ssize_t srpt_session_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf);
ssize_t srpt_session_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count);

/* In sysfs.c. */
struct class *srpt_class_create(void);
struct device *srpt_port_dir_create(const struct class *class, void *port, const char *name);
void *srpt_port_dir_port(const struct device *dev);
u32 srpt_port_file(const struct device_attribute *attr);
struct kobject *srpt_sessions_dir_create(struct device *dev);
struct kobject *srpt_session_dir_create(struct kobject *sessions, const char *name);
int srpt_session_dir_fill(struct kobject *dir);
u32 srpt_session_file(const struct kobj_attribute *attr);

#endif
