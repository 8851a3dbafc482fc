/* SPDX-License-Identifier: GPL-2.0 */
/* Prototypes of the one-line shims over target core's inlines; no logic. */
#ifndef SRPT_LIO_SHIMS_H
#define SRPT_LIO_SHIMS_H

#include <linux/gfp.h>
#include <linux/scatterlist.h>
#include <target/target_core_base.h>
#include <target/target_core_fabric.h>

struct se_portal_group *srpt_attrib_to_tpg(struct config_item *item);
struct se_node_acl *srpt_item_to_acl(struct config_item *item);
bool srpt_session_acl_gone(struct se_session *sess);
void srpt_acls_lock(struct se_portal_group *tpg);
void srpt_acls_unlock(struct se_portal_group *tpg);
unsigned long srpt_delayed_cmd_lock(struct se_device *dev);
void srpt_delayed_cmd_unlock(struct se_device *dev, unsigned long flags);
bool srpt_delayed_cmd_none(struct se_device *dev);
void srpt_delayed_cmd_schedule(struct se_device *dev);
void srpt_non_ordered_put(struct se_device *dev);
void srpt_non_ordered_resurrect(struct se_device *dev);
struct page *srpt_alloc_data(unsigned int order);
bool srpt_data_is_shared(struct page *page);
void srpt_free_data(struct page *page, unsigned int order);
void srpt_sg_set_data(struct scatterlist *sg, struct page *page, unsigned int len);
bool srpt_lio_may_sleep(void);
void srpt_cmd_count_get(struct target_cmd_counter *count);
void srpt_cmd_count_put(struct target_cmd_counter *count);

#endif
