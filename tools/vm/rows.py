# SPDX-License-Identifier: MIT
"""The matrix: one row, one virtual machine, one list of tests.

A line of a list is

	KIND/NAME [ARGUMENT...] [KEY=VALUE...]	a test, its options, its environment
	! COMMAND				the machine's state from here on

A row's limit is in seconds, for the whole of it; rows marked `asked` run only when
they are named.
"""
import collections

Row = collections.namedtuple('Row', 'name arch kernel nodes limit asked append tests note')

# Where objects lie, with nodes that are real.
NODES = '''
numa/topology
numa/placement
numa/placement HEAPARENA_CONF=numa:strict
numa/home
numa/home HEAPARENA_CONF=numa:strict
numa/modes
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
conform/rseq_tunable
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
unit/mcache
unit/mheap
'''

# CPUs that go and come, memory nodes that are taken away.
CHANGE = '''
numa/hotplug -d 4
numa/hotplug -d 3 GLIBC_TUNABLES=glibc.pthread.rseq=0
numa/cpuset
numa/cpuset HEAPARENA_CONF=numa:strict
'''

SCARCE = '''
numa/memcg -d 3
numa/maps
! sysctl -w vm.overcommit_memory=2 vm.overcommit_ratio=50
numa/overcommit
conform/alloc
stress/threads -d 1
! sysctl -w vm.overcommit_memory=0
'''

ROWS = [
    Row('x86_64-4n', 'x86_64', '6.12', 4, 240, False, '',
        CONFORM + RSEQ + ABORT + UNIT,
        '4 nodes, mm_cid in the kernel and cpu_id in use'),
]
ROWS += [
    Row('t-x86-61', 'x86_64', '6.1', 4, 170, True, '', 'conform/alloc\nrseq/migration -d 1\n', ''),
    Row('t-arm', 'arm64', '6.12', 4, 170, True, '', 'conform/alloc\nrseq/migration -d 1\nabort/free_stack\n', ''),
    Row('t-arm61', 'arm64', '6.1', 4, 170, True, '', 'conform/alloc\nrseq/migration -d 1\n', ''),
    Row('t-arm16', 'arm64', '6.12-16k', 4, 170, True, '', 'conform/alloc\nrseq/migration -d 1\n', ''),
]

ROWS += [Row('t-numa', 'x86_64', '6.12', 4, 170, True, '', NODES, ''),
Row('t-numa1', 'x86_64', '6.12', 1, 170, True, '', NODES, '')]

ROWS += [Row('t-x', 'x86_64', '6.12', 4, 170, True, '', 'numa/placement\nnuma/placement HEAPARENA_CONF=numa:strict\n' + NO_RSEQ, '')]

ROWS += [Row('t-change', 'x86_64', '6.12', 4, 170, True, '', CHANGE, ''), Row('t-scarce', 'x86_64', '6.12', 4, 170, True, '', SCARCE, '')]
ROWS += [Row('t-dbg', 'x86_64', '6.12', 4, 100, True, '', '''
! (sleep 15; for t in /proc/[0-9]*/task/*; do case $(cat $t/comm) in cpuset) echo == $t; cat $t/stat $t/stack $t/wchan $t/syscall;; esac; done >/dev/console) &
numa/cpuset HEAPARENA_CONF=numa:strict
''', '')]

ROWS += [Row('t-cs', 'x86_64', '6.12', 4, 170, True, '', """
numa/cpuset
numa/cpuset HEAPARENA_CONF=numa:strict
numa/hotplug -d 2
""", '')]
