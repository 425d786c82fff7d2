#!/usr/bin/env python3
"""kill -9, again and again, while several clients send. Afterwards every message that was acknowledged must be in the Maildir
of each of its recipients, whole; more than once is allowed, and counted.

BARID_CRASH_ROUNDS sets the number of rounds (50), BARID_CRASH_SEED repeats the choices of a run as far as timing lets it."""

import hashlib
import os
import random
import smtplib
import subprocess
import threading
import time
import unittest

import harness
from harness import Barid, Raw, lf, stuffed, without_trace

ROUNDS = int(os.environ.get("BARID_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("BARID_CRASH_SEED", str(int(time.time()))))
CLIENTS = 4
USERS = 5

POLICY = """
listen { "127.0.0.1:@smtp@" }
retry { first = 1, max = 2, tries = 1000 }
function on.message(session, mail)
  mail:store("%{user}")
end
"""


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Ledger:
    """What the clients were told. One for all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}   # id -> digest of what a Maildir must hold, for all that was ever begun
        self.acked = {}  # id -> users
        self.round = {}  # id -> round in which it was acknowledged

    def begin(self, name, content):
        with self.lock:
            self.sent[name] = digest(lf(content))

    def acknowledge(self, name, users, number):
        with self.lock:
            self.acked[name] = users
            self.round[name] = number

    def count(self):
        with self.lock:
            return len(self.acked)


class Verdict:
    def __init__(self):
        self.missing, self.damaged, self.foreign = [], [], []
        self.duplicates = self.extra = self.files = 0


def name_of(content):
    for line in content.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"X-Name: "):
            return line[8:].decode("ascii", "replace")
    return None


def verify(ledger, boxes):
    """boxes: user -> contents of the files in the Maildir."""
    v = Verdict()
    seen = {}
    for user, contents in boxes.items():
        for content in contents:
            v.files += 1
            name = name_of(content)
            if name not in ledger.sent:
                v.foreign.append((user, name))
            elif digest(without_trace(content)) != ledger.sent[name]:
                v.damaged.append((user, name))
            else:
                seen[name, user] = seen.get((name, user), 0) + 1
    for name, users in ledger.acked.items():
        v.missing += [(name, user, ledger.round[name]) for user in users if (name, user) not in seen]
    v.duplicates = sum(n - 1 for n in seen.values())
    v.extra = len({name for name, _ in seen if name not in ledger.acked})
    return v


class Client(threading.Thread):
    """Sends until told to stop; a connection that breaks is what we are here for."""

    def __init__(self, test, number):
        super().__init__(daemon=True)
        self.test, self.number = test, number
        self.random = random.Random(SEED * 100 + number)
        self.made = 0

    def make(self):
        self.made += 1
        name = "%d-%d" % (self.number, self.made)
        size = self.random.choice((10, 200, 1000, 5000, 5000, 60000, 200000))
        if self.random.random() < 0.02:
            size = 1500000  # a body that the spool keeps in a file of its own
        line = "%0*x" % (60, self.random.getrandbits(200))
        body = (".%s\r\n" % line) * (size // 60 + 1)
        content = "From: <a@sender.test>\r\nX-Name: %s\r\nSubject: crash\r\n\r\n%s" % (name, body)
        users = ["u%d" % u for u in self.random.sample(range(USERS), self.random.choice((1, 1, 1, 2, USERS)))]
        self.test.ledger.begin(name, content)
        return name, users, content.encode()

    def run(self):
        while not self.test.over.is_set():
            self.test.serving.wait()
            try:
                self.session()
            except (OSError, smtplib.SMTPException, ValueError):
                pass

    def session(self):
        if self.number == 0:
            self.by_smtplib()
        else:
            with Raw(("127.0.0.1", self.test.daemon.port["smtp"])) as c:
                if c.hello()[-1:] and self.number == 1:
                    self.by_bdat(c)
                else:
                    self.by_data(c)

    def acknowledged(self, name, users):
        self.test.ledger.acknowledge(name, users, self.test.round)
        self.test.progress()

    def by_smtplib(self):
        with smtplib.SMTP("127.0.0.1", self.test.daemon.port["smtp"], "client.test", timeout=harness.DEADLINE) as c:
            for _ in range(self.random.randint(1, 5)):
                name, users, content = self.make()
                if c.sendmail("a@sender.test", [u + "@example.com" for u in users], content) == {}:
                    self.acknowledged(name, users)

    def by_data(self, c):
        for _ in range(self.random.randint(1, 20)):
            name, users, content = self.make()
            c.send("MAIL FROM:<a@sender.test>\r\n" + "".join("RCPT TO:<%s@example.com>\r\n" % u for u in users) + "DATA\r\n")
            codes = [c.code() for _ in range(len(users) + 2)]
            if codes != [250] * (len(users) + 1) + [354]:
                raise ValueError(codes)
            c.send(stuffed(content) + b".\r\n")
            if c.code() == 250:
                self.acknowledged(name, users)

    def by_bdat(self, c):
        for _ in range(self.random.randint(1, 20)):
            name, users, content = self.make()
            half = self.random.randrange(len(content))
            c.send(("MAIL FROM:<a@sender.test>\r\n" + "".join("RCPT TO:<%s@example.com>\r\n" % u for u in users)).encode() +
                   b"BDAT %d\r\n" % half + content[:half] + b"BDAT %d LAST\r\n" % (len(content) - half) + content[half:])
            codes = [c.code() for _ in range(len(users) + 3)]
            if codes == [250] * (len(users) + 3):
                self.acknowledged(name, users)


class Crash(unittest.TestCase):
    def setUp(self):
        self.ledger = Ledger()
        self.daemon = Barid(POLICY, head=harness.HEAD.replace('level = "debug"', 'level = "info"'))
        self.addCleanup(self.daemon.close)
        self.serving, self.over = threading.Event(), threading.Event()
        self.moved = threading.Condition()
        self.round = 0
        self.random = random.Random(SEED)

    def progress(self):
        with self.moved:
            self.moved.notify_all()

    def wait_acks(self, more, seconds):
        """Until so many more were acknowledged, or so long: the moment of the kill."""
        target, end = self.ledger.count() + more, time.monotonic() + seconds
        with self.moved:
            while self.ledger.count() < target and time.monotonic() < end:
                self.moved.wait(max(0, end - time.monotonic()))

    def one_round(self):
        self.daemon.start()
        self.serving.set()
        self.wait_acks(self.random.randint(1, 80), 3)
        with self.moved:  # and a little more: not right after an acknowledgement
            self.moved.wait(self.random.random() * 0.02)
        self.serving.clear()
        self.daemon.kill()

    def killed_while_starting(self):
        ready_r, ready_w = os.pipe()
        process = subprocess.Popen([harness.BARID, "serve", "-c", self.daemon.dir + "/policy.lua", "--ready-fd", str(ready_w)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   pass_fds=[ready_w], start_new_session=True)
        os.close(ready_w)
        try:
            process.wait(self.random.random() * 0.05)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ready_r)

    def boxes(self):
        return {"u%d" % u: self.daemon.box("u%d" % u) for u in range(USERS)}

    def test_nothing_acknowledged_is_lost(self):
        clients = [Client(self, n) for n in range(CLIENTS)]
        for c in clients:
            c.start()
        for self.round in range(1, ROUNDS + 1):
            self.one_round()
            if self.round % 5 == 0:
                self.killed_while_starting()
            self.daemon.lines.clear()
            self.daemon.records.clear()
        self.over.set()
        self.serving.set()
        for c in clients:
            c.join(harness.DEADLINE)
        self.daemon.start()
        self.daemon.wait(lambda: self.daemon.count()["active"] == 0, "an empty spool")
        held = self.daemon.count()["held"]
        self.daemon.stop()
        v = verify(self.ledger, self.boxes())
        print("# seed %d, %d rounds: %d messages acknowledged, %d begun, %d files; %d delivered more than once, "
              "%d kept without an acknowledgement that arrived" % (SEED, ROUNDS, len(self.ledger.acked), len(self.ledger.sent),
                                                                   v.files, v.duplicates, v.extra))
        self.assertGreater(len(self.ledger.acked), ROUNDS)
        self.assertEqual(v.missing, [])
        self.assertEqual(v.damaged, [])
        self.assertEqual(v.foreign, [])
        self.assertEqual(held, 0)


class VerifierCanFail(unittest.TestCase):
    """The check above is worth something only if it sees what it is there for."""

    def setUp(self):
        self.ledger = Ledger()
        self.content = b"From: <a@sender.test>\r\nX-Name: 1-1\r\n\r\nbody\r\n"
        self.ledger.begin("1-1", self.content)
        self.ledger.acknowledge("1-1", ["u0", "u1"], 7)
        self.stored = b"Return-Path: <a@sender.test>\nReceived: from x\n\tby y\n" + lf(self.content)

    def test_whole(self):
        v = verify(self.ledger, {"u0": [self.stored], "u1": [self.stored]})
        self.assertEqual((v.missing, v.damaged, v.foreign, v.duplicates, v.files), ([], [], [], 0, 2))

    def test_acknowledged_and_never_stored(self):
        self.ledger.begin("9-9", b"never\r\n")
        self.ledger.acknowledge("9-9", ["u0"], 3)
        v = verify(self.ledger, {"u0": [self.stored], "u1": [self.stored]})
        self.assertEqual(v.missing, [("9-9", "u0", 3)])

    def test_one_recipient_missing(self):
        v = verify(self.ledger, {"u0": [self.stored], "u1": []})
        self.assertEqual(v.missing, [("1-1", "u1", 7)])

    def test_cut_or_changed(self):
        for bad in (self.stored[:-1], self.stored + b"x", self.stored.replace(b"body", b"bodi")):
            v = verify(self.ledger, {"u0": [bad], "u1": [self.stored]})
            self.assertEqual(v.damaged, [("u0", "1-1")])
            self.assertEqual(v.missing, [("1-1", "u0", 7)])

    def test_never_sent(self):
        v = verify(self.ledger, {"u0": [self.stored, b"X-Name: 5-5\n\nsmuggled\n", b"no name\n\n"], "u1": [self.stored]})
        self.assertEqual(len(v.foreign), 2)

    def test_duplicates_are_counted(self):
        v = verify(self.ledger, {"u0": [self.stored] * 3, "u1": [self.stored]})
        self.assertEqual((v.missing, v.duplicates), ([], 2))


if __name__ == "__main__":
    harness.main()
