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

#include "clear.h"
#include "maps.h"

#define LOOPBACK_INTERFACE 1 /* what the kernel takes as the origin of its own packets */
#define HOP_LIMIT 64

#define IP_SOURCE (IS_IPV6 ? 2 : 3) /* in words */
#define IP_DESTINATION (IS_IPV6 ? 6 : 4)
#define IP_ADDRESS_WORDS (IS_IPV6 ? 4 : 1)
#define UDP_AT (ETH_HLEN + IP_LENGTH)
#define PAYLOAD_AT (UDP_AT + sizeof(struct udphdr))

static __always_inline void copy_address(__u32 *to, const __u32 *from)
{
	for (int word = 0; word < IP_ADDRESS_WORDS; word++)
		to[word] = from[word];
}

/* Reads the outer headers: a whole UDP datagram, or a batch of them, from anybody to the relay. */
static __always_inline int read_outside(struct __sk_buff *skb, struct scratch *at)
{
	__u32 differs = 0, behind, *ip = at->outer;
	struct udphdr *udp = (void *)ip + IP_LENGTH;

	if (skb->pkt_type || skb->vlan_present ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, ip, IP_LENGTH + sizeof(*udp)))
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
	at->key.port = udp->source;
	return !differs && udp->dest == settings.port && udp->check &&
	       behind == bpf_ntohs(udp->len) && skb->len == UDP_AT + behind;
}

/* Works out the tag of `clear`: from where the last datagram's under the same key began, if they are alike. */
static __always_inline __u64 tag_of(struct scratch *at, const __u64 *key)
{
	if (at->tag_key[0] != key[0] || at->tag_key[1] != key[1] || !is_like(&at->clear, &at->before)) {
		at->before = at->clear;
		at->tag_key[0] = key[0];
		at->tag_key[1] = key[1];
		begin_tag(at->begun, key, &at->clear);
	}
	return end_tag(at->begun, &at->clear);
}

/* Counts the datagrams of a batch; 0 when one is not of the first one's flow or its tag is forged.
 * Each is compared with the one before, and if it differs looked at like the first. */
static __always_inline int count_datagrams(struct __sk_buff *skb, struct scratch *at,
					   const struct flow *flow, __u32 size)
{
	__u32 offset = PAYLOAD_AT, end = skb->len;

	if (!settings.tagged)
		at->before = at->clear;
	for (int number = 1; number <= MAXIMUM_SEGMENTS; number++) {
		offset += size;
		if (offset >= end)
			return number;
		if (!load_clear(skb, offset, &at->clear))
			return 0;
		if (offset + size > end || !is_like(&at->clear, &at->before)) {
			__u64 differs = 0;

			if (!is_sound(&at->clear, offset + size > end ? end - offset : size))
				return 0;
			keep(at->kept, &at->clear);
			for (int word = 0; word < KEPT_WORDS; word++)
				differs |= at->kept[word] ^ at->key.kept[word];
			if (differs)
				return 0;
			if (!settings.tagged)
				at->before = at->clear;
		}
		if (settings.tagged && tag_of(at, flow->hop_key) != at->clear.word[TAG])
			return 0;
	}
	return 0;
}

/* Finds a list's destinations and the way to each before anything is sent; 0 when to one of them there is
 * none. What was found for one skb holds for others until the clock's next tick: a list's number is never
 * another's, and no flow that is in force leads to a list that is not. */
static __always_inline int find_hops(struct __sk_buff *skb, struct scratch *at, __u32 list, __u32 size)
{
	const struct destinations *to;

	if (at->list == list && at->found == at->now && size <= at->size)
		return 1;
	at->list = 0;
	if (!(to = bpf_map_lookup_elem(&lists, &list)))
		return 0;
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

		copy_address(way.ipv6_src, at->outer + IP_DESTINATION);
		copy_address(way.ipv6_dst, to->row[i].address);
		if (bpf_fib_lookup(skb, &way, sizeof(way), 0) != BPF_FIB_LKUP_RET_SUCCESS)
			return 0;
		hop->to = to->row[i];
		hop->interface = way.ifindex;
		__builtin_memcpy(hop->ethernet, way.dmac, ETH_ALEN);
		__builtin_memcpy(hop->ethernet + ETH_ALEN, way.smac, ETH_ALEN);
		*(__be16 *)(hop->ethernet + 2 * ETH_ALEN) = bpf_htons(IS_IPV6 ? ETH_P_IPV6 : ETH_P_IP);
	}
	at->count = to->count;
	at->found = at->now;
	at->size = size;
	at->list = list;
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
static __always_inline int address_to(struct __sk_buff *skb, struct scratch *at, struct hop *hop,
				      __u32 *from, __be16 from_port)
{
	struct destination *to = &hop->to;
	const __u32 check = UDP_AT + __builtin_offsetof(struct udphdr, check);
	__be16 ports[2] = {settings.port, to->port};
	__s64 change = bpf_csum_diff(from, 4 * IP_ADDRESS_WORDS, to->address, 4 * IP_ADDRESS_WORDS, 0);

	make_ip(at->outer, to);
	return change >= 0 && !bpf_skb_store_bytes(skb, 0, hop->ethernet, ETH_HLEN, 0) &&
	       !bpf_skb_store_bytes(skb, ETH_HLEN, at->outer, IP_LENGTH, BPF_F_RECOMPUTE_CSUM) &&
	       !bpf_skb_store_bytes(skb, UDP_AT, ports, sizeof(ports), 0) &&
	       !bpf_l4_csum_replace(skb, check, 0, change, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) &&
	       (from_port == to->port ||
		!bpf_l4_csum_replace(skb, check, from_port, to->port, BPF_F_MARK_MANGLED_0 | 2));
}

/* Puts another relay's tag into each datagram of the skb. The verifier looks at a global function once,
 * however many destinations there are. A batch's checksum is left to the interface, which the helper knows. */
__noinline int tag_anew(struct __sk_buff *skb, struct destination *to, __u32 size)
{
	const __u32 zero = 0, check = UDP_AT + __builtin_offsetof(struct udphdr, check);
	struct scratch *at = bpf_map_lookup_elem(&scratches, &zero);
	__u32 offset = PAYLOAD_AT, end = skb->len;
	__s64 change = 0;

	/* Each store would lengthen what is in one piece up to there, and move it: so all at once. */
	if (skb->gso_size && bpf_skb_pull_data(skb, end))
		return 0;
	for (int number = 0; number < MAXIMUM_SEGMENTS && offset < end; number++, offset += size) {
		__u64 tag;

		if (!at || !to || !load_clear(skb, offset, &at->clear))
			return 0;
		tag = tag_of(at, to->hop_key);
		change = bpf_csum_diff((__be32 *)&at->clear.word[TAG], 8, (__be32 *)&tag, 8, change);
		if (change < 0 || bpf_skb_store_bytes(skb, offset + VPN_HEADER, &tag, 8, 0))
			return 0;
	}
	return !bpf_l4_csum_replace(skb, check, 0, change, BPF_F_MARK_MANGLED_0);
}

/* Sends a copy to each destination, the skb itself to the last. */
static __always_inline int replicate(struct __sk_buff *skb, struct scratch *at, __u32 size)
{
	__u32 *from = at->key.source;
	__be16 from_port = at->key.port;

	copy_address(at->outer + IP_SOURCE, at->outer + IP_DESTINATION);
	for (__u32 i = 0; i < MAXIMUM_DESTINATIONS && i < at->count; i++) {
		struct hop *hop = &at->hops[i];

		if ((hop->to.tagged && !tag_anew(skb, &hop->to, size)) ||
		    !address_to(skb, at, hop, from, from_port))
			break;
		if (i + 1 == at->count)
			return bpf_redirect(hop->interface, 0);
		bpf_clone_redirect(skb, hop->interface, 0);
		from = hop->to.address;
		from_port = hop->to.port;
	}
	return TC_ACT_SHOT;
}

static __always_inline int serve(struct __sk_buff *skb, struct scratch *at)
{
	__u32 size = skb->len - PAYLOAD_AT, datagrams = 1;
	struct flow *flow;
	struct slot *passed;

	if (skb->gso_size && skb->gso_size < size)
		size = skb->gso_size;
	if (!load_clear(skb, PAYLOAD_AT, &at->clear) || !is_sound(&at->clear, size))
		return TC_ACT_OK;
	keep(at->key.kept, &at->clear);
	if (!(flow = bpf_map_lookup_elem(&flows, &at->key)))
		return TC_ACT_OK;
	if (settings.tagged && tag_of(at, flow->hop_key) != at->clear.word[TAG])
		return TC_ACT_OK;
	if (!(passed = bpf_map_lookup_elem(&slots, &flow->slot)) ||
	    (skb->gso_size && !(datagrams = count_datagrams(skb, at, flow, size))) ||
	    !find_hops(skb, at, flow->list, size))
		return TC_ACT_OK;
	__sync_fetch_and_add(&passed->first, datagrams);
	__sync_fetch_and_add(&passed->second, skb->len - PAYLOAD_AT);
	return replicate(skb, at, size);
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
	at->now = bpf_ktime_get_coarse_ns();
	if (at->now < status->first)
		action = serve(skb, at);
	if (action == TC_ACT_OK)
		__sync_fetch_and_add(&status->second, 1);
	return action;
}

/* bpf_fib_lookup is for programs under a licence compatible with the kernel's. */
char _license[] SEC("license") = "GPL";
