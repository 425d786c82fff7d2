"""Durable accept: rate and CPU per message of servers that have a message on the disk before they say 250, beside one that
keeps nothing; then what stands behind the figure: a sample read back after kill -9, and the sync calls counted."""

import json
import os
import signal
import subprocess
import threading
import time

from cpu import tree
from harness import Raw
from load import Load, measure, send
from programs import Missing
from table import Bar, note, print_table

SCENARIOS = {
    "1 KB": Load(50, 1024, 1, False),
    "1 KB, many per connection": Load(50, 1024, 1, True),
    "100 KB": Load(50, 102400, 1, False),
    "10 recipients": Load(50, 1024, 10, False),
    "1 session": Load(1, 1024, 1, False),
    "1 session, many per connection": Load(1, 1024, 1, True),
}

BARS = (  # scenario, key, reference, sign, limit
    ("1 KB", "rate", "postfix", ">=", 3.5),
    ("1 KB", "rate", "canned", ">=", 0.6),
    ("1 KB", "cpu", "postfix", "<=", 0.1),
    ("1 KB", "cpu", "canned", "<=", 3),
    ("1 KB, many per connection", "rate", "postfix", ">=", 8),
    ("1 KB, many per connection", "rate", "canned", ">=", 0.5),
    ("1 KB, many per connection", "cpu", "postfix", "<=", 0.1),
    ("100 KB", "rate", "postfix", ">=", 3.5),
    ("100 KB", "rate", "canned", ">=", 0.4),
    ("10 recipients", "rate", "postfix", ">=", 4),
    ("10 recipients", "rate", "canned", ">=", 0.6),
    ("1 session", "rate", "postfix", ">=", 1.6),
)

SAMPLE_SENDER = "sample@sender.test"
SAMPLE_CLIENTS = 4
SAMPLE = 200          # messages of the sample, which other load surrounds
SYNCS = "fsync,fdatasync,sync,syncfs,sync_file_range,msync"


class Accept:
    name = "accept"
    rows = tuple(SCENARIOS)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.lines = []

    def round(self):
        for row in self.bench.chosen(self):
            for name, server in self.bench.servers.items():
                with self.bench.step(row, name):
                    self.results.add(row, name, measure(self.bench.postfix, server, SCENARIOS[row], self.bench.seconds))

    def finish(self):
        if "barid" in self.bench.servers:
            with self.bench.step("read back", "barid"):
                self.read_back()
        for name in ("barid", "postfix"):
            for sessions in (1, 50):
                if name in self.bench.servers:
                    with self.bench.step("sync calls, %d sessions" % sessions, name):
                        self.count_syncs(name, sessions)

    # --- a sample is read back

    def read_back(self):
        server = self.bench.servers["barid"]
        reader = self.bench.programs.built("src/spool/bench_spool")
        with server:
            sample = Sample(server.port)
            load = threading.Thread(target=self.surround, args=(server.port,), daemon=True)
            load.start()
            acknowledged = sample.send()
            server.kill()
            load.join()
            stored = subprocess.run([reader, server.dir + "/spool", "bodies"], stdout=subprocess.PIPE, check=True).stdout
            whole = sum(1 for body in acknowledged if body in stored)
            listed = server.run("queue", "list", "--sender", SAMPLE_SENDER, "--json").splitlines()
            ids = [json.loads(line)["id"] for line in listed]
            shown = [json.loads(server.run("queue", "show", i, "--json")) for i in ids[::len(ids) // 10 or 1]]
            fine = sum(1 for m in shown if m["state"] == "held" and "Subject: sample" in m["header"])
        self.lines.append("read back after kill -9 under load: %d of %d acknowledged messages whole, octet by octet; "
                          "barid queue list has %d, show: %d of %d right" %
                          (whole, len(acknowledged), len(ids), fine, len(shown)))
        if whole != len(acknowledged) or len(ids) < whole or fine != len(shown):
            raise RuntimeError(self.lines.pop())

    def surround(self, port):
        try:
            send(self.bench.postfix, port, SCENARIOS["1 KB"], 60000)
        except (RuntimeError, subprocess.TimeoutExpired):
            pass  # the server was killed: that is the point

    # --- sync calls

    def count_syncs(self, name, sessions):
        file = "%s/strace-%s-%d" % (self.bench.folder, name, sessions)
        load = Load(sessions, 1024, 1, False)
        count = 200 if sessions == 1 else 2000
        with self.bench.servers[name] as server:
            send(self.bench.postfix, server.port, load, 100)
            tracer = start_strace(tree(server.process.pid), file)
            time.sleep(1.0)  # it says nothing when it has attached to all of them
            send(self.bench.postfix, server.port, load, count)
            time.sleep(0.5)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
        calls = read_strace(file)
        self.lines.append("sync calls per message, %s, %d session%s: %.3f (%s)" % (
            name, sessions, "" if sessions == 1 else "s", sum(calls.values()) / count,
            ", ".join("%s %d" % c for c in calls.items()) or "none"))
        if not calls:
            raise RuntimeError("no sync call was seen: " + self.lines.pop())

    # --- what it says

    def report(self):
        for row in self.bench.chosen(self):
            head = ["server", "messages/s", "CPU ms/message", "rate/postfix", "CPU/postfix", "rate/canned", "CPU/canned"]
            print_table("durable accept: " + row, head, [
                [name, self.results.text(row, name, "rate", 0), self.results.text(row, name, "cpu", 3)] +
                [self.results.ratio_text(row, name, reference, key)
                 for reference in ("postfix", "canned") for key in ("rate", "cpu")] for name in self.bench.servers])
        if self.lines:
            note()
        for line in self.lines:
            note(line)

    def bars(self):
        names = {"rate": "rate", "cpu": "CPU"}
        return [Bar("durable, %s: %s / %s" % (row, names[key], reference), sign, limit,
                    self.results.ratios(row, "barid", reference, key))
                for row, key, reference, sign, limit in BARS if row in self.bench.chosen(self)]


class Sample:
    """Messages no two of which are alike, on several connections; the bodies of those that were acknowledged are kept."""

    def __init__(self, port):
        self.port, self.lock, self.acknowledged, self.errors = port, threading.Lock(), [], []

    def send(self):
        clients = [threading.Thread(target=self.client, daemon=True) for _ in range(SAMPLE_CLIENTS)]
        for c in clients:
            c.start()
        for c in clients:
            c.join(120)
        if len(self.acknowledged) < SAMPLE:
            raise RuntimeError("the sample was not sent: %s" % self.errors[:1])
        return self.acknowledged

    def client(self):
        try:
            with Raw(("127.0.0.1", self.port)) as c:
                c.hello()
                for _ in range(SAMPLE // SAMPLE_CLIENTS):
                    self.message(c)
        except OSError as e:
            self.errors.append(str(e))

    def message(self, c):
        body = "".join("%s\r\n" % os.urandom(32).hex() for _ in range(15))
        c.envelope(SAMPLE_SENDER, ("user@rcpt.test",))
        reply = c.message("From: <%s>\r\nSubject: sample\r\n\r\n%s" % (SAMPLE_SENDER, body))
        with self.lock:
            if reply.startswith("250 "):
                self.acknowledged.append(body.encode())
            else:
                self.errors.append(reply)


def start_strace(pids, file):
    command = ["strace", "-f", "-qq", "-c", "-o", file, "-e", "trace=" + SYNCS]
    try:
        return subprocess.Popen(command + ["-p" + str(pid) for pid in pids], stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Missing("sync calls are not counted: there is no strace") from None


def read_strace(file):
    calls = {}
    with open(file, encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) >= 5 and words[-1] in SYNCS.split(",") and words[3].isdigit():
                calls[words[-1]] = int(words[3])
    return calls
