// SPDX-License-Identifier: GPL-2.0
/*
 * Module information that the kernel crate's module! macro cannot express.
 * The only definition of the project's version, and its reader for Rust;
 * SRPT_SOFTDEP depends on the engine.
 */
#include <linux/module.h>

#include "shims.h"

#define SRPT_VERSION "0.1.0"

MODULE_VERSION(SRPT_VERSION);
MODULE_SOFTDEP(SRPT_SOFTDEP);

/* Not that of THIS_MODULE, which is NULL in a driver that is built in. */
const char *srpt_version(void) { return SRPT_VERSION; }
