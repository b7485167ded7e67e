#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# memcached: four server threads, eight client threads that set, append, read,
# compare and delete; every value read is verified against what its key implies.

. "$(dirname "$0")/lib.sh"
need memcached python3

cat >"$tmp/client.py" <<'PY'
import random
import socket
import sys
import threading
import zlib

PATH, NR_THREADS, NR_OPS = sys.argv[1], 8, 6000
errors = []


class Client:
    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(PATH)
        self.file = self.sock.makefile("rb")

    def command(self, line, data=None):
        message = line.encode() + b"\r\n"
        if data is not None:
            message += data + b"\r\n"
        self.sock.sendall(message)
        return self.file.readline().rstrip().decode()

    def get(self, keys):
        """Values of the keys that are there."""
        values = {}
        answer = self.command("get " + " ".join(keys))
        while answer != "END":
            _, key, _, size = answer.split()
            values[key] = self.file.read(int(size))
            self.file.readline()
            answer = self.file.readline().rstrip().decode()
        return values


def content(key, version):
    size = zlib.crc32(("%s %d" % (key, version)).encode()) % (1 << (4 + version % 14))
    unit = ("%s:%d;" % (key, version)).encode()
    return (unit * (size // len(unit) + 1))[:size + 1]


def work(number):
    rnd = random.Random(number)
    client = Client()
    expected = {}
    for i in range(NR_OPS):
        key = "key-%d-%d" % (number, rnd.randrange(400))
        op = rnd.randrange(10)
        if op < 4:
            data = content(key, i)
            assert client.command("set %s 0 0 %d" % (key, len(data)), data) == "STORED"
            expected[key] = data
        elif op == 4 and key in expected:
            data = content(key, i % 5)
            assert client.command("append %s 0 0 %d" % (key, len(data)), data) == "STORED"
            expected[key] += data
        elif op == 5:
            answer = client.command("delete " + key)
            assert answer == ("DELETED" if key in expected else "NOT_FOUND")
            expected.pop(key, None)
        else:
            keys = ["key-%d-%d" % (number, rnd.randrange(400)) for _ in range(op)]
            keys = list(dict.fromkeys(keys))
            assert client.get(keys) == {k: expected[k] for k in keys if k in expected}
        if i % 500 == 499:      # a new connection now and then
            client = Client()
    for key in sorted(expected):
        assert client.get([key]) == {key: expected[key]}
    results[number] = zlib.crc32(b"".join(expected[k] for k in sorted(expected)))


def guarded(number):
    try:
        work(number)
    except BaseException as error:
        errors.append("thread %d: %r" % (number, error))


results = {}
threads = [threading.Thread(target=guarded, args=(n,)) for n in range(NR_THREADS)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for error in errors:
    print(error)
print(sorted(results.items()))
client = Client()
client.sock.sendall(b"stats\r\n")
for line in client.file:
    words = line.decode().split()
    if words[0] == "END":
        break
    if words[1] in ("curr_items", "cmd_set", "get_hits", "delete_hits", "threads", "bytes"):
        print(words[1], words[2])
sys.exit(1 if errors else 0)
PY

# run plain|with_lib OUTPUT: one server, one client session
run()
{
	rm -f "$tmp/mc.sock"
	server "$1" memcached -s "$tmp/mc.sock" -t 4 -m 512 -U 0 -I 2m -u "$(id -un)"
	within 10 test -S "$tmp/mc.sock" && plain python3 "$tmp/client.py" "$tmp/mc.sock" >"$2"
}

if ! run plain "$tmp/a"; then
	not_ok "a session without the library"
	comment "$tmp/server.log"
fi
kill -TERM "$server"
wait "$server"

check "eight clients, every value verified" run with_lib "$tmp/b"
kill -TERM "$server"
ended "server ends"
same "same contents and counts" "$tmp/a" "$tmp/b"
served "server" 1
done_testing
