"""The spool alone: 10 KB messages accepted, read back and removed within a second, 50 outstanding, beside a bare loop that
overwrites a written file with batches as large as the spool's; and how long 1,000,000 held messages take to open again."""

import shutil

from programs import run_json
from table import Bar, note, print_table

ROW, REOPEN = "spool", "spool, reopen"
OCTETS, OUTSTANDING = 10240, 50
BARE, BARE_ALL, ONE = "bare loop", "bare loop, %d a sync" % OUTSTANDING, "one sync"


class Spool:
    name = "spool"
    rows = (ROW, REOPEN)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.reopened = 100000 if bench.quick else 1000000

    def round(self):
        if ROW not in self.bench.chosen(self):
            return
        with self.bench.step(ROW, "spool"):
            life = self.run("life", OCTETS, OUTSTANDING, self.bench.seconds)
            self.results.add(ROW, "spool", life)
            self.results.add(ROW, BARE, self.run("raw", OCTETS, life["batch"], self.bench.seconds))
            self.results.add(ROW, BARE_ALL, self.run("raw", OCTETS, OUTSTANDING, self.bench.seconds))
            self.results.add(ROW, ONE, self.run("raw", 4096, 1, 0.3))

    def run(self, *arguments):
        folder = self.bench.folder + "/spool"
        try:
            return run_json([self.bench.programs.built("src/spool/bench_spool"), folder, *arguments])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def finish(self):
        if REOPEN in self.bench.chosen(self):
            with self.bench.step(REOPEN, "spool"):
                self.results.add(REOPEN, "spool", self.run("reopen", self.reopened))

    def report(self):
        names = ("spool", BARE, BARE_ALL, ONE)
        head = ["", "messages/s", "a sync", "p50 us", "p99 us", "p99.9 us", "CPU us/message", "to the disk per octet"]
        digits = (("rate", 0), ("batch", 1), ("p50_us", 0), ("p99_us", 0), ("p999_us", 0), ("cpu_us", 1), ("device", 3))
        if ROW in self.bench.chosen(self):
            print_table("the spool alone: 10 KB, 50 outstanding: accept, read back, remove", head, [
                [name] + [self.results.text(ROW, name, key, n) for key, n in digits] for name in names])
            note("  times: of the spool, from put to acknowledged; of the bare loops, one pwrite and fdatasync of a batch\n"
                 "  to the disk: sectors of the block device, whoever wrote them; handed to write calls were %s per octet"
                 % self.results.text(ROW, "spool", "written", 3))
        for seconds in self.results.values(REOPEN, "spool", "seconds"):
            note("\n%d held messages of 1 KB: open again in %.2f s" % (self.reopened, seconds))

    def bars(self):
        bars, values = [], self.results.values
        if ROW in self.bench.chosen(self):
            rates = self.results.ratios(ROW, "spool", BARE, "rate")
            limits = [2 * bare + one for bare, one in zip(values(ROW, BARE, "p999_us"), values(ROW, ONE, "p50_us"))]
            # Where the kernel counts no sectors of the device, what was handed to write calls.
            octets = values(ROW, "spool", "device" if all(values(ROW, "spool", "device")) else "written")
            slowest = values(ROW, "spool", "p999_us")
            bars.append(Bar("spool: rate / bare loop of the same batches", ">=", 0.5, rates))
            bars.append(Bar("spool: octets to the disk per octet of body", "<=", 1.15, octets, 3))
            bars.append(Bar("spool: p99.9 (twice the bare loop's and a sync)", "<=", limits, slowest, 0, " us"))
        if REOPEN in self.bench.chosen(self):
            seconds = values(REOPEN, "spool", "seconds")
            bars.append(Bar("spool: %d held messages open again" % self.reopened, "<=", 2, seconds, 2, " s"))
        return bars
