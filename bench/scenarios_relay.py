"""Mail for other servers, beside Postfix, both with the same sink behind them and as many connections to it:

  relay         accepted, on the disk, sent on, until nothing is left: 1 KB, 50 clients
  drain         a queue that is there when the server starts, all of it due
  destinations  (Barid alone) the same queue for thousands of domains, each with its own MX, beside one; at most 50 connections out
                in all, and once more with as many as messages are under way by default
  dead          (Barid alone) mail to a server that answers, with and without a long queue for one that does not
"""

import os
import subprocess
import sys
import time

from load import Load, send, warm_up
from programs import TOP
from relay import CONNECTIONS, MESSAGES, CountingSink, Relaying, RelayingPostfix, until
from servers import free_port
from table import Bar, note, print_table

RELAY, DRAIN, DESTINATIONS, DEAD = "relay", "drain", "drain, many destinations", "drain, beside a dead destination"
ONE = "one destination"
LOAD = Load(50, 1024, 1, False)
OCTETS = 1024

ZONE = "d%d.test MX 10 mx.test\nmx.test A 127.0.0.1\n"

SEND = """
relayhost "[127.0.0.1]:%d"
function on.recipient(session, mail, rcpt)
  rcpt:send()
end
"""

BARS = (  # row, key, sign, limit
    (RELAY, "rate", ">=", 4),
    (RELAY, "cpu", "<=", 0.15),
    (DRAIN, "rate", ">=", 6),
    (DRAIN, "cpu", "<=", 0.15),
)


class Relay:
    name = "relays"
    rows = (RELAY, DRAIN, DESTINATIONS, DEAD)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        quick = bench.quick
        self.drained = 2000 if quick else 20000
        self.destinations = 1000 if quick else 10000
        self.dead = 10000 if quick else 100000
        self.lines = []

    def round(self):
        for row in self.bench.chosen(self):
            if row == RELAY:
                self.compare(row, self.relay)
            elif row == DRAIN:
                self.compare(row, self.drain)
            elif row == DESTINATIONS:
                self.many()
            else:
                self.beside_dead()

    def compare(self, row, measure):
        for name in ("postfix", "barid"):
            if name in self.bench.servers:
                with self.bench.step(row, name), CountingSink(self.bench.postfix, self.bench.folder) as sink:
                    self.results.add(row, name, measure(self.server(name, sink), sink))

    def server(self, name, sink):
        if name == "postfix":
            return RelayingPostfix(self.bench.postfix, sink)
        return Relaying(self.bench.barid, self.bench.folder, SEND % sink.port)

    # --- through

    def relay(self, server, sink):
        """From the first connection in until nothing is left."""
        with server:
            warm, count = warm_up(self.bench.postfix, server, LOAD, self.bench.seconds)
            until(lambda: not server.waiting(), "the first messages sent on")
            before, start = server.seconds(), time.monotonic()
            accepting = send(self.bench.postfix, server.port, LOAD, count)
            until(lambda: not server.waiting(), "everything sent on")
            taken, cpu = time.monotonic() - start, server.seconds() - before
            check(sink, warm + count)
            return {"rate": count / taken, "accepting": count / accepting, "cpu": cpu * 1000 / count}

    # --- a queue

    def drain(self, server, sink):
        """From the start of the server until nothing is left."""
        try:
            if isinstance(server, RelayingPostfix):
                self.fill_postfix(server)
                started = self.now(server)
                server.resume(sink.port, CONNECTIONS)
            else:
                server.fill(self.filler(), self.drained, OCTETS, "[127.0.0.1]:%d" % sink.port)
                started = self.now(server)
                server.resume()
            return self.empty(server, sink, started)
        finally:
            server.stop()

    def now(self, server):
        """Time, and CPU of all servers so far, of one that is about to start."""
        return time.monotonic(), server.cpu.seconds(0)

    def empty(self, server, sink, started):
        until(lambda: not server.waiting(), "the queue drained")
        taken, cpu = time.monotonic() - started[0], server.seconds() - started[1]
        check(sink, self.drained)
        return {"rate": self.drained / taken, "cpu": cpu * 1000 / self.drained}

    def fill_postfix(self, server):
        server.postfix.clean()
        server.resume()
        send(self.bench.postfix, server.port, LOAD, self.drained)
        server.halt()
        server.postfix.release()

    def filler(self):
        return self.bench.programs.built("bench/fill")

    # --- many destinations

    def many(self):
        for name, messages in self.many_names().items():
            target = "d0.test:%d" if name == ONE else "d%%d.test:%d"
            with self.bench.step(DESTINATIONS, name), CountingSink(self.bench.postfix, self.bench.folder) as sink, \
                    Dns(self.bench.folder) as dns:
                server = Relaying(self.bench.barid, self.bench.folder, dns.policy(), messages)
                try:
                    server.fill(self.filler(), self.drained, OCTETS, target % sink.port, self.destinations)
                    started = self.now(server)
                    server.resume()
                    figures = self.empty(server, sink, started)
                    figures["questions"] = dns.questions() / self.drained
                    self.results.add(DESTINATIONS, name, figures)
                finally:
                    server.stop()

    # --- a dead one

    def beside_dead(self):
        for name, dead in (("alone", 0), ("%d dead" % self.dead, self.dead)):
            with self.bench.step(DEAD, name), CountingSink(self.bench.postfix, self.bench.folder) as sink:
                server = Relaying(self.bench.barid, self.bench.folder)
                try:
                    if dead:
                        server.fill(self.filler(), dead, 100, "[127.0.0.1]:%d" % free_port())
                        self.fill_more(server, sink)
                    else:
                        server.fill(self.filler(), self.drained, OCTETS, "[127.0.0.1]:%d" % sink.port)
                    start = time.monotonic()
                    server.resume()
                    until(lambda: sink.taken() >= self.drained, "mail to the server that answers")
                    self.results.add(DEAD, name, {"rate": self.drained / (time.monotonic() - start)})
                    if server.waiting() < dead:
                        raise RuntimeError("%d messages are left of %d that cannot be sent" % (server.waiting(), dead))
                finally:
                    server.stop()

    def fill_more(self, server, sink):
        subprocess.run([self.filler(), server.dir + "/spool", str(self.drained), str(OCTETS), "1",
                        "[127.0.0.1]:%d" % sink.port], check=True)

    # --- what it says

    def finish(self):
        pass

    def report(self):
        for row in self.bench.chosen(self):
            if row in (RELAY, DRAIN):
                what = "until sent" if row == RELAY else "of %d that were queued" % self.drained
                print_table(row, ["server", "messages/s " + what, "CPU ms/message", "rate/postfix", "CPU/postfix"], [
                    [name, self.results.text(row, name, "rate", 0), self.results.text(row, name, "cpu", 3)] +
                    [self.results.ratio_text(row, name, "postfix", key) for key in ("rate", "cpu")]
                    for name in ("postfix", "barid")])
        for row, names in ((DESTINATIONS, self.many_names()), (DEAD, self.dead_names())):
            if row in self.bench.chosen(self):
                print_table(row, ["", "messages/s", "CPU ms/message", "questions to DNS/message"], [
                    [name] + [self.results.text(row, name, key, n) for key, n in (("rate", 0), ("cpu", 3), ("questions", 2))]
                    for name in names])
        if self.bench.chosen(self):
            note("  the sink and the DNS server have the same CPUs; their time is nobody's figure")

    def many_names(self):
        """With the messages under way at most."""
        many = "%d destinations" % self.destinations
        return {ONE: CONNECTIONS, many: CONNECTIONS, "%s, %d out" % (many, MESSAGES): MESSAGES}

    def dead_names(self):
        return ("alone", "%d dead" % self.dead)

    def bars(self):
        bars = [Bar("%s: %s / postfix" % (row, {"rate": "rate", "cpu": "CPU"}[key]), sign, limit,
                    self.results.ratios(row, "barid", "postfix", key))
                for row, key, sign, limit in BARS if row in self.bench.chosen(self)]
        if DESTINATIONS in self.bench.chosen(self):
            one, many, _ = self.many_names()
            bars.append(Bar("drain, %s: CPU / one" % many, "<=", 1.25, self.results.ratios(DESTINATIONS, many, one, "cpu")))
        if DEAD in self.bench.chosen(self):
            alone, beside = self.dead_names()
            bars.append(Bar("drain, beside %s: rate / alone" % beside, ">=", 0.5, self.results.ratios(DEAD, beside, alone, "rate")))
        return bars


class Dns:
    """tests/fake_dns in a process of its own."""

    def __init__(self, folder):
        self.port, self.process = free_port(), None
        self.zone, self.out = folder + "/zone", folder + "/dns.out"

    def __enter__(self):
        with open(self.zone, "w", encoding="ascii") as f:
            f.write(ZONE)
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen([sys.executable, TOP + "/tools/fake-dns", "--listen", "127.0.0.1:%d" % self.port,
                                             "--zone", self.zone], stdout=out, stderr=subprocess.PIPE)
        self.process.stderr.readline()  # it listens
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.unlink(self.zone)

    def policy(self):
        return 'dns { servers = { "127.0.0.1:%d" } }\n' % self.port

    def questions(self):
        with open(self.out, "rb") as f:
            return sum(1 for _ in f)


def check(sink, count):
    """Sent means that the sink has it: nothing was bounced, and nothing sent twice."""
    if sink.taken() != count:
        raise RuntimeError("%d messages were sent on, the sink has %d" % (count, sink.taken()))
