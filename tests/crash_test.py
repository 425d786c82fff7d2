#!/usr/bin/env python3
"""kill -9, again and again, while clients send by SMTP, STARTTLS, implicit TLS and LMTP. Afterwards every message that was
acknowledged must be in the Maildir of each of its recipients, whole; more than once is allowed, and counted. Some recipients
are put off at first and some messages held: retries and holds are in the spool, too, when it is killed.

A program that acknowledges before it writes (early_ack.c) must fail the same loop.

BARID_CRASH_ROUNDS sets the number of rounds (200), BARID_CRASH_SEED repeats the choices of a run as far as timing lets it."""

import hashlib
import os
import random
import smtplib
import subprocess
import threading
import time
import unittest

import harness
from harness import Barid, Raw, lf, stuffed, tls_context, without_trace

ROUNDS = int(os.environ.get("BARID_CRASH_ROUNDS", "40" if harness.sanitized() else "200"))
MUTANT = os.path.abspath(os.environ.get("BARID_EARLY_ACK", os.path.dirname(harness.BARID) + "/../../tests/barid_early_ack"))
MUTANT_ROUNDS = 40  # within these it must be found out
SEED = int(os.environ.get("BARID_CRASH_SEED", str(int(time.time()))))
USERS = 5

LISTEN = """
tls { certificate = "@cert@", key = "@key@" }
listen { "127.0.0.1:@smtp@", tls = "starttls" }
listen { "127.0.0.1:@tls@", tls = "implicit" }
listen { "127.0.0.1:@lmtp@", protocol = "lmtp" }
"""
# A user whose name begins with "l-" is put off when first asked for by a process: while others of the mail are accepted, the
# client hears 250 and the queue asks again.
POLICY = LISTEN + """
retry { first = 1, max = 2, tries = 1000, notice = 0 }
function on.message(session, mail)
  if mail:header("X-Hold") then return hold("to be looked at") end
end
function on.recipient(session, mail, rcpt)
  if rcpt.user:sub(1, 2) == "l-" and shared.add(mail:header("X-Name") .. rcpt.user, 1, 3600) == 1 then
    return tempfail("later")
  end
  rcpt:store("%{user}")
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
        self.holds = {}  # id -> (header, octets of the body), for all that are to be held

    def begin(self, name, content, hold=False):
        with self.lock:
            self.sent[name] = digest(lf(content))
            if hold:
                header, body = content.split("\r\n\r\n", 1)
                self.holds[name] = (header + "\r\n", len(body))

    def acknowledge(self, name, users, number):
        if users:
            with self.lock:
                self.acked[name] = users
                self.round[name] = number

    def count(self):
        with self.lock:
            return len(self.acked)


class Verdict:
    def __init__(self):
        self.missing, self.damaged, self.foreign = [], [], []
        self.duplicates = self.extra = self.files = self.held = 0


def name_of(content):
    for line in content.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b"X-Name: "):
            return line[8:].decode("ascii", "replace")
    return None


def verify_held(ledger, held, seen, v):
    for message in held:
        lines = (message["header"] + "\r\n").replace("\r\n", "\n").encode()
        name = name_of(lines)
        if name not in ledger.holds:
            v.foreign.append(("held", name))
            continue
        header, octets = ledger.holds[name]
        v.held += 1
        if not message["header"].endswith(header) or message["size"] != len(message["header"]) + 2 + octets:
            v.damaged.append(("held", name))
            continue
        for rcpt in message["recipients"]:
            key = (name, rcpt["address"].split("@")[0])
            seen[key] = seen.get(key, 0) + 1


def verify(ledger, boxes, held=()):
    """boxes: user -> contents of the files in the Maildir. held: what the control socket tells of each that is held."""
    v = Verdict()
    seen = {}
    verify_held(ledger, held, seen, v)
    for user, contents in boxes.items():
        for content in contents:
            v.files += 1
            name = name_of(content)
            if name not in ledger.sent or name in ledger.holds:
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
    """Sends by one of WAYS until told to stop; a connection that breaks is what we are here for."""

    WAYS = ("smtplib", "bdat", "data", "tls", "lmtp")

    def __init__(self, test, way):
        super().__init__(daemon=True)
        self.test, self.way = test, way
        self.random = random.Random("%d %s" % (SEED, way))
        self.made = self.acks = 0

    def make(self):
        self.made += 1
        name = "%s-%d" % (self.way, self.made)
        size = self.random.choice((10, 200, 1000, 5000, 5000, 60000, 200000))
        if self.random.random() < 0.02:
            size = 1500000  # a body that the spool keeps in a file of its own
        line = "%0*x" % (60, self.random.getrandbits(200))
        body = (".%s\r\n" % line) * (size // 60 + 1)
        users = ["u%d" % u for u in self.random.sample(range(USERS), self.random.choice((1, 1, 1, 2, USERS)))]
        hold = self.random.random() < 0.05
        if not hold and self.way != "lmtp" and self.random.random() < 0.2:
            users.append("l-u%d" % self.random.randrange(USERS))
        content = "From: <a@sender.test>\r\nX-Name: %s\r\n%sSubject: crash\r\n\r\n%s" % (name, "X-Hold: yes\r\n" * hold, body)
        self.test.ledger.begin(name, content, hold)
        return name, users, content.encode()

    def run(self):
        while not self.test.over.is_set():
            self.test.serving.wait()
            try:
                self.session()
            except (OSError, smtplib.SMTPException, ValueError):
                pass

    def session(self):
        if self.way == "smtplib":
            self.by_smtplib()
            return
        port = self.test.daemon.port[self.way if self.way in ("tls", "lmtp") else "smtp"]
        with Raw(("127.0.0.1", port), tls=self.test.tls if self.way == "tls" else None) as c:
            if c.hello(verb="LHLO" if self.way == "lmtp" else "EHLO")[-1:] == []:
                return
            for _ in range(self.random.randint(1, 20)):
                (self.by_bdat if self.way == "bdat" else self.by_data)(c)

    def acknowledged(self, name, users):
        self.acks += 1
        self.test.ledger.acknowledge(name, users, self.test.round)
        self.test.progress()

    def by_smtplib(self):
        with smtplib.SMTP("127.0.0.1", self.test.daemon.port["smtp"], "client.test", timeout=harness.DEADLINE) as c:
            if self.random.random() < 0.5:
                c.starttls(context=self.test.tls)
            for _ in range(self.random.randint(1, 5)):
                name, users, content = self.make()
                if c.sendmail("a@sender.test", [u + "@example.com" for u in users], content) == {}:
                    self.acknowledged(name, users)

    def envelope(self, users):
        return "MAIL FROM:<a@sender.test>\r\n" + "".join("RCPT TO:<%s@example.com>\r\n" % u for u in users)

    def by_data(self, c):
        name, users, content = self.make()
        c.send(self.envelope(users) + "DATA\r\n")
        codes = [c.code() for _ in range(len(users) + 2)]
        if codes != [250] * (len(users) + 1) + [354]:
            raise ValueError(codes)
        c.send(stuffed(content) + b".\r\n")
        if self.way == "lmtp":  # a reply for each: those that arrive count
            self.acknowledged(name, [u for u in users if c.code() == 250])
        elif c.code() == 250:
            self.acknowledged(name, users)

    def by_bdat(self, c):
        name, users, content = self.make()
        half = self.random.randrange(len(content))
        c.send(self.envelope(users).encode() +
               b"BDAT %d\r\n" % half + content[:half] + b"BDAT %d LAST\r\n" % (len(content) - half) + content[half:])
        codes = [c.code() for _ in range(len(users) + 3)]
        if codes == [250] * (len(users) + 3):
            self.acknowledged(name, users)


class Loop(unittest.TestCase):
    """The loop; what it must prove is below."""

    def prepare(self, program, policy=POLICY):
        self.ledger = Ledger()
        self.head = harness.SMALL_SEGMENTS.replace('level = "debug"', 'level = "info"')
        self.daemon = Barid(policy, head=self.head, program=program)
        self.addCleanup(self.daemon.close)
        self.tls = tls_context()
        self.serving, self.over = threading.Event(), threading.Event()
        self.moved = threading.Condition()
        self.round = 0
        self.random = random.Random(SEED)
        self.clients = [Client(self, way) for way in Client.WAYS]

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
        self.wait_acks(self.random.randint(1, 40), 3)
        with self.moved:  # and a little more: not right after an acknowledgement
            self.moved.wait(self.random.random() * 0.02)
        self.serving.clear()
        self.daemon.kill()

    def killed_while_starting(self):
        ready_r, ready_w = os.pipe()
        process = subprocess.Popen([self.daemon.program, "serve", "-c", self.daemon.dir + "/policy.lua", "--ready-fd", str(ready_w)],
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
        return {u: self.daemon.box(u) for n in range(USERS) for u in ("u%d" % n, "l-u%d" % n)}

    def held(self):
        """Whole descriptions of all that are held."""
        found, after = [], ""
        while True:
            page = self.daemon.get("/v1/queue?state=held&limit=100" + after)[1]["messages"]
            if not page:
                return found
            found += [self.daemon.get("/v1/queue/" + m["id"])[1] for m in page]
            after = "&after=" + page[-1]["id"]

    def rounds(self, count):
        for _ in range(count):
            self.round += 1
            self.one_round()
            if self.round % 5 == 0:
                self.killed_while_starting()
            self.daemon.lines.clear()
            self.daemon.records.clear()

    def verdict(self):
        """Of a daemon that was left alone until nothing was due."""
        self.daemon.start()
        self.daemon.wait(lambda: self.daemon.count()["active"] == 0, "an empty spool")
        v = verify(self.ledger, self.boxes(), self.held())
        self.daemon.stop()
        return v

    def end_clients(self):
        self.over.set()
        self.serving.set()
        for c in self.clients:
            c.join(harness.DEADLINE)


class Crash(Loop):
    def test_nothing_acknowledged_is_lost(self):
        self.prepare(harness.BARID)
        for c in self.clients:
            c.start()
        self.rounds(ROUNDS)
        self.end_clients()
        v = self.verdict()
        later = sum(any(u.startswith("l-") for u in users) for users in self.ledger.acked.values())
        print("# seed %d: %d begun, %d files, %d kept without an acknowledgement that arrived; acknowledged by way: %s" % (
            SEED, len(self.ledger.sent), v.files, v.extra, ", ".join("%s %d" % (c.way, c.acks) for c in self.clients)))
        print("# proof: kill -9: %d rounds, %d acknowledged (%d put off at first, %d held), %d lost, %d damaged, %d duplicates" % (
            ROUNDS, len(self.ledger.acked), later, v.held, len(v.missing), len(v.damaged), v.duplicates))
        self.assertEqual(v.missing, [])
        self.assertEqual(v.damaged, [])
        self.assertEqual(v.foreign, [])
        self.assertGreater(len(self.ledger.acked), ROUNDS)
        if ROUNDS >= 40:
            self.assertEqual([c.way for c in self.clients if c.acks == 0], [])
            self.assertGreater(min(later, v.held), 0)


@unittest.skipIf(harness.sanitized(), "the mutant is looked at where it is fast")
class LoopCanFail(Loop):
    """A store that acknowledges first and writes a little later loses mail in the same loop."""

    def test_early_acknowledgement(self):
        self.prepare(MUTANT)
        for c in self.clients:
            c.start()
        missing = []
        while not missing and self.round < MUTANT_ROUNDS:
            self.rounds(5)
            missing = self.verdict().missing
        self.end_clients()
        print("# proof: kill -9 of a mutant that acknowledges before it writes: found after %d rounds, %d of %d acknowledged lost" % (
            self.round, len({name for name, _, _ in missing}), len(self.ledger.acked)))
        self.assertNotEqual(missing, [])


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

    def test_held(self):
        self.ledger.begin("1-2", "X-Name: 1-2\r\nX-Hold: yes\r\n\r\nbody\r\n", hold=True)
        self.ledger.acknowledge("1-2", ["u0"], 8)
        header = "Received: x\r\nX-Name: 1-2\r\nX-Hold: yes\r\n"
        whole = {"header": header, "size": len(header) + 8, "recipients": [{"address": "u0@example.com"}]}
        boxes = {"u0": [self.stored], "u1": [self.stored]}
        v = verify(self.ledger, boxes, [whole])
        self.assertEqual((v.missing, v.damaged, v.foreign, v.held), ([], [], [], 1))
        self.assertEqual(verify(self.ledger, boxes).missing, [("1-2", "u0", 8)])
        self.assertEqual(verify(self.ledger, boxes, [dict(whole, size=len(header) + 7)]).damaged, [("held", "1-2")])
        self.assertEqual(verify(self.ledger, boxes, [dict(whole, recipients=[])]).missing, [("1-2", "u0", 8)])
        self.assertEqual(verify(self.ledger, boxes, [dict(whole, header="X-Name: 7-7\r\n")]).foreign, [("held", "7-7")])

    def test_duplicates_are_counted(self):
        v = verify(self.ledger, {"u0": [self.stored] * 3, "u1": [self.stored]})
        self.assertEqual((v.missing, v.duplicates), ([], 2))


if __name__ == "__main__":
    harness.main()
