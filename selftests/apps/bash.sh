#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# bash: loops over arrays and strings, hundreds of subshells and pipes, and
# the short programs of coreutils, each of them a new process on the library.

. "$(dirname "$0")/lib.sh"

cat >"$tmp/work.sh" <<'BASH'
declare -A map
for ((i = 0; i < 20000; i++)); do
	map[k$((i * 7919 % 3001))]+="$i,"
done
sum=0
for k in "${!map[@]}"; do
	v=${map[$k]}
	sum=$((sum + ${#v}))
	v=${v//1/one}
	sum=$((sum + ${#v}))
done
echo "map ${#map[@]} $sum"

list=()
for ((i = 0; i < 5000; i++)); do
	list+=("element $i of the list")
	((i % 3)) || unset "list[$((i / 2))]"
done
echo "list ${#list[@]} $(printf '%s\n' "${list[@]}" | sort -r | head -n 3 | tr '\n' '|')"

for ((i = 0; i < 75; i++)); do
	n=$( (echo "$i"; echo $((i * i))) | while read -r x; do echo $((x + 1)); done | tr '\n' ' ')
	m=$(eval "echo \$(( $(seq -s + 1 $((i + 1))) ))")
	[ $((i % 50)) -eq 0 ] && echo "pipe $i: $n $m"
done

seq 1 50000 | awk '{ print $1 * 7 % 1000, $1 }' | sort -n -k 1,1 -k 2,2 | uniq -w 3 |
	cut -d ' ' -f 2 | paste -s -d + | cksum
for ((i = 0; i < 20; i++)); do
	(trap 'echo done' EXIT; x=$(head -c 20000 /dev/zero | tr '\0' x); echo "${#x}") &
done | sort | uniq -c
wait
cat <<END | sed 's/a/b/g' | cksum
$(for ((i = 0; i < 3000; i++)); do echo "a line of the here document, $i"; done)
END
BASH

plain bash --norc "$tmp/work.sh" >"$tmp/a" 2>&1
with_lib bash --norc "$tmp/work.sh" >"$tmp/b" 2>&1
same "same output" "$tmp/a" "$tmp/b"
served "bash and the programs it ran" 100
done_testing
