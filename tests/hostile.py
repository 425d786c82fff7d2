"""What the tests of hostile peers share: an honest client who comes through whatever happens, and the list of what was tried.

docs/hostile.md has a section for each group. hostile_test.py and hostile_tls_test.py own some of them and check those."""

import os
import re
import ssl
import struct
import sys

import harness
from harness import HEAD, Raw, Tests, tls_context

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "hostile.md")
# A line for every session would be most of the work where there are thousands.
QUIET = HEAD.replace('level = "debug"', 'level = "warn"')
STORE = """
function on.recipient(session, mail, rcpt) rcpt:store("%{user}") end
"""
MEBIBYTE = 1 << 20

notes = {}  # section -> {input: what it got}, in order


def note(section, attempt, got):
    rows = notes.setdefault(section, {})
    assert rows.get(attempt, got) == got, "two answers to %s: %s and %s" % (attempt, rows[attempt], got)
    rows[attempt] = got


def document(sections):
    lines = ["<!-- Checked and written by tests/hostile_test.py: run it with --write -->", "", "# Hostile peers", "",
             "What was tried against a daemon on the loopback interface, and what it got. After each group a mail of an",
             "honest client arrives, no connection is left open, and nothing is in the spool or in a mailbox that nobody sent.", ""]
    for section, rows in sections.items():
        lines += ["## " + section, "", "| tried | got |", "|---|---|"] + rows + [""]
    return "\n".join(lines)


def rows_of(noted):
    return ["| %s | %s |" % (a.replace("|", "\\|"), g.replace("|", "\\|")) for a, g in noted.items()]


def sections_of(text):
    """What document() made a text of."""
    return {part.split("\n", 1)[0]: [l for l in part.split("\n")[4:] if l] for part in text.split("\n## ")[1:]}


def written(test, mine):
    """The document says what was noted here; mine(section) tells the sections of this program from those of another."""
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    there, noted = sections_of(text), {section: rows_of(rows) for section, rows in notes.items()}
    test.assertEqual([s for s in noted if not mine(s)], [])
    for section, rows in noted.items():
        print("# proof: hostile peers, %s: %d inputs, each got what docs/hostile.md says, mail flows" % (section, len(rows)))
    if "--write" in sys.argv:
        others = {s: rows for s, rows in there.items() if not mine(s)}
        parts = (noted, others) if mine("Time") else (others, noted)
        text = document({**parts[0], **parts[1]})
        with open(DOCUMENT, "w", encoding="utf-8") as f:
            f.write(text)
        there = sections_of(text)
    test.assertEqual(document({s: rows for s, rows in there.items() if mine(s)}), document(noted))
    test.assertEqual(text, document(there))


def shown(data):
    """Octets as a table cell shows them."""
    text = data if isinstance(data, str) else data.decode("latin-1")
    text = text.replace("\r", "<CR>").replace("\n", "<LF>")
    return "`" + re.sub(r"[\x00-\x1f\x7f-\xff]", lambda m: "\\x%02x" % ord(m.group()), text) + "`"


def code(line):
    """Code and enhanced code of a reply; what they were is the promise, not the text."""
    if not line:
        return "closed"
    match = re.match(r"(\d{3})[ -]?(\d\.\d{1,3}\.\d{1,3})?", line)
    return " ".join(g for g in match.groups() if g)


def codes(data):
    """Last lines of the replies in octets."""
    return [code(l) for l in data.decode("utf-8", "replace").split("\r\n") if re.match(r"\d{3}( |$)", l)]


def heard(c):
    """Everything until the end, however it comes: one who goes on sending is reset, and then TLS has no proper end."""
    data = c.buffer
    while True:
        try:
            more = c.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            more = b""
        if not more:
            return data
        data += more


class Hostile(Tests):
    HEAD = QUIET
    shifted = 0

    def probe(self, name="smtp"):
        """An honest mail arrives while all that goes on."""
        type(self).probes = getattr(type(self), "probes", 0) + 1
        user = "probe%d" % type(self).probes
        _, final = self.sends(user + "@example.com", name=name)
        self.said(final, "250")
        self.until(lambda s: self.daemon.box(user), "the mail of a probe")

    def until(self, condition, what):
        """Nothing is logged at this level that would wake a wait: the daemon is asked, again and again."""
        end = harness.time.monotonic() + harness.DEADLINE
        while not condition(self.daemon.get("/v1/status")[1]):
            if harness.time.monotonic() > end:
                raise harness.Hang("never happened: " + what)

    def idle(self):
        self.until(lambda s: s["queue"]["running"] == 0 and all(m["units"]["pending"] == 0 for m in self.daemon.queue()), "an idle queue")

    def none_left(self):
        """No connection is open, and the daemon says so."""
        self.probe()
        self.until(lambda s: s["connections_open"] == 0, "no connection is left")

    def pass_time(self, seconds):
        type(self).shifted += seconds
        self.daemon.shift_clock(type(self).shifted)

    def out_of_time(self, seconds):
        """Time passes until all are closed; a daemon that was behind with reading begins to wait later than we do."""
        for _ in range(12):
            self.pass_time(seconds)
            self.probe()
            if self.daemon.get("/v1/status")[1]["connections_open"] == 0:
                return
        self.until(lambda s: s["connections_open"] == 0, "they are closed")

    def opened(self, name="smtp", source=None):
        c = self.daemon.connect(name, source)
        self.addCleanup(c.close)
        return c

    def greeted(self, way):
        """A client that has said hello. The way is the name of a listener; one with "tls" in its name is encrypted from the start,
        one with "lmtp" in it speaks that."""
        c = Raw(("127.0.0.1", self.daemon.port[way]), tls=tls_context() if "tls" in way else None)
        c.hello(verb="LHLO" if "lmtp" in way else "EHLO")
        return c

    def flood(self, what, command, count, before=b"", way="smtp", section="Floods"):
        """Sends it all, gives the codes of what was said to the flood."""
        with self.greeted(way) as c:
            if before:
                c.send(before)
                for _ in range(before.count(b"\r\n")):
                    c.reply()
            try:
                for _ in range(count // 100):
                    c.send(command * 100)
            except OSError:
                pass # closed: that is the point
            got = codes(heard(c))
        self.assertEqual(got[-1][:3], "421", (what, got[-3:]))
        self.assertEqual(len([g for g in got if g.startswith("421")]), 1)
        note(section, what, "`%s` %d times, then `%s`" % (max(sorted(set(got)), key=got.count), len(got) - 1, got[-1]))
        return got

    def push(self, s, data):
        """data over and over, as much as goes without waiting: octets."""
        s.setblocking(False)
        sent = idle = 0
        while idle < 8:
            try:
                sent += s.send(data[sent % len(data):]) # where a send that was cut left off
                idle = 0
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                idle += 1
                self.daemon.get("/v1/status") # the daemon had a turn
        s.settimeout(harness.DEADLINE)
        return sent

    def bounded(self, each):
        if not harness.sanitized():
            self.assertLess(each, self.EACH)

    def memory(self):
        """Octets of the daemon that no other process shares."""
        with open("/proc/%d/smaps_rollup" % self.daemon.process.pid, encoding="ascii") as f:
            fields = dict(re.findall(r"(?m)^(\w+): +(\d+) kB", f.read()))
        return 1024 * (int(fields["Private_Dirty"]) + int(fields["Private_Clean"]))

    def tearDown(self):
        self.doCleanups()
        self.none_left()
