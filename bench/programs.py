"""The programs in C that the comparison needs: small ones of one file, compiled here, and those of the build folder."""

import json
import os
import subprocess

from peer_root import TOP, Missing

LIBRARIES = {"idle": ["-lssl", "-lcrypto"]}


class Programs:
    def __init__(self, barid, folder):
        self.folder = folder
        self.build = os.path.abspath(os.path.join(os.path.dirname(barid), "..", ".."))

    def compile(self, name):
        """bench/NAME.c, once for a run."""
        binary = "%s/%s" % (self.folder, name)
        if not os.path.exists(binary):
            command = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-o", binary, "%s/bench/%s.c" % (TOP, name)]
            subprocess.run(command + LIBRARIES.get(name, []), check=True)
        return binary

    def built(self, target):
        """A program beside the barid that is measured, built from the same objects."""
        if not os.path.exists(self.build + "/build.ninja"):
            raise Missing("%s is no folder of Meson, so %s cannot be built" % (self.build, target))
        done = subprocess.run(["ninja", "-C", self.build, target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (target, done.stdout.decode("utf-8", "replace")[-500:]))
        return "%s/%s" % (self.build, target)


def run_json(command, timeout=300, **options):
    """What a program says on its last line, which is one JSON object."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          check=False, **options)
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode != 0 or not lines:
        text = done.stderr.decode("utf-8", "replace").strip()
        raise RuntimeError("%s: status %d: %s" % (os.path.basename(command[0]), done.returncode, text[-300:]))
    return json.loads(lines[-1])
