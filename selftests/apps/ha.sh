#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ha: the user's command finds the library beside itself, hands CONF on, and
# becomes the program.

. "$(dirname "$0")/lib.sh"

ha=$HA_BUILD/ha
lib=$HA_LIB
unset HA_LIB			# or it would be taken before the one beside

# check NAME COMMAND...
check()
{
	local name=$1

	shift
	if "$@"; then ok "$name"; else not_ok "$name"; fi
}

check "run gives the program's status" status 7 "$ha" run sh -c 'exit 7'
check "arguments reach the program" \
	test "$("$ha" run printf '%s|' a -c 'b c')" = 'a|-c|b c|'
"$ha" run -c "report:$tmp/rep.%p" perl -e 'my @a = (1 .. 1000); print "@a[0, 999]\n"' >"$tmp/out"
check "the program ran" grep -qx '1 1000' "$tmp/out"
check "the library served it" grep -qE '"refill_objects":[1-9]' "$tmp"/rep.*
check "an earlier LD_PRELOAD stays behind the library" \
	test "$(LD_PRELOAD=$lib "$ha" run printenv LD_PRELOAD)" = "$HA_BUILD/libheaparena.so.1:$lib"
check "options go behind those of the environment" test \
	"$(HEAPARENA_CONF=check:off "$ha" run -c check:on,thp:off printenv HEAPARENA_CONF)" = \
	check:off,check:on,thp:off
check "or stand alone" test \
	"$(env -u HEAPARENA_CONF "$ha" run -c check:on printenv HEAPARENA_CONF)" = check:on
check "without any, those of the environment stay" test \
	"$(HEAPARENA_CONF=check:off "$ha" run printenv HEAPARENA_CONF)" = check:off
check "no command is a usage error" status 2 "$ha"
check "an unknown command is a usage error" status 2 "$ha" fly
check "run without a program is a usage error" status 2 "$ha" run -c check:on
check "a missing program is 127" status 127 "$ha" run /nowhere/program
check "a missing library is 126" status 126 env HA_LIB=/nowhere/lib.so "$ha" run true
check "version" status 0 "$ha" version
check "help" status 0 "$ha" help
for verb in version help; do
	check "$verb to a full disk is a failure" status 1 sh -c '"$0" "$1" >/dev/full' "$ha" $verb
	check "that is told of" grep -q '^ha: cannot write: No space left' "$tmp/err"
done

done_testing
