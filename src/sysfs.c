// SPDX-License-Identifier: GPL-2.0
/*
 * The macros of the files in sysfs: names and modes. What the files show and
 * take is in admin.rs, what leads there in sysfs.rs. No logic lives here.
 */
#include "sysfs.h"

struct srpt_port_attr {
	struct device_attribute attr;
	u32 file;
};

struct srpt_session_attr {
	struct kobj_attribute attr;
	u32 file;
};

#define PORT(_prefix, _name, _mode, _store, _file) \
	static struct srpt_port_attr _prefix##_name = { __ATTR(_name, _mode, srpt_port_show, _store), _file };
#define PORT_RO(_name) PORT(port_, _name, 0444, NULL, SRPT_FILE_##_name)
#define PORT_RW(_name) PORT(port_, _name, 0644, srpt_port_store, SRPT_FILE_##_name)
#define PORT_COUNTER(_name) PORT(port_count_, _name, 0444, NULL, SRPT_FIRST_COUNTER + SRPT_COUNTER_##_name)
#define PORT_TOTAL(_name) PORT(port_count_, _name, 0444, NULL, SRPT_FILE_##_name)
#define PORT_STAGE(_name) PORT(port_stage_, _name, 0444, NULL, SRPT_FIRST_STAGE + SRPT_STAGE_##_name)
#define PORT_REFUSAL(_name) PORT(port_refusal_, _name, 0444, NULL, SRPT_FIRST_REFUSAL + SRPT_REFUSAL_##_name)
SRPT_PORT_FILES(PORT_RO, PORT_RW)
SRPT_COUNTERS(PORT_COUNTER)
SRPT_PORT_COUNTERS(PORT_TOTAL)
SRPT_STAGES(PORT_STAGE)
SRPT_REFUSALS(PORT_REFUSAL)

#define IN_PORT(_name) &port_##_name.attr.attr,
#define IN_COUNTERS(_name) &port_count_##_name.attr.attr,
#define IN_LATENCY(_name) &port_stage_##_name.attr.attr,
#define IN_REFUSALS(_name) &port_refusal_##_name.attr.attr,
static struct attribute *port_files[] = { SRPT_PORT_FILES(IN_PORT, IN_PORT) NULL };
static struct attribute *port_counters[] = { SRPT_COUNTERS(IN_COUNTERS) SRPT_PORT_COUNTERS(IN_COUNTERS) NULL };
static struct attribute *port_latency[] = { SRPT_STAGES(IN_LATENCY) NULL };
static struct attribute *port_refusals[] = { SRPT_REFUSALS(IN_REFUSALS) NULL };
static const struct attribute_group port_group = { .attrs = port_files };
static const struct attribute_group port_counters_group = { .name = "counters", .attrs = port_counters };
static const struct attribute_group port_latency_group = { .name = "latency", .attrs = port_latency };
static const struct attribute_group port_refusals_group = { .name = "refusals", .attrs = port_refusals };
static const struct attribute_group *port_groups[] = {
	&port_group, &port_counters_group, &port_latency_group, &port_refusals_group, NULL
};

#define SESSION(_prefix, _name, _file) \
	static struct srpt_session_attr _prefix##_name = { __ATTR(_name, 0444, srpt_session_show, NULL), _file };
#define SESSION_RO(_name) SESSION(session_, _name, SRPT_FILE_##_name)
#define SESSION_COUNTER(_name) SESSION(session_count_, _name, SRPT_FIRST_COUNTER + SRPT_COUNTER_##_name)
#define SESSION_STAGE(_name) SESSION(session_stage_, _name, SRPT_FIRST_STAGE + SRPT_STAGE_##_name)
SRPT_SESSION_FILES(SESSION_RO)
SRPT_COUNTERS(SESSION_COUNTER)
SRPT_STAGES(SESSION_STAGE)
static struct srpt_session_attr session_disconnect = {
	__ATTR(disconnect, 0200, NULL, srpt_session_store), SRPT_FILE_disconnect
};

#define IN_SESSION(_name) &session_##_name.attr.attr,
#define IN_SESSION_COUNTERS(_name) &session_count_##_name.attr.attr,
#define IN_SESSION_LATENCY(_name) &session_stage_##_name.attr.attr,
static struct attribute *session_files[] = { SRPT_SESSION_FILES(IN_SESSION) IN_SESSION(disconnect) NULL };
static struct attribute *session_counters[] = { SRPT_COUNTERS(IN_SESSION_COUNTERS) NULL };
static struct attribute *session_latency[] = { SRPT_STAGES(IN_SESSION_LATENCY) NULL };
static const struct attribute_group session_group = { .attrs = session_files };
static const struct attribute_group session_counters_group = { .name = "counters", .attrs = session_counters };
static const struct attribute_group session_latency_group = { .name = "latency", .attrs = session_latency };
static const struct attribute_group *session_groups[] = {
	&session_group, &session_counters_group, &session_latency_group, NULL
};

struct class *srpt_class_create(void)
{ return class_create("infiniband_srpt"); }
struct device *srpt_port_dir_create(const struct class *class, void *port, const char *name)
{ return device_create_with_groups(class, NULL, 0, port, port_groups, "%s", name); }
void *srpt_port_dir_port(const struct device *dev)
{ return dev_get_drvdata(dev); }
u32 srpt_port_file(const struct device_attribute *attr)
{ return container_of(attr, struct srpt_port_attr, attr)->file; }
struct kobject *srpt_sessions_dir_create(struct device *dev)
{ return kobject_create_and_add("sessions", &dev->kobj); }
struct kobject *srpt_session_dir_create(struct kobject *sessions, const char *name)
{ return kobject_create_and_add(name, sessions); }
int srpt_session_dir_fill(struct kobject *dir)
{ return sysfs_create_groups(dir, session_groups); }
u32 srpt_session_file(const struct kobj_attribute *attr)
{ return container_of(attr, struct srpt_session_attr, attr)->file; }
