/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright 2026 the blindrelay authors
 *
 * The maps of relay.bpf.c. nodes/kernel/layout.py describes the same ones: both have to change together.
 */
#pragma once

#define MAXIMUM_FLOWS 65535
#define MAXIMUM_DESTINATIONS 64
#define MAXIMUM_SEGMENTS 128
#define STATUS_SLOT 0

#define ADDRESS_WORDS 4 /* of 32 bits; an IPv4 address takes the first, the others are zero */
#define KEPT_WORDS 8	/* of 64 bits: VPN header, inner IP header, ESP header; what may change is zero */

struct settings { /* the relay's own */
	__u32 address[ADDRESS_WORDS];
	__be16 port;
	__u16 family;
	__u32 tagged; /* whether every datagram must carry a hop tag */
};

struct flow_key {
	__u64 kept[KEPT_WORDS];
	__u32 source[ADDRESS_WORDS];
	__be16 port;
	__u16 reserved[3];
};

struct flow {
	__u32 list;
	__u32 slot;
	__u64 hop_key[2]; /* its sender's */
};

struct destination {
	__u64 hop_key[2];
	__u32 address[ADDRESS_WORDS];
	__be16 port;
	__u8 tagged; /* with hop_key, in place of the sender's tag; such ones stand last */
	__u8 reserved[5];
};

struct destinations {
	__u32 count;
	__u32 reserved;
	struct destination row[MAXIMUM_DESTINATIONS];
};

/* A flow's slot: datagrams, octets. STATUS_SLOT: until when to serve (ns), how many skbs went up. */
struct slot {
	__u64 first;
	__u64 second;
};

struct hop {
	struct destination to;
	__u32 interface;
	__u8 ethernet[ETH_HLEN];
};

struct clear { /* of one datagram: VPN header, tag, inner IP header, ESP header; no tag: 8 octets ahead */
	__u64 word[KEPT_WORDS + 1];
};

struct scratch {
	struct flow_key key;
	struct clear clear;
	struct clear before;
	__u64 begun[4]; /* the tag of `before` under `tag_key`, up to its sequence number */
	__u64 tag_key[2];
	__u64 kept[KEPT_WORDS];
	__u32 outer[12]; /* IP and UDP headers */
	__u64 now, found; /* ns, by the clock's ticks: when the hops were looked up */
	__u32 list, count, size; /* whose they are, how many, for datagrams of what size at most */
	struct hop hops[MAXIMUM_DESTINATIONS];
};

const volatile struct settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAXIMUM_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAXIMUM_FLOWS);
	__type(key, __u32);
	__type(value, struct destinations);
} lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAXIMUM_FLOWS + 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");
