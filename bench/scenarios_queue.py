"""A start with a long queue: 1,000,000 messages wait for a server that is dead, all of them due. How soon is mail accepted, how much
memory does the queue take, and does a mail to another server get through while the queue works through them?"""

import json
import time

from cpu import pss
from harness import Raw
from relay import CountingSink, Relaying, until
from servers import free_port
from table import Bar, note

ROW = "a long queue"
OCTETS = 100
INDEX = 92         # octets a message that the spool keeps (ARCHITECTURE.md)
MAILS = 20         # sent to the server that answers, one after the other
PAUSE = 0.5

SEND = """
function on.recipient(session, mail, rcpt)
  rcpt:send("[127.0.0.1]:%d")
end
"""


class Queue:
    name = "queue"
    rows = (ROW,)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.messages = 100000 if bench.quick else 1000000
        self.lines = []

    def round(self):
        pass

    def finish(self):
        if not self.bench.chosen(self) or "barid" not in self.bench.servers:
            return
        with self.bench.step(ROW, "barid"), CountingSink(self.bench.postfix, self.bench.folder) as sink:
            server = Relaying(self.bench.barid, self.bench.folder, SEND % sink.port)
            empty = self.empty(server)
            try:
                filler = self.bench.programs.built("bench/fill")
                server.fill(filler, self.messages, OCTETS, "[127.0.0.1]:%d" % free_port())
                self.results.add(ROW, "barid", self.measure(server, sink, empty))
            finally:
                server.stop()

    def empty(self, server):
        """Memory without a queue."""
        with server:
            self.mail(server)
            time.sleep(0.2)
            return pss(server.process.pid)

    def mail(self, server):
        with Raw(("127.0.0.1", server.port)) as c:
            c.hello()
            c.envelope("bench@sender.test", ("user@rcpt.test",))
            reply = c.message("Subject: new\r\n\r\nnew\r\n")
        if not reply.startswith("250 "):
            raise RuntimeError("a new mail was answered %s" % reply)

    def measure(self, server, sink, empty):
        before = server.cpu.seconds(0)
        start = time.monotonic()
        server.resume()
        ready = time.monotonic() - start
        self.mail(server)
        until(lambda: sink.taken() >= 1, "the first new mail")
        first = time.monotonic() - start
        memory = pss(server.process.pid)
        slowest, peak = 0.0, memory
        for number in range(MAILS):
            sent = time.monotonic()
            self.mail(server)
            until(lambda: sink.taken() >= number + 2, "a new mail among the others")
            slowest = max(slowest, time.monotonic() - sent)
            peak = max(peak, pss(server.process.pid))
            time.sleep(PAUSE)
        tried = time.monotonic() - start
        deferred = self.deferred(server)
        until(lambda: self.deferred(server) >= self.messages, "every message put off", 1200)
        taken = time.monotonic() - start
        return {"ready": ready, "first": first, "memory": (peak - empty) / self.messages, "slowest": slowest,
                "rate": self.messages / taken, "cpu": (server.cpu.seconds(server.process.pid) - before) * 1000 / self.messages,
                "deferred": deferred, "tried": tried}

    def deferred(self, server):
        return json.loads(server.run("status", "--json"))["queue"]["deferred"]

    def report(self):
        for ready, first, memory, slowest, rate, cpu, deferred, tried in zip(*(
                self.results.values(ROW, "barid", key)
                for key in ("ready", "first", "memory", "slowest", "rate", "cpu", "deferred", "tried"))):
            note("\n%d messages for a dead server, all due: mail is accepted %.2f s after the start, the first new mail is sent on after "
                 "%.2f s" % (self.messages, ready, first))
            note("  memory: %.0f octets a message at most, the spool's index (%d) included" % (memory, INDEX))
            note("  %d new mails meanwhile, the slowest was sent on after %.2f s; %d messages had been put off by then (%.0f s)" %
                 (MAILS, slowest, deferred, tried))
            note("  all put off: %.0f messages a second, %.3f ms of CPU each" % (rate, cpu))

    def bars(self):
        if not self.bench.chosen(self):
            return []
        values = self.results.values
        return [Bar("%d messages wait: ready after" % self.messages, "<=", 3, values(ROW, "barid", "ready"), 2, " s"),
                Bar("memory of each, with the index", "<=", INDEX + 150, values(ROW, "barid", "memory"), 0, " octets"),
                Bar("a new mail among them is sent on within", "<=", 1, values(ROW, "barid", "slowest"), 2, " s")]
