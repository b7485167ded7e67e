# SPDX-License-Identifier: MIT
"""Packages of Debian, fetched once into a cache and taken apart there.

	<cache>/debs/NAME_VERSION_ARCH.deb
	<cache>/kernels/PACKAGE-ARCH		what qemu boots
	<cache>/kernels/built-KERNEL-ARCH	what no package has (build-kernel)
	<cache>/bin/busybox-ARCH

A kernel is asked for by its meta package, which names the newest; without a
network, the one fetched last serves. Nothing of it is installed here.
"""
import glob
import os
import platform
import re
import subprocess
import tarfile

DEB_ARCH = {'x86_64': 'amd64', 'arm64': 'arm64'}
HOST_ARCH = {'aarch64': 'arm64'}.get(platform.machine(), platform.machine())

# kernel of a row -> meta package by architecture
META = {
    '6.12': {'x86_64': 'linux-image-6.12-cloud-amd64',
             'arm64': 'linux-image-6.12-cloud-arm64'},
    '6.1': {'x86_64': 'linux-image-cloud-amd64',
            'arm64': 'linux-image-cloud-arm64'},
    '6.12-16k': {'arm64': 'linux-image-6.12-arm64-16k'},
}
# Built here, from the source package.
BUILT = {'6.12-64k': {'arm64': 'linux-source-6.12'}}


class Missing(Exception):
    """Something that a row needs cannot be had; the text says what."""


def call(*cmd, cwd=None):
    return subprocess.run(cmd, cwd=cwd, capture_output=True, text=True)


class Cache:
    def __init__(self, folder):
        self.folder = folder
        for sub in ('debs', 'kernels', 'bin'):
            os.makedirs(os.path.join(folder, sub), exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def deb(self, package, arch):
        """The package's file, downloaded unless it is there."""
        name = '%s:%s' % (package, DEB_ARCH[arch])
        show = call('apt-cache', 'show', '--no-all-versions', name).stdout
        found = re.search(r'^Filename: .*/(\S+)$', show, re.M)
        if found:
            # apt-get writes the epoch's colon into the name, the archive does not
            plain = re.sub('_[0-9]+%3a', '_', found.group(1))
            path = self.path('debs', plain)
            if os.path.exists(path):
                return path
            tmp = self.path('debs', 'new-%d' % os.getpid())
            os.makedirs(tmp, exist_ok=True)
            got = call('apt-get', '-q', 'download', name, cwd=tmp)
            files = os.listdir(tmp)
            if files:
                os.rename(os.path.join(tmp, files[0]), path)
            os.rmdir(tmp)
            if files:
                return path
            problem = got.stderr.strip().splitlines()[-1:]
        else:
            problem = ['no such package in the archive']
        old = sorted(glob.glob(self.path('debs', '%s_*.deb' % package)),
                     key=os.path.getmtime)
        if old:
            return old[-1]
        raise Missing('%s: %s' % (name, ' '.join(problem)))

    def member(self, deb, pattern):
        """The content of the one file in a package whose path fits."""
        tar = subprocess.Popen(['dpkg', '--fsys-tarfile', deb], stdout=subprocess.PIPE)
        data = None
        with tarfile.open(fileobj=tar.stdout, mode='r|') as entries:
            for entry in entries:
                if data is None and entry.isfile() and re.fullmatch(pattern, entry.name):
                    data = entries.extractfile(entry).read()
        tar.stdout.close()
        tar.wait()
        if data is None:
            raise Missing('%s has no %s' % (os.path.basename(deb), pattern))
        return data

    def busybox(self, arch):
        path = self.path('bin', 'busybox-' + arch)
        if not os.path.exists(path):
            store(path, self.member(self.deb('busybox-static', arch), r'\./bin/busybox'))
        return path

    def image_package(self, kernel, arch):
        """The package with the newest image that the meta package stands for."""
        meta = META[kernel].get(arch)
        if not meta:
            raise Missing('no kernel %s for %s' % (kernel, arch))
        depends = call('apt-cache', 'depends', '%s:%s' % (meta, DEB_ARCH[arch])).stdout
        found = re.search(r'Depends: (linux-image-[^\s:]+)', depends)
        note = self.path('kernels', '%s-%s.last' % (kernel, arch))
        if found:
            store(note, found.group(1).encode())
        elif not os.path.exists(note):
            raise Missing('%s is not in the archive' % meta)
        with open(note) as last:
            return last.read()

    def built(self, kernel, arch):
        path = self.path('kernels', 'built-%s-%s' % (kernel, arch))
        if not os.path.exists(path):
            print('# building a kernel, which takes some minutes', flush=True)
            tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'build-kernel')
            done = subprocess.run([tool, self.deb(BUILT[kernel][arch], HOST_ARCH), path])
            if done.returncode:
                raise Missing('the kernel %s for %s could not be built' % (kernel, arch))
        return path

    def kernel(self, kernel, arch):
        if kernel in BUILT:
            return self.built(kernel, arch)
        package = self.image_package(kernel, arch)
        path = self.path('kernels', '%s-%s' % (package, arch))
        if not os.path.exists(path):
            image = self.member(self.deb(package, arch), r'\./boot/vmlinuz-.*')
            store(path, unpack(image) if arch == 'x86_64' else image)
        return path


def store(path, data):
    """Whole or not at all: two runs may share the cache."""
    tmp = '%s.%d' % (path, os.getpid())
    with open(tmp, 'wb') as out:
        out.write(data)
    os.rename(tmp, path)


def unpack(image):
    """The vmlinux inside of a bzImage, which boots faster; else the bzImage.

    The payload's place stands in the setup header (Documentation/arch/x86/boot);
    its last four bytes are the unpacked size.
    """
    setup = (image[0x1f1] + 1) * 512
    start = setup + int.from_bytes(image[0x248:0x24c], 'little')
    size = int.from_bytes(image[0x24c:0x250], 'little')
    payload = image[start:start + size - 4]
    tool = {b'\x28\xb5\x2f\xfd': 'zstd', b'\x02\x21\x4c\x18': 'lz4',
            b'\xfd7zX': 'xz', b'\x1f\x8b\x08\x00': 'gzip'}.get(payload[:4])
    try:
        out = subprocess.run([tool, '-dc'], input=payload, capture_output=True).stdout
    except (OSError, TypeError):
        return image
    return out if out[:4] == b'\x7fELF' else image
