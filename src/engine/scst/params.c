// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters of SCST's own SRP target, with its names, defaults and
 * permissions, and one that it does not have: session_per_channel. With other
 * engines these are not module parameters. See params.rs.
 */
#include <linux/module.h>
#include "shims.h"

unsigned int srpt_scst_param_max_rdma_size = 65536;
module_param_named(srp_max_rdma_size, srpt_scst_param_max_rdma_size, uint, 0644);
MODULE_PARM_DESC(srp_max_rdma_size, "Maximum size of SRP RDMA transfers in bytes, as device management reports it (default 65536).");

unsigned int srpt_scst_param_max_rsp_size = 256;
module_param_named(srp_max_rsp_size, srpt_scst_param_max_rsp_size, uint, 0644);
MODULE_PARM_DESC(srp_max_rsp_size, "Maximum size of SRP response messages of new channels in bytes (at least 40, default 256).");

unsigned int srpt_scst_param_sq_size = 256;
module_param_named(srpt_sq_size, srpt_scst_param_sq_size, uint, 0444);
MODULE_PARM_DESC(srpt_sq_size, "Size of the send queue of a channel (at least 16, default 256).");

bool srpt_scst_param_use_srq;
module_param_named(use_srq, srpt_scst_param_use_srq, bool, 0644);
MODULE_PARM_DESC(use_srq, "Whether new channels share one receive queue per HCA (default N).");

bool srpt_scst_param_session_per_channel;
module_param_named(session_per_channel, srpt_scst_param_session_per_channel, bool, 0644);
MODULE_PARM_DESC(session_per_channel, "Whether each new channel is a session of its own, as with SCST's driver, instead of sharing that of its initiator (default N).");
