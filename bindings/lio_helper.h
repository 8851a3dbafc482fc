/* SPDX-License-Identifier: GPL-2.0 */
/* Input of bindgen for ENGINE=lio: the common headers plus target core's. */
#include "rdma_helper.h"
#include <scsi/scsi_proto.h>
#include <target/target_core_base.h>
#include <target/target_core_backend.h>
#include <target/target_core_fabric.h>

#include "../src/engine/lio/shims.h"
