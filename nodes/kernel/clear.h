/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright 2026 the blindrelay authors
 *
 * What is clear of a datagram: VPN header, hop tag, inner IP header, ESP header.
 *
 * The tag is over all the others. In a flow's datagrams of one length they differ in the sequence number
 * alone, and it is the last: so a tag is begun once for many, and ended for each. Words of several sizes
 * are read where others were written: needs -fno-strict-aliasing.
 */
#pragma once

#include "maps.h"
#include "siphash.h"

#define IPV6 10 /* AF_INET6 */
#define VPN_HEADER 16
#define MAC_BLOCK_FOLLOWS 1
#define HOP_TAG_FOLLOWS 1 /* a flag */
#define HOP_TAG (settings.tagged ? 8 : 0)
#define ESP_HEADER 8
#define LEAST_ESP 36 /* header, IV, one block of ciphertext, ICV */

/* The verifier knows the settings: it takes out what the other IP version would need. */
#define IS_IPV6 (settings.family == IPV6)
#define IP_LENGTH (IS_IPV6 ? 40 : 20)

/* Where in the words of struct clear */
#define HEADER (settings.tagged ? 0 : 1)
#define TAG 2
#define INNER 3
#define SPI 8 /* with the sequence number, in IPv6; in IPv4 it is with the inner destination */
#define SEQUENCE (IS_IPV6 ? SPI : 6)

static __always_inline int load_clear(struct __sk_buff *skb, __u32 offset, struct clear *clear)
{
	return !bpf_skb_load_bytes(skb, offset - 8 * HEADER, clear, 8 * INNER + IP_LENGTH + ESP_HEADER);
}

/* Checks a datagram's headers and the lengths in them. */
static __always_inline int is_sound(const struct clear *clear, __u32 length)
{
	const __u8 *header = (__u8 *)&clear->word[HEADER], *inner = (__u8 *)&clear->word[INNER];
	__u32 behind = length - VPN_HEADER - HOP_TAG;

	if (length < VPN_HEADER + HOP_TAG + IP_LENGTH + LEAST_ESP || header[0] != MAC_BLOCK_FOLLOWS ||
	    header[1] != (settings.tagged ? HOP_TAG_FOLLOWS : 0))
		return 0;
	if (IS_IPV6)
		return inner[0] >> 4 == 6 && ((__be16 *)inner)[2] == bpf_htons(behind - IP_LENGTH);
	return inner[0] >> 4 == 4 && ((__be16 *)inner)[1] == bpf_htons(behind);
}

/* Takes from the clear octets what names the flow. */
static __always_inline void keep(__u64 *kept, const struct clear *clear)
{
	__u8 *octets = (__u8 *)kept;
	__be16 *inner = (__be16 *)(octets + VPN_HEADER);

	kept[0] = clear->word[HEADER];
	kept[1] = clear->word[HEADER + 1];
	for (int word = 2; word < KEPT_WORDS; word++)
		kept[word] = clear->word[INNER - 2 + word];
	if (IS_IPV6) {
		inner[2] = 0; /* payload length */
	} else {
		inner[1] = inner[2] = inner[5] = 0; /* total length, identification, checksum */
		octets[VPN_HEADER + 8] = 0;	    /* time to live */
	}
	*(__u32 *)(octets + VPN_HEADER + IP_LENGTH + 4) = 0; /* sequence number */
}

/* Tells whether all that is clear, tag and sequence number apart, is as in another datagram. */
static __always_inline int is_like(const struct clear *clear, const struct clear *other)
{
	const __u64 *a = clear->word, *b = other->word;
	__u64 differs = (a[HEADER] ^ b[HEADER]) | (a[HEADER + 1] ^ b[HEADER + 1]);

	for (int word = INNER; word < SPI && word < SEQUENCE; word++)
		differs |= a[word] ^ b[word];
	if (IS_IPV6)
		differs |= *(__u32 *)&a[SPI] ^ *(__u32 *)&b[SPI];
	return !differs;
}

/* Begins a tag: hashes what comes before the word with the sequence number. */
static __always_inline void begin_tag(__u64 *begun, const __u64 *key, const struct clear *clear)
{
	siphash_begin(begun, key);
	siphash_word(begun, clear->word[0]);
	siphash_word(begun, clear->word[1]);
	for (int word = INNER; word < SPI && word < SEQUENCE; word++)
		siphash_word(begun, clear->word[word]);
}

/* Returns the tag of a datagram whose beginning is that which `begun` is of. */
static __always_inline __u64 end_tag(const __u64 *begun, const struct clear *clear)
{
	__u64 state[4] = {begun[0], begun[1], begun[2], begun[3]}, last = clear->word[SEQUENCE];

	if (IS_IPV6) { /* it fills a word, with the SPI */
		siphash_word(state, last);
		last = 0;
	}
	return siphash_end(state, last, VPN_HEADER + IP_LENGTH + ESP_HEADER);
}
