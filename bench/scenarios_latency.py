"""Latency at 10 sessions, durable: how long a client waits for its message, from connect (or MAIL, on a kept connection) to
the 250 after the data."""

from load import Load, times
from table import Bar, print_table

SCENARIOS = {
    "latency, 10 sessions": Load(10, 1024, 1, False),
    "latency, 10 sessions, kept connections": Load(10, 1024, 1, True),
}
SERVERS = ("canned", "postfix", "barid")


class Latency:
    name = "latency"
    rows = tuple(SCENARIOS)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.servers = [name for name in SERVERS if name in bench.servers]

    def round(self):
        for row in self.bench.chosen(self):
            for name in self.servers:
                with self.bench.step(row, name):
                    self.measure(row, name)

    def measure(self, row, name):
        with self.bench.servers[name] as server:
            warm = times(self.bench.programs, server.port, SCENARIOS[row], 200)
            count = int(min(max(warm["rate"] * self.bench.seconds, 200), 60000))
            self.results.add(row, name, times(self.bench.programs, server.port, SCENARIOS[row], count))

    def finish(self):
        pass

    def report(self):
        for row in self.bench.chosen(self):
            head = ["server", "p50 ms", "p99 ms", "messages/s", "p50/postfix", "p99/postfix"]
            print_table(row, head, [
                [name, self.results.text(row, name, "p50", 3), self.results.text(row, name, "p99", 3),
                 self.results.text(row, name, "rate", 0)] +
                [self.results.ratio_text(row, name, "postfix", key) for key in ("p50", "p99")] for name in self.servers])

    def bars(self):
        return [Bar("%s: %s / postfix" % (row, key), "<=", 0.3, self.results.ratios(row, "barid", "postfix", key))
                for row in self.bench.chosen(self) for key in ("p50", "p99")]
