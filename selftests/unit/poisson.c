// SPDX-License-Identifier: MIT
/*
 * poisson: its functions against libm, and what is drawn against what it should be.
 */
#include <math.h>

#include "poisson.h"

#include "fake/unit.h"

START_TEST(functions)
{
	struct unit_rand r = unit_rand(1);

	check(poisson_neg_log(1) == 0);
	check(poisson_inside(0) == 0);
	check(poisson_inside(1e9) == 1);
	for (unsigned int i = 0; i < 200000; i++) {
		double u = ((rand_u64(&r) >> 11) + 1) * 0x1p-53;
		double x = ldexp(u, (int)rand_below(&r, 80) - 60);

		check(fabs(poisson_neg_log(u) + log(u)) <= 1e-9 * fabs(log(u)) + 1e-12);
		check(fabs(poisson_inside(x) + expm1(-x)) <= -expm1(-x) * 1e-9);
	}
	check(fabs(poisson_neg_log(0x1p-53) - 53 * log(2)) < 1e-9);
}
END_TEST

START_TEST(weights)
{
	check(poisson_weight(8, 1) == 1 << POISSON_UNIT_SHIFT);
	check(poisson_weight(1ULL << 40, 512 << 10) == 1 << POISSON_UNIT_SHIFT);
	/* a small object stands for mean / size of them, and half a one more */
	check(llabs((long long)poisson_weight(8, 512 << 10) -
		    (long long)((65536 + 0.5) * (1 << POISSON_UNIT_SHIFT))) < 2);
	check(poisson_weight(16, POISSON_MEAN_MAX) > 1ULL << (36 + POISSON_UNIT_SHIFT));
}
END_TEST

/* Mean and deviation of what is drawn, both equal to @mean. */
START_TEST(draws)
{
	static const uint64_t means[] = { 2, 100, 4096, 512 << 10, POISSON_MEAN_MAX };
	uint64_t mean = means[_i], rng = rand_u64(&(struct unit_rand){ unit_run_seed });
	enum { N = 200000 };
	double sum = 0, squares = 0;

	for (unsigned int i = 0; i < N; i++) {
		double d = poisson_draw(&rng, mean);

		check(d >= 0);
		sum += d / mean;
		squares += d / mean * (d / mean);
	}
	/* cut to whole bytes: half a byte less */
	check(fabs(sum / N - 1 + 0.5 / mean) < 6 / sqrt(N) + 0.05 / mean);
	check(mean == 2 || fabs(squares / N - 2 + 1.0 / mean) < 6 * sqrt(20.0 / N));
	check(poisson_draw(&rng, 1) == 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("poisson");
	TCase *tc = tcase_create("process");

	unit_seed();
	tcase_set_timeout(tc, UNIT_TIMEOUT);
	tcase_add_test(tc, functions);
	tcase_add_test(tc, weights);
	tcase_add_loop_test(tc, draws, 0, 5);
	suite_add_tcase(s, tc);
	return unit_run(s);
}
