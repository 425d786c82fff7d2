"""A server of Debian's in a private root: its package is unpacked (tools/unpack-peer), nothing is installed, and it runs there by
chroot(2), which needs root. The rest of the machine does not see it."""

import glob
import os
import shutil
import stat
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Missing(RuntimeError):
    """The server cannot be had here; the text says why."""


class PeerRoot:
    PACKAGE = None

    def __init__(self, folder=None):
        """In folder, which is made; without one where the package is unpacked."""
        run = subprocess.run([TOP + "/tools/unpack-peer", self.PACKAGE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if run.returncode != 0:
            raise Missing((run.stderr.decode(errors="replace").strip().splitlines() or ["no words from unpack-peer"])[-1])
        self.root = run.stdout.decode().strip()
        if folder is not None:
            subprocess.run(["cp", "-a", self.root, folder], check=True)
            self.root = folder

    def tool(self, name):
        return "%s/usr/sbin/%s" % (self.root, name)

    def library_path(self, *first):
        places = [self.root + f for f in first]
        return ":".join(places + glob.glob(self.root + "/usr/lib/*-linux-*") + glob.glob(self.root + "/lib/*-linux-*"))

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as f:
            f.write(text)

    def folder(self, path, owner, group, mode):
        os.makedirs(self.root + path, exist_ok=True)
        os.chown(self.root + path, owner, group)
        os.chmod(self.root + path, mode)

    def furnish(self, programs, libraries, users):
        """What any server expects: libraries (of these programs, by patterns; `libraries` are folders of the package with some), users
        as (name, number), devices, a resolver that nobody answers."""
        self.copy_libraries([f for p in programs for f in glob.glob(self.root + p)], libraries)
        everybody = [("root", 0), ("nobody", 65534), *users]
        self.write("/etc/passwd", "".join("%s:x:%d:%d::/:/bin/false\n" % (name, n, n) for name, n in everybody))
        self.write("/etc/group", "".join("%s:x:%d:\n" % (name, n) for name, n in [*everybody, ("nogroup", 65534)]))
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for name, minor in (("null", 3), ("urandom", 9), ("random", 8)):
            node = "%s/dev/%s" % (self.root, name)
            os.makedirs(self.root + "/dev", exist_ok=True)
            if not os.path.exists(node):
                os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, minor))
                os.chmod(node, 0o666)
        for path in ("/", "/var", "/var/spool", "/var/lib", "/var/log", "/etc", "/usr"):
            self.folder(path, 0, 0, 0o755)

    def copy_libraries(self, programs, libraries):
        """What the programs need and the package does not bring: the machine's own."""
        listing = subprocess.run(["ldd", *programs], env=dict(os.environ, LD_LIBRARY_PATH=self.library_path(*libraries)),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
        for word in set(listing.split()):
            if word.startswith("/") and not word.startswith(self.root) and os.path.isfile(word):
                target = self.root + word
                if not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(os.path.realpath(word), target)
