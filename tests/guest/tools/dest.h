/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a peer connects to: an address and a port, for the RDMA/CM, or a service of
 * an InfiniBand port, for the IB/CM, as srp_daemon names it,
 * dgid=<GID>,pkey=<P_Key>,service_id=<id>. The port is not looked at then.
 * librdmacm carries both; the IB/CM's request has no header of the RDMA/CM.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <infiniband/ib.h>
#include <rdma/rdma_cma.h>

/* Returns 0 or an error number. */
static int parse_dest(const char *where, const char *port,
		      struct sockaddr_storage *to)
{
	struct sockaddr_ib ib = { .sib_family = AF_IB, .sib_sid_mask = ~0ULL };
	uint64_t prefix, guid, service;
	struct addrinfo *found;
	uint16_t pkey;

	memset(to, 0, sizeof(*to));
	if (sscanf(where, "dgid=%16" SCNx64 "%16" SCNx64 ",pkey=%4" SCNx16
		   ",service_id=%16" SCNx64, &prefix, &guid, &pkey, &service) == 4) {
		ib.sib_pkey = htobe16(pkey);
		ib.sib_addr.sib_subnet_prefix = htobe64(prefix);
		ib.sib_addr.sib_interface_id = htobe64(guid);
		ib.sib_sid = htobe64(service);
		memcpy(to, &ib, sizeof(ib));
		return 0;
	}
	if (getaddrinfo(where, port, NULL, &found))
		return EINVAL;
	memcpy(to, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

/* The port space of the RDMA/CM that such addresses are in. */
static enum rdma_port_space space_of(const struct sockaddr_storage *to)
{
	return to->ss_family == AF_IB ? RDMA_PS_IB : RDMA_PS_TCP;
}
