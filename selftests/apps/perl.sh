#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# perl: large hashes, strings that grow, regular expressions, sorting, deep
# structures and closures. Then a fork whose child frees what it inherited.

. "$(dirname "$0")/lib.sh"
need perl

cat >"$tmp/work.pl" <<'PERL'
use strict;
use warnings;

my $x = 12345;
sub rnd { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return ($x >> 8) % $_[0]; }

my %h;
for my $i (1 .. 150000) {
	$h{"key" . rnd(100000)} .= chr(97 + $i % 26) x (1 + rnd(40));
	delete $h{"key" . rnd(100000)} if $i % 3 == 0;
}
my ($n, $len) = (0, 0);
for my $k (sort keys %h) {
	$n++;
	$len += length $h{$k};
}
print "hash $n $len\n";

my @words = map { join "", map { chr(97 + rnd(26)) } 1 .. 2 + rnd(12) } 1 .. 60000;
my @sorted = sort { length $a <=> length $b or $a cmp $b } @words;
print "sort $sorted[0] $sorted[30000] $sorted[-1]\n";

my $text = join " ", @words;
my %count;
$count{$1}++ while $text =~ /\b(\w\w)\w*(?=\s)/g;
print "regex ", scalar(keys %count), " ",
	join(",", (sort { $count{$b} <=> $count{$a} or $a cmp $b } keys %count)[0 .. 9]), "\n";
(my $t = $text) =~ s/([aeiou])(\w)/\U$2\E$1/g;
print "subst ", length $t, " ", unpack("%32C*", $t), "\n";
print "split ", scalar(split /[xyz ]+/, $text), "\n";

my $big = "";
$big .= "line $_\n" for 1 .. 200000;
print "grow ", length $big, " ", unpack("%32C*", $big), "\n";

my $tree = {};
for my $i (1 .. 20000) {
	my $node = $tree;
	$node = $node->{rnd(8)} //= {} for 1 .. 6;
	$node->{list} = [ map { $_ * $i } 0 .. rnd(10) ];
}
sub total {
	my $node = shift;
	my $sum = 0;
	for my $v (values %$node) {
		if (ref $v eq "HASH") { $sum += total($v); } else { $sum += $_ for @$v; }
	}
	return $sum;
}
print "tree ", total($tree), "\n";
my @subs = map { my $v = [ (1) x rnd(50) ]; sub { scalar @$v + $_[0] } } 1 .. 20000;
my $s = 0;
$s += $_->(1) for @subs;
print "closures $s\n";

$| = 1;
my $pid = fork // die "fork: $!";
if (!$pid) {
	undef %h;
	undef $tree;
	@words = map { "child" x rnd(30) } 1 .. 50000;
	print "child ", length(join "", @words), "\n";
	exit 0;
}
waitpid $pid, 0;
print "child status $?\n";
PERL

export PERL_HASH_SEED=0 PERL_DESTRUCT_LEVEL=2
plain perl "$tmp/work.pl" >"$tmp/a" 2>&1
with_lib perl "$tmp/work.pl" >"$tmp/b" 2>&1
check "child ended well" grep -qx "child status 0" "$tmp/b"
same "same output" "$tmp/a" "$tmp/b"
served "perl and its fork" 2
done_testing
