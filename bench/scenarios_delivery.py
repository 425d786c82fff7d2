"""Delivery into a Maildir for real: until every message is a file of its own, beside aiosmtpd's Maildir handler, which writes
one with fsync before its 250. Barid's figure for messages that are held stands beside it."""

import os
import subprocess
import time

from load import Load, send, warm_up
from programs import TOP, Missing
from servers import Aiosmtpd, Barid
from table import Bar, note, print_table

ROW = "Maildir delivery"
LOAD = Load(50, 1024, 1, False)
POLL_SECONDS = 0.005
STALLED_SECONDS = 60

POLICY = """
function on.recipient(session, mail, rcpt)
  rcpt:store("%{user}")
end
"""


class Delivering(Barid):
    def waiting(self):
        return self.count()["messages"]

    def kept(self):
        return len(os.listdir(self.dir + "/mail/user/new"))


class Delivery:
    name = "delivery"
    rows = (ROW,)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.servers = {}

    def prepare(self):
        if "barid" in self.bench.servers:
            self.servers["barid"] = Delivering(self.bench.barid, self.bench.folder, POLICY)
            self.servers["barid, held"] = self.bench.servers["barid"]
        self.servers["aiosmtpd"] = Aiosmtpd(unpack(), self.bench.folder)

    def round(self):
        if not self.servers:
            with self.bench.step(ROW, "aiosmtpd"):
                self.prepare()
        for name, server in self.servers.items():
            with self.bench.step(ROW, name):
                self.measure(name, server)

    def measure(self, name, server):
        """From the first connection until the last message is where it belongs."""
        with server:
            warm, count = warm_up(self.bench.postfix, server, LOAD, self.bench.seconds)
            await_all(server)
            before, start = server.seconds(), time.monotonic()
            accepting = send(self.bench.postfix, server.port, LOAD, count)
            await_all(server)
            taken = time.monotonic() - start
            cpu = server.seconds() - before
            if server.kept() != warm + count:
                raise RuntimeError("%d messages were sent, %d are there" % (warm + count, server.kept()))
            self.results.add(ROW, name, {"rate": count / taken, "accepting": count / accepting, "cpu": cpu * 1000 / count})

    def finish(self):
        pass

    def report(self):
        head = ["server", "messages/s until delivered", "accepted/s", "CPU ms/message", "rate/aiosmtpd", "CPU/aiosmtpd"]
        print_table(ROW, head, [
            [name, self.results.text(ROW, name, "rate", 0), self.results.text(ROW, name, "accepting", 0),
             self.results.text(ROW, name, "cpu", 3)] +
            [self.results.ratio_text(ROW, name, "aiosmtpd", key) for key in ("rate", "cpu")] for name in self.servers])
        if self.servers:
            note("  aiosmtpd has a message in its file when it says 250; Barid has it in the spool by then, delivers it later")

    def bars(self):
        return [Bar("Maildir delivery: rate / aiosmtpd", ">=", 2, self.results.ratios(ROW, "barid", "aiosmtpd", "rate"))]


def unpack():
    try:
        done = subprocess.run([TOP + "/tools/unpack-peer", "python3-aiosmtpd"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=True)
    except (OSError, subprocess.CalledProcessError):
        raise Missing("aiosmtpd, which Maildir delivery is compared with: its package cannot be unpacked") from None
    return done.stdout.decode().strip()


def await_all(server):
    """Until nothing waits to be delivered."""
    if not isinstance(server, Delivering):
        return
    end = time.monotonic() + STALLED_SECONDS
    while server.waiting() > 0:
        if time.monotonic() > end:
            raise RuntimeError("%d messages are not delivered" % server.waiting())
        time.sleep(POLL_SECONDS)
