// SPDX-License-Identifier: GPL-2.0
/*
 * Logs in and out again and again, one after the other, as fast as it goes:
 * for tests that look at what that leaves behind. The login request comes from
 * peer.py; what the target answers is only told apart as yes or no.
 *
 * Usage: srp_logins <address> <port> <count> <hex of the login request>; see dest.h
 *
 * Prints "established <n> rejected <n>"; exit status 0 if each of the logins
 * was answered one way or the other and ended in order.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_cma.h>

#include "dest.h"

enum {
	RECVS = 4,
	MESSAGE = 256,
	TIMEOUT = 30000,	/* ms */
};

static struct rdma_event_channel *events;
static int number;		/* of the login that runs */

static void fail(const char *what)
{
	printf("login %d: %s: %s\n", number, what, strerror(errno));
	exit(1);
}

/* Wait for an event; its type, or exit after too long a time. */
static enum rdma_cm_event_type await(void)
{
	struct pollfd fd = { .fd = events->fd, .events = POLLIN };
	struct rdma_cm_event *event;
	enum rdma_cm_event_type type;

	errno = ETIMEDOUT;
	if (poll(&fd, 1, TIMEOUT) != 1 || rdma_get_cm_event(events, &event))
		fail("event");
	type = event->event;
	rdma_ack_cm_event(event);
	return type;
}

static void expect(enum rdma_cm_event_type wanted)
{
	enum rdma_cm_event_type type = await();

	errno = EPROTO;
	if (type != wanted)
		fail(rdma_event_str(type));
}

/* One login and logout; true if it was granted. */
static int log_in(struct sockaddr_storage *dest, void *request, int length)
{
	struct ibv_qp_init_attr attr = {
		.cap = { .max_send_wr = 1, .max_recv_wr = RECVS,
			 .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC, .sq_sig_all = 1,
	};
	struct rdma_conn_param param = {
		.private_data = request, .private_data_len = length,
		.responder_resources = 4, .initiator_depth = 4,
		.retry_count = 7, .rnr_retry_count = 7,
	};
	enum rdma_cm_event_type type;
	struct rdma_cm_id *id;

	if (rdma_create_id(events, &id, NULL, space_of(dest)))
		fail("rdma_create_id");
	if (rdma_resolve_addr(id, NULL, (struct sockaddr *)dest, TIMEOUT))
		fail("rdma_resolve_addr");
	expect(RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(id, TIMEOUT))
		fail("rdma_resolve_route");
	expect(RDMA_CM_EVENT_ROUTE_RESOLVED);
	if (rdma_create_qp(id, NULL, &attr))
		fail("rdma_create_qp");
	if (rdma_connect(id, &param))
		fail("rdma_connect");
	type = await();
	if (type == RDMA_CM_EVENT_ESTABLISHED) {
		if (rdma_disconnect(id))
			fail("rdma_disconnect");
		expect(RDMA_CM_EVENT_DISCONNECTED);
	} else if (type != RDMA_CM_EVENT_REJECTED) {
		errno = EPROTO;
		fail(rdma_event_str(type));
	}
	rdma_destroy_qp(id);
	rdma_destroy_id(id);
	return type == RDMA_CM_EVENT_ESTABLISHED;
}

int main(int argc, char **argv)
{
	static unsigned char request[128];
	unsigned int byte, length = 0;
	int count, used, yes = 0, no = 0;
	struct sockaddr_storage dest;

	events = rdma_create_event_channel();
	errno = EINVAL;
	if (argc != 5 || !events || parse_dest(argv[1], argv[2], &dest))
		fail("usage: srp_logins <address> <port> <count> <hex>");
	count = atoi(argv[3]);
	while (length < sizeof(request) &&
	       sscanf(argv[4], "%2x%n", &byte, &used) == 1 && used == 2) {
		request[length++] = byte;
		argv[4] += 2;
	}
	for (number = 1; number <= count; number++) {
		if (log_in(&dest, request, length))
			yes++;
		else
			no++;
	}
	rdma_destroy_event_channel(events);
	printf("established %d rejected %d\n", yes, no);
	return 0;
}
