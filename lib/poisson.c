// SPDX-License-Identifier: MIT
/*
 * The two functions of a Poisson process that sampling needs: the distance to the
 * next point, and the probability that there is one within some bytes.
 */
#include <string.h>

#include "poisson.h"

#define LN2	0.69314718055994530942
#define SQRT2	1.41421356237309504880

double poisson_neg_log(double u)
{
	double s, s2, sum = 0, power;
	uint64_t bits;
	int e;

	/* u = m * 2^e with m in [1, 2), then in [1/sqrt 2, sqrt 2) */
	memcpy(&bits, &u, sizeof(bits));
	e = (int)(bits >> 52 & 0x7ff) - 1023;
	bits = (bits & ~(0x7ffULL << 52)) | 1023ULL << 52;
	memcpy(&u, &bits, sizeof(u));
	if (u >= SQRT2) {
		u /= 2;
		e++;
	}
	/* ln m = 2 artanh((m - 1) / (m + 1)) */
	s = (u - 1) / (u + 1);
	s2 = s * s;
	power = s;
	for (int i = 1; i <= 13; i += 2) {
		sum += power / i;
		power *= s2;
	}
	return -(2 * sum + e * LN2);
}

double poisson_inside(double x)
{
	double term, sum = 0;
	int halved = 0;

	if (x > 40)
		return 1;
	while (x > 0.5) {
		x /= 2;
		halved++;
	}
	term = x;
	for (int i = 2; i <= 12; i++) {
		sum += term;
		term *= -x / i;
	}
	/* 1 - exp(-2x) from 1 - exp(-x) */
	while (halved--)
		sum *= 2 - sum;
	return sum;
}

/* splitmix64: any state is a good one. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

int64_t poisson_draw(uint64_t *rng, uint64_t mean)
{
	double u;

	if (mean <= 1)
		return 0;
	/* (0, 1] in steps of 2^-53 */
	u = ((next_random(rng) >> 11) + 1) * 0x1p-53;
	return (int64_t)(poisson_neg_log(u) * (double)mean);
}

uint64_t poisson_weight(uint64_t size, uint64_t mean)
{
	if (mean <= 1)
		return 1ULL << POISSON_UNIT_SHIFT;
	return (uint64_t)((1 << POISSON_UNIT_SHIFT) /
			  poisson_inside((double)size / (double)mean) + 0.5);
}
