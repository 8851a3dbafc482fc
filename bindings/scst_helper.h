/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of bindgen for ENGINE=scst: the common headers plus those of the SCST
 * tree in SCST_DIR, with its own build_mode.h and scst_itf_ver.h.
 */
#include "rdma_helper.h"
#include <scst.h>

#include "../src/engine/scst/shims.h"
