#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# node: buffers outside the JavaScript heap, compression and hashing in the
# thread pool, worker threads, a child process.

. "$(dirname "$0")/lib.sh"
need node

cat >"$tmp/work.js" <<'JS'
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');
const { execFileSync } = require('child_process');

let state = 1 + (workerData || 0);
function random(n) {
	state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
	return (state >> 8) % n;
}

function crunch() {
	const live = new Map();
	const hash = crypto.createHash('sha256');
	for (let i = 0; i < 20000; i++) {
		const b = Buffer.allocUnsafeSlow(random(5000) + 1).fill(i & 255);
		live.set(random(500), b);
		if (i % 20 === 0)
			hash.update(zlib.inflateSync(zlib.deflateSync(b)));
	}
	for (const k of [...live.keys()].sort((a, b) => a - b))
		hash.update(live.get(k));
	return hash.digest('hex');
}

if (!isMainThread) {
	parentPort.postMessage(crunch());
} else {
	const text = JSON.stringify(Array.from({ length: 50000 }, (_, i) => ({ i, s: 'x'.repeat(i % 90) })));
	console.log('json', JSON.parse(text).length, text.length);
	console.log('regex', text.match(/"x{3,7}"/g).length);
	const workers = [0, 1, 2, 3].map((n) => new Promise((resolve, reject) => {
		const w = new Worker(__filename, { workerData: n });
		w.on('message', resolve);
		w.on('error', reject);
	}));
	const pool = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => new Promise((resolve, reject) => {
		zlib.gzip(text.slice(n * 1000), (error, data) => {
			if (error)
				return reject(error);
			zlib.gunzip(data, (e, d) => (e ? reject(e) : resolve(d.length)));
		});
	}));
	Promise.all([...workers, ...pool]).then((results) => {
		console.log(results.join('\n'));
		console.log(execFileSync('sh', ['-c', 'echo from a child']).toString());
	});
}
JS

if ! plain node "$tmp/work.js" >"$tmp/a" 2>&1; then
	skip node "the program fails here without the library as well"
	done_testing
fi
with_lib node "$tmp/work.js" >"$tmp/b" 2>&1
same "same output" "$tmp/a" "$tmp/b"
served "node" 1
done_testing
