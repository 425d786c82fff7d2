"""What Lua hooks cost: over the wire, every event with a hook, accept and discard, beside canned, and beside a daemon with no
hook but the one that discards; and in process, by instructions, empty hooks and hooks that read five fields over none
(bench/hooks.c)."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from load import Load, measure
from programs import run_json
from servers import Barid
from table import Bar, note, print_table

SCENARIOS = {
    "hooks, discard": Load(50, 1024, 1, False),
    "hooks, discard, many per connection": Load(50, 1024, 1, True),
}
IN_PROCESS = {  # row: (verdict, messages per connection)
    "in process, discard": ("discard", 1),
    "in process, discard, many per connection": ("discard", 100),
    "in process, hold": ("hold", 1),
    "in process, hold, many per connection": ("hold", 100),
}
BARRED = ("in process, discard", "in process, discard, many per connection")
VARIANTS = ("none", "empty", "arguments", "five")
LIMITS = (("empty", "empty hooks", 5), ("five", "five-field hooks", 10))
WARM = 2000  # messages that a counted run is longer than the one that it is compared with: start and warm-up fall out

ONE = """
function on.recipient(session, mail, rcpt) return discard("bench") end
"""

FIVE = """
local a, b, c, d, e
function on.connect(s) a, b, c, d, e = s.ip, s.port, s.local_ip, s.listener, s.tls end
function on.helo(s, name) a, b, c, d, e = s.ip, s.helo, s.esmtp, s.protocol, s.tls end
function on.mail(s, m) a, b, c, d, e = s.ip, s.helo, m.sender, m.sender_domain, m.declared_size end
function on.rcpt(s, m, r) a, b, c, d, e = s.ip, m.sender, r.address, r.user, r.domain end
function on.data(s, m) a, b, c, d, e = s.ip, s.user, m.sender, m.body_type, m.smtputf8 end
function on.headers(s, m) a, b, c, d, e = s.ip, s.helo, m.sender, m.size, m.hops end
function on.body(s, m, chunk) a, b, c, d, e = s.ip, s.helo, m.id, m.sender, m.size end
function on.message(s, m) a, b, c, d, e = s.ip, s.user, m.id, m.sender, m.size end
function on.recipient(s, m, r)
  a, b, c, d, e = m.id, m.sender, r.address, r.user, r.domain
  return discard("bench")
end
function on.queued(m) a, b, c, d, e = m.id, m.sender, m.size, m.state, m.received_at end
function on.quit(s, argument) a, b, c, d, e = s.id, s.ip, s.helo, s.user, s.tls end
function on.disconnect(s, reason) a, b, c, d, e = s.id, s.ip, s.helo, s.user, s.started_at end
"""

POLICY = """
function on.connect(session) end
function on.tls(session) end
function on.helo(session, name) end
function on.auth(session, credentials) end
function on.mail(session, mail) end
function on.rcpt(session, mail, rcpt) end
function on.data(session, mail) end
function on.headers(session, mail) end
function on.body(session, mail, chunk) end
function on.message(session, mail) end
function on.recipient(session, mail, rcpt) return discard("bench") end
function on.noop(session, argument) end
function on.rset(session, argument) end
function on.vrfy(session, argument) end
function on.expn(session, argument) end
function on.help(session, argument) end
function on.quit(session, argument) end
function on.unknown(session, argument) end
function on.queued(mail) end
function on.disconnect(session, reason) end
"""


class Discarding(Barid):
    def kept(self):
        return None


class Hooks:
    name = "hooks"
    rows = tuple(SCENARIOS) + tuple(IN_PROCESS)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.counted_by = ""
        policies = {"barid": POLICY, "barid, one hook": ONE, "barid, five": FIVE}
        self.servers = {name: Discarding(bench.barid, bench.folder, policy) for name, policy in policies.items()
                        if "barid" in bench.servers}
        if "canned" in bench.servers:
            self.servers = {"canned": bench.servers["canned"], **self.servers}

    def round(self):
        for row in self.over_the_wire():
            for name, server in self.servers.items():
                with self.bench.step(row, name):
                    self.results.add(row, name, measure(self.bench.postfix, server, SCENARIOS[row], self.bench.seconds))

    def over_the_wire(self):
        return [row for row in self.bench.chosen(self) if row in SCENARIOS]

    def in_process(self):
        return [row for row in self.bench.chosen(self) if row in IN_PROCESS]

    def finish(self):
        for row in self.in_process():
            with self.bench.step(row, "none"):
                self.count(row, self.bench.programs.built("bench/hooks"))

    def count(self, row, tool):
        """Instructions of the processor where it counts them for us, of cachegrind where not; and CPU time, on and off
        interleaved."""
        verdict, each = IN_PROCESS[row]
        timed = run_json([tool, verdict, each, 20000 if self.bench.quick else 200000])
        instructions = {name: timed[name]["instructions"] for name in VARIANTS}
        self.counted_by = "counted by the processor over %d messages of each, interleaved" % timed["messages"]
        if not timed["counted"]:
            instructions = self.count_by_valgrind(tool, verdict, each)
        for name in VARIANTS:
            self.results.add(row, name, {"instructions": instructions[name], "cpu": timed[name]["cpu_us"]})

    def count_by_valgrind(self, tool, verdict, each):
        """A count does not depend on the time, so as many runs as there are processors go on at once."""
        if shutil.which("valgrind") is None:
            self.counted_by = "not counted: the processor's counters are not to be had here, and there is no valgrind"
            return dict.fromkeys(VARIANTS)
        messages = self.bench.hook_messages
        self.counted_by = ("the processor's counters are not to be had here: counted by cachegrind, %d messages of each, start "
                           "and warm-up subtracted" % messages)
        sizes = [(name, n) for name in VARIANTS for n in (WARM, WARM + messages)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = dict(zip(sizes, pool.map(lambda s: cachegrind([tool, verdict, str(each), str(s[1]), s[0]]), sizes)))
        return {name: (counts[name, WARM + messages] - counts[name, WARM]) / messages for name in VARIANTS}

    def report(self):
        for row in self.over_the_wire():
            head = ["server", "messages/s", "CPU ms/message", "rate/canned", "CPU/canned", "CPU/one hook"]
            print_table("a Lua hook on every event: " + row, head, [
                [name, self.results.text(row, name, "rate", 0), self.results.text(row, name, "cpu", 3)] +
                [self.results.ratio_text(row, name, "canned", key) for key in ("rate", "cpu")] +
                [self.results.ratio_text(row, name, "barid, one hook", "cpu")] for name in self.servers])
            note("  barid: empty hooks on every event; one hook: only the one that discards; five: hooks that read five fields")

        for row in self.in_process():
            self.report_in_process(row)
        if self.counted_by:
            note("  instructions: " + self.counted_by)
            note("  none: a handler in C decides; empty: hooks without parameters; arguments: hooks that take all their\n"
                 "  parameters and do nothing; five: hooks that read five fields")

    def report_in_process(self, row):
        def more(name, key):
            ratios = self.results.ratios(row, name, "none", key)
            return "%+.1f %%" % ((ratios[0] - 1) * 100) if ratios and name != "none" else ""

        print_table("hooks, " + row, ["hooks", "instructions/message", "over none", "CPU us/message", "over none"], [
            [name, self.results.text(row, name, "instructions", 0), more(name, "instructions"),
             self.results.text(row, name, "cpu", 2), more(name, "cpu")] for name in VARIANTS])

    def bars(self):
        bars = []
        for row in self.over_the_wire():
            bars.append(Bar(row + ": rate / canned", ">=", 0.8, self.results.ratios(row, "barid", "canned", "rate")))
            bars.append(Bar(row + ": CPU / canned", "<=", 2.5, self.results.ratios(row, "barid", "canned", "cpu")))
            for name, text, limit in (("barid", "empty hooks", 5), ("barid, five", "five-field hooks", 10)):
                added = [(r - 1) * 100 for r in self.results.ratios(row, name, "barid, one hook", "cpu")]
                bars.append(Bar("%s: CPU of the daemon that %s add" % (row, text), "<=", limit, added, 1, " %"))
        for row in self.in_process():
            for name, text, limit in LIMITS if row in BARRED else ():
                ratios = self.results.ratios(row, name, "none", "instructions")
                added = [(r - 1) * 100 for r in ratios]
                bars.append(Bar("%s: instructions that %s add" % (row, text), "<=", limit, added, 1, " %"))
        return bars


def cachegrind(command):
    done = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=1200, check=False)
    text = done.stderr.decode("utf-8", "replace")
    found = re.search(r"I +refs: +([0-9,]+)", text)
    if done.returncode != 0 or not found:
        raise RuntimeError("valgrind: " + text[-300:])
    return int(found[1].replace(",", ""))
