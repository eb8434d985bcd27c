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

static __always_inline void siphash_word(__u64 *v, __u64 message)
{
	const __u64 word = SIPHASH_WORD(message);

	v[3] ^= word;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= word;
}

static __always_inline void siphash_begin(__u64 *v, const __u64 *key)
{
	const __u64 k0 = SIPHASH_WORD(key[0]), k1 = SIPHASH_WORD(key[1]);

	v[0] = k0 ^ 0x736f6d6570736575ULL;
	v[1] = k1 ^ 0x646f72616e646f6dULL;
	v[2] = k0 ^ 0x6c7967656e657261ULL;
	v[3] = k1 ^ 0x7465646279746573ULL;
}

/* Returns the tag of `length` octets; `last` are those behind the last whole word, then zeroes. */
static __always_inline __u64 siphash_end(__u64 *v, __u64 last, __u32 length)
{
	siphash_word(v, last | SIPHASH_WORD((__u64)length << 56));
	v[2] ^= 0xFF;
	for (int round = 0; round < 4; round++)
		siphash_round(v);
	return SIPHASH_WORD(v[0] ^ v[1] ^ v[2] ^ v[3]);
}
