// SPDX-License-Identifier: GPL-2.0
/*
 * Takes the node GUID of the first HCA away while it is loaded: it is zero then, as
 * that of a virtual function before an administrator sets one.
 */
#include <linux/module.h>
#include <rdma/ib_verbs.h>

static struct ib_device *first;
static __be64 guid;

static int no_guid_add(struct ib_device *device)
{
	if (first)
		return 0;
	first = device;
	guid = device->node_guid;
	device->node_guid = 0;
	return 0;
}

static void no_guid_remove(struct ib_device *device, void *data)
{
	if (device == first)
		device->node_guid = guid;
}

static struct ib_client client = {
	.name = "no_guid", .add = no_guid_add, .remove = no_guid_remove,
};

static int __init no_guid_init(void)
{
	return ib_register_client(&client);
}

static void __exit no_guid_exit(void)
{
	ib_unregister_client(&client);
}

module_init(no_guid_init);
module_exit(no_guid_exit);
MODULE_DESCRIPTION("HCA without node GUID, for tests");
MODULE_LICENSE("GPL");
