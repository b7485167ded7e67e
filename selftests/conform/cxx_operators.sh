#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Build cxx_operators.cc with the C++ compiler that is here and run it on the
# library: $HA_LIB is the library, $HA_BUILD where the program goes.

CXX=${CXX:-g++}
here=$(dirname "$0")
prog=${HA_BUILD:-build}/selftests/conform/cxx_operators

if ! command -v "$CXX" >/dev/null 2>&1; then
	echo "1..0 # SKIP there is no $CXX"
	exit 4
fi
mkdir -p "$(dirname "$prog")"
if ! "$CXX" -std=c++17 -O1 -g -fno-builtin -Wall -Wno-mismatched-new-delete -pthread \
	-o "$prog" "$here/cxx_operators.cc"; then
	echo "not ok 1 - $CXX cannot build cxx_operators.cc"
	echo "1..1"
	exit 1
fi
LD_PRELOAD=$HA_LIB exec "$prog"
