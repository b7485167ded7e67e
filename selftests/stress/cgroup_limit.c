// SPDX-License-Identifier: MIT
/*
 * A service in a memory control group, whose garbage would need more than the
 * group has: it lives, because what is free goes back before the kernel has to
 * kill. The same load with cgroup:off shows that he would.
 *
 *	limit 512 MiB, of which 300 MiB live; four threads that by turns make and free
 *	140 MiB of small objects, a few of which stay for a turn, and of large ones,
 *	which do not fit into the holes between those
 *
 * The group is made below the one this program is in (version 2 or 1), and taken
 * away at the end. Where that is not allowed, all of it is skipped.
 */
#include "../conform/conform.h"
#include <sys/stat.h>
#include <sys/sysinfo.h>

#define MIB		(1ul << 20)
#define LIMIT		(512 * MIB)
#define LIVE		(300 * MIB)
#define GARBAGE		(140 * MIB)
#define NR_THREADS	4
#define LIVE_SIZE	2000
/* Objects of a small turn that stay for the next: one in so many. */
#define STAYS		26

static char group[600];
static bool v2;

static bool put(const char *file, const char *text)
{
	char path[700];
	int fd;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return good;
}

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

static long get(const char *file)
{
	char path[700], buf[64];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return read_file(path, buf, sizeof(buf)) > 0 ? atol(buf) : -1;
}

/* The folder of this process's memory group; false when there is none. */
static bool own_group(char *dir, size_t size)
{
	char line[1024], path[400] = "", point[400] = "";
	FILE *f = fopen("/proc/self/cgroup", "r");

	while (f && fgets(line, sizeof(line), f)) {
		char *name = strchr(line, ':'), *p = name ? strchr(name + 1, ':') : NULL;
		bool one = p && strstr(name, "memory") && strstr(name, "memory") < p;

		if (!p || (!one && (p != name + 1 || path[0])))
			continue;
		v2 = !one;
		p[strcspn(p, "\n")] = '\0';
		snprintf(path, sizeof(path), "%.399s", p + 1);
	}
	if (f)
		fclose(f);
	f = fopen("/proc/self/mountinfo", "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *tail = strstr(line, " - ");

		if (tail && (v2 ? !strncmp(tail, " - cgroup2 ", 11) :
			     !strncmp(tail, " - cgroup ", 10) && strstr(tail, "memory")))
			sscanf(line, "%*s %*s %*s %*s %399s", point);
	}
	if (f)
		fclose(f);
	snprintf(dir, size, "%s%s", point, path[1] ? path : "");
	return path[0] && point[0] && access(dir, W_OK) == 0;
}

/* NULL, or why there is no group to be had. */
static const char *make_group(void)
{
	char dir[sizeof(group) - 40], number[32];

	if (!own_group(dir, sizeof(dir)))
		return "no memory control group that can be written to";
	snprintf(group, sizeof(group), "%s", dir);
	if (v2)
		put("cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "%s/heaparena-test-%d", dir, getpid());
	if (mkdir(group, 0755))
		return "a control group cannot be made";
	snprintf(number, sizeof(number), "%lu", LIMIT);
	if (!put(v2 ? "memory.max" : "memory.limit_in_bytes", number)) {
		rmdir(group);
		return "the control group has no memory limit";
	}
	if (v2)
		put("memory.swap.max", "0");
	else
		put("memory.swappiness", "0");
	return NULL;
}

static void drop_group(void)
{
	for (int i = 0; i < 100 && rmdir(group) && errno == EBUSY; i++)
		usleep(50000);
}

/*
 * The load.
 */

static void *live[LIVE / LIVE_SIZE];
static pthread_barrier_t turn;
static int stop;

static void fill_live(void)
{
	for (size_t i = 0; i < LIVE / LIVE_SIZE; i++) {
		live[i] = malloc(LIVE_SIZE);
		if (!live[i])
			_exit(3);
		memset(live[i], 1, LIVE_SIZE);
	}
}

/* This thread's share of a turn's garbage. */
static void garbage(size_t size)
{
	static __thread void *stay[GARBAGE / LIVE_SIZE / STAYS];
	size_t n = GARBAGE / NR_THREADS / size, k = 0;
	void **p = malloc(n * sizeof(*p));

	for (size_t i = 0; i < n; i++) {
		p[i] = malloc(size);
		if (!p[i])
			_exit(4);
		memset(p[i], 2, size);
		if (size == LIVE_SIZE && i % STAYS == 0) {
			free(stay[k]);
			stay[k++] = p[i];
			p[i] = NULL;
		}
	}
	for (size_t i = 0; i < n; i++)
		free(p[i]);
	free(p);
}

static void *worker(void *unused)
{
	static const size_t sizes[] = {
		LIVE_SIZE, 1500000, LIVE_SIZE, 6000000, LIVE_SIZE, 700000,
	};
	int last;

	(void)unused;
	for (unsigned int i = 0;; i++) {
		garbage(sizes[i % (sizeof(sizes) / sizeof(sizes[0]))]);
		pthread_barrier_wait(&turn);
		/* changes only while all wait: they see it at the same turn */
		last = __atomic_load_n(&stop, __ATOMIC_RELAXED);
		pthread_barrier_wait(&turn);
		if (last)
			return NULL;
	}
}

static double clock_s(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* CPU seconds of the thread named heaparena, 0 without one. */
static double background_cpu(void)
{
	char path[64], buf[128];
	double sum = 0;

	for (int tid = getpid(); tid < getpid() + 100; tid++) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
		if (read_file(path, buf, sizeof(buf)) <= 0 || strcmp(buf, "heaparena\n"))
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
		if (read_file(path, buf, sizeof(buf)) > 0)
			sum += strtod(buf, NULL) / 1e9;
	}
	return sum;
}

/* The service; it ends well, or the kernel ends it. */
static int service(void)
{
	const char *s = getenv("HA_TEST_SECONDS");
	double seconds = s ? atof(s) : 2, start;
	pthread_t t[NR_THREADS];
	long turns = 0;

	pthread_barrier_init(&turn, NULL, NR_THREADS + 1);
	fill_live();
	start = clock_s(CLOCK_MONOTONIC);
	for (int i = 0; i < NR_THREADS; i++)
		if (pthread_create(&t[i], NULL, worker, NULL))
			return 5;
	while (!stop) {
		if (clock_s(CLOCK_MONOTONIC) - start >= seconds)
			__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		turns++;
	}
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < LIVE / LIVE_SIZE; i++)
		if (*(char *)live[i] != 1)
			return 6;
	start = clock_s(CLOCK_MONOTONIC) - start;
	printf("%ld turns in %.1f s, background thread %.2f %% of a CPU, peak %ld MiB\n", turns,
	       start, 100 * background_cpu() / start, tap_status_kb("VmHWM") >> 10);
	return 0;
}

/* Into the group, and then the service. */
static int joined(const char *mode, const char *dir)
{
	char pid[32];

	snprintf(group, sizeof(group), "%s", dir);
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!put("cgroup.procs", pid))
		return 2;
	execl("/proc/self/exe", "service", mode, NULL);
	return 2;
}

static void run(const char *conf, struct run_result *r)
{
	char env_group[700], env_seconds[64], env_conf[600];
	const char *old = getenv("HEAPARENA_CONF");
	const char *set[] = { env_group, env_seconds, env_conf, NULL };

	snprintf(env_group, sizeof(env_group), "HA_TEST_GROUP=%s", group);
	snprintf(env_seconds, sizeof(env_seconds), "HA_TEST_SECONDS=%g", tap_opts.seconds);
	snprintf(env_conf, sizeof(env_conf), "HEAPARENA_CONF=%s%s%s", old ? old : "",
		 old && *old ? "," : "", conf);
	if (!run_self("@join", set, 0, r))
		tap_bail("fork");
	diag("%s: status 0x%x, %s", conf, r->status, r->out[0] ? r->out : "no word");
	diag("%s: the group's most: %ld MiB", conf,
	     get(v2 ? "memory.peak" : "memory.max_usage_in_bytes") >> 20);
}

int main(int argc, char **argv)
{
	const char *mode = child_mode(argc, argv), *why;
	static struct run_result r;
	struct sysinfo info;

	if (mode && !strcmp(mode, "@join"))
		return joined("@service", getenv("HA_TEST_GROUP"));
	if (mode)
		return service();
	tap_init(argc, argv);
	if (TAP_TSAN || !can_run_self())
		tap_skip_all("resident memory is not ours alone");
	if (sysinfo(&info) || info.totalram * info.mem_unit < 2048 * MIB)
		tap_skip_all("less than 2 GiB of memory");
	why = make_group();
	if (why)
		tap_skip_all(why);
	run("cgroup:on", &r);
	if (!ok(run_ok(&r), "lives in a group of 512 MiB, 300 MiB of them alive"))
		run_diag(&r);
	run("cgroup:off", &r);
	ok(WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGKILL,
	   "the same load does not, when the group's limit is not heeded");
	drop_group();
	return tap_done();
}
