// SPDX-License-Identifier: GPL-2.0
/*
 * The macros of the module parameters. Parameters declared with the kernel
 * crate's module! macro do not appear in sysfs, hence C.
 *
 * Not here: any logic (params.rs).
 */
#include <linux/module.h>

#include "params.h"

int srpt_param_srp_max_req_size = 8276;
module_param_named(srp_max_req_size, srpt_param_srp_max_req_size, int, 0444);
MODULE_PARM_DESC(srp_max_req_size, "Maximum size of SRP request messages in bytes (996 and more, default 8276; what is above 65536 counts as that).");

unsigned int srpt_param_srpt_srq_size = 4095;
module_param_named(srpt_srq_size, srpt_param_srpt_srq_size, uint, SRPT_SRQ_SIZE_MODE);
MODULE_PARM_DESC(srpt_srq_size, "Shared receive queue (SRQ) size (4..65535, default 4095).");

module_param_call(srpt_service_guid, srpt_param_guid_set, srpt_param_guid_get, NULL, 0444);
__MODULE_PARM_TYPE(srpt_service_guid, "hex u64");
MODULE_PARM_DESC(srpt_service_guid, "Value to use for ioc_guid, id_ext and the IB/CM service id instead of the node_guid of the first HCA.");

module_param_call(rdma_cm_port, srpt_param_cm_port_set, srpt_param_cm_port_get, NULL, 0644);
__MODULE_PARM_TYPE(rdma_cm_port, "ushort");
MODULE_PARM_DESC(rdma_cm_port, "Port number of the RDMA/CM listener; 0 (the default) means none. May be changed at run time.");

bool srpt_param_ib_cm_on_roce;
module_param_named(ib_cm_on_roce, srpt_param_ib_cm_on_roce, bool, 0444);
MODULE_PARM_DESC(ib_cm_on_roce, "Accept native InfiniBand (IB/CM) logins on RoCE ports, too (default N). For tests.");

unsigned int srpt_param_target_requests = 1;
module_param_named(target_requests, srpt_param_target_requests, uint, 0444);
MODULE_PARM_DESC(target_requests, "Initiators that get SRP_CRED_REQ, SRP_AER_REQ and SRP_T_LOGOUT: 0 none, 1 those that ask for them or are known to handle them (default), 2 all.");

unsigned int srpt_param_max_channels_per_nexus = 256;
module_param_named(max_channels_per_nexus, srpt_param_max_channels_per_nexus, uint, 0444);
MODULE_PARM_DESC(max_channels_per_nexus, "Most channels of an initiator (default 256, 0: no bound). A channel takes about 2.6 MB.");

unsigned int srpt_param_max_channels_per_entry = 512;
module_param_named(max_channels_per_entry, srpt_param_max_channels_per_entry, uint, 0444);
MODULE_PARM_DESC(max_channels_per_entry, "Most channels through an access control entry (default 512, 0: no bound).");

unsigned int srpt_param_max_channels_per_port = 8192;
module_param_named(max_channels_per_port, srpt_param_max_channels_per_port, uint, 0444);
MODULE_PARM_DESC(max_channels_per_port, "Most channels on a port of an HCA (default 8192, 0: no bound).");

unsigned int srpt_param_max_unconfirmed_logins = 64;
module_param_named(max_unconfirmed_logins, srpt_param_max_unconfirmed_logins, uint, 0444);
MODULE_PARM_DESC(max_unconfirmed_logins, "Most logins through an access control entry that the initiator has not confirmed (default 64, 0: no bound).");

unsigned int srpt_param_max_inline_data = 64;
module_param_named(max_inline_data, srpt_param_max_inline_data, uint, 0444);
MODULE_PARM_DESC(max_inline_data, "Largest response in bytes that is copied into its work request, so that the HCA need not fetch it (default 64, 0: none; what is above 512 counts as that).");

/* The lock that the kernel holds around every set and get operation. */
void srpt_param_lock(void) { kernel_param_lock(THIS_MODULE); }
void srpt_param_unlock(void) { kernel_param_unlock(THIS_MODULE); }
