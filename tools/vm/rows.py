# SPDX-License-Identifier: MIT
"""The matrix: one row, one virtual machine, one list of tests.

A line of a list is

	KIND/NAME [ARGUMENT...] [KEY=VALUE...]	a test, its options, its environment
	! COMMAND				the machine's state from here on

The kernel may kill for want of memory where MAY_KILL=1 is in a test's environment.

A row's limit is in seconds, for the whole of it, several times what it takes on two
idle cores; rows marked `asked` run only when they are named; memory is in MiB.
"""
import collections

Row = collections.namedtuple('Row', 'name arch kernel nodes limit asked tests note memory',
                             defaults=(1024,))

# Where objects lie, with nodes that are real.
NODES = '''
numa/topology
numa/placement
numa/placement HEAPARENA_CONF=numa:strict
numa/home
numa/home HEAPARENA_CONF=numa:strict
numa/modes
numa/node_stats
numa/spill
numa/spill HEAPARENA_CONF=numa:strict
numa/fallback
numa/handover -d 2
'''

# The same without restartable sequences.
NO_RSEQ = '''
numa/topology GLIBC_TUNABLES=glibc.pthread.rseq=0
numa/placement GLIBC_TUNABLES=glibc.pthread.rseq=0
numa/home GLIBC_TUNABLES=glibc.pthread.rseq=0
numa/handover -d 2 GLIBC_TUNABLES=glibc.pthread.rseq=0
stress/threads -d 2 GLIBC_TUNABLES=glibc.pthread.rseq=0
stress/fork_storm -d 1 GLIBC_TUNABLES=glibc.pthread.rseq=0
conform/life GLIBC_TUNABLES=glibc.pthread.rseq=0
'''

STRESS = '''
stress/threads -d 2
stress/affinity_storm -d 2
stress/fork_storm -d 2
stress/signals -d 1
stress/vfork -d 1
stress/realloc_storm -d 1
stress/producer_consumer -d 2
stress/regress_trim_starts_thread
'''

RSEQ = '''
rseq/migration -d 2
rseq/membarrier -d 1
rseq/signal -d 1
rseq/unregistered -d 1
rseq/ownership -d 1
rseq/birth -d 1
'''

CONFORM = '''
conform/alloc
conform/align
conform/first_malloc
conform/life
'''

ABORT = '''
abort/double_free_small
abort/double_free_other_thread
abort/double_free_large
abort/interior_small
abort/free_stack
'''

UNIT = '''
unit/numa
unit/vm
unit/rseq
'''

# What any kernel should be asked, in a few seconds.
SHORT = '''
numa/topology
rseq/migration -d 2
rseq/membarrier -d 1
stress/threads -d 2
stress/fork_storm -d 1
conform/alloc
abort/double_free_other_thread
'''

# What one node leaves to ask.
ONE = '''
stress/affinity_storm -d 2
stress/signals -d 1
stress/vfork -d 1
numa/hotplug -d 3
stress/producer_consumer -d 2
stress/regress_trim_starts_thread
'''

# CPUs that go and come, memory nodes that are taken away.
CHANGE = '''
numa/hotplug -d 4
numa/hotplug -d 3 GLIBC_TUNABLES=glibc.pthread.rseq=0
numa/cpuset
numa/cpuset HEAPARENA_CONF=numa:strict
'''

SCARCE = '''
numa/memcg -d 4
numa/psi
numa/maps
! sysctl -w vm.overcommit_memory=2 vm.overcommit_ratio=50
numa/overcommit
conform/alloc
stress/threads -d 1
! sysctl -w vm.overcommit_memory=0
'''

# Nodes by their share of the memory.
FOUR, SINGLE, CPU_ONLY = (1, 1, 1, 1), (1,), (2, 1, 1, 0)

ROWS = [
    Row('x86_64-4n', 'x86_64', '6.12', FOUR, 400, False,
        NODES + RSEQ + STRESS + CONFORM + ABORT + UNIT, 'four nodes'),
    Row('x86_64-4n-norseq', 'x86_64', '6.12', FOUR, 200, False, NO_RSEQ,
        'restartable sequences switched off by the glibc tunable'),
    Row('x86_64-4n-6.1', 'x86_64', '6.1', FOUR, 300, False, NODES + SHORT,
        'a kernel without mm_cid'),
    Row('x86_64-1n', 'x86_64', '6.12', SINGLE, 200, False, SHORT + ONE,
        'one node: caches by mm_cid'),
    Row('x86_64-1n-6.1', 'x86_64', '6.1', SINGLE, 150, False, SHORT,
        'one node without mm_cid: caches by CPU'),
    Row('x86_64-cpu-only', 'x86_64', '6.12', CPU_ONLY, 150, False,
        'numa/cpu_only\nstress/affinity_storm -d 2\n', 'a node with CPUs and no memory'),
    Row('x86_64-change', 'x86_64', '6.12', FOUR, 200, False, CHANGE,
        'CPUs go offline and come back; a cpuset shrinks and grows'),
    Row('x86_64-scarce', 'x86_64', '6.12', FOUR, 200, False, SCARCE,
        'memory cgroup, low vm.max_map_count, overcommit 2'),
    Row('x86_64-cgroup', 'x86_64', '6.12', SINGLE, 240, False,
        'numa/psi\nnuma/psi HEAPARENA_CONF=cgroup:off\nstress/cgroup_limit -d 5 MAY_KILL=1\n',
        'a memory cgroup (v2) smaller than the garbage; pressure (PSI)', 3072),
    Row('arm64-4n', 'arm64', '6.12', FOUR, 400, False, NODES + RSEQ + STRESS + ABORT + UNIT,
        'four nodes, pages of 4 KiB'),
    Row('arm64-4n-norseq', 'arm64', '6.12', FOUR, 200, False, NO_RSEQ,
        'restartable sequences switched off by the glibc tunable'),
    Row('arm64-4n-6.1', 'arm64', '6.1', FOUR, 300, False, NODES + SHORT,
        'a kernel without mm_cid'),
    Row('arm64-1n', 'arm64', '6.12', SINGLE, 150, False, SHORT, 'one node: caches by mm_cid'),
    Row('arm64-1n-6.1', 'arm64', '6.1', SINGLE, 150, False, SHORT,
        'one node without mm_cid: caches by CPU'),
    Row('arm64-16k', 'arm64', '6.12-16k', FOUR, 300, False, NODES + SHORT + SCARCE,
        'pages of 16 KiB'),
    Row('arm64-64k', 'arm64', '6.12-64k', FOUR, 300, True, NODES + SHORT + SCARCE,
        'pages of 64 KiB; builds the kernel first'),
    Row('arm64-change', 'arm64', '6.12', FOUR, 200, False, CHANGE,
        'CPUs go offline and come back; a cpuset shrinks and grows'),
]
