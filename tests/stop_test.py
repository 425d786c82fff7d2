#!/usr/bin/env python3
"""The end of a daemon, and what follows it: signals at any moment, stops and reloads under load, two daemons and one spool.

BARID_STOP_SEED repeats the choices of a run as far as timing lets it."""

import os
import random
import re
import signal
import threading
import time
import unittest

import crash_test
import harness
from harness import Barid, Raw, mail, stuffed

SEED = int(os.environ.get("BARID_STOP_SEED", str(int(time.time()))))
ROUNDS = 30
RELOADS = 120

LISTEN = 'listen { "127.0.0.1:@smtp@" }\n'
STORE = """
function on.recipient(session, mail, rcpt) rcpt:store("%{user}") end
"""


def proof(text):
    print("# proof: " + text, flush=True)


class Signals(unittest.TestCase):
    """One SIGTERM asks for an orderly stop. A second one while that goes on ends the process at once (75); one that comes when
    all is done changes nothing any more, however late."""

    def setUp(self):
        self.random = random.Random(SEED)
        self.daemon = Barid(LISTEN + STORE, head=harness.SMALL_SEGMENTS)
        self.addCleanup(self.daemon.close)

    def begin(self):
        del self.daemon.lines[:], self.daemon.records[:]
        self.daemon.start()
        with self.daemon.connect() as c:
            c.hello()
            c.envelope()
            self.assertTrue(c.message(mail()).startswith("250"))

    def ended(self):
        process, self.daemon.process = self.daemon.process, None
        status = process.wait(harness.DEADLINE)
        self.daemon.reader.join(harness.DEADLINE)
        return status

    def stopped(self):
        return any(r["what"] == "stopped" for r in list(self.daemon.records))

    def test_after_the_loop(self):
        sent = 0
        for _ in range(ROUNDS):
            self.begin()
            process = self.daemon.process
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:  # a socket is taken away, or the line was written: nothing goes on any more
                if not os.path.exists(self.daemon.dir + "/control") or self.stopped():
                    process.send_signal(self.random.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)))
                    sent += 1
            self.assertEqual(self.ended(), 0, self.daemon.log())
        self.assertGreater(sent, 0)
        proof("signals after a stop: %d stops, %d more signals in their last milliseconds, exit status always 0" % (ROUNDS, sent))

    def test_at_any_moment(self):
        statuses = {0: 0, 75: 0}
        for number in range(2 * ROUNDS):
            self.begin()
            process = self.daemon.process
            process.send_signal(signal.SIGTERM)
            until = time.monotonic() + (self.random.random() * 0.02 if number > 3 else 0)
            while time.monotonic() < until and process.poll() is None:
                process.send_signal(signal.SIGHUP)  # a reload asked of who stops is no second signal
            process.send_signal(signal.SIGTERM)
            status = self.ended()
            self.assertIn(status, statuses, self.daemon.log())
            statuses[status] += 1
            self.assertEqual(self.stopped(), status == 0, self.daemon.log())
        proof("a second signal: %d stops, at once %d times, too late %d times, no other end" % (2 * ROUNDS, statuses[75], statuses[0]))


class Told(Exception):
    """421, or a reply that ends a session."""


class Polite(threading.Thread):
    """Waits for a reply to each thing it says. Once greeted it must be told when the session ends."""

    WAYS = ("smtp", "smtp", "tls", "lmtp")

    def __init__(self, test, number):
        super().__init__(daemon=True)
        self.test, self.way, self.number = test, self.WAYS[number], number
        self.random = random.Random("%d %d" % (SEED, number))
        self.made = self.told = self.sessions = self.not_greeted = 0
        self.wrong = []

    def run(self):
        while not self.test.over.is_set():
            self.test.serving.wait()
            try:
                self.session()
            except Told:
                self.told += 1
            except TimeoutError:
                self.wrong.append("no answer within %d s" % harness.DEADLINE)

    def connect(self):
        try:
            c = Raw(("127.0.0.1", self.test.daemon.port[self.way]), tls=self.test.tls if self.way == "tls" else None)
        except TimeoutError:
            raise
        except OSError:
            self.not_greeted += 1  # nobody listens any more
            raise Told()
        return c

    def session(self):
        with self.connect() as c:
            greeting = c.reply()
            if not greeting:
                self.not_greeted += 1
                return
            self.sessions += 1
            self.heard(greeting, "the greeting")
            self.say(c, "%s client.test\r\n" % ("LHLO" if self.way == "lmtp" else "EHLO"))
            for _ in range(self.random.randint(1, 10)):
                self.message(c, greeting[-1])
            self.say(c, "QUIT\r\n")

    def heard(self, reply, what):
        if not reply:
            self.wrong.append("closed without a word after " + what)
            raise Told()
        if reply[-1].startswith("421"):
            raise Told()
        return reply[-1]

    def say(self, c, data, replies=1):
        """The last reply; what cannot be sent any more does not hide what was said before."""
        try:
            c.send(data)
        except TimeoutError:
            raise
        except OSError:
            pass
        for _ in range(replies):
            try:
                got = self.heard(c.reply(), repr(data[:20]))
            except TimeoutError:
                raise
            except OSError as e:
                got = self.heard([], "%r: %s" % (data[:20], e))
        return got

    def message(self, c, greeting):
        self.made += 1
        name = "%d-%d" % (self.number, self.made)
        box = "u%d" % self.random.randrange(crash_test.USERS)
        version = re.search(r"version (\d+)", greeting)
        content = "From: <a@sender.test>\r\nX-Name: %s\r\n%sSubject: x\r\n\r\n%s" % (
            name, "X-Greeted: %s\r\n" % version.group(1) if version else "", ".line of text\r\n" * self.random.choice((1, 50, 3000)))
        self.test.ledger.begin(name, content)
        self.say(c, "MAIL FROM:<a@sender.test>\r\n")
        self.say(c, "RCPT TO:<%s@example.com>\r\n" % box)
        go = self.say(c, "DATA\r\n")
        if not go.startswith("354"):
            self.wrong.append("DATA: " + go)
            raise Told()
        if self.say(c, stuffed(content) + b".\r\n").startswith("250"):
            self.test.ledger.acknowledge(name, [box], self.test.round)
            self.test.progress()


class UnderLoad(crash_test.Loop):
    def begin(self, policy):
        self.prepare(harness.BARID, policy)
        self.clients = [Polite(self, n) for n in range(len(Polite.WAYS))]
        for c in self.clients:
            c.start()

    def checked(self, v):
        self.assertEqual([w for c in self.clients for w in c.wrong][:3], [])
        self.assertEqual((v.missing[:3], v.damaged[:3], v.foreign[:3]), ([], [], []))
        self.assertEqual(v.duplicates, 0)


class Stop(UnderLoad):
    ROUNDS = 25

    def test_nothing_is_lost_and_everybody_is_told(self):
        self.begin(crash_test.POLICY)
        for self.round in range(1, self.ROUNDS + 1):
            self.daemon.start()
            self.serving.set()
            self.wait_acks(self.random.randint(1, 40), 3)
            with self.moved:
                self.moved.wait(self.random.random() * 0.02)
            self.daemon.process.send_signal(signal.SIGTERM)
            self.serving.clear()
            process, self.daemon.process = self.daemon.process, None
            self.assertEqual(process.wait(harness.DEADLINE), 0, self.daemon.log())
            self.daemon.reader.join(harness.DEADLINE)
        self.end_clients()
        self.assertEqual([c.way for c in self.clients if c.is_alive()], [])
        v = self.verdict()
        proof("SIGTERM under load: %d stops with exit status 0, %d acknowledged, %d lost, %d delivered twice, %d sessions, "
              "%d closed without a word, %d hang" % (
                  self.ROUNDS, self.ledger.count(), len(v.missing), v.duplicates, sum(c.sessions for c in self.clients),
                  sum(len(c.wrong) for c in self.clients), sum(c.is_alive() for c in self.clients)))
        self.checked(v)
        self.assertGreater(self.ledger.count(), self.ROUNDS)


class Reloads(UnderLoad):
    POLICY = crash_test.LISTEN + """
        function on.connect(session) return accept("version %d") end
        function on.message(session, mail)
          mail:add_header("X-Version", "%d")
          mail:store("%%{user}")
        end
        """
    EACH = 32 << 10  # octets of memory that a reload may leave behind; the states of one version are several times as much

    def memory(self):
        """Octets of the daemon that no other process shares."""
        with open("/proc/%d/smaps_rollup" % self.daemon.process.pid, encoding="ascii") as f:
            fields = dict(re.findall(r"(?m)^(\w+): +(\d+) kB", f.read()))
        return 1024 * (int(fields["Private_Dirty"]) + int(fields["Private_Clean"]))

    def use(self, number, broken=False):
        start = len(self.daemon.records)
        self.daemon.write_policy(self.POLICY % (number, number) + ("nonsense(\n" if broken else ""), self.head)
        self.daemon.process.send_signal(signal.SIGHUP)
        said = "the old one keeps serving" if broken else "serving the new configuration"
        self.daemon.wait_log(lambda r: r["area"] == "reload" and said in r["what"], start)

    def greeted(self):
        with self.daemon.connect() as c:
            return int(c.reply()[-1].split("version ")[1])

    def test_nobody_is_there(self):
        """A version that no session ever had must go, too."""
        self.prepare(harness.BARID, self.POLICY % (0, 0))
        self.daemon.start()
        for number in range(1, RELOADS + 1):
            self.use(number)
            if number == RELOADS // 6:
                memory = self.memory()
        grown = self.memory() - memory
        proof("SIGHUP and nobody there: %d reloads, %d KiB of memory more after the last %d" % (
            RELOADS, grown >> 10, RELOADS - RELOADS // 6))
        if not harness.sanitized():
            self.assertLess(grown, self.EACH * RELOADS)

    def test_versions(self):
        self.begin(self.POLICY % (0, 0))
        self.daemon.start()
        self.serving.set()
        broken, memory = 0, 0
        for number in range(1, RELOADS + 1):
            if number % 10 == 0:
                self.use(1000 + number, broken=True)
                self.assertEqual(self.greeted(), number - 1)
                broken += 1
            self.use(number)
            self.assertEqual(self.greeted(), number)
            self.wait_acks(3, harness.DEADLINE)
            if number == RELOADS // 6:
                memory = self.memory()
        grown = self.memory() - memory
        self.end_clients()
        self.daemon.wait(lambda: self.daemon.count()["active"] == 0, "an empty spool")
        self.daemon.stop()
        seen, wrong = set(), []
        for contents in self.boxes().values():
            for content in contents:
                versions = re.findall(rb"(?m)^X-Version: (\d+)$", content)
                seen.update(versions)
                if len(versions) != 1 or b"\nX-Greeted: %s\n" % versions[0] not in content:
                    wrong.append(content[:500])
        v = crash_test.verify(self.ledger, {u: [re.sub(rb"(?m)^X-Version: .*\n", b"", c) for c in box] for u, box in self.boxes().items()})
        proof("SIGHUP under load: %d reloads and %d broken files, %d acknowledged, %d lost, %d with another version than their "
              "session or not just one, %d versions seen, %d KiB of memory more after the last %d" % (
                  RELOADS, broken, self.ledger.count(), len(v.missing), len(wrong), len(seen), grown >> 10, RELOADS - RELOADS // 6))
        self.assertEqual(wrong[:3], [])
        self.checked(v)
        self.assertEqual(sum(c.told for c in self.clients), 0)
        if not harness.sanitized():
            self.assertLess(grown, self.EACH * RELOADS)


class OneSpool(unittest.TestCase):
    """The directory belongs to one process; when that is gone, however it went, the next one takes over at once."""

    POLICY = LISTEN + 'retry { first = 1, max = 1, tries = 1000, notice = 0 }\nmaildir { root = "@owner@/mail" }\n' + STORE

    def another(self, first):
        """Another daemon for the same spool and mailboxes, with ports and a control socket of its own."""
        head = harness.SMALL_SEGMENTS.replace('dir = "spool"', 'dir = "%s/spool"' % first.dir)
        head = head.replace('maildir { root = "mail" }', "")
        daemon = Barid(self.POLICY.replace("@owner@", first.dir), head=head)
        self.addCleanup(daemon.close)
        return daemon

    def send(self, daemon, user):
        with daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=[user + "@example.com"])
            self.assertTrue(c.message(mail()).startswith("250"))

    def test_second(self):
        first = Barid(LISTEN + STORE, head=harness.SMALL_SEGMENTS)
        self.addCleanup(first.close)
        first.start()
        refused = 0
        for number in range(5):
            with first.connect() as c:  # in the middle of a mail
                c.hello()
                c.envelope(rcpts=["during@example.com"])
                c.do("DATA")
                done = self.another(first).run("serve", "-c", "policy.lua")
                self.assertEqual(done.returncode, 75, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(b"spool", done.stderr)
                self.assertIn(b"%d" % first.process.pid, done.stderr)
                refused += 1
                c.send("Subject: x\r\n\r\nx\r\n.\r\n")
                self.assertTrue(c.reply()[-1].startswith("250"))
            first.wait_box("during", number + 1)
        first.stop()
        proof("two daemons and one spool: %d times refused with one line and status 75, the first undisturbed" % refused)

    def test_killed_and_followed(self):
        daemon = Barid(LISTEN + STORE, head=harness.SMALL_SEGMENTS)
        self.addCleanup(daemon.close)
        owner, rounds = daemon, 10
        owner.start()
        with open(daemon.dir + "/mail/late", "w", encoding="utf-8") as f:
            f.write("in the way")
        for number in range(rounds):
            self.send(owner, "late")
            owner.kill()
            owner = self.another(daemon).start()
            self.assertEqual(owner.count()["messages"], number + 1)
        os.unlink(daemon.dir + "/mail/late")
        owner.wait(lambda: owner.count()["messages"] == 0, "an empty spool")
        self.assertEqual(len(daemon.box("late")), rounds)
        proof("kill -9 and another daemon on the same spool at once: %d times, %d acknowledged, 0 lost" % (rounds, rounds))


if __name__ == "__main__":
    harness.main()
