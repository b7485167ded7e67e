#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A JVM: it compiles and runs a program from its source with eight threads. The
# Java heap is its own, but the compiler, the collector, classes, zip and direct
# buffers are malloc.

. "$(dirname "$0")/lib.sh"
need java

cat >"$tmp/Work.java" <<'JAVA'
import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import java.util.zip.*;

public class Work {
	static long crunch(int seed) throws Exception {
		Random random = new Random(seed);
		TreeMap<String, byte[]> map = new TreeMap<>();
		CRC32 crc = new CRC32();

		for (int i = 0; i < 3000; i++) {
			byte[] data = new byte[random.nextInt(2000) + 1];
			random.nextBytes(data);
			map.put("k" + random.nextInt(500), data);
			ByteBuffer direct = ByteBuffer.allocateDirect(data.length);
			direct.put(data).flip();
			crc.update(direct);
			if (i % 10 == 0) {
				Deflater deflater = new Deflater(i % 9);
				deflater.setInput(data);
				deflater.finish();
				byte[] out = new byte[data.length + 100];
				int n = deflater.deflate(out);
				deflater.end();
				Inflater inflater = new Inflater();
				inflater.setInput(out, 0, n);
				byte[] back = new byte[data.length];
				inflater.inflate(back);
				inflater.end();
				if (!Arrays.equals(back, data))
					throw new IllegalStateException("inflate");
			}
		}
		for (byte[] b : map.values())
			crc.update(b);
		return crc.getValue();
	}

	public static void main(String[] args) throws Exception {
		List<Thread> threads = new ArrayList<>();
		long[] sums = new long[8];

		for (int i = 0; i < sums.length; i++) {
			int n = i;
			threads.add(new Thread(() -> {
				try {
					sums[n] = crunch(n);
				} catch (Exception e) {
					e.printStackTrace();
				}
			}));
		}
		for (Thread t : threads)
			t.start();
		for (Thread t : threads)
			t.join();
		System.out.println(Arrays.toString(sums));
		System.out.println(IntStream.range(0, 200000).mapToObj(i -> "s" + i % 1000)
			.collect(Collectors.groupingBy(s -> s, TreeMap::new, Collectors.counting()))
			.hashCode());
		Process p = new ProcessBuilder("sh", "-c", "echo from a child").start();
		System.out.print(new String(p.getInputStream().readAllBytes()));
		System.out.println(p.waitFor());
		System.gc();
	}
}
JAVA

cd "$tmp" || exit 1
# A JVM that cannot even say its version here says nothing about the library.
if ! plain java -version >"$tmp/version" 2>&1; then
	skip java "java -version fails here: $(tail -n 1 "$tmp/version")"
	done_testing
fi
check "java -version" with_lib java -version
served "java -version" 1
if java --list-modules 2>/dev/null | grep -q '^jdk.compiler'; then
	plain java Work.java >a 2>&1
	with_lib java Work.java >b 2>&1
	same "compile and run, eight threads: same output" a b
	served "compile and run" 1
else
	skip "compile and run" "a JRE without a compiler"
fi
done_testing
