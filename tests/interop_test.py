#!/usr/bin/env python3
"""Mail that goes through other people's servers: Barid -> Postfix or Exim -> Barid, Barid -> Dovecot by LMTP; what they refuse and put
off. Each message must arrive exactly once for each recipient, with the octets that were sent, but for what the peer is known to change.

BARID_INTEROP_MESSAGES: so many for each of Postfix and Exim (200). A peer that cannot be had (no root, no package) is skipped."""

import email
import json
import os
import queue
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import peers
from harness import HEAD, Barid, lf, stuffed
from mails import Mail, mails

MESSAGES = int(os.environ.get("BARID_INTEROP_MESSAGES", "200"))
CLIENTS = 4  # sessions that hand in at once

FIRST_HEAD = HEAD.replace("mx.example.com", "first.test").replace('"example.com", "example.org"', '"first.test"').replace('"debug"', '"info"')
LAST_HEAD = HEAD.replace("mx.example.com", "last.test").replace('"debug"', '"info"')

# Everything that is no mail of ours goes to the peer.
FIRST = """
listen { "127.0.0.1:@smtp@" }
networks { trusted = { "127.0.0.0/8" } }
relayhost { host = "%s" }
retry { first = 1, max = 5, notice = 0 }
function on.message(session, mail)
  for _, rcpt in ipairs(mail.recipients) do
    if rcpt.is_local then rcpt:store("%%{user}") end
  end
end
"""

# A mailbox for each recipient of each message.
LAST = """
listen { "127.0.0.1:@smtp@" }
networks { trusted = { "127.0.0.0/8" } }
function on.message(session, mail)
  for _, rcpt in ipairs(mail.recipients) do
    rcpt:store(rcpt.user:match("m%d+r%d+") or "astray")
  end
end
"""


# --- handing in


def hand_in(c, m):
    """One mail, pipelined; raises what the daemon said if it did not take all of it."""
    words = "MAIL FROM:<%s>%s%s\r\n" % (m.sender, " BODY=" + m.body if m.body else "", " SMTPUTF8" if m.smtputf8 else "")
    words += "".join("RCPT TO:<%s>\r\n" % r for r in m.rcpts)
    c.send(words if m.bdat else words + "DATA\r\n")
    replies = [c.reply()[-1] for _ in range(len(m.rcpts) + 1)]
    if m.bdat:
        at = 0
        for i, n in enumerate(m.bdat):
            c.send(b"BDAT %d%s\r\n" % (n, b" LAST" if i == len(m.bdat) - 1 else b"") + m.content[at:at + n])
            replies.append(c.reply()[-1])
            at += n
    else:
        replies.append(c.reply()[-1].replace("354", "250"))
        c.send(stuffed(m.content) + b".\r\n")
        replies.append(c.reply()[-1])
    if not all(r.startswith("250") for r in replies):
        raise AssertionError("%s (%d): %s" % (m.kind, m.number, [r for r in replies if not r.startswith("250")]))


def hand_in_all(daemon, many):
    """Through several sessions at once."""
    jobs, errors = queue.Queue(), []
    for m in many:
        jobs.put(m)

    def client():
        try:
            with daemon.connect() as c:
                c.hello()
                while True:
                    hand_in(c, jobs.get_nowait())
        except queue.Empty:
            pass
        except Exception as e:  # told by the thread that waits
            errors.append(e)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


# --- what arrived


FIELD = re.compile(rb"[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*")


def opened(stored, names):
    """(values of the fields on top, which must have these names, the rest)."""
    values, at = [], 0
    for name in names:
        field = FIELD.match(stored, at)
        if field is None or not field.group().lower().startswith(name.lower().encode() + b":"):
            raise AssertionError("no %s at %d of %r" % (name, at, stored[:2000]))
        values.append(field.group().split(b":", 1)[1].strip().decode())
        at = field.end()
    return values, stored[at:]


def plain_address(text):
    """With quoting undone, as servers may quote as they like; the domain in lower case."""
    local, _, domain = text.strip("<>").rpartition("@")
    if local.startswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return local + "@" + domain.lower() if domain else ""


def difference(expected, got):
    at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
    return "differ at %d of %d and %d octets: expected %r, got %r" % (
        at, len(expected), len(got), expected[max(0, at - 60):at + 60], got[max(0, at - 60):at + 60])


# --- what servers change, and may


def completed(content):
    """A mail that has no last line end, or ends within its header, is given one, and an empty line behind the header."""
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    return content if content.startswith(b"\r\n") or b"\r\n\r\n" in content else content + b"\r\n"


def without_fields(content, names):
    header, blank, body = content.partition(b"\r\n\r\n")
    return re.sub(rb"(?im)^(?:%s):.*\r\n(?:[ \t].*\r\n)*" % b"|".join(names), b"", header + b"\r\n")[:-2] + blank + body


def by_postfix(content):
    """message_drop_headers. (By its defaults it would also complete a header that lacks fields for a client in mynetworks, and change
    % and ! in local parts: peers.py turns that off. Lines above 998 octets, which it folds, are not sent to it.)"""
    return without_fields(completed(content), (b"return-path", b"bcc", b"content-length", b"resent-bcc"))


def by_exim(content):
    """return_path_remove, envelope_to_remove, delivery_date_remove."""
    return without_fields(completed(content), (b"return-path", b"delivery-date", b"envelope-to"))


def by_dovecot(content):
    """Nothing: also no line end is added."""
    return content


def untouched(content):
    return content


# --- what arrived


class Arrived(unittest.TestCase):
    def compare(self, m, rcpt, stored, trace, changed):
        """One stored message with what was sent."""
        if b"\nDelivered-To:" not in stored.split(b"\nReceived:", 1)[0]:  # Dovecot: only in a transaction for one recipient
            trace = [t for t in trace if t != "Delivered-To"]
        (path, to, *_), content = opened(stored, trace)
        self.assertEqual(plain_address(path), plain_address(m.sender))
        if "Delivered-To" in trace:
            self.assertEqual(plain_address(to), plain_address(rcpt))
        expected = lf(changed(m.content))
        if expected == content:
            return
        if m.parts is None:
            raise AssertionError(difference(expected, content))
        self.assertEqual(expected.split(b"\n\n", 1)[0], content.split(b"\n\n", 1)[0])
        text, data = [p.get_payload(decode=True) for p in email.message_from_bytes(content).walk() if not p.is_multipart()]
        self.assertEqual(text, lf(m.parts[0]))
        self.assertEqual(data, m.parts[1])

    def compare_all(self, many, box, trace, changed):
        """box(number, index) gives the messages of a recipient: each must have one, with what was sent."""
        problems = []
        for m in many:
            for i, rcpt in enumerate(m.rcpts):
                stored = box(m.number, i)
                try:
                    self.assertEqual(len(stored), 1, "times it arrived")
                    self.compare(m, rcpt, stored[0], trace, changed)
                except AssertionError as e:
                    problems.append("%s (%d) for %s: %.600s" % (m.kind, m.number, rcpt, e))
                    break
        self.assertFalse(problems, "%d mails:\n%s" % (len(problems), "\n".join(problems)))

    def arrive(self, state_now, state_wanted, log):
        """As long as something moves it is no hang."""
        state = []

        def progress():
            now = state_now()
            moved, state[:] = now != state, now
            return moved

        while state != state_wanted:
            try:
                peers.until(progress, "progress", 60)
            except harness.Hang:
                raise harness.Hang("it stays at %s, wanted %s\n%s" % (state, state_wanted, log())) from None

    def peer(self, make, *arguments, **options):
        try:
            p = make(*arguments, **options)
        except peers.Missing as e:
            self.skipTest("no %s: %s" % (make.__name__, e))
        self.addCleanup(p.close)
        return p.start()

    def daemon(self, policy, head, **options):
        d = Barid(policy, head=head, **options)
        self.addCleanup(d.close)
        return d.start()


def troubles(*daemons):
    """What their logs say that is not as usual."""
    return "\n".join([str(r) for d in daemons for r in d.records if r["level"] not in ("info", "debug")][-40:])


def octets(many):
    return sum(len(m.content) for m in many)


class Relayed(Arrived):
    """Barid -> a peer -> Barid."""

    TRACE = ["Return-Path", "Delivered-To", "Received", "Received", "Received"]

    def through(self, peer_class, changed, seed):
        many = mails(MESSAGES, seed, MESSAGES // 50, max(1, MESSAGES // 500))
        wanted = sum(len(m.rcpts) for m in many)
        last = self.daemon(LAST, LAST_HEAD)
        peer = self.peer(peer_class, last.ports, last.port["smtp"])
        first = self.daemon(FIRST % ("[127.0.0.1]:%d" % peer.port), FIRST_HEAD)
        began = time.monotonic()
        hand_in_all(first, many)
        self.arrive(lambda: [first.count()["messages"], peer.queued(), last.count()["messages"], len(os.listdir(last.dir + "/mail"))],
                    [0, 0, 0, wanted], lambda: peer.log() + troubles(first, last))
        seconds = time.monotonic() - began
        self.compare_all(many, lambda number, i: last.box("m%dr%d" % (number, i)), self.TRACE, changed)
        self.assertFalse([r for r in first.records + last.records if r["what"] in ("failed", "held")])
        print("# proof: interop: Barid to %s to Barid: %d messages (%d octets, %.0f s) for %d recipients, each once, with the octets that "
              "were sent but for what is listed; three queues empty" % (peer_class.__name__, len(many), octets(many), seconds, wanted), flush=True)

    def test_postfix(self):
        self.through(peers.Postfix, by_postfix, 1)

    def test_exim(self):
        self.through(peers.Exim, by_exim, 2)


class Binary(Arrived):
    """Barid -> Barid -> a sink that keeps octets as they come: nothing is changed at all."""

    @staticmethod
    def raw(number, content, body="BINARYMIME"):
        m = Mail(number, "raw")
        m.content, m.body = content, body
        if body == "BINARYMIME":
            m.bdat = [len(content)]
        m.rcpt()
        return m

    def raw_mails(self, first_number):
        head = b"From: a@sender.test\r\nSubject: octets\r\n\r\n"
        every = bytes(range(256)) * 40
        line = b"y" * 100000
        bodies = [every, every[::-1], b"\0" * 5000, b"\r", b"\n", b"\n\r", b"\r\r\n\n", b".\r\n", b"\r\n.\r\nQUIT\r\n", b"\n.\n", b"\r.\r",
                  line, line + b"\r\n.\r\n" + line + b"\n" + line + b"\r", (b"." * 100000 + b"\r\n") * 3, b"", every * 200]
        found = [self.raw(first_number + i, head + b) for i, b in enumerate(bodies)]
        # Long lines need no BINARYMIME.
        for body in (line + b"\r\n", b"." + line + b"\r\n.\r\n" + line + b"\r\n"):
            found.append(self.raw(first_number + len(found), head + body, None))
        found.append(self.raw(first_number + len(found), b"X-Long: " + line + b"\r\n" + head, None))
        # Chunks that end anywhere, between CR and LF, too.
        m = self.raw(first_number + len(found), head + b"a\r\n\r\n.\r\n\0\r" * 30)
        m.bdat = [1] * len(m.content)
        return [*found, m]

    def test_unchanged(self):
        many = mails(100, 3, 2)
        many += self.raw_mails(len(many))
        folder = tempfile.mkdtemp(prefix="barid-sink-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        out, port = folder + "/out", harness.Ports().take()
        sink = subprocess.Popen([harness.BARID, "sink", "--port", str(port), "--out", out, "--data", folder], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (sink.terminate(), sink.wait()))
        second = self.daemon(FIRST % ("[127.0.0.1]:%d" % port), FIRST_HEAD.replace("first.test", "second.test"))
        first = self.daemon(FIRST % ("[127.0.0.1]:%d" % second.port["smtp"]), FIRST_HEAD)
        hand_in_all(first, many)
        self.arrive(lambda: [first.count()["messages"], second.count()["messages"]], [0, 0], lambda: troubles(first, second))
        kept = {}
        with open(out, encoding="utf-8") as f:
            for line in f:
                envelope = json.loads(line)
                with open(envelope["file"], "rb") as g:
                    content = opened(g.read(), ["Received", "Received"])[1]
                for to in envelope["recipients"]:
                    kept.setdefault(to, []).append((envelope["sender"], envelope.get("body"), content))
        problems = []
        for m in many:
            for rcpt in m.rcpts:
                if kept.pop(rcpt, None) != [(m.sender, m.body, m.content)]:
                    problems.append("%s (%d) for %s" % (m.kind, m.number, rcpt))
        self.assertFalse(problems)
        self.assertFalse(kept)
        print("# proof: interop: Barid to Barid: %d messages (%d octets), with CR, LF, NUL and lines of 100,000 octets: none changed by an "
              "octet, each once for each recipient" % (len(many), octets(many)), flush=True)


# Some of the mail by TCP, some by the socket; what is reported comes back into a mailbox here.
FINAL = """
listen { "127.0.0.1:@smtp@" }
networks { trusted = { "127.0.0.0/8" } }
function on.message(session, mail)
  for _, rcpt in ipairs(mail.recipients) do
    if rcpt.is_local then
      rcpt:store("%%{user}")
    else
      rcpt:send(mail.recipients[1].domain:match("^two") and "lmtp:unix:%s" or "lmtp:[127.0.0.1]:%d")
    end
  end
end
"""


def report_fields(report):
    """The recipients that a report is about: a dict of fields each."""
    message = email.message_from_bytes(report)
    status = [p for p in message.walk() if p.get_content_type() == "message/delivery-status"]
    return [dict(block) for block in status[0].get_payload()[1:]]


class Final(Arrived):
    """Barid -> Dovecot, which stores."""

    TRACE = ["Return-Path", "Delivered-To", "Received", "Received"]
    KINDS = {"plain", "eightbit", "dots", "empty", "empty_header", "no_body", "long_lines", "odd_header", "dropped_fields", "blank_lines", "from_lines",
             "base64", "binary", "chunks", "no_final_newline", "medium", "null_sender", "few"}

    def test_dovecot(self):
        many = mails(100, 4, 2, only=self.KINDS)
        users = [r.partition("@")[0] for m in many for r in m.rcpts]
        peer = self.peer(peers.Dovecot, harness.Ports(), users)
        first = self.daemon(FINAL % (peer.socket, peer.port), FIRST_HEAD)
        # Beside those that Dovecot knows, in every fifth mail, somebody whom it does not know, by either way.
        lost = [m for m in many[::5] if m.sender]
        for i, m in enumerate(lost):
            m.sender = "reports%d@first.test" % m.number
            m.rcpts.insert(i % (len(m.rcpts) + 1), "nobody%d@%s" % (m.number, m.rcpts[0].partition("@")[2]))
        hand_in_all(first, many)
        self.arrive(lambda: [first.count()["messages"]], [0], lambda: peer.log() + troubles(first))
        for m in lost:
            m.rcpts = [r for r in m.rcpts if not r.startswith("nobody")]
            reports = first.box("reports%d" % m.number)
            self.assertEqual(len(reports), 1)
            told = report_fields(reports[0])
            self.assertEqual([(t["Final-Recipient"].split("@")[0], t["Action"], t["Status"]) for t in told],
                             [("rfc822; nobody%d" % m.number, "failed", "5.1.1")])
            self.assertIn("User doesn't exist", told[0]["Diagnostic-Code"])
        self.compare_all(many, lambda number, i: peer.box("m%dr%d" % (number, i)), self.TRACE, by_dovecot)
        self.assertEqual(len(os.listdir(peer.root + "/mail")), len(users))
        print("# proof: interop: Barid to Dovecot by LMTP, TCP and unix socket: %d messages (%d octets) for %d recipients, each once and "
              "unchanged; %d unknown among known ones, each reported alone" % (len(many), octets(many), len(users), len(lost)), flush=True)


class Refused(Arrived):
    """A user whom the peer does not know among one whom it knows."""

    def bounced(self, peer, diagnostic):
        first = self.daemon(FIRST % ("[127.0.0.1]:%d" % peer.port), FIRST_HEAD)
        m = Mail(1, "bounced")
        m.sender, m.rcpts = "reports@first.test", ["someone@known.test", "nobody@known.test"]
        m.content = harness.mail().encode()
        hand_in_all(first, [m])
        report = first.wait_box("reports")[0]
        self.arrive(lambda: [first.count()["messages"], peer.queued(), len(self.last.box("someone"))], [0, 0, 1],
                    lambda: peer.log() + troubles(first, self.last))
        told = report_fields(report)
        self.assertEqual(len(told), 1)
        self.assertEqual(told[0]["Final-Recipient"], "rfc822; nobody@known.test")
        self.assertEqual(told[0]["Action"], "failed")
        self.assertRegex(told[0]["Diagnostic-Code"], diagnostic)
        return told[0]

    def setUp(self):
        self.last = self.daemon(LAST.replace('or "astray"', 'or "%{user}"'), LAST_HEAD)
        self.next_port = self.last.port["smtp"]

    def test_postfix(self):
        peer = self.peer(peers.Postfix, self.last.ports, self.next_port,
                         more="relay_domains = known.test\nrelay_recipient_maps = inline:{someone@known.test=x}\n")
        told = self.bounced(peer, "550 5.1.1 .*User unknown in relay recipient table")
        self.assertEqual(told["Status"], "5.1.1")

    def test_exim(self):
        """No enhanced code in its reply."""
        peer = self.peer(peers.Exim, self.last.ports, self.next_port, rcpt_acl="  require verify = recipient\n",
                         router="  local_parts = someone")
        told = self.bounced(peer, "550 Unrouteable address")
        self.assertRegex(told["Status"], r"^5\.")


class PutOff(Arrived):
    """A peer that does not know the sender yet takes the mail the second time: no sooner than the schedule says, and only then."""

    def setUp(self):
        self.last = self.daemon(LAST.replace('or "astray"', 'or "%{user}"'), LAST_HEAD)
        self.next_port = self.last.port["smtp"]

    def later(self, peer, reply, open_up):
        policy = FIRST.replace("first = 1, max = 5", "first = 300, max = 3000") % ("[127.0.0.1]:%d" % peer.port)
        first = self.daemon(policy, FIRST_HEAD, clock=True)
        m = Mail(1, "put off")
        m.rcpts, m.content = ["grey@known.test", "known@known.test"], harness.mail().encode()
        hand_in_all(first, [m])
        put_off = first.wait_log({"what": "deferred", "rcpt": "grey@known.test"})
        self.assertRegex(put_off["reply"], reply)
        self.arrive(lambda: [peer.queued(), len(self.last.box("known"))], [0, 1], peer.log)
        open_up()
        # Too early, as a mail that comes through meanwhile shows.
        first.shift_clock(200)
        m.rcpts = ["known@known.test"]
        hand_in_all(first, [m])
        self.arrive(lambda: [first.count()["messages"], len(self.last.box("known"))], [1, 2], peer.log)
        self.assertEqual(self.last.box("grey"), [])
        first.shift_clock(400)
        self.arrive(lambda: [first.count()["messages"], peer.queued(), len(self.last.box("grey"))], [0, 0, 1], peer.log)
        self.assertEqual(len(self.last.box("known")), 2)
        self.assertEqual(sum(r["what"] == "deferred" for r in first.records), 1)
        self.assertEqual(first.wait_log({"what": "delivered", "rcpt": "grey@known.test"})["attempts"], 2)

    def test_postfix(self):
        """A policy service that puts off what it sees for the first time."""
        seen = set()

        class Greylist(socketserver.StreamRequestHandler):
            def handle(self):
                asked = {}
                for line in self.rfile:
                    name, _, value = line.decode().rstrip("\n").partition("=")
                    asked[name] = value
                    if name == "":
                        triplet = (asked["client_address"], asked["sender"], asked["recipient"])
                        known = triplet in seen or asked["recipient"].startswith("known")
                        seen.add(triplet)
                        self.wfile.write(b"action=%s\n\n" % (b"DUNNO" if known else b"DEFER_IF_PERMIT 4.2.0 Greylisted, come back"))
                        asked = {}

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greylist) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.shutdown)
            peer = self.peer(peers.Postfix, self.last.ports, self.next_port,
                             restrictions="check_policy_service inet:127.0.0.1:%d," % server.server_address[1])
            self.later(peer, "^45[01] 4.2.0 .*Greylisted", lambda: None)
            peer.stop()

    def test_exim(self):
        """An ACL that waits for a file."""
        peer = self.peer(peers.Exim, self.last.ports, self.next_port, rcpt_acl="""
  defer local_parts = grey
        condition = ${if !exists{/grey}}
        message = come back later
""")
        self.later(peer, "^451 .*come back later", lambda: peer.write("/grey", ""))


if __name__ == "__main__":
    harness.main()
