// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts how often each block of the kernel's code is executed.
 *
 *	-plugin counter.so,folder=<folder>
 *
 * The file "start" in the folder sets all counts to zero; "stop" writes them to
 * "counts". Both are removed when that is done. A line is
 *
 *	<address> <executions> <offset of each instruction of the block> ...
 *
 * An interrupt in the middle of a block counts the whole block; with -icount few
 * happen there. QEMU's header is in no package, so what is used of its interface
 * (qemu-plugin.h, version 2) is declared here.
 *
 * Not here: names of addresses, counts per command (exact.py).
 */

#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT		__attribute__((visibility("default")))
#define BUCKETS		(1 << 18)
#define KERNEL		(UINT64_C(1) << 63)

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
	void (*callback)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
	void (*callback)(unsigned int cpu, void *data), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
						 size_t number);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 2;

struct block {
	uint64_t address, count;
	size_t length;
	struct block *next;
	unsigned int offsets[];
};

static struct block *blocks[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char start[512], stop[512], counts[512];

static void executed(unsigned int cpu, void *data)
{
	(void)cpu;
	((struct block *)data)->count++;
}

static void *checked(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static struct block *find(struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb);
	size_t length = qemu_plugin_tb_n_insns(tb);
	struct block **place = &blocks[(address ^ (address >> 18) ^ length * 2654435761u) %
				       BUCKETS];
	struct block *b;

	for (b = *place; b; b = b->next)
		if (b->address == address && b->length == length)
			return b;
	b = checked(calloc(1, sizeof(*b) + length * sizeof(b->offsets[0])));
	b->address = address;
	b->length = length;
	for (size_t i = 0; i < length; i++)
		b->offsets[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i)) - address;
	b->next = *place;
	*place = b;
	return b;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	struct block *b;

	(void)id;
	if (!(qemu_plugin_tb_vaddr(tb) & KERNEL))
		return;
	pthread_mutex_lock(&lock);
	b = find(tb);
	pthread_mutex_unlock(&lock);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, b);
}

static void forget(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct block *b = blocks[i]; b; b = b->next)
			b->count = 0;
}

static void save(void)
{
	FILE *f = checked(fopen(counts, "w"));

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct block *b = blocks[i]; b; b = b->next) {
			if (!b->count)
				continue;
			fprintf(f, "%" PRIx64 " %" PRIu64, b->address, b->count);
			for (size_t k = 0; k < b->length; k++)
				fprintf(f, " %u", b->offsets[k]);
			fputc('\n', f);
		}
	fclose(f);
}

static void *watch(void *unused)
{
	for (;; usleep(5000)) {
		void (*wanted)(void) = !access(start, F_OK) ? forget :
				       !access(stop, F_OK) ? save : NULL;

		if (!wanted)
			continue;
		pthread_mutex_lock(&lock);
		wanted();
		pthread_mutex_unlock(&lock);
		unlink(wanted == forget ? start : stop);
	}
	return unused;
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info_t *info, int argc,
			       char **argv)
{
	pthread_t thread;

	(void)info;
	if (argc != 1 || strncmp(argv[0], "folder=", 7)) {
		fprintf(stderr, "counter: folder=<folder>\n");
		return -1;
	}
	snprintf(start, sizeof(start), "%s/start", argv[0] + 7);
	snprintf(stop, sizeof(stop), "%s/stop", argv[0] + 7);
	snprintf(counts, sizeof(counts), "%s/counts", argv[0] + 7);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return pthread_create(&thread, NULL, watch, NULL);
}
