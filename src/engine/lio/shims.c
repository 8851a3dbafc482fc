// SPDX-License-Identifier: GPL-2.0
/* One-line shims over target core's inlines and macros; no logic. */
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include "shims.h"

struct se_portal_group *srpt_attrib_to_tpg(struct config_item *item)
{ return attrib_to_tpg(item); }
struct se_node_acl *srpt_item_to_acl(struct config_item *item)
{ return acl_to_nacl(item); }
bool srpt_session_acl_gone(struct se_session *sess)
{ return list_empty(&sess->se_node_acl->acl_list); }
void srpt_acls_lock(struct se_portal_group *tpg)
{ mutex_lock(&tpg->acl_node_mutex); }
void srpt_acls_unlock(struct se_portal_group *tpg)
{ mutex_unlock(&tpg->acl_node_mutex); }
unsigned long srpt_delayed_cmd_lock(struct se_device *dev)
{ unsigned long flags; spin_lock_irqsave(&dev->delayed_cmd_lock, flags); return flags; }
void srpt_delayed_cmd_unlock(struct se_device *dev, unsigned long flags)
{ spin_unlock_irqrestore(&dev->delayed_cmd_lock, flags); }
bool srpt_delayed_cmd_none(struct se_device *dev)
{ return list_empty(&dev->delayed_cmd_list); }
void srpt_delayed_cmd_schedule(struct se_device *dev)
{ schedule_work(&dev->delayed_cmd_work); }
void srpt_non_ordered_put(struct se_device *dev)
{ percpu_ref_put(&dev->non_ordered); }
void srpt_non_ordered_resurrect(struct se_device *dev)
{ percpu_ref_resurrect(&dev->non_ordered); }
struct page *srpt_alloc_data(unsigned int order)
{ return alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN |
		     (order ? __GFP_COMP | __GFP_NORETRY : 0), order); }
bool srpt_data_is_shared(struct page *page)
{ return page_count(page) != 1; }
void srpt_free_data(struct page *page, unsigned int order)
{ __free_pages(page, order); }
void srpt_sg_set_data(struct scatterlist *sg, struct page *page, unsigned int len)
{ sg_set_page(sg, page, len, 0); }
bool srpt_lio_may_sleep(void)
{ return preemptible() && !rcu_preempt_depth() && !current->bio_list; }
void srpt_cmd_count_get(struct target_cmd_counter *count)
{ percpu_ref_get(&count->refcnt); }
void srpt_cmd_count_put(struct target_cmd_counter *count)
{ percpu_ref_put(&count->refcnt); }
