// SPDX-License-Identifier: GPL-2.0
/*
 * Lets one call of some functions fail: the n-th that has a function between two addresses
 * among its callers. By default it is allocations, of slabs or of pages, that fail, on
 * kernels that can let them fail by chance (CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC), whose
 * hooks are probed. Or the verbs of an HCA's driver:
 *
 *   insmod nth.ko functions=rxe_post_send,rxe_modify_qp result=-5
 *   echo 0x... > /sys/module/nth/parameters/start
 *   echo 0x... > /sys/module/nth/parameters/end
 *   echo 3 > /sys/module/nth/parameters/left    the third from now on
 *   cat /sys/module/nth/parameters/left         0: it has failed
 *
 * For machines with one CPU: "left" is counted without a lock.
 *
 * Not here: failures by chance (/sys/kernel/debug/failslab); what fails as long as a test
 * wants it to (stuck.c).
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/stacktrace.h>

enum {
	DEPTH	= 64,	/* Deeper than callers are; the probe's own frames count, too. */
	MOST	= 16,
};

static char *functions[MOST] = { "should_failslab", "should_fail_alloc_page" };
static int count = 2;
module_param_array(functions, charp, &count, 0400);
MODULE_PARM_DESC(functions, "Names of the functions");

static int result = -ENOMEM;
module_param(result, int, 0400);
MODULE_PARM_DESC(result, "What the call that fails returns");

static unsigned long start;
module_param(start, ulong, 0600);
MODULE_PARM_DESC(start, "First address of the callers");

static unsigned long end;
module_param(end, ulong, 0600);
MODULE_PARM_DESC(end, "Address behind the last of the callers");

static int left;
module_param(left, int, 0600);
MODULE_PARM_DESC(left, "Calls until the one that fails, 0: none fails");

/* In the place of a function, whose result is in the register already. */
static noinline void nothing(void)
{
	barrier();
}

static bool is_from_callers(void)
{
	unsigned long entries[DEPTH];
	unsigned int depth = stack_trace_save(entries, DEPTH, 0);

	while (depth--) {
		if (entries[depth] >= start && entries[depth] < end)
			return true;
	}
	return false;
}

static bool is(struct kprobe *probe, const char *name)
{
	return !strcmp(probe->symbol_name, name);
}

/*
 * Whether the caller has said that it may not fail: should_failslab(cache, gfp),
 * should_fail_alloc_page(gfp, order).
 */
static bool must_not_fail(struct kprobe *probe, struct pt_regs *regs)
{
	return (is(probe, "should_failslab") && regs_get_kernel_argument(regs, 1) & __GFP_NOFAIL) ||
	       (is(probe, "should_fail_alloc_page") && regs_get_kernel_argument(regs, 0) & __GFP_NOFAIL);
}

/* Any context; the probe is taken with preemption off, on one CPU. */
static int before(struct kprobe *probe, struct pt_regs *regs)
{
	if (!READ_ONCE(left) || must_not_fail(probe, regs) || !is_from_callers())
		return 0;
	WRITE_ONCE(left, left - 1);
	if (left)
		return 0;
	/* int (*)(queue, wr, bad_wr): none of the chain was posted. */
	if (strstr(probe->symbol_name, "post_"))
		*(unsigned long *)regs_get_kernel_argument(regs, 2) = regs_get_kernel_argument(regs, 1);
	regs_set_return_value(regs, result);
	instruction_pointer_set(regs, (unsigned long)nothing);
	return 1;
}

/* Its being there keeps the probe from being a jump, which cannot lead elsewhere. */
static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probes[MOST];
static struct kprobe *pointers[MOST];

static int __init nth_init(void)
{
	int n;

	for (n = 0; n < count; n++) {
		probes[n].symbol_name = functions[n];
		probes[n].pre_handler = before;
		probes[n].post_handler = after;
		pointers[n] = &probes[n];
	}
	return register_kprobes(pointers, count);
}

static void __exit nth_exit(void)
{
	unregister_kprobes(pointers, count);
}

module_init(nth_init);
module_exit(nth_exit);
MODULE_DESCRIPTION("One call fails, for tests");
MODULE_LICENSE("GPL");
