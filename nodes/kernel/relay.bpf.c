// SPDX-License-Identifier: GPL-2.0
// Copyright 2026 the blindrelay authors
//
// Replicates the datagrams of flows that the relay process has decided about, at tc ingress of its
// outside interface. What it is not sure of goes up to the process, where decisions are made.
//
// Patent: Fig. 7-2 steps 709, 719.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "siphash.h"

#define IPV4 2	/* AF_INET */
#define IPV6 10 /* AF_INET6 */
#define LOOPBACK_INTERFACE 1 /* what the kernel takes as the origin of its own packets */
#define HOP_LIMIT 64

#define VPN_HEADER 16
#define MAC_BLOCK_FOLLOWS 1
#define HOP_TAG_FOLLOWS 1 /* a flag */
#define HOP_TAG (settings.tagged ? 8 : 0)
#define ESP_HEADER 8
#define LEAST_ESP 36 /* header, IV, one block of ciphertext, ICV */

/* The verifier knows the settings: it takes out what the other IP version would need. */
#define IS_IPV6 (settings.family == IPV6)
#define IP_LENGTH (IS_IPV6 ? 40 : 20)
#define IP_SOURCE (IS_IPV6 ? 2 : 3) /* in words */
#define IP_DESTINATION (IS_IPV6 ? 6 : 4)
#define IP_ADDRESS_WORDS (IS_IPV6 ? 4 : 1)
#define UDP_AT (ETH_HLEN + IP_LENGTH)
#define CLEAR_LENGTH (VPN_HEADER + IP_LENGTH + ESP_HEADER) /* and the tag is over all of it */
#define PAYLOAD_AT (UDP_AT + sizeof(struct udphdr))

static __always_inline void copy_address(__u32 *to, const __u32 *from)
{
	for (int word = 0; word < IP_ADDRESS_WORDS; word++)
		to[word] = from[word];
}

/* Reads the outer headers: a whole UDP datagram, or a batch of them, from anybody to the relay. */
static __always_inline int read_outside(struct __sk_buff *skb, struct scratch *at)
{
	__u32 differs = 0, behind, *ip = at->ip;

	if (skb->pkt_type || skb->vlan_present || bpf_skb_load_bytes(skb, ETH_HLEN, ip, IP_LENGTH) ||
	    bpf_skb_load_bytes(skb, UDP_AT, &at->udp, sizeof(at->udp)))
		return 0;
	if (IS_IPV6) {
		if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
		    ((__u8 *)ip)[6] != IPPROTO_UDP || ((__u8 *)ip)[0] >> 4 != 6)
			return 0;
		behind = bpf_ntohs(((__be16 *)ip)[2]);
	} else { /* without options, no fragment */
		if (skb->protocol != bpf_htons(ETH_P_IP) || ((__u8 *)ip)[9] != IPPROTO_UDP ||
		    ((__u8 *)ip)[0] != 0x45 || ((__be16 *)ip)[3] & bpf_htons(0x3FFF))
			return 0;
		behind = bpf_ntohs(((__be16 *)ip)[1]) - IP_LENGTH;
	}
	for (int word = 0; word < IP_ADDRESS_WORDS; word++)
		differs |= ip[IP_DESTINATION + word] ^ settings.address[word];
	copy_address(at->key.source, ip + IP_SOURCE);
	at->key.port = at->udp.source;
	return !differs && at->udp.dest == settings.port && at->udp.check &&
	       behind == bpf_ntohs(at->udp.len) && skb->len == UDP_AT + behind;
}

/* Reads what is clear of the datagram at `offset`, the tag apart, and checks the lengths in it. */
static __always_inline int read_clear(struct __sk_buff *skb, __u32 offset, __u32 length,
				      struct clear *clear)
{
	__u8 *octets = (__u8 *)clear->word;
	__be16 *inner = (__be16 *)(octets + VPN_HEADER);
	__u32 inner_at = offset + VPN_HEADER + HOP_TAG, behind = length - VPN_HEADER - HOP_TAG;

	if (length < VPN_HEADER + HOP_TAG + IP_LENGTH + LEAST_ESP ||
	    bpf_skb_load_bytes(skb, offset, octets, VPN_HEADER) ||
	    (settings.tagged && bpf_skb_load_bytes(skb, offset + VPN_HEADER, &clear->tag, 8)) ||
	    bpf_skb_load_bytes(skb, inner_at, octets + VPN_HEADER, IP_LENGTH + ESP_HEADER) ||
	    octets[0] != MAC_BLOCK_FOLLOWS || octets[1] != (settings.tagged ? HOP_TAG_FOLLOWS : 0))
		return 0;
	if (IS_IPV6)
		return octets[VPN_HEADER] >> 4 == 6 && inner[2] == bpf_htons(behind - IP_LENGTH);
	return octets[VPN_HEADER] >> 4 == 4 && inner[1] == bpf_htons(behind);
}

/* Leaves of the clear octets what names the flow. */
static __always_inline void keep(struct clear *clear)
{
	__u8 *octets = (__u8 *)clear->word;
	__be16 *inner = (__be16 *)(octets + VPN_HEADER);

	if (IS_IPV6) {
		inner[2] = 0; /* payload length */
	} else {
		inner[1] = inner[2] = inner[5] = 0; /* total length, identification, checksum */
		octets[VPN_HEADER + 8] = 0;	    /* time to live */
	}
	*(__u32 *)(octets + VPN_HEADER + IP_LENGTH + 4) = 0; /* sequence number */
}

static __always_inline int tag_holds(const struct clear *clear, const struct flow *flow)
{
	return !settings.tagged ||
	       siphash(flow->hop_key, clear->word, CLEAR_LENGTH, KEPT_WORDS) == clear->tag;
}

/* Counts the datagrams of a batch; 0 when one is not of the first one's flow or its tag is forged. */
static __always_inline int count_datagrams(struct __sk_buff *skb, struct scratch *at,
					   const struct flow *flow, __u32 size)
{
	__u32 offset = PAYLOAD_AT, end = skb->len;

	for (int number = 1; number <= MAXIMUM_SEGMENTS; number++) {
		__u64 differs = 0;

		offset += size;
		if (offset >= end)
			return number;
		if (!read_clear(skb, offset, end - offset < size ? end - offset : size, &at->clear) ||
		    !tag_holds(&at->clear, flow))
			return 0;
		keep(&at->clear);
		for (int word = 0; word < KEPT_WORDS; word++)
			differs |= at->clear.word[word] ^ at->key.kept[word];
		if (differs)
			return 0;
	}
	return 0;
}

/* Finds the way to each destination before anything is sent; 0 when to one of them there is none. */
static __always_inline int find_hops(struct __sk_buff *skb, struct scratch *at,
				     const struct destinations *to, __u32 size)
{
	for (__u32 i = 0; i < MAXIMUM_DESTINATIONS && i < to->count; i++) {
		struct bpf_fib_lookup way = {
			.family = settings.family,
			.l4_protocol = IPPROTO_UDP,
			.sport = settings.port,
			.dport = to->row[i].port,
			.tot_len = PAYLOAD_AT - ETH_HLEN + size,
			.ifindex = LOOPBACK_INTERFACE,
		};
		struct hop *hop = &at->hops[i];

		copy_address(way.ipv6_src, at->ip + IP_DESTINATION);
		copy_address(way.ipv6_dst, to->row[i].address);
		if (bpf_fib_lookup(skb, &way, sizeof(way), 0) != BPF_FIB_LKUP_RET_SUCCESS)
			return 0;
		hop->interface = way.ifindex;
		__builtin_memcpy(hop->ethernet, way.dmac, ETH_ALEN);
		__builtin_memcpy(hop->ethernet + ETH_ALEN, way.smac, ETH_ALEN);
		*(__be16 *)(hop->ethernet + 2 * ETH_ALEN) = bpf_htons(IS_IPV6 ? ETH_P_IPV6 : ETH_P_IP);
	}
	return 1;
}

/* Makes the outer IP header of a copy: as the relay's own socket would, but for the flow label. */
static __always_inline void make_ip(__u32 *ip, const struct destination *to)
{
	copy_address(ip + IP_DESTINATION, to->address);
	if (IS_IPV6) {
		ip[0] = bpf_htonl(6 << 28) | (ip[0] & bpf_htonl(0x000FFFFF));
		((__u8 *)ip)[7] = HOP_LIMIT;
	} else {
		((__u8 *)ip)[1] = 0;
		((__be16 *)ip)[3] = bpf_htons(0x4000); /* don't fragment */
		ip[2] = bpf_htonl(HOP_LIMIT << 24 | IPPROTO_UDP << 16);
		__u32 sum = bpf_csum_diff(0, 0, ip, 20, 0);
		sum = (sum & 0xFFFF) + (sum >> 16);
		((__u16 *)ip)[5] = ~((sum & 0xFFFF) + (sum >> 16));
	}
}

/* Addresses the skb to one destination instead of `from`. The relay's own address and port change
 * sides, which no checksum notices: only the client's are exchanged in it. Whether the checksum is
 * complete or left to the interface, the helper knows; it also takes an IPv6 address's change out of
 * the skb's sum, and storing the header with RECOMPUTE puts it back. */
static __always_inline int address_to(struct __sk_buff *skb, struct scratch *at, const struct hop *hop,
				      __u32 *from, __be16 from_port, struct destination *to)
{
	const __u32 check = UDP_AT + __builtin_offsetof(struct udphdr, check);
	__be16 ports[2] = {settings.port, to->port};
	__s64 change = bpf_csum_diff(from, 4 * IP_ADDRESS_WORDS, to->address, 4 * IP_ADDRESS_WORDS, 0);

	make_ip(at->ip, to);
	return change >= 0 && !bpf_skb_store_bytes(skb, 0, hop->ethernet, ETH_HLEN, 0) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, at->ip, IP_LENGTH, BPF_F_RECOMPUTE_CSUM) &&
	       !bpf_skb_store_bytes(skb, UDP_AT, ports, sizeof(ports), 0) &&
	       !bpf_l4_csum_replace(skb, check, 0, change, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) &&
	       !bpf_l4_csum_replace(skb, check, from_port, to->port, BPF_F_MARK_MANGLED_0 | 2);
}

/* Puts another relay's tag into each datagram of the skb. The verifier looks at a global function once,
 * however many destinations there are. A batch's checksum is left to the interface, which the helper knows. */
__noinline int tag_anew(struct __sk_buff *skb, struct destination *to, __u32 size)
{
	const __u32 zero = 0, check = UDP_AT + __builtin_offsetof(struct udphdr, check);
	struct scratch *at = bpf_map_lookup_elem(&scratches, &zero);
	__u32 offset = PAYLOAD_AT, end = skb->len;

	for (int number = 0; number < MAXIMUM_SEGMENTS && offset < end; number++, offset += size) {
		__u64 tag;

		if (!at || !to ||
		    !read_clear(skb, offset, end - offset < size ? end - offset : size, &at->clear))
			return 0;
		tag = siphash(to->hop_key, at->clear.word, CLEAR_LENGTH, KEPT_WORDS);
		__s64 change = bpf_csum_diff((__be32 *)&at->clear.tag, 8, (__be32 *)&tag, 8, 0);
		if (change < 0 || bpf_skb_store_bytes(skb, offset + VPN_HEADER, &tag, 8, 0) ||
		    bpf_l4_csum_replace(skb, check, 0, change, BPF_F_MARK_MANGLED_0))
			return 0;
	}
	return 1;
}

/* Sends a copy to each destination, the skb itself to the last. */
static __always_inline int replicate(struct __sk_buff *skb, struct scratch *at, struct destinations *to,
				     __u32 size)
{
	__u32 *from = at->key.source;
	__be16 from_port = at->key.port;

	copy_address(at->ip + IP_SOURCE, at->ip + IP_DESTINATION);
	for (__u32 i = 0; i < MAXIMUM_DESTINATIONS && i < to->count; i++) {
		struct destination *row = &to->row[i];

		if ((row->tagged && !tag_anew(skb, row, size)) ||
		    !address_to(skb, at, &at->hops[i], from, from_port, row))
			break;
		if (i + 1 == to->count)
			return bpf_redirect(at->hops[i].interface, 0);
		bpf_clone_redirect(skb, at->hops[i].interface, 0);
		from = row->address;
		from_port = row->port;
	}
	return TC_ACT_SHOT;
}

static __always_inline int serve(struct __sk_buff *skb, struct scratch *at)
{
	__u32 size = skb->len - PAYLOAD_AT, datagrams = 1;
	struct destinations *to;
	struct flow *flow;
	struct slot *passed;
	struct clear first;

	if (skb->gso_size && skb->gso_size < size)
		size = skb->gso_size;
	if (!read_clear(skb, PAYLOAD_AT, size, &at->clear))
		return TC_ACT_OK;
	first = at->clear;
	keep(&at->clear);
	__builtin_memcpy(at->key.kept, at->clear.word, sizeof(at->key.kept));
	if (!(flow = bpf_map_lookup_elem(&flows, &at->key)) || !tag_holds(&first, flow) ||
	    !(to = bpf_map_lookup_elem(&lists, &flow->list)) ||
	    !(passed = bpf_map_lookup_elem(&slots, &flow->slot)) ||
	    (skb->gso_size && !(datagrams = count_datagrams(skb, at, flow, size))) ||
	    !find_hops(skb, at, to, size))
		return TC_ACT_OK;
	__sync_fetch_and_add(&passed->first, datagrams);
	__sync_fetch_and_add(&passed->second, skb->len - PAYLOAD_AT);
	return replicate(skb, at, to, size);
}

SEC("tc")
int blindrelay(struct __sk_buff *skb)
{
	const __u32 zero = 0, status_slot = STATUS_SLOT;
	struct scratch *at = bpf_map_lookup_elem(&scratches, &zero);
	struct slot *status = bpf_map_lookup_elem(&slots, &status_slot);
	int action = TC_ACT_OK;

	if (!at || !status || !read_outside(skb, at))
		return TC_ACT_OK;
	/* A relay that has died keeps its decisions up to date no more. */
	if (bpf_ktime_get_ns() < status->first)
		action = serve(skb, at);
	if (action == TC_ACT_OK)
		__sync_fetch_and_add(&status->second, 1);
	return action;
}

/* bpf_fib_lookup is for programs under a licence compatible with the kernel's. */
char _license[] SEC("license") = "GPL";
