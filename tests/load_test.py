#!/usr/bin/env python3
"""Everything at once: messages by every way in, logins, clients that hang up, an operator at the control socket, reloads, then
the stop, all while mail flows. Nothing that was acknowledged is lost; under a sanitizer its report fails the test (harness)."""

import os
import random
import socket
import smtplib
import ssl
import threading
import unittest

import harness
from harness import Barid, Raw, stuffed, tls_context

MESSAGES = int(os.environ.get("BARID_LOAD_MESSAGES", "400"))  # acknowledged before the stop
SEED = int(os.environ.get("BARID_LOAD_SEED", "1"))
BOXES = 4
RELOADS = 5

POLICY = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
limits { drain_ms = 20000, connections_per_client = 1000 }
listen { "127.0.0.1:@smtp@", tls = "starttls", auth = "on", plain_auth_without_tls = true,
         mechanisms = { "PLAIN", "CRAM-MD5", "SCRAM-SHA-256" } }
listen { "unix:lmtp", protocol = "lmtp", tls = "none" }
function on.connect(session)
  shared.add("connections", 1, 3600)
end
function on.rcpt(session, mail, rcpt)
  shared.set("rcpt:" .. rcpt.user, session.id, 60)
  if rcpt.user == "later" then sleep(10) end
end
function on.message(session, mail)
  mail.vars.parts = #mail:mime().parts
  mail:add_header("X-Seen", tostring(shared.get("connections")))
  mail:store("%{user}")
  if mail.sender == "held@sender.test" then return hold() end
end
function on.queued(mail)
  log.debug("queued", { id = mail.id })
end
"""


class Worker(threading.Thread):
    """Does one kind of thing until told to stop. A connection that ends under it is no mistake, what the server says may be."""

    def __init__(self, test, number, act):
        super().__init__(daemon=True)
        self.test, self.number, self.act = test, number, act
        self.random = random.Random(SEED * 1000 + number)
        self.error, self.turns = None, 0

    def run(self):
        while not self.test.over.is_set() and self.error is None:
            try:
                self.act(self)
                self.turns += 1
            except (OSError, ssl.SSLError, smtplib.SMTPException, EOFError):
                pass
            except Exception as e:  # pylint: disable=broad-except
                self.error = e

    def message(self):
        """(name, box, content)"""
        name = "%s-%d-%d" % (self.act.__name__, self.number, self.random.getrandbits(48))
        size = self.random.choice((10, 1000, 1000, 10000, 100000, 1200000))
        line = "%060x\r\n" % self.random.getrandbits(200)
        content = "From: <a@sender.test>\r\nX-Name: %s\r\n\r\n%s" % (name, line * (size // 62 + 1))
        return name, "u%d" % self.random.randrange(BOXES), content.encode()

    def connect(self):
        return Raw(("127.0.0.1", self.test.daemon.port["smtp"]))


def pipelined(w):
    with w.connect() as c:
        c.hello()
        for _ in range(w.random.randint(1, 10)):
            name, box, content = w.message()
            c.send("MAIL FROM:<a@sender.test>\r\nRCPT TO:<%s@example.com>\r\nDATA\r\n" % box)
            if [c.code() for _ in range(3)] != [250, 250, 354]:
                return
            c.send(stuffed(content) + b".\r\n")
            if c.code() == 250:
                w.test.acknowledged(name)


def chunks(w):
    with w.connect() as c:
        c.hello()
        name, box, content = w.message()
        half = w.random.randrange(len(content))
        c.send(b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<%s@example.com>\r\nBDAT %d\r\n" % (box.encode(), half) + content[:half] +
               b"BDAT %d LAST\r\n" % (len(content) - half) + content[half:])
        if [c.code() for _ in range(4)] == [250] * 4:
            w.test.acknowledged(name)


def local(w):
    with Raw(w.test.daemon.dir + "/lmtp") as c:
        c.hello(verb="LHLO")
        name, box, content = w.message()
        c.envelope(rcpts=(box + "@example.com", "later@example.com"))
        if c.message(content.decode()).startswith("250"):
            w.test.acknowledged(name)
        c.reply()


def encrypted(w):
    user = w.random.choice(("alice", "bob"))
    with smtplib.SMTP("127.0.0.1", w.test.daemon.port["smtp"], "client.test", timeout=harness.DEADLINE) as c:
        c.starttls(context=tls_context())
        c.ehlo()
        c.user, c.password = user, harness.PASSWORDS[user]
        c.auth("PLAIN", c.auth_plain)
        name, box, content = w.message()
        if c.sendmail("a@sender.test", [box + "@example.com"], content) == {}:
            w.test.acknowledged(name)


def intruder(w):
    with w.connect() as c:
        c.hello()
        c.do(w.random.choice(("AUTH PLAIN AGFsaWNlAHdyb25n", "AUTH PLAIN AG5vYm9keQB4", "AUTH CRAM-MD5")))
        c.do("YWxpY2UgMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")


def leaver(w):
    """Gone at any moment, by reset."""
    with w.connect() as c:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        text = b"EHLO c\r\nMAIL FROM:<held@sender.test>\r\nRCPT TO:<later@example.com>\r\nDATA\r\nX: y\r\n\r\nbody\r\n"
        c.send(text[:w.random.randrange(len(text))])
        if w.random.random() < 0.5:
            c.line()


def operator(w):
    d = w.test.daemon
    d.get("/v1/status")
    for m in d.queue()[:10]:
        d.get("/v1/queue/" + m["id"])


ACTS = [pipelined, pipelined, chunks, local, encrypted, intruder, leaver, operator]


class Load(unittest.TestCase):
    def setUp(self):
        self.daemon = Barid(POLICY, head=harness.HEAD.replace('level = "debug"', 'level = "info"'))
        self.addCleanup(self.daemon.close)
        self.over, self.moved, self.names = threading.Event(), threading.Condition(), set()

    def acknowledged(self, name):
        with self.moved:
            self.names.add(name)
            self.moved.notify_all()

    def wait_acknowledged(self, n):
        with self.moved:
            self.assertTrue(self.moved.wait_for(lambda: len(self.names) >= n, harness.DEADLINE * 3), "mail does not flow")

    def stored(self):
        content = b"".join(b"".join(self.daemon.box("u%d" % b)) for b in range(BOXES))
        return {line[8:].decode() for line in content.splitlines() if line.startswith(b"X-Name: ")}

    def test_all_at_once(self):
        self.daemon.start()
        workers = [Worker(self, i, act) for i, act in enumerate(ACTS)]
        for w in workers:
            w.start()
        for i in range(RELOADS):
            self.wait_acknowledged(MESSAGES * (i + 1) // RELOADS)
            self.daemon.reload()
        self.daemon.stop()  # while they are at it
        self.over.set()
        for w in workers:
            w.join(harness.DEADLINE)
        self.assertEqual([(w.act.__name__, w.error) for w in workers if w.error], [])
        self.assertEqual([r for r in self.daemon.records if r["level"] == "error"][:3], [])
        self.assertEqual([w.act.__name__ for w in workers if w.turns == 0], [])
        self.daemon.start()
        self.daemon.wait(lambda: self.daemon.count()["active"] == 0, "an empty spool")
        self.assertEqual(self.names - self.stored(), set())
        print("# proof: load: %d messages acknowledged while %d kinds of clients, an operator and %d reloads were at it, 0 lost, "
              "%d sanitizer reports" % (len(self.names), len(ACTS) - 2, RELOADS, len(harness.REPORTS)))


if __name__ == "__main__":
    harness.main()
