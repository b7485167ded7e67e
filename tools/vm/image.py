# SPDX-License-Identifier: MIT
"""The initramfs: a newc archive of busybox, the C library, and what is tested.

	/init		tools/vm/init
	/list.sh	the row's tests, as calls of functions in init
	/bin/busybox	and a link to it for each command that init uses
	/lib		the dynamic loader and libraries that programs name
	/t/KIND/NAME	test programs; /lib/libheaparena.so.1

Libraries come from the machine's own multiarch folder, where the packages that
cross-building needs have put them.
"""
import os
import re
import subprocess

TRIPLET = {'x86_64': 'x86_64-linux-gnu', 'arm64': 'aarch64-linux-gnu'}
LOADER = {'x86_64': 'lib64/ld-linux-x86-64.so.2', 'arm64': 'lib/ld-linux-aarch64.so.1'}
# For init, and for tests that execute a program.
COMMANDS = ('sh cat dmesg echo env ls mkdir mount poweroff rm sed sleep '
            'stty sysctl timeout true uname').split()


class Archive:
    def __init__(self):
        self.parts = []
        self.names = set()
        self.serial = 0

    def add(self, name, mode, data=b'', rdev=(0, 0)):
        if name in self.names:
            return
        self.names.add(name)
        self.serial += 1
        fields = (self.serial, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1],
                  len(name) + 1, 0)
        head = '070701' + ''.join('%08X' % f for f in fields) + name + '\0'
        self.parts.append(pad(head.encode()) + pad(data))

    def folder(self, name):
        done = ''
        for part in name.split('/'):
            done = done + '/' + part if done else part
            self.add(done, 0o40755)

    def file(self, name, data, mode=0o100755):
        if os.path.dirname(name):
            self.folder(os.path.dirname(name))
        self.add(name, mode, data)

    def copy(self, name, path):
        with open(path, 'rb') as source:
            self.file(name, source.read())

    def write(self, path):
        self.add('TRAILER!!!', 0)
        with open(path, 'wb') as out:
            out.write(b''.join(self.parts))


def pad(data):
    return data + b'\0' * (-len(data) % 4)


def needed(path):
    """What a program or library names as its libraries."""
    out = subprocess.run(['readelf', '-d', path], capture_output=True, text=True).stdout
    return re.findall(r'\(NEEDED\).*\[(.*)\]', out)


def library(name, arch):
    for folder in ('/lib/', '/usr/lib/'):
        path = folder + TRIPLET[arch] + '/' + name
        if os.path.exists(path):
            return path
    raise FileNotFoundError('no %s for %s on this machine' % (name, arch))


def add_with_libraries(archive, name, path, arch):
    archive.copy(name, path)
    todo = needed(path)
    while todo:
        lib = todo.pop()
        inside = LOADER[arch] if lib == os.path.basename(LOADER[arch]) else 'lib/' + lib
        if inside not in archive.names:
            found = library(lib, arch)
            archive.copy(inside, found)
            todo += needed(found)


def build(path, arch, busybox, init, script, lib, tests):
    """tests: name below /t -> file"""
    archive = Archive()
    for folder in ('dev', 'proc', 'sys', 'tmp', 'bin', 'lib'):
        archive.folder(folder)
    archive.add('dev/console', 0o20600, rdev=(5, 1))
    archive.add('dev/null', 0o20666, rdev=(1, 3))
    archive.copy('init', init)
    archive.file('list.sh', script.encode())
    archive.copy('bin/busybox', busybox)
    for command in COMMANDS:
        archive.add('bin/' + command, 0o120777, b'busybox')
    add_with_libraries(archive, 'lib/libheaparena.so.1', lib, arch)
    # The loader itself, what the C library opens when a thread is cancelled, and
    # what ours opens on machines of several nodes.
    archive.copy(LOADER[arch], library(os.path.basename(LOADER[arch]), arch))
    archive.copy('lib/libgcc_s.so.1', library('libgcc_s.so.1', arch))
    archive.copy('lib/libnuma.so.1', library('libnuma.so.1', arch))
    for name, program in sorted(tests.items()):
        add_with_libraries(archive, 't/' + name, program, arch)
    archive.write(path)
