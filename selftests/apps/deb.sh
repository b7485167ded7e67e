#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The Debian packages: what they hold and need, that the same sources make the
# same ones, and that they go in and out of an empty system. `make debcheck` tries
# them in a whole one.

. "$(dirname "$0")/lib.sh"

unset HEAPARENA_CONF MAKEFLAGS MFLAGS MAKEOVERRIDES SOURCE_DATE_EPOCH
need dpkg-deb dpkg-shlibdeps dpkg-gensymbols
debs=$tmp/debs
mkdeb()
{
	O=${HA_BUILD#"$top/"} VERSION=0.1.0 MAKE=make DEB_ARCH='' "$top/tools/package/deb/mkdeb" "$1"
}
check "packages are built" mkdeb "$debs"
files=("$debs"/*.deb)
check "four of them" test ${#files[@]} = 4
[ ${#files[@]} = 4 ] || done_testing

multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null)
O=$HA_BUILD PREFIX=/usr LIBDIR=/usr/lib/$multiarch VERSION=0 "$top/tools/scripts/install" list |
	sed "/\/man\//s/$/.gz/" | sort >"$tmp/want"
for deb in "${files[@]}"; do
	dpkg-deb -c "$deb" | awk '!/\/$/ { print substr($6, 2) }'
done | grep -v '^/usr/share/doc/\|^/usr/lib/debug/' | sort >"$tmp/have"
same "each file of an installation is in one of them" "$tmp/want" "$tmp/have"

needs()
{
	dpkg-deb -f "$debs/$1"_*.deb Depends | grep -E "$2"
}
check "the library needs libc" needs libheaparena1 '^libc6 \(>= [0-9.]+\)$'
check "and loads libnuma where there is one" \
	test "$(dpkg-deb -f "$debs"/libheaparena1_*.deb Recommends)" = libnuma1
check "the others need the library, of the same version" sh -c '
	for p in libheaparena-dev heaparena libheaparena1-dbgsym; do
		v=$(dpkg-deb -f "$1"/${p}_*.deb Version)
		dpkg-deb -f "$1"/${p}_*.deb Depends | grep -qF "libheaparena1 (= $v)" || exit 1
	done' - "$debs"
dpkg-deb --ctrl-tarfile "$debs"/libheaparena1_*.deb | tar -xO ./symbols >"$tmp/symbols"
check "its symbols are listed" grep -q '^ ha_lookup@HEAPARENA_0.1 0.1.0$' "$tmp/symbols"
for deb in "${files[@]}"; do
	dpkg-deb -x "$deb" "$tmp/out"
done
lib=$tmp/out/usr/lib/$multiarch/libheaparena.so.1
check "the library is stripped" sh -c "! readelf -SW '$lib' | grep -q debug_info"
check "its probes are not" test "$(readelf -n "$lib" | grep -c stapsdt)" -eq \
	"$(readelf -n "$HA_LIB" | grep -c stapsdt)"
id=$(readelf -n "$lib" | sed -n 's/.*Build ID: //p')
check "its debugging information has a package" sh -c \
	"readelf -SW '$tmp/out/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug' | grep -q debug_info"
check "it serves" sh -c "HEAPARENA_CONF=report:$tmp/report LD_PRELOAD='$lib' bash -c : &&
	grep -q '\"refill_objects\":[1-9]' '$tmp/report'"

sha256sum "${files[@]}" >"$tmp/sums"
rm -rf "$debs"
mkdeb "$debs" >/dev/null 2>&1
check "built again they are the same" sha256sum -c "$tmp/sums"

# An empty system: dpkg's own folders, and nothing to depend on.
if [ "$(id -u)" = 0 ]; then
	root=$tmp/root
	mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers}
	touch "$root"/var/lib/dpkg/{status,available}
	dpkg_root()
	{
		dpkg --root="$root" --force-depends "$@"
	}
	check "dpkg installs them" dpkg_root -i "${files[@]}"
	check "and knows each file" sh -c \
		"dpkg --root='$root' -S /usr/bin/ha | grep -q '^heaparena: ' && test -x '$root/usr/bin/ha'"
	check "and installs them again" dpkg_root -i "${files[@]}"
	check "and purges them" dpkg_root -P heaparena libheaparena-dev libheaparena1-dbgsym libheaparena1
	(cd "$root" && find . -path ./var/lib/dpkg -prune -o ! -type d -print; find "$root/usr" 2>/dev/null) >"$tmp/left"
	check "nothing is left" test ! -s "$tmp/left"
else
	skip "dpkg installs and removes them" "only root can"
fi
done_testing
