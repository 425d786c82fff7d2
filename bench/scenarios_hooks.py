"""What Lua hooks cost: over the wire, every event with a hook, accept and discard, beside canned; and in process, by
instructions, empty hooks and hooks that read five fields over none (bench/hooks.c)."""

from load import Load, measure
from servers import Barid
from table import Bar, print_table

SCENARIOS = {
    "hooks, discard": Load(50, 1024, 1, False),
    "hooks, discard, many per connection": Load(50, 1024, 1, True),
}
IN_PROCESS = "hooks in process"

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
    rows = tuple(SCENARIOS)

    def __init__(self, bench):
        self.bench, self.results = bench, bench.results
        self.servers = {"canned": bench.servers.get("canned"), "barid": Discarding(bench.barid, bench.folder, POLICY)}
        self.servers = {name: s for name, s in self.servers.items() if s and name in bench.servers}

    def round(self):
        for row in self.bench.chosen(self):
            for name, server in self.servers.items():
                with self.bench.step(row, name):
                    self.results.add(row, name, measure(self.bench.postfix, server, SCENARIOS[row], self.bench.seconds))

    def finish(self):
        pass

    def report(self):
        for row in self.bench.chosen(self):
            head = ["server", "messages/s", "CPU ms/message", "rate/canned", "CPU/canned"]
            print_table("a Lua hook on every event: " + row, head, [
                [name, self.results.text(row, name, "rate", 0), self.results.text(row, name, "cpu", 3)] +
                [self.results.ratio_text(row, name, "canned", key) for key in ("rate", "cpu")] for name in self.servers])

    def bars(self):
        bars = []
        for row in self.bench.chosen(self):
            bars.append(Bar(row + ": rate / canned", ">=", 0.8, self.results.ratios(row, "barid", "canned", "rate")))
            bars.append(Bar(row + ": CPU / canned", "<=", 2.5, self.results.ratios(row, "barid", "canned", "cpu")))
        return bars
