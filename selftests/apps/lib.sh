# SPDX-License-Identifier: MIT
#
# lib.sh - what every test of a real program shares
#
# Each script runs a program twice, without the library and with it, compares
# what comes out, and proves that the library served the second run:
#
#	. "$(dirname "$0")/lib.sh"
#	need perl			# or the whole test is one skip
#	plain    perl x.pl >$tmp/a	# as installed
#	with_lib perl x.pl >$tmp/b	# under $HA_LIB
#	same "output" $tmp/a $tmp/b
#	served "allocations" 1		# from the counters of with_lib's processes
#	done_testing
#
# HA_LIB is the absolute path of libheaparena.so.1. $tmp is the script's own
# folder, gone at its end, as is every server it started. HEAPARENA_CONF of the
# caller stays in force under with_lib.

set -u
shopt -s nullglob
export LC_ALL=C TZ=UTC
unset LD_PRELOAD
# The distribution's programs: what stands in front of them may be a script for each.
PATH=/usr/bin:/bin:$PATH

if [ ! -r "${HA_LIB:-}" ]; then
	echo "1..1"
	echo "not ok 1 - HA_LIB is the path of the library (it is '${HA_LIB:-}')"
	exit 1
fi

tmp=$(mktemp -d "${TMPDIR:-/tmp}/ha-apps.XXXXXX") || exit 1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
export HOME=$tmp TMPDIR=$tmp	# no user's settings, no traces

nr_cases=0
nr_failed=0
report=$tmp/report.0		# folder that the reports of with_lib go to
nr_reports=0
servers=()
mkdir "$report"

cleanup()
{
	local pid

	for pid in "${servers[@]}"; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# ---- TAP --------------------------------------------------------------------

ok()
{
	nr_cases=$((nr_cases + 1))
	echo "ok $nr_cases - $1"
}

not_ok()
{
	nr_cases=$((nr_cases + 1))
	nr_failed=$((nr_failed + 1))
	echo "not ok $nr_cases - $1"
}

skip()
{
	nr_cases=$((nr_cases + 1))
	echo "ok $nr_cases - $1 # SKIP $2"
}

# Indent a file as TAP comments, its first lines only.
comment()
{
	head -n "${2:-20}" "$1" | cut -c 1-200 | sed 's/^/#   /'
}

# check "what" command...: one case, passed when the command succeeds
check()
{
	local what=$1

	shift
	if "$@" >"$tmp/check.out" 2>&1; then
		ok "$what"
	else
		not_ok "$what"
		comment "$tmp/check.out"
	fi
}

# status N command...: it ends with exit status N; what it says is in $tmp/out and $tmp/err
status()
{
	local want=$1 got

	shift
	"$@" >"$tmp/out" 2>"$tmp/err"
	got=$?
	[ "$got" -eq "$want" ] && return
	echo "#   status $got"
	comment "$tmp/err"
	return 1
}

# same "what" file file: one case; two empty files are no agreement
same()
{
	if [ ! -s "$2" ]; then
		not_ok "$1"
		echo "#   the run without the library left nothing in ${2##*/}"
	elif cmp -s "$2" "$3"; then
		ok "$1"
	else
		not_ok "$1"
		diff -a "$2" "$3" >"$tmp/same.diff"
		comment "$tmp/same.diff"
	fi
}

done_testing()
{
	echo "1..$nr_cases"
	[ "$nr_failed" -eq 0 ]
	exit
}

# need program...: without one of them the script ends here, as a skip
need()
{
	local program

	for program; do
		if ! command -v "$program" >/dev/null; then
			skip "$(basename "$0" .sh)" "no $program here"
			done_testing
		fi
	done
}

# ---- running ----------------------------------------------------------------

# Seconds that one program may take.
limit=${HA_APPS_LIMIT:-240}

plain()
{
	timeout -k 5 "$limit" "$@"
}

# The caller's options come last: the report is the one thing set here.
lib_env()
{
	echo "HEAPARENA_CONF=report:$report/%p${HEAPARENA_CONF:+,$HEAPARENA_CONF}"
}

with_lib()
{
	timeout -k 5 "$limit" env "$(lib_env)" LD_PRELOAD="$HA_LIB" "$@"
}

# server plain|with_lib command...: in the background, its pid in $server.
# It writes to $tmp/server.log and does not outlive the script.
server()
{
	local how=$1

	shift
	if [ "$how" = with_lib ]; then
		env "$(lib_env)" LD_PRELOAD="$HA_LIB" "$@" \
			>"$tmp/server.log" 2>&1 </dev/null &
	else
		"$@" >"$tmp/server.log" 2>&1 </dev/null &
	fi
	server=$!
	servers+=("$server")
}

# within seconds command...: true as soon as the command succeeds
within()
{
	local end=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

gone()
{
	! kill -0 "$1" 2>/dev/null
}

# ended: one case: the last server ends by itself, with status 0
ended()
{
	local status

	if ! within 30 gone "$server"; then
		not_ok "$1"
		echo "#   still running after 30 s"
		kill -KILL "$server"
		return
	fi
	wait "$server"
	status=$?
	if [ "$status" -eq 0 ]; then
		ok "$1"
	else
		not_ok "$1"
		echo "#   status $status"
		comment "$tmp/server.log"
	fi
}

# ---- the proof --------------------------------------------------------------

# From here on with_lib reports to a new, empty place.
new_report()
{
	nr_reports=$((nr_reports + 1))
	report=$tmp/report.$nr_reports
	mkdir "$report"
}

# served "what" processes: one case: at least so many processes ended with a
# report that says that they took objects from the library. Starts a new report.
# (A process that never allocates may report none: it is not counted. A forked
# child goes on from its parent's counters, so the sum printed counts those twice.)
served()
{
	local file line objects nr=0 idle=0 sum=0 bad=""

	for file in "$report"/*; do
		while IFS= read -r line; do
			objects=$(sed -n 's/^{"heaparena":1,.*"refill_objects":\([0-9]*\)[,}].*/\1/p' <<<"$line")
			case $objects in
			"")
				bad="not a report: $line" ;;
			0)
				idle=$((idle + 1)) ;;
			*)
				nr=$((nr + 1))
				sum=$((sum + objects)) ;;
			esac
		done <"$file"
	done
	if [ -z "$bad" ] && [ "$nr" -ge "$2" ]; then
		ok "$1: served by the library"
	else
		not_ok "$1: served by the library"
		echo "#   ${bad:-expected $2 processes or more}"
	fi
	echo "#   $sum objects in $nr processes, $idle without any"
	new_report
}
