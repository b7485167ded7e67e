#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The probes: each one that README.md lists is in the library with as many
# arguments, and no other; a debugger stops at one and reads the arguments; the
# tracing script attaches and counts.

. "$(dirname "$0")/lib.sh"

need readelf awk
has_header()
{
	echo '#include <sys/sdt.h>' | "${CC:-gcc}" -fsyntax-only -x c - 2>/dev/null
}
readelf -nW "$HA_LIB" | awk '
	/Provider:/ { ours = /Provider: heaparena$/ }
	/Name:/ { name = $2 }
	/Arguments:/ && ours { print name, NF - 1 }' | sort -u >"$tmp/elf"
if [ ! -s "$tmp/elf" ] && ! has_header; then
	skip probes "built without sys/sdt.h (systemtap-sdt-dev)"
	done_testing
fi

# rows of the table: | `name` | argument, argument | when |
awk -F '|' '
	/^<!-- probes -->/ { on = 1 }
	/^<!-- \/probes -->/ { on = 0 }
	on && $2 ~ /`/ { gsub(/[` ]/, "", $2); print $2, split($3, a, ",") }' \
	"$top/README.md" | sort >"$tmp/readme"
same "the library has what README.md lists" "$tmp/readme" "$tmp/elf"
script=$top/tools/trace/heaparena.bt
sed -n 's/^usdt:$1:heaparena:\([a-z_]*\)$/\1/p' "$script" | sort >"$tmp/used"
cut -d ' ' -f 1 "$tmp/elf" | comm -12 "$tmp/used" - >"$tmp/known"
same "the script uses no other" "$tmp/used" "$tmp/known"

# An allocation of 9 MB, seen from inside by its probe.
echo '$x = "y" x 9000000;' >"$tmp/nine.pl"
cat >"$tmp/commands" <<END
set confirm off
set breakpoint pending on
set environment LD_PRELOAD=$HA_LIB
set startup-with-shell off
break -probe-stap heaparena:large_alloc if \$_probe_arg2 >= 9000000 && \$_probe_arg2 < 9100000
run $tmp/nine.pl
printf "argc %d node %d bytes %d aligned %d\n", \$_probe_argc, \$_probe_arg0, \$_probe_arg2, \$_probe_arg1 % 8192 == 0
kill
END
if ! command -v gdb >/dev/null || ! command -v perl >/dev/null; then
	skip "arguments of a probe" "no gdb or perl here"
elif ! gdb -nx -batch -ex 'break -probe-stap nothing:here' -ex 'run' true 2>&1 |
     grep -q 'exited normally\|Make breakpoint pending'; then
	skip "arguments of a probe" "gdb cannot run programs here"
else
	plain gdb -nx -batch -x "$tmp/commands" perl >"$tmp/gdb" 2>&1
	check "arguments of a probe" \
		grep -qE '^argc 3 node [0-9]+ bytes 90[0-9]{5} aligned 1$' "$tmp/gdb"
	grep -q '^argc 3' "$tmp/gdb" || comment "$tmp/gdb"
fi

# All processes with the library are looked at: only a process of this test is.
if ! command -v bpftrace >/dev/null; then
	skip "the tracing script" "no bpftrace here"
elif ! timeout 20 bpftrace -e 'BEGIN { exit(); }' >/dev/null 2>&1; then
	skip "the tracing script" "bpftrace may not trace here"
else
	cp "$HA_LIB" "$tmp/libheaparena.so.1"
	timeout -s INT 120 bpftrace "$script" "$tmp/libheaparena.so.1" >"$tmp/trace" 2>&1 &
	tracer=$!
	servers+=("$tracer")
	within 30 grep -q '^s  *refills' "$tmp/trace"
	LD_PRELOAD=$tmp/libheaparena.so.1 plain perl -e '
		my @a = map { "x" x ($_ % 300) } 1 .. 300000;
		my $b = "y" x 9000000; undef @a;'
	sleep 1.5
	kill -INT "$tracer"
	wait "$tracer"
	check "the tracing script counts refills" \
		grep -qE '^@refilled_by_size\[[0-9]+\]: [1-9]' "$tmp/trace"
	check "and rates" awk '$2 > 100 && $4 > 100 && $5 > 0 && $6 > 1000 { ok = 1 }
		END { exit !ok }' "$tmp/trace"
	check "without complaint" sh -c "! grep -E 'WARNING|^ERROR: (usdt|Unknown probe|Error)' $tmp/trace"
fi
done_testing
