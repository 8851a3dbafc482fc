// SPDX-License-Identifier: GPL-2.0
/*
 * Counts the commands of a disk, and samples the stacks of the CPU meanwhile.
 *
 *	sampler <disk> <milliseconds> <milliseconds> <samples per second>
 *
 * The first time span is without samples, for the rate of commands; the second
 * is with samples, for the shares. Prints
 *
 *	plain <instructions> <commands>
 *	sampled <instructions> <commands>
 *	lost <samples>
 *	stack <samples> <address> <address> ...		innermost first
 *
 * The samples are those of the software event cpu-clock. With -icount a load
 * repeats itself so exactly that samples at equal distances hit the same places
 * again and again. So the distance changes every 100 microseconds, at random,
 * between half and one and a half times the mean. Samples of this program itself do
 * not count. Nothing reads the ring buffer before the end of the second span.
 *
 * Not here: names of addresses (symbols.py), to whom a stack belongs (owners.py).
 */

#define _GNU_SOURCE
#include <err.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES	(32UL << 20)
#define DEPTH		128
#define SLICE		100000		/* nanoseconds */
#define BUCKETS		(1 << 15)

struct stack {
	unsigned int depth;
	unsigned long samples;
	uint64_t frames[DEPTH];
};

static struct stack *stacks[BUCKETS];
static unsigned long lost;

/* With -icount the time stamp counter counts instructions. */
static uint64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

static unsigned long commands(const char *disk)
{
	unsigned long reads, writes;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", disk);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu %*u %*u %*u %lu", &reads, &writes) != 2)
		err(1, "%s", path);
	fclose(f);
	return reads + writes;
}

/* Without an event (-1) there are no samples. */
static void span(const char *what, const char *disk, long milliseconds,
		 int event, uint64_t mean)
{
	struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
	struct timespec one = { 0, SLICE };
	unsigned long before = commands(disk), after;
	uint64_t began = now(), ended;

	if (event < 0)
		nanosleep(&t, NULL);
	while (event >= 0 && now() - began < milliseconds * 1000000ULL) {
		uint64_t period = mean / 2 + random() % mean;

		if (ioctl(event, PERF_EVENT_IOC_PERIOD, &period))
			err(1, "PERF_EVENT_IOC_PERIOD");
		nanosleep(&one, NULL);
	}
	after = commands(disk);
	ended = now();
	printf("%s %llu %lu\n", what, (unsigned long long)(ended - began),
	       after - before);
}

static void add(const uint64_t *chain, uint64_t nr)
{
	struct stack one = { .samples = 1 };
	uint64_t hash = 14695981039346656037ULL;
	unsigned int place;

	for (uint64_t i = 0; i < nr && one.depth < DEPTH; i++) {
		if (chain[i] == (uint64_t)PERF_CONTEXT_USER)
			break;
		if (chain[i] >= (uint64_t)PERF_CONTEXT_MAX)
			continue;
		/* All but the innermost are return addresses. */
		one.frames[one.depth] = chain[i] - (one.depth ? 1 : 0);
		hash = (hash ^ one.frames[one.depth++]) * 1099511628211ULL;
	}
	place = (hash >> 20) % BUCKETS;
	for (unsigned int tries = 0; tries < BUCKETS; tries++) {
		struct stack *s = stacks[place];

		if (!s) {
			s = malloc(sizeof(*s));
			if (!s)
				err(1, "stacks");
			*s = one;
			stacks[place] = s;
			return;
		}
		if (s->depth == one.depth &&
		    !memcmp(s->frames, one.frames, one.depth * sizeof(uint64_t))) {
			s->samples++;
			return;
		}
		place = (place + 1) % BUCKETS;
	}
	errx(1, "more than %d different stacks", BUCKETS);
}

/* Copies what the ring has from `at` on. */
static void copy(void *to, const char *ring, uint64_t at, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((char *)to)[i] = ring[(at + i) & (RING_BYTES - 1)];
}

static void read_ring(struct perf_event_mmap_page *control)
{
	const char *ring = (char *)control + control->data_offset;
	uint64_t at = control->data_tail, end = control->data_head;
	uint64_t record[8192];

	__sync_synchronize();
	while (at < end) {
		struct perf_event_header header;

		copy(&header, ring, at, sizeof(header));
		copy(record, ring, at, header.size);
		/* After the header: process, nr, chain; or id, lost. */
		if (header.type == PERF_RECORD_SAMPLE) {
			if ((uint32_t)record[1] != (uint32_t)getpid())
				add(record + 3, record[2]);
		}
		if (header.type == PERF_RECORD_LOST)
			lost += record[2];
		else if (header.type == PERF_RECORD_THROTTLE)
			errx(1, "samples were throttled");
		at += header.size;
	}
}

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK, .disabled = 1,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_CALLCHAIN,
		.exclude_callchain_user = 1,
	};
	struct perf_event_mmap_page *control;
	uint64_t mean;
	int event;

	if (argc != 5)
		errx(2, "usage: sampler <disk> <ms> <ms> <samples per second>");
	mean = 1000000000 / atoi(argv[4]);
	attr.sample_period = mean;
	srandom(1);
	event = syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);
	if (event < 0)
		err(1, "perf_event_open");
	control = mmap(NULL, RING_BYTES + sysconf(_SC_PAGESIZE),
		       PROT_READ | PROT_WRITE, MAP_SHARED, event, 0);
	if (control == MAP_FAILED)
		err(1, "the ring buffer");

	span("plain", argv[1], atoi(argv[2]), -1, 0);
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
	span("sampled", argv[1], atoi(argv[3]), event, mean);
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);

	read_ring(control);
	printf("lost %lu\n", lost);
	for (size_t i = 0; i < BUCKETS; i++) {
		if (!stacks[i])
			continue;
		printf("stack %lu", stacks[i]->samples);
		for (unsigned int j = 0; j < stacks[i]->depth; j++)
			printf(" %llx", (unsigned long long)stacks[i]->frames[j]);
		printf("\n");
	}
	return 0;
}
