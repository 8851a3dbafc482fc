// SPDX-License-Identifier: GPL-2.0
/*
 * A peer that says whatever it is told to: one connection, driven by lines on
 * standard input. It knows nothing about SRP; the bytes come from peer.py,
 * which also describes the answers.
 *
 * Usage: srp_peer <address> <port>; see dest.h
 *
 *   connect <hex>        connect with this private data
 *   send <hex>           send a message and wait for its completion
 *   write <address> <key>  write to the memory of the target (RDMA WRITE)
 *   recv <ms>            wait for a message
 *   fill <offset> <hex>  write to the memory the target may access
 *   dump <offset> <len>  show that memory
 *   disconnect
 *   stubborn             from now on leave the target's disconnect unanswered
 *   quit
 *
 * Exit status 0 if the input ended or said quit.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rdma/rdma_cma.h>

#include "dest.h"

enum {
	RECVS = 200,		/* messages the target may have under way */
	MESSAGE = 9000,		/* longest message in either direction */
	MEMORY = 1 << 20,	/* what the target may read and write */
	TIMEOUT = 10000,	/* ms for anything the target must do */
	LINE = 2 * MESSAGE + 64,
};

static struct rdma_event_channel *events;
static struct rdma_cm_id *id;
static struct ibv_cq *cq;
static struct ibv_mr *memory_mr, *recv_mr, *send_mr;
static unsigned char *memory, *recvs, *message;
static int gone;		/* the connection has ended */
static int stubborn;
static int send_status = -1;	/* of the last send, -1 while it runs */
static int queue[RECVS], lengths[RECVS], queued, first;

static void fail(const char *what)
{
	printf("error %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void nap(void)
{
	struct timespec t = { .tv_nsec = 1000000 };

	nanosleep(&t, NULL);
}

static int unhex(const char *text, unsigned char *out, int room)
{
	int n = 0, byte, used;

	while (n < room && sscanf(text, "%2x%n", &byte, &used) == 1 && used == 2) {
		out[n++] = byte;
		text += 2;
	}
	return n;
}

static void print_hex(const char *word, const unsigned char *data, int len)
{
	printf("%s ", word);
	for (int i = 0; i < len; i++)
		printf("%02x", data[i]);
	printf("\n");
}

static void post_recv(int slot)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)(recvs + slot * MESSAGE),
		.length = MESSAGE,
		.lkey = recv_mr->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = slot, .sg_list = &sge, .num_sge = 1 };
	struct ibv_recv_wr *bad;

	errno = ibv_post_recv(id->qp, &wr, &bad);
	if (errno)
		fail("ibv_post_recv");
}

/* Take in what has happened, without waiting. */
static void look(void)
{
	struct rdma_cm_event *event;
	struct ibv_wc wc;

	while (cq && ibv_poll_cq(cq, 1, &wc) > 0) {
		if (wc.wr_id == RECVS) {
			send_status = wc.status;
		} else if (wc.status == IBV_WC_SUCCESS) {
			int at = (first + queued++) % RECVS;

			queue[at] = wc.wr_id;
			lengths[at] = wc.byte_len;
		} else {
			gone = 1;
		}
	}
	if (!id || rdma_get_cm_event(events, &event))
		return;
	if (event->event == RDMA_CM_EVENT_DISCONNECTED ||
	    event->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
		if (!stubborn)
			rdma_disconnect(id);
		gone = 1;
	}
	rdma_ack_cm_event(event);
}

/* Wait for one event of the connection manager. */
static struct rdma_cm_event *await(void)
{
	struct pollfd fd = { .fd = events->fd, .events = POLLIN };
	struct rdma_cm_event *event;

	if (poll(&fd, 1, 3 * TIMEOUT) != 1) {
		printf("timeout\n");
		exit(1);
	}
	if (rdma_get_cm_event(events, &event))
		fail("rdma_get_cm_event");
	return event;
}

static void expect(enum rdma_cm_event_type type)
{
	struct rdma_cm_event *event = await();

	if (event->event != type) {
		printf("error %s, status %d\n", rdma_event_str(event->event),
		       event->status);
		exit(1);
	}
	rdma_ack_cm_event(event);
}

static void open_id(const char *address, const char *port)
{
	struct ibv_qp_init_attr attr = {
		.cap = { .max_send_wr = 16, .max_recv_wr = RECVS,
			 .max_send_sge = 1, .max_recv_sge = 1 },
		.qp_type = IBV_QPT_RC, .sq_sig_all = 1,
	};
	const int all = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
			IBV_ACCESS_REMOTE_WRITE;
	struct sockaddr_storage dest;

	errno = parse_dest(address, port, &dest);
	if (errno)
		fail("address");
	if (rdma_create_id(events, &id, NULL, space_of(&dest)))
		fail("rdma_create_id");
	if (rdma_resolve_addr(id, NULL, (struct sockaddr *)&dest, TIMEOUT))
		fail("rdma_resolve_addr");
	expect(RDMA_CM_EVENT_ADDR_RESOLVED);
	if (rdma_resolve_route(id, TIMEOUT))
		fail("rdma_resolve_route");
	expect(RDMA_CM_EVENT_ROUTE_RESOLVED);
	cq = ibv_create_cq(id->verbs, RECVS + 32, NULL, NULL, 0);
	if (!cq)
		fail("ibv_create_cq");
	attr.send_cq = attr.recv_cq = cq;
	if (rdma_create_qp(id, NULL, &attr))
		fail("rdma_create_qp");
	memory_mr = ibv_reg_mr(id->pd, memory, MEMORY, all);
	recv_mr = ibv_reg_mr(id->pd, recvs, RECVS * MESSAGE, all);
	send_mr = ibv_reg_mr(id->pd, message, MESSAGE, all);
	if (!memory_mr || !recv_mr || !send_mr)
		fail("ibv_reg_mr");
	for (int i = 0; i < RECVS; i++)
		post_recv(i);
}

static void do_connect(const char *hex)
{
	unsigned char data[256];
	struct rdma_conn_param param = {
		.private_data = data, .responder_resources = 4,
		.initiator_depth = 4, .retry_count = 7, .rnr_retry_count = 7,
	};
	struct rdma_cm_event *event;

	param.private_data_len = unhex(hex, data, 255);
	if (rdma_connect(id, &param))
		fail("rdma_connect");
	event = await();
	if (event->event == RDMA_CM_EVENT_ESTABLISHED) {
		print_hex("established", event->param.conn.private_data,
			  event->param.conn.private_data_len);
		printf("memory %" PRIx64 " %x %d\n", (uint64_t)(uintptr_t)memory,
		       memory_mr->rkey, MEMORY);
	} else {
		char word[64];

		snprintf(word, sizeof(word), "%s %d",
			 event->event == RDMA_CM_EVENT_REJECTED ?
			 "rejected" : rdma_event_str(event->event),
			 event->status);
		print_hex(word, event->param.conn.private_data,
			  event->param.conn.private_data_len);
		gone = 1;
	}
	rdma_ack_cm_event(event);
	fcntl(events->fd, F_SETFL, O_NONBLOCK);
}

/* Post a request and wait for its completion; say the word if it succeeds. */
static void post(const char *word, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int64_t end = now() + TIMEOUT;

	send_status = -1;
	if (ibv_post_send(id->qp, wr, &bad)) {
		printf("send-error refused\n");
		return;
	}
	while (send_status < 0 && now() < end) {
		look();
		nap();
	}
	if (send_status == 0)
		printf("%s\n", word);
	else
		printf("send-error %s\n", send_status < 0 ? "timeout" :
		       ibv_wc_status_str(send_status));
}

static void do_send(const char *hex)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)message, .lkey = send_mr->lkey,
		.length = unhex(hex, message, MESSAGE),
	};
	struct ibv_send_wr wr = {
		.wr_id = RECVS, .sg_list = &sge, .num_sge = 1,
		.opcode = IBV_WR_SEND, .send_flags = IBV_SEND_SIGNALED,
	};

	post("sent", &wr);
}

/* Write eight bytes to the target's memory. */
static void do_write(uint64_t address, uint32_t key)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)memory, .lkey = memory_mr->lkey, .length = 8,
	};
	struct ibv_send_wr wr = {
		.wr_id = RECVS, .sg_list = &sge, .num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE, .send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = address, .rkey = key },
	};

	post("written", &wr);
}

static void do_recv(int ms)
{
	int64_t end = now() + ms;

	look();
	while (!queued && !gone && now() < end) {
		nap();
		look();
	}
	if (queued) {
		print_hex("message", recvs + queue[first] * MESSAGE,
			  lengths[first]);
		if (!gone)
			post_recv(queue[first]);
		first = (first + 1) % RECVS;
		queued--;
	} else {
		printf(gone ? "disconnected\n" : "timeout\n");
	}
}

int main(int argc, char **argv)
{
	static char line[LINE];
	int offset, len, used;
	uint64_t address;
	uint32_t key;

	setvbuf(stdout, NULL, _IOLBF, 0);
	memory = aligned_alloc(4096, MEMORY);
	recvs = aligned_alloc(4096, (RECVS * MESSAGE + 4095) & ~4095);
	message = aligned_alloc(4096, (MESSAGE + 4095) & ~4095);
	events = rdma_create_event_channel();
	if (argc != 3 || !memory || !recvs || !message || !events)
		fail("usage: srp_peer <address> <port>");
	memset(memory, 0, MEMORY);
	open_id(argv[1], argv[2]);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "connect ", 8)) {
			do_connect(line + 8);
		} else if (!strncmp(line, "send ", 5)) {
			do_send(line + 5);
		} else if (sscanf(line, "write %" SCNx64 " %x", &address, &key) == 2) {
			do_write(address, key);
		} else if (sscanf(line, "recv %d", &len) == 1) {
			do_recv(len);
		} else if (sscanf(line, "fill %d %n", &offset, &used) == 1 &&
			   offset >= 0 && offset < MEMORY) {
			unhex(line + used, memory + offset, MEMORY - offset);
			printf("filled\n");
		} else if (sscanf(line, "dump %d %d", &offset, &len) == 2 &&
			   offset >= 0 && len >= 0 && len <= MEMORY - offset) {
			print_hex("memory", memory + offset, len);
		} else if (!strncmp(line, "disconnect", 10)) {
			rdma_disconnect(id);
			printf("disconnecting\n");
		} else if (!strncmp(line, "stubborn", 8)) {
			stubborn = 1;
			printf("stubborn\n");
		} else if (!strncmp(line, "quit", 4)) {
			break;
		} else {
			printf("error unknown order\n");
		}
	}
	return 0;
}
