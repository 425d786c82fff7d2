"""Idle connections: banner, EHLO, silence. Memory of each, plain and with TLS; CPU time while nothing happens; how fast they
are opened, beside canned; and that mail goes on meanwhile."""

import json
import subprocess
import time

from cpu import pss
from load import Load, send
from servers import HOLD, Barid
from table import Bar, note, print_table

PLAIN, TLS = "idle connections", "idle connections, TLS"
MAILS = 100
REST_SECONDS = 3.0  # how long CPU time is looked at

POLICY = HOLD + """
listen { "127.0.0.1:@TLS_PORT@", tls = "implicit" }
tls { certificate = "cert.pem", key = "key.pem" }
"""


class WithTls(Barid):
    """Listens with TLS, too."""

    def resume(self, policy=None):
        files = ["--cert", self.dir + "/cert.pem", "--key", self.dir + "/key.pem"]
        subprocess.run([self.binary, "certificate", "localhost", *files],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        super().resume(policy)


class Clients:
    """Holds the connections as long as the with statement lasts."""

    def __init__(self, programs, port, count, tls):
        command = [programs.compile("idle"), "127.0.0.1", str(port), str(count)] + (["tls"] if tls else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.opened = self.closed = None

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the clients of the idle connections ended with status %d" % self.process.wait())
        self.opened = json.loads(line)
        return self

    def end(self):
        """How many the server closed."""
        self.process.stdin.close()
        return json.loads(self.process.stdout.readline())["closed"]

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Idle:
    name = "idle"
    rows = (PLAIN, TLS)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.servers = {name: bench.servers[name] for name in ("canned", "barid") if name in bench.servers}
        if "barid" in self.servers:
            self.servers["barid"] = WithTls(bench.barid, bench.folder, POLICY)
        self.counts = {PLAIN: 2000, TLS: 500} if bench.quick else {PLAIN: 19500, TLS: 5000}
        self.backlogs = []

    def round(self):
        for row in self.bench.chosen(self):
            for name, server in self.servers.items():
                if row == PLAIN or name == "barid":
                    with self.bench.step(row, name):
                        self.measure(row, name, server)

    def measure(self, row, name, server):
        count = self.counts[row]
        with server:
            send(self.bench.postfix, server.port, Load(2, 1024, 1, False), 100)  # what a server has once is there
            self.settle(server)
            memory = pss(server.process.pid)
            port = server.tls_port if row == TLS else server.port
            before = server.seconds()
            with Clients(self.bench.programs, port, count, row == TLS) as clients:
                opened = clients.opened
                if opened["idle"] != count:
                    raise RuntimeError("%d of %d connections were opened, %d refused" % (
                        opened["idle"], count, opened["refused"]))
                opening = server.seconds() - before
                self.settle(server)
                memory = pss(server.process.pid) - memory
                before, start = server.seconds(), time.monotonic()
                time.sleep(REST_SECONDS)
                resting = (server.seconds() - before) / (time.monotonic() - start)
                taken = send(self.bench.postfix, server.port, Load(10, 1024, 1, False), MAILS)
                closed = clients.end()
            if closed:
                raise RuntimeError("%d idle connections were closed by the server" % closed)
            self.results.add(row, name, {"kilobytes": memory / 1024 / count, "opened": count / opened["seconds"],
                                         "opening": opening / count * 1000, "resting": resting * 100, "mails": MAILS / taken})
            if name == "barid":
                self.backlogs.append(backlog(server.port))

    def settle(self, server):
        """Until the server has done what the clients have left it to do."""
        for _ in range(50):
            before = server.seconds()
            time.sleep(0.1)
            if server.seconds() - before < 0.0005:
                return

    def finish(self):
        pass

    def report(self):
        for row in self.bench.chosen(self):
            head = ["server", "KB each (PSS)", "opened/s", "CPU ms to open one", "idle: % of a CPU", "messages/s meanwhile"]
            print_table("%d %s" % (self.counts[row], row), head, [
                [name] + [self.results.text(row, name, key, digits) for key, digits in
                          (("kilobytes", 2), ("opened", 0), ("opening", 3), ("resting", 3), ("mails", 0))]
                for name in self.servers if self.results.has(row, name)])
        if self.backlogs:
            note("  listen backlog of barid: %d (ss -ltn)" % min(self.backlogs))

    def bars(self):
        bars = []
        for row in self.bench.chosen(self):
            label = "%d %s" % (self.counts[row], row)
            memory = self.results.values(row, "barid", "kilobytes")
            bars.append(Bar(label + ": PSS each", "<=", 2 if row == PLAIN else 40, memory, 2, " KB"))
            # None but what the kernel does in its name, as it is accounted in ticks.
            bars.append(Bar(label + ": CPU while idle", "<=", 0.1, self.results.values(row, "barid", "resting"), 3, " %"))
            if row == PLAIN:
                bars.append(Bar(label + ": opened / canned", ">=", 0.5, self.results.ratios(row, "barid", "canned", "opened")))
        if PLAIN in self.bench.chosen(self):
            bars.append(Bar("listen backlog", ">=", 1024, self.backlogs, 0))
        return bars


def backlog(port):
    """The least of the sockets that listen there."""
    done = subprocess.run(["ss", "-Hltn", "sport = :%d" % port], stdout=subprocess.PIPE, check=True)
    return min(int(line.split()[2]) for line in done.stdout.decode().splitlines())
