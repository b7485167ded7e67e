/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a stream are sampled: points of a Poisson process with one point
 * in @mean bytes.  An object is sampled when a point lies in it, that is with
 * probability 1 - exp(-size / mean); what is known of sampled objects stands for
 * all when each counts 1 / probability times.
 *
 * Stateless but for the caller's generator.  Without libm, which would be one more
 * library in every process for a slow path: good to nine digits.
 */
#ifndef _LIB_POISSON_H
#define _LIB_POISSON_H

#include <util/compiler.h>

/* Weights are counted in units of 2^-16. */
#define POISSON_UNIT_SHIFT	16
#define POISSON_MEAN_MAX	(1ULL << 40)

/* -ln(@u), 0 < @u <= 1. */
double poisson_neg_log(double u);
/* 1 - exp(-@x), @x >= 0. */
double poisson_inside(double x);

/* Bytes to the next point; 0 for a mean of 1, which samples everything. */
int64_t poisson_draw(uint64_t *rng, uint64_t mean);
/* How many objects of @size bytes a sampled one stands for, in units. */
uint64_t poisson_weight(uint64_t size, uint64_t mean);

#endif /* _LIB_POISSON_H */
