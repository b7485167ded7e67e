#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sqlite3: inserts, joins, aggregates, text functions and VACUUM in memory and
# in a file. The same script gives the same rows and the same database file.

. "$(dirname "$0")/lib.sh"
need sqlite3

cat >"$tmp/script.sql" <<'SQL'
PRAGMA cache_size = 4000;
PRAGMA temp_store = memory;
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE item(id INTEGER PRIMARY KEY, customer INT, price INT, note TEXT);
CREATE INDEX item_customer ON item(customer);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
	INSERT INTO customer SELECT i, printf('name-%05d', i * 7919 % 5000),
		printf('city %d', i % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
	INSERT INTO item SELECT i, i * 31 % 5000 + 1, i * i % 9973,
		substr(hex(i * 1234567), 1, 4) || printf('%.*c', i % 200, 'x') FROM n;
COMMIT;
SELECT count(*), sum(price), min(note), max(length(note)) FROM item;
SELECT city, count(*), sum(price), group_concat(DISTINCT price % 7)
	FROM customer JOIN item ON item.customer = customer.id
	GROUP BY city ORDER BY sum(price) DESC, city LIMIT 30;
SELECT a.name, b.note FROM customer a JOIN item b ON b.customer = a.id
	WHERE b.note LIKE '%xx' ORDER BY b.note DESC, a.name LIMIT 50;
UPDATE item SET note = upper(note) || price WHERE price % 3 = 0;
DELETE FROM item WHERE id % 5 = 0;
SELECT count(*), sum(length(note)) FROM item;
WITH w AS (SELECT customer, price, sum(price) OVER (PARTITION BY customer
	ORDER BY id) AS running FROM item)
	SELECT max(running), count(DISTINCT running) FROM w;
SELECT json_group_array(json_object('id', id, 'name', name))
	FROM (SELECT * FROM customer ORDER BY name LIMIT 500);
SELECT length(replace(group_concat(note, ','), 'XX', 'y')) FROM item;
VACUUM;
PRAGMA integrity_check;
SQL

for where in memory file; do
	a=$tmp/plain.db b=$tmp/lib.db
	[ "$where" = file ] || a=:memory: b=:memory:
	plain sqlite3 -batch "$a" <"$tmp/script.sql" >"$tmp/a" 2>&1
	check "$where: runs" with_lib sqlite3 -batch "$b" ".output $tmp/b" \
		".read $tmp/script.sql"
	same "$where: same rows" "$tmp/a" "$tmp/b"
	served "$where" 1
done
same "same database file" "$tmp/plain.db" "$tmp/lib.db"
done_testing
