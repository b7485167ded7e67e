# SPDX-License-Identifier: MIT
#
# lib.sh - what the scripts of real programs share
#
#	apps/NAME STEP FOLDER
#
#	prepare		makes the inputs in the folder; ends with 77 and a line
#			that says why where the program is not installed
#	run		becomes the program, on the library in $BENCH_PRELOAD
#	ready load clean	servers: see ../app.c
#
# A script defines the steps as functions and ends with `steps "$@"`. What run
# writes to $dir/out has to be the same under every allocator. Inputs come from
# fixed formulas: nothing is downloaded, nothing is random.

set -eu
export LC_ALL=C TZ=UTC
unset LD_PRELOAD

# need PROGRAM...: each is there, or the script ends as "not here"
need()
{
	local program

	for program; do
		command -v "$program" >/dev/null && continue
		echo "no $program here"
		exit 77
	done
}

# subject PROGRAM ARGUMENT...: becomes the program that is measured
subject()
{
	exec env ${BENCH_PRELOAD:+"LD_PRELOAD=$BENCH_PRELOAD"} "$@"
}

# within SECONDS COMMAND...: true as soon as the command succeeds
within()
{
	local tries=$(($1 * 50))

	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.02
	done
}

steps()
{
	[ $# -eq 2 ] || { echo "usage: $0 STEP FOLDER" >&2; exit 2; }
	dir=$2
	case $1 in
	prepare|run|ready|load|clean) "$1" ;;
	*) echo "$0: no step '$1'" >&2; exit 2 ;;
	esac
}
