/* SPDX-License-Identifier: GPL-2.0 */
/* Copyright 2026 the blindrelay authors
 *
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit tag of a short message.
 */
#pragma once

#define SIPHASH_ROTATE(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))

/* The message is read as little-endian words, whatever the machine. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SIPHASH_WORD(word) (word)
#else
#define SIPHASH_WORD(word) __builtin_bswap64(word)
#endif

static __always_inline void siphash_round(__u64 *v)
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = SIPHASH_ROTATE(v[1], 13) ^ v[0];
	v[3] = SIPHASH_ROTATE(v[3], 16) ^ v[2];
	v[0] = SIPHASH_ROTATE(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = SIPHASH_ROTATE(v[1], 17) ^ v[2];
	v[3] = SIPHASH_ROTATE(v[3], 21) ^ v[0];
	v[2] = SIPHASH_ROTATE(v[2], 32);
}

static __always_inline void siphash_word(__u64 *v, __u64 word)
{
	v[3] ^= word;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= word;
}

/* Returns the tag of `length` octets, at most `limit` words of 64 bits; behind them stand zeroes. */
static __always_inline __u64 siphash(const __u64 *key, const __u64 *message, __u32 length, int limit)
{
	const __u64 k0 = SIPHASH_WORD(key[0]), k1 = SIPHASH_WORD(key[1]);
	__u64 v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL,
		      k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
	__u64 last = (__u64)length << 56;
	int word;

	for (word = 0; word < limit && word < length / 8; word++)
		siphash_word(v, SIPHASH_WORD(message[word]));
	if (length % 8 && word < limit)
		last |= SIPHASH_WORD(message[word]);
	siphash_word(v, last);
	v[2] ^= 0xFF;
	for (int round = 0; round < 4; round++)
		siphash_round(v);
	return SIPHASH_WORD(v[0] ^ v[1] ^ v[2] ^ v[3]);
}
