#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# redis: a server filled with the same data twice, under redis-benchmark traffic
# of mixed value sizes; BGSAVE forks while the traffic runs; then a restart from
# what the forked child wrote. DEBUG DIGEST sums every key and value: it must be
# the same without the library, with it, and after the restart.
#
#	database 0	the data that is compared
#	database 1	the traffic, dropped before each comparison

. "$(dirname "$0")/lib.sh"
need redis-server redis-cli redis-benchmark

sock=$tmp/redis.sock

cli()
{
	redis-cli -s "$sock" "$@"
}

start()
{
	server "$1" redis-server --port 0 --unixsocket "$sock" --dir "$2" \
		--save "" --appendonly no --daemonize no --io-threads 2 \
		--rdbcompression yes --databases 2 --lazyfree-lazy-user-del yes \
		"${extra[@]}"
	within 20 answers
}

answers()
{
	[ "$(cli ping 2>/dev/null)" = PONG ]
}

traffic()
{
	local size

	for size in 3 60 700 9000 70000; do
		redis-benchmark -s "$sock" --dbnum 1 -q -c 20 -r 5000 -d $size \
			-n $((size > 5000 ? 2000 : 10000)) -P 8 \
			-t set,get,lpush,lpop,hset,sadd,zadd || return
	done >"$tmp/traffic.log" 2>&1
	[ -s "$tmp/traffic.log" ]
}

# Every type, every encoding, values of 1 byte to 1 MiB, replaced and deleted,
# in the protocol's own form; | separates the words of a command.
commands()
{
	awk 'function value(n,    s) {
		s = "v" n "-"
		while (length(s) < n)
			s = s s
		return substr(s, 1, n)
	}
	function emit(line,    words, n, i) {
		n = split(line, words, "|")
		printf "*%d\r\n", n
		for (i = 1; i <= n; i++)
			printf "$%d\r\n%s\r\n", length(words[i]), words[i]
	}
	BEGIN {
		for (i = 0; i < 20000; i++) {
			n = i % 1000 == 0 ? 100000 : i % 50 == 0 ? 5000 : i * 37 % 400 + 1
			emit("SET|string:" i * 17 % 9000 "|" value(n))
			if (i % 3 == 0)
				emit("APPEND|string:" i % 9000 "|" value(i % 90 + 1))
			if (i % 5 == 0)
				emit("DEL|string:" i * 29 % 9000)
			emit("HSET|hash:" i % 200 "|field" i % 700 "|" value(i % 120 + 1))
			emit("RPUSH|list:" i % 100 "|" value(i % 60 + 1))
			if (i % 7 == 0)
				emit("LPOP|list:" (i + 3) % 100)
			emit("SADD|set:" i % 50 "|" i * 7919 % 4000)
			emit("ZADD|zset:" i % 20 "|" i * 31 % 997 "|member" i % 1500)
			if (i % 11 == 0)
				emit("SETRANGE|range:" i % 30 "|" i "|" value(40))
			emit("XADD|stream:" i % 10 "|" i + 1 "-1|f|" value(i % 30 + 1))
		}
		emit("SET|large|" value(1048576))
		emit("UNLINK|hash:7")
		emit("EVAL|local t = {} for i = 1, 5000 do t[i] = tostring(i) end " \
		     "redis.call(\"SET\", \"lua\", table.concat(t)) return #t|0")
	}'
}

fill()
{
	cli --pipe <"$tmp/commands" >"$tmp/fill.log" 2>&1
	cat "$tmp/fill.log"
	grep -q "errors: 0, replies: 1[0-9]*" "$tmp/fill.log" && [ "$(cli dbsize)" -gt 5000 ]
}

digest()
{
	cli -n 1 flushdb async >/dev/null
	cli debug digest
	cli dbsize
	cli memory usage large samples 0 >/dev/null
	for key in large lua string:1 range:0; do
		cli getrange "$key" 0 -1 | cksum
	done
	cli lrange list:3 0 -1 | cksum
	cli zrange zset:3 0 -1 withscores | cksum
}

saved()
{
	cli info persistence | tr -d '\r' >"$tmp/info"
	grep -qx rdb_bgsave_in_progress:0 "$tmp/info" &&
		grep -qx rdb_last_bgsave_status:ok "$tmp/info"
}

# However fast it is over: again, until there is enough.
traffic_on()
{
	until [ -e "$tmp/enough" ]; do
		traffic || return 1
	done
}

# Forks three times while clients write; the last dump is the one kept.
save_under_load()
{
	local i

	rm -f "$tmp/enough"
	traffic_on &
	for i in 1 2 3; do
		sleep 0.3
		kill -0 $! || { echo "traffic over before fork $i"; return 1; }
		cli bgsave
		within 60 saved || { cat "$tmp/info"; touch "$tmp/enough"; return 1; }
	done
	touch "$tmp/enough"
	wait $!
}

# DEBUG wants leave from version 7 on; earlier ones do not know the option.
extra=()
major=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
[ "${major:-0}" -ge 7 ] && extra=(--enable-debug-command local)
commands >"$tmp/commands"
mkdir "$tmp/plain" "$tmp/lib"

if ! start plain "$tmp/plain"; then
	skip redis "redis-server does not start here: $(tail -n 1 "$tmp/server.log")"
	done_testing
fi
check "filled without the library" fill
digest >"$tmp/a"
check "a digest is a sum of 40 digits" grep -qxE '[0-9a-f]{40}' "$tmp/a"
cli shutdown nosave
wait "$server"

check "server starts" start with_lib "$tmp/lib"
check "filled" fill
check "BGSAVE under load, three times" save_under_load
check "traffic of mixed sizes" traffic
digest >"$tmp/b"
same "same digest" "$tmp/a" "$tmp/b"
cli shutdown nosave
ended "server shuts down"
served "server and its forks" 1

check "server restarts from the dump" start with_lib "$tmp/lib"
digest >"$tmp/b"
same "same digest after the restart" "$tmp/a" "$tmp/b"
check "everything dropped" cli flushall sync
check "filled again" fill
digest >"$tmp/b"
same "same digest when filled again" "$tmp/a" "$tmp/b"
cli shutdown nosave
ended "server shuts down again"
served "restarted server" 1
done_testing
