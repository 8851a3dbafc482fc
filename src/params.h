/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interface between params.c (the module_param macros) and params.rs (the
 * logic): variables, set and get operations, and the parameter lock. Input of
 * bindgen.
 */
#ifndef SRPT_PARAMS_H
#define SRPT_PARAMS_H

#include <linux/moduleparam.h>

/* In params.c: written while the module loads (0444), only read afterwards. */
extern int srpt_param_srp_max_req_size;
extern bool srpt_param_ib_cm_on_roce;
extern unsigned int srpt_param_target_requests;
extern unsigned int srpt_param_max_channels_per_nexus;
extern unsigned int srpt_param_max_channels_per_entry;
extern unsigned int srpt_param_max_channels_per_port;
extern unsigned int srpt_param_max_unconfirmed_logins;
extern unsigned int srpt_param_max_inline_data;
/* In params.c: with some engines written later, too. */
extern unsigned int srpt_param_srpt_srq_size;
void srpt_param_lock(void);
void srpt_param_unlock(void);

/* In params.rs: the set and get operations of the other parameters. */
int srpt_param_guid_set(const char *val, const struct kernel_param *kp);
int srpt_param_guid_get(char *buf, const struct kernel_param *kp);
int srpt_param_cm_port_set(const char *val, const struct kernel_param *kp);
int srpt_param_cm_port_get(char *buf, const struct kernel_param *kp);

#endif
