// SPDX-License-Identifier: GPL-2.0
/*
 * Changes what the first HCA says of itself, while this is loaded: no_guid=1 makes
 * its node GUID zero, as that of a virtual function before an administrator sets
 * one; region_pages=<n> limits the pages of a memory region, as cxgb4 does to 255.
 *
 * Not here: verbs that fail (nth.c).
 */
#include <linux/module.h>
#include <rdma/ib_verbs.h>

static bool no_guid;
module_param(no_guid, bool, 0444);
static unsigned int region_pages;
module_param(region_pages, uint, 0444);

static struct ib_device *first;
static __be64 guid;
static u32 pages;

static int odd_hca_add(struct ib_device *device)
{
	if (first)
		return 0;
	first = device;
	guid = device->node_guid;
	pages = device->attrs.max_fast_reg_page_list_len;
	if (no_guid)
		device->node_guid = 0;
	if (region_pages)
		device->attrs.max_fast_reg_page_list_len = region_pages;
	return 0;
}

static void odd_hca_remove(struct ib_device *device, void *data)
{
	if (device != first)
		return;
	device->node_guid = guid;
	device->attrs.max_fast_reg_page_list_len = pages;
}

static struct ib_client client = {
	.name = "odd_hca", .add = odd_hca_add, .remove = odd_hca_remove,
};

static int __init odd_hca_init(void)
{
	return ib_register_client(&client);
}

static void __exit odd_hca_exit(void)
{
	ib_unregister_client(&client);
}

module_init(odd_hca_init);
module_exit(odd_hca_exit);
MODULE_DESCRIPTION("Odd HCA, for tests");
MODULE_LICENSE("GPL");
