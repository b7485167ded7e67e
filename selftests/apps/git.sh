#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# git: a repository of 400 imported commits and some made by hand, with branches
# and a merge; log -p, blame, grep, diff, gc, fsck, clone, rebase. Names, dates
# and contents are fixed, so the object names are the same in both runs.

. "$(dirname "$0")/lib.sh"
need git

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_PAGER=cat
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE="1700000000 +0000"
export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE="1700000000 +0000"

# A stream for fast-import: 60 files, one or two changed in a commit.
gen_stream()
{
	awk 'function blob(f, c,    s, i) {
		s = ""
		for (i = 0; i < 40 + f; i++)
			s = s sprintf("line %d of file %d, version %d\n", i, f, (i * 7 + f) % 11 < 2 ? c : int(c / 60))
		return s
	}
	BEGIN {
		for (c = 1; c <= 400; c++) {
			printf "commit refs/heads/main\ncommitter C <c@example.org> %d +0000\n", 1600000000 + c * 60
			m = sprintf("change number %d\n\nA body that says why, %d times.\n", c, c)
			printf "data %d\n%s\n", length(m), m
			for (k = 0; k < 2; k++) {
				f = (c * 13 + k * 29) % 60
				b = blob(f, c)
				printf "M 100644 inline dir%d/file%d.txt\ndata %d\n%s\n", f % 7, f, length(b), b
			}
		}
		print "done"
	}'
}

# The whole session, as one shell script, in the folder given.
cat >"$tmp/session.sh" <<'SH'
set -e
mkdir "$1"
cd "$1"
git init -q -b main repo
cd repo
git config gc.auto 0
git config pack.threads 2
git fast-import --quiet --done <"$2"
git checkout -q main
for i in 1 2 3 4 5; do
	git checkout -q -b "topic$i" "main~$((i * 10))"
	seq "$i" 3000 >"new$i.txt"
	git add .
	git commit -q -m "topic $i"
done
git checkout -q main
git merge -q -m "merge topics" topic1
git merge -q -m "merge topics" topic3
git checkout -q topic5
git rebase -q main
git log --oneline --graph --all
git log -p --stat main
git blame -s dir1/file1.txt
git grep -c "version 3" HEAD
git diff --stat --find-renames main~100 main
git shortlog -s HEAD
git gc -q --aggressive --prune=now
git fsck --full --strict
git rev-list --objects --all | sort
git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
cd ..
git clone -q --no-local repo copy
cd copy
git log --format='%H %s' --all
git status --short
git archive HEAD | cksum
SH

gen_stream >"$tmp/stream"
plain bash "$tmp/session.sh" "$tmp/plain" "$tmp/stream" >"$tmp/a" 2>"$tmp/a.err"
check "the whole session runs" with_lib bash -c 'bash "$0" "$1" "$2" >"$3" 2>"$4"' \
	"$tmp/session.sh" "$tmp/lib" "$tmp/stream" "$tmp/b" "$tmp/b.err"
comment "$tmp/b.err"
same "same output" "$tmp/a" "$tmp/b"
check "a repository made under the library is sound without it" \
	plain git -C "$tmp/lib/copy" fsck --full --strict
served "git and its helpers" 40
done_testing
