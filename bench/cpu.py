"""CPU time and memory of all processes of a server."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


class Cpu:
    """A control group of its own where we may make one: exact to the nanosecond, and processes that ended count. Else the
    process tree in /proc: clock ticks, and a process that its parent has not waited for is missed."""

    PLACES = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat"))

    def __init__(self):
        self.group = None
        for top, file in self.PLACES:
            group = "%s/barid-bench-%d" % (top, os.getpid())
            try:
                os.mkdir(group)
            except OSError:
                continue
            self.group, self.file = group, group + "/" + file
            if os.path.exists(self.file):
                return
            os.rmdir(group)
            self.group = None

    def join(self):  # in the child, before exec
        if self.group is not None:
            with open(self.group + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write(str(os.getpid()))

    def seconds(self, root):
        if self.group is None:
            return sum(processes()[pid][1] for pid in tree(root)) / TICKS
        with open(self.file, encoding="ascii") as f:
            words = f.read().split()
        return int(words[0]) / 1e9 if len(words) == 1 else int(words[words.index("usage_usec") + 1]) / 1e6

    def close(self):
        if self.group is not None:
            os.rmdir(self.group)


def processes():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as f:
                    fields = f.read().rsplit(b") ", 1)[1].split()
            except OSError:
                continue
            found[int(name)] = (int(fields[1]), sum(int(x) for x in fields[11:15]))
    return found


def tree(root):
    """The process and all that descend from it."""
    table = processes()
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        if pid in table:
            found.append(pid)
            todo += [p for p, (parent, _) in table.items() if parent == pid]
    return found


def pss(root):
    """Octets of memory of the tree, what is shared divided among those that share it."""
    total = 0
    for pid in tree(root):
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total * 1024
