#!/usr/bin/env python3
"""The fake mail server does what it is told, and sees what a client does wrong: each behaviour at least once."""

import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

import fake
import fake_tls
import harness
from fake_mta import FakeMTA

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "fake-mta")
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n..two\r\n.\r\nlast\r\n"
STUFFED = b"Subject: x\r\n\r\n..dot\r\n...two\r\n..\r\nlast\r\n"
ENVELOPE = b"EHLO c.test\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<u@y.test>\r\n", b"DATA\r\n", STUFFED + b".\r\n", b"QUIT\r\n"


class Peer:
    """A client that says octets and reads replies."""

    def __init__(self, mta, tls=None):
        if mta.path is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(mta.path)
        else:
            self.sock = socket.create_connection((mta.host, mta.port))
        self.sock.settimeout(fake.DEADLINE)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                return self.rest_of(b"")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def rest_of(self, more):
        rest, self.buffer = self.buffer + more, b""
        return rest

    def reply(self):
        """All lines of one reply; what there was, at the end of the connection."""
        whole = b""
        while True:
            line = self.line()
            whole += line
            if not line.endswith(b"\n") or line[3:4] != b"-":
                return whole

    def say(self, octets):
        self.sock.sendall(octets)
        return self.reply()

    def until_end(self):
        parts = [self.rest_of(b"")]
        while True:
            parts.append(self.sock.recv(65536))
            if not parts[-1]:
                return b"".join(parts)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()


def barid(mta, *arguments, to="u@y.test", code=None, message=MESSAGE, server=None):
    with tempfile.NamedTemporaryFile(suffix=".eml") as f:
        f.write(message)
        f.flush()
        done = subprocess.run([harness.BARID, "send", "--server", server or mta.address, "--from", "a@x.test", "--to", to, "--data", f.name,
                               *arguments], capture_output=True, text=True, timeout=fake.DEADLINE, check=False)
    if code is not None and done.returncode != code:
        raise AssertionError("barid send: %d\n%s%s" % (done.returncode, done.stdout, done.stderr))
    return done


class Good(unittest.TestCase):
    """Clients that do nothing wrong: all arrives, no violation is seen."""

    def check(self, mta, mails=1):
        mta.wait(mails=mails, ended=1)
        self.assertEqual(mta.violations, [])
        self.assertEqual([m.content for m in mta.mails], [MESSAGE] * mails)

    def test_smtplib(self):
        with FakeMTA() as mta:
            with smtplib.SMTP(mta.host, mta.port) as s:
                s.sendmail("a@x.test", ["u@y.test", "v@y.test"], MESSAGE, ["SMTPUTF8", "BODY=8BITMIME"], ["NOTIFY=NEVER"])
            self.check(mta)
            mail, connection = mta.mails[0], mta.ended[0]
            self.assertEqual((mail.sender, mail.to, mail.delivered), ("a@x.test", ["u@y.test", "v@y.test"], ["u@y.test", "v@y.test"]))
            self.assertEqual(mail.params, {"SMTPUTF8": "", "BODY": "8BITMIME", "SIZE": str(len(MESSAGE))})
            self.assertEqual(mail.recipients[1].params, {"NOTIFY": "NEVER"})
            self.assertEqual((mail.how, mail.dot, mail.final, mail.tls), ("DATA", True, 250, False))
            self.assertEqual((connection.end, connection.quit, connection.verbs()[-1]), ("quit", True, "QUIT"))

    def test_barid(self):
        for arguments in [], ["--bdat"], ["--no-pipelining"], ["--binary"], ["--tls", "starttls"], ["--repeat", "3"]:
            with self.subTest(arguments), FakeMTA(tls="starttls") as mta:
                barid(mta, *arguments, code=0)
                self.check(mta, 3 if "--repeat" in arguments else 1)
                self.assertEqual(mta.mails[0].how, "BDAT" if arguments in (["--bdat"], ["--binary"]) else "DATA")
                self.assertTrue(mta.mails[0].tls)

    def test_barid_where_little_is_offered(self):
        for words in [], ["PIPELINING"], ["CHUNKING"], ["8BITMIME", "SIZE"]:
            with self.subTest(words), FakeMTA(ehlo=words) as mta:
                barid(mta, "--bdat", to="u@y.test,v@y.test", code=0)
                self.check(mta)
                self.assertEqual(mta.ended[0].offered, words)

    def test_a_big_message(self):
        content = MESSAGE + b"".join(b".%077d\r\n" % i for i in range(131072))  # 10 MiB
        for mode in [], ["--bdat"]:
            with self.subTest(mode), FakeMTA() as mta:
                barid(mta, *mode, code=0, message=content)
                mta.wait(mails=1)
                self.assertTrue(mta.mails[0].content == content)
                self.assertEqual(mta.violations, [])

    def test_swaks(self):
        with FakeMTA() as mta:
            done = subprocess.run(["swaks", "--server", mta.host, "--port", str(mta.port), "--from", "a@x.test", "--to", "u@y.test",
                                   "--helo", "c.test", "--body", "hello"], capture_output=True, timeout=fake.DEADLINE, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            mta.wait(mails=1, ended=1)
            self.assertEqual(mta.violations, [])
            self.assertIn(b"hello", mta.mails[0].content)

    def test_places(self):
        with tempfile.TemporaryDirectory() as folder:
            places = [{"path": folder + "/lmtp"}] + ([{"host": "::1"}] if harness.has_ipv6() else [])
            for place in places:
                for lmtp in False, True:
                    with self.subTest(place, lmtp=lmtp), FakeMTA(lmtp=lmtp, **place) as mta:
                        barid(mta, *(["--lmtp"] if lmtp else []), code=0)
                        self.check(mta)

    def test_passwords(self):
        with tempfile.NamedTemporaryFile("w") as good, tempfile.NamedTemporaryFile("w") as bad:
            for f, text in (good, "wonder land\n"), (bad, "wonder\n"):
                f.write(text)
                f.flush()
            for mechanism in "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256":
                with self.subTest(mechanism), FakeMTA(users={"alice": "wonder land"}, tls="implicit", auth_required=True) as mta:
                    user = ["--tls", "implicit", "--user", "alice", "--mechanism", mechanism, "--password-file"]
                    barid(mta, *user, bad.name, code=77)
                    barid(mta, *user, good.name, code=0)
                    mta.wait(mails=1, ended=2)
                    self.assertEqual(mta.violations, [])
                    self.assertEqual((mta.mails[0].user, mta.ended[1].mechanism), ("alice", mechanism))
                    self.assertEqual(mta.ended[0].mails, 0)
            with FakeMTA(users={"alice": "x"}, auth_required=True) as mta:
                self.assertIn("530", barid(mta, code=69).stdout)

    def test_many_at_once(self):
        with FakeMTA(keep=False) as mta:
            threads = [threading.Thread(target=barid, args=(mta, "--repeat", "100"), kwargs={"code": 0}) for _ in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            mta.wait(mails=400, ended=4)
            self.assertEqual((mta.violations, len(mta.delivered), mta.mails[7].content), ([], 400, b""))
            self.assertLessEqual(mta.peak, 4)


class Rules(unittest.TestCase):
    def refused(self, mta, to):
        with smtplib.SMTP(mta.host, mta.port) as s:
            try:
                return {a: r[0] for a, r in s.sendmail("a@x.test", to, MESSAGE).items()}
            except smtplib.SMTPRecipientsRefused as e:
                return {a: r[0] for a, r in e.recipients.items()}

    def test_recipients(self):
        rules = ["rcpt:full*@y.test -> 452 4.2.2 full", "rcpt:no@* -> 550 5.1.1 nobody"]
        with FakeMTA(rules) as mta:
            self.assertEqual(self.refused(mta, ["full1@y.test", "u@y.test", "NO@z.test"]), {"full1@y.test": 452, "NO@z.test": 550})
            mta.wait(mails=1)
            self.assertEqual([(r.address, r.code) for r in mta.mails[0].recipients],
                             [("full1@y.test", 452), ("u@y.test", 250), ("NO@z.test", 550)])
            self.assertEqual(mta.mails[0].delivered, ["u@y.test"])

    def test_the_nth_time(self):
        with FakeMTA(["rcpt nth=2-3 -> 450 later"]) as mta:
            self.assertEqual(self.refused(mta, ["a@y", "b@y", "c@y", "d@y"]), {"b@y": 450, "c@y": 450})
            mta.off()
            mta.on("rcpt", "450 4.7.1 grey", nth=1, each=True)
            self.assertEqual(self.refused(mta, ["a@y", "b@y"]), {"a@y": 450, "b@y": 450})
            self.assertEqual(self.refused(mta, ["a@y", "b@y", "c@y"]), {"c@y": 450})

    def test_the_newest_wins_and_can_be_taken_back(self):
        with FakeMTA(["rcpt -> 450 old"]) as mta:
            rule = mta.on("rcpt", "550 new", connection=1)
            self.assertEqual(self.refused(mta, ["a@y"]), {"a@y": 550})
            self.assertEqual(self.refused(mta, ["a@y"]), {"a@y": 450})
            mta.off(rule)
            mta.on("rcpt", lambda session, address: "551 not %s" % address if address == "b@y" else None)
            self.assertEqual(self.refused(mta, ["a@y", "b@y"]), {"b@y": 551})

    def test_mistakes_are_told(self):
        for rule in ("rcpt", "rcpt 450 x", "nothing -> 450 x", "rcpt -> 999 x", "rcpt -> explode", "rcpt nth=x -> 450 y", "dot -> raw",
                     "ehlo -> flood frogs 3", "ehlo -> garbage many", "banner -> delay soon", "dot -> close now"):
            with self.subTest(rule), self.assertRaises(fake.Mistake):
                FakeMTA([rule])
        with FakeMTA() as mta, self.assertRaises(fake.Hang):
            mta.wait(mails=1, deadline=0.01)

    def test_down_and_up(self):
        with FakeMTA() as mta:
            barid(mta, code=0)
            mta.down()
            barid(mta, code=75)
            mta.up()
            barid(mta, code=0)
            mta.wait(mails=2)
            self.assertEqual(len(mta.connections), 2)


class Words(unittest.TestCase):
    """What is said at a stage, octet by octet."""

    def at(self, stage, actions, **more):
        """What a client that stops at the first surprise hears at a stage, and after it."""
        with FakeMTA(**more) as mta:
            mta.on(stage, actions)
            heard = []
            with Peer(mta) as p:
                try:
                    heard.append(p.reply())
                    for octets in ENVELOPE:
                        if heard[-1][:1] not in (b"2", b"3"):
                            break
                        heard.append(p.say(octets))
                except OSError as e:
                    heard.append(type(e).__name__)
            mta.wait(ended=1)
            return heard, mta

    def test_any_reply_at_any_stage(self):
        for n, stage in enumerate(("banner", "ehlo", "mail", "rcpt", "data", "dot", "quit")):
            for said, expected in (("450 4.3.0 not\nnow", b"450-4.3.0 not\r\n450 4.3.0 now\r\n"), ("555 never", b"555 never\r\n")):
                with self.subTest(stage + " " + said):
                    heard, _ = self.at(stage, said)
                    self.assertEqual((len(heard), heard[-1]), (n + 1, expected))

    def test_421_at_any_stage_closes(self):
        for stage in ("banner", "ehlo", "mail", "rcpt", "data", "dot"):
            with self.subTest(stage), FakeMTA(["%s -> 421 4.3.2 bye" % stage]) as mta:
                with Peer(mta) as p:
                    for octets in (b"",) + ENVELOPE:
                        heard = p.say(octets)
                        if heard.startswith(b"421"):
                            break
                    self.assertEqual((heard, p.until_end()), (b"421 4.3.2 bye\r\n", b""))
                mta.wait(ended=1)
                self.assertEqual(mta.ended[0].end, "421")

    def test_ends_at_any_stage(self):
        """Before the reply, after it, and within its line; by FIN and by RST."""
        order = ("connect", "banner", "ehlo", "mail", "rcpt", "data", "dot", "quit")
        for n, stage in enumerate(order):
            for end, mark in (("close", b""), ("eof", b""), ("reset", "ConnectionResetError")):
                with self.subTest(stage + " " + end):
                    heard, mta = self.at(stage, end)
                    self.assertEqual((len(heard), heard[-1]), (max(n, 1), mark))
                    self.assertEqual(mta.ended[0].end, "we reset" if end == "reset" else "closed")
                    if stage == "dot":
                        self.assertEqual((mta.mails[0].dot, mta.mails[0].final, mta.mails[0].delivered), (True, None, []))
                    if stage not in ("connect", "banner"):
                        heard, mta = self.at(stage, ["raw 25", end])
                        self.assertIn(heard[-1], (b"25", mark))
        heard, mta = self.at("dot", ["ok", "close"])
        self.assertTrue(heard[-2].startswith(b"250") and heard[-1] == b"", heard)
        self.assertEqual(mta.mails[0].delivered, ["u@y.test"])

    def test_ends_within_a_message(self):
        for after in 0, 10:
            for end in "close", "reset":
                with self.subTest(after=after, end=end), FakeMTA() as mta:
                    mta.on("content", end, after=after)
                    barid(mta, code=75)
                    mta.wait(ended=1, partial=1)
                    self.assertEqual((mta.mails, mta.partial[0].dot, mta.partial[0].to), ([], False, ["u@y.test"]))
                    self.assertGreaterEqual(len(mta.partial[0].content), after)

    def test_a_client_that_goes_within_a_message(self):
        with FakeMTA() as mta:
            with Peer(mta) as p:
                for octets in (b"",) + ENVELOPE[:4]:
                    p.say(octets)
                p.sock.sendall(b"half a li")
            mta.wait(ended=1)
            self.assertEqual((mta.ended[0].end, mta.partial[0].content, mta.mails), ("eof", b"half a li", []))

    def test_silence(self):
        for stage, count in (("banner", 0), ("rcpt", 3), ("dot", 5)):
            with self.subTest(stage), FakeMTA(["%s -> silence" % stage]) as mta, Peer(mta) as p:
                for octets in ((b"",) + ENVELOPE)[:count]:
                    p.say(octets)
                if count:
                    p.sock.sendall(ENVELOPE[count - 1])
                mta.wait(silence=1)
                p.sock.settimeout(0.05)
                self.assertRaises(TimeoutError, p.sock.recv, 1)
                p.sock.settimeout(fake.DEADLINE)
                mta.release()
                self.assertTrue(p.reply().startswith(b"2"))
        with FakeMTA(["banner -> silence"]) as mta:
            with Peer(mta):
                mta.wait(silence=1)
            mta.wait(ended=1)
            self.assertEqual(mta.ended[0].end, "eof")

    def test_slow(self):
        with FakeMTA(["banner -> dribble 0.001 220 slow", "ehlo -> delay 0.001"]) as mta, Peer(mta) as p:
            self.assertEqual(p.reply(), b"220 slow\r\n")
            self.assertTrue(p.say(b"EHLO c\r\n").startswith(b"250-mx.fake.test\r\n"))

    def test_bad_answers_to_ehlo(self):
        table = [  # what the wire says
            ("raw 250-a\\r\\n550 b\\r\\n", b"250-a\r\n550 b\r\n"), ("raw 250 a\\0b\\r\\n", b"250 a\0b\r\n"), ("raw 250 a\\n", b"250 a\n"),
            ("raw \\xff\\xfe\\r\\n", b"\xff\xfe\r\n"), ("raw 2500 x\\r\\n", b"2500 x\r\n"), ("354 go", b"354 go\r\n"),
        ]
        for action, octets in table:
            with self.subTest(action):
                heard, _ = self.at("ehlo", [action, "close"])
                self.assertTrue(b"".join(h for h in heard[1:] if isinstance(h, bytes)).startswith(octets), heard)
        for action, size in (("flood keywords 10000", 10001), ("flood lines 5000", 5001)):
            heard, _ = self.at("ehlo", action)
            self.assertEqual(heard[1].count(b"\r\n"), size)
        with FakeMTA(["ehlo -> flood octets 10485760 ; close"]) as mta, Peer(mta) as p:
            p.reply()
            p.sock.sendall(b"EHLO c\r\n")
            self.assertEqual(len(p.until_end()), 10485760 + 6)
        with FakeMTA(["ehlo -> flood lines"]) as mta:
            with Peer(mta) as p:
                p.reply()
                p.sock.sendall(b"EHLO c\r\n")
                self.assertEqual(p.line(), b"250-more to come\r\n")
            mta.wait(ended=1)  # it ends when the client has gone
        with FakeMTA(["ehlo -> garbage 1000 ; close"]) as mta, Peer(mta) as p:
            p.reply()
            p.sock.sendall(b"EHLO c\r\n")
            self.assertEqual(len(p.until_end()), 1000)
        with FakeMTA(["ehlo -> ehlo SIZE 10, X-NEW"]) as mta, Peer(mta) as p:
            p.reply()
            self.assertEqual(p.say(b"EHLO c\r\n"), b"250-mx.fake.test\r\n250-SIZE 10\r\n250 X-NEW\r\n")
            self.assertEqual(mta.connections[0].offered, ["SIZE 10", "X-NEW"])

    def test_no_ehlo(self):
        with FakeMTA(["ehlo -> 502 5.5.1 no"]) as mta:
            barid(mta, code=0)
            mta.wait(mails=1, ended=1)
            self.assertEqual((mta.ended[0].verbs()[:2], mta.violations), (["EHLO", "HELO"], []))

    def test_replies_after_the_dot_by_lmtp(self):
        with FakeMTA(["dot:full@y.test -> 452 4.2.2 full", "dot:gone@y.test -> 550 5.1.1 gone"], lmtp=True) as mta:
            done = barid(mta, "--lmtp", to="u@y.test,full@y.test,gone@y.test")
            self.assertEqual([line.split()[:2] for line in done.stdout.splitlines()],
                             [["u@y.test:", "250"], ["full@y.test:", "452"], ["gone@y.test:", "550"]])
            mta.wait(mails=1)
            self.assertEqual([r.final for r in mta.mails[0].recipients], [250, 452, 550])
            self.assertEqual(mta.mails[0].delivered, ["u@y.test"])
        with FakeMTA(["dot nth=2 -> close"], lmtp=True) as mta:
            barid(mta, "--lmtp", to="u@y.test,v@y.test,w@y.test", code=75)
            mta.wait(mails=1)
            self.assertEqual(mta.mails[0].delivered, ["u@y.test"])

    def test_replies_for_each_by_prdr(self):
        with FakeMTA(["dot:full@* -> 452 4.2.2 full"], ehlo=["PRDR", "PIPELINING"]) as mta:
            done = barid(mta, "--prdr", to="u@y.test,full@y.test", code=75)
            self.assertEqual([line.split()[1] for line in done.stdout.splitlines()], ["250", "452"])
            mta.wait(mails=1, ended=1)
            self.assertEqual((mta.mails[0].delivered, mta.mails[0].final, mta.violations), (["u@y.test"], 250, []))
            mta.on("dot", "close", match="")
            barid(mta, "--prdr", to="u@y.test,v@y.test", code=75)
            mta.wait(mails=2)
            self.assertEqual((mta.mails[1].delivered, mta.mails[1].recipients[0].final), ([], 250))

    def test_a_lost_250(self):
        with FakeMTA(["dot nth=1 -> close"]) as mta:
            self.assertIn("no answer", barid(mta, code=75).stdout)
            barid(mta, code=0)
            mta.wait(mails=2)
            self.assertEqual([(m.dot, m.final) for m in mta.mails], [(True, None), (True, 250)])


class TLS(unittest.TestCase):
    def client(self):
        return ssl.create_default_context(cafile=fake_tls.ca())

    def test_certificates(self):
        for kind, reason in (("good", None), ("wrong-name", "CERTIFICATE_VERIFY_FAILED"), ("expired", "CERTIFICATE_VERIFY_FAILED"),
                             ("self-signed", "CERTIFICATE_VERIFY_FAILED")):
            with self.subTest(kind), FakeMTA(tls="implicit", cert=kind) as mta:
                try:
                    with Peer(mta, self.client()) as p:
                        self.assertTrue(p.reply().startswith(b"220"))
                    self.assertIsNone(reason)
                except ssl.SSLError as e:
                    self.assertEqual(e.reason, reason)
                mta.wait(ended=1)
                if reason is None:
                    self.assertEqual(mta.ended[0].tls["name"], "localhost")
                else:
                    self.assertRegex(mta.ended[0].end, "^tls: .*(ALERT|UNKNOWN_CA|EXPIRED)")

    def test_barid_checks_the_certificate(self):
        for kind, code in (("good", 0), ("wrong-name", None), ("expired", None), ("self-signed", None)):
            with self.subTest(kind), FakeMTA(tls="starttls", cert=kind) as mta:
                done = barid(mta, "--tls", "starttls", "--verify", "--ca", fake_tls.ca(), server="localhost:%d" % mta.port)
                self.assertEqual(done.returncode == 0, code == 0, done.stderr)
                mta.wait(ended=1)
                self.assertEqual(len(mta.mails), 1 if code == 0 else 0)

    def test_starttls_that_fails(self):
        for rule in ("starttls -> 454 4.7.0 not now", "handshake -> close", "handshake -> reset", "handshake -> garbage 300",
                     "handshake -> raw \\x15\\x03\\x03\\x00\\x02\\x02\\x28 ; eof"):
            with self.subTest(rule), FakeMTA([rule], tls="starttls") as mta:
                self.assertNotEqual(barid(mta, "--tls", "starttls").returncode, 0)
                mta.wait(ended=1)
                self.assertEqual((mta.mails, mta.ended[0].tls), ([], None))

    def test_it_ends_in_order_and_not(self):
        for end, orderly in (("close", True), ("eof", False)):
            with self.subTest(end), FakeMTA(["noop -> " + end], tls="implicit") as mta, Peer(mta, self.client()) as p:
                p.sock.suppress_ragged_eofs = False
                p.reply()
                if orderly:
                    self.assertEqual(p.say(b"NOOP\r\n"), b"")
                else:
                    with self.assertRaises(ssl.SSLEOFError):
                        p.say(b"NOOP\r\n")


class Violations(unittest.TestCase):
    """Each mistake of a client is seen, and named."""

    def test_each(self):
        hello, mail, rcpt, data, text, _ = ENVELOPE
        to_data = (hello, mail, rcpt, data)
        table = [
            ("more octets before the reply to the connection", (), None),
            ("more octets before the reply to EHLO", (hello + b"NOOP\r\n",), None),
            ("more octets before the reply to DATA", (hello, mail, rcpt, data + b"x"), None),
            ("more octets before the reply to MAIL", (hello, mail + rcpt), []),
            ("more octets before the reply to the message", to_data + (text + b"NOOP\r\n",), []),
            ("LF alone", (b"EHLO c\n",), None),
            ("CR or NUL", (b"EHLO c\0\r\n",), None),
            ("CR or NUL", (b"EHLO \rc\r\n",), None),
            ("a command line of 600 octets", (b"EHLO " + b"x" * 593 + b"\r\n",), None),
            ("EHLO without a name", (b"EHLO\r\n",), None),
            ("LHLO in SMTP", (b"LHLO c\r\n",), None),
            ("MAIL without a greeting", (mail,), None),
            ("MAIL within a transaction", (hello, mail, mail), None),
            ("RCPT outside", (hello, rcpt), []),
            ("DATA without a recipient", (hello, mail, data), []),
            ("not FROM", (hello, b"MAIL FROM: <a@x>\r\n"), None),
            ("not TO", (hello, mail, b"RCPT TO:a@x\r\n"), None),
            ("SIZE=5 is not offered", (hello, b"MAIL FROM:<a@x> SIZE=5\r\n"), []),
            ("BODY=8BITMIME is not offered", (hello, b"MAIL FROM:<a@x> BODY=8BITMIME\r\n"), []),
            ("BODY=BINARYMIME is not offered", (hello, b"MAIL FROM:<a@x> BODY=BINARYMIME\r\n"), ["8BITMIME"]),
            ("NOTIFY=NEVER is not offered", (hello, mail, b"RCPT TO:<u@y> NOTIFY=NEVER\r\n"), []),
            ("X=1 is not offered", (hello, b"MAIL FROM:<a@x> X=1\r\n"), None),
            ("UTF-8 in a command", (hello, "MAIL FROM:<\u00fc@x>\r\n".encode()), []),
            ("BDAT that is not offered", (hello, mail, rcpt, b"BDAT 1 LAST\r\nx"), []),
            ("not BDAT", (hello, mail, rcpt, b"BDAT x\r\n"), None),
            ("DATA for BODY=BINARYMIME", (hello, b"MAIL FROM:<a@x> BODY=BINARYMIME\r\n", rcpt, data), None),
            ("STARTTLS that is not offered", (hello, b"STARTTLS\r\n"), None),
            ("AUTH with a mechanism that is not offered", (hello, b"AUTH PLAIN x\r\n"), None),
            ("CR or LF alone", to_data + (b"a\nb\r\n.\r\n",), None),
            ("CR or LF alone", to_data + (b"a\rb\r\n.\r\n",), None),
            ("NUL in a message", to_data + (b"a\0b\r\n.\r\n",), None),
            ("a dot that is not doubled", to_data + (b".x\r\n.\r\n",), None),
            ("a line of 1001 octets", to_data + (b"x" * 999 + b"\r\n.\r\n",), None),
            ("octets above 127", to_data + (b"\xe9\r\n.\r\n",), None),
            ("octets after QUIT", (hello, b"QUIT\r\nNOOP\r\n"), None),
        ]
        for expected, said, words in table:
            with self.subTest(expected), FakeMTA(**({} if words is None else {"ehlo": words})) as mta:
                early = not said
                if early:  # the greeting waits until the client has spoken
                    mta.on("banner", "silence")
                with Peer(mta) as p:
                    if early:
                        mta.wait(silence=1)
                        p.sock.sendall(b"EHLO c\r\n")
                        mta.release()
                    p.reply()
                    for octets in said:
                        p.say(octets)
                mta.wait(ended=1)
                self.assertEqual(len([v for v in mta.violations if expected in v]), 1, mta.violations)
        print("# proof: fake MTA: %d mistakes of a client, each seen" % len(table), flush=True)

    def test_none_where_all_is_right(self):
        with FakeMTA() as mta, Peer(mta) as p:
            p.reply()
            p.say(ENVELOPE[0])
            p.sock.sendall(b"".join(ENVELOPE[1:4]))
            for _ in range(3):
                p.reply()
            p.sock.sendall(ENVELOPE[4] + b"".join(ENVELOPE[1:4]))
            for _ in range(4):
                p.reply()
            p.sock.sendall(b"." + b"." + b"x" * 997 + b"\r\n.\r\nQUIT\r\n")
            self.assertTrue(p.reply().startswith(b"250"))
            p.reply()
            p.until_end()
            p.sock.close()
            mta.wait(mails=2, ended=1)
            self.assertEqual((mta.violations, mta.mails[1].content[:2]), ([], b".x"))


class Tool(unittest.TestCase):
    def test_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/script", "w", encoding="utf-8") as f:
                f.write("# a comment\nrcpt:full@* -> 452 4.2.2 full\n")
            process = subprocess.Popen([sys.executable, TOOL, "--script", folder + "/script", "--on", "rcpt:no@* -> 550 5.1.1 no",
                                        "--out", folder + "/out", "--count", "2", "--listen", "127.0.0.1:0", "--listen",
                                        "unix:" + folder + "/s"], stderr=subprocess.PIPE, text=True)
            with process:
                addresses = [process.stderr.readline().split()[-1] for _ in range(2)]
                for address in addresses:
                    done = subprocess.run([harness.BARID, "send", "--server", address, "--from", "a@x.test", "--to",
                                           "u@y.test,full@y.test,no@y.test", "--body", "hello"], capture_output=True, text=True,
                                          timeout=fake.DEADLINE, check=False)
                    self.assertEqual([line.split()[1] for line in done.stdout.splitlines()], ["250", "452", "550"])
                self.assertEqual(process.wait(fake.DEADLINE), 0)
            with open(folder + "/out", encoding="utf-8") as f:
                records = [json.loads(line) for line in f]
            self.assertEqual(sorted(r["event"] for r in records), ["connection"] * 2 + ["mail"] * 2)
            self.assertEqual([r["delivered"] for r in records if r["event"] == "mail"], [["u@y.test"]] * 2)

    def test_a_bad_line(self):
        done = subprocess.run([sys.executable, TOOL, "--on", "rcpt -> explode"], capture_output=True, text=True,
                              timeout=fake.DEADLINE, check=False)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (64, 1), done.stderr)

    def test_signals_end_a_silence_and_the_program(self):
        with subprocess.Popen([sys.executable, TOOL, "--lmtp", "--on", "banner -> silence"], stderr=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            port = int(process.stderr.readline().split(b":")[-1])
            with socket.create_connection(("127.0.0.1", port), fake.DEADLINE) as s:
                said = b""
                while not said:  # a signal before the silence has begun ends none: it is sent again
                    process.send_signal(signal.SIGUSR1)
                    s.settimeout(0.1)
                    try:
                        said = s.recv(100)
                    except TimeoutError:
                        pass
                self.assertTrue(said.startswith(b"220 "), said)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(fake.DEADLINE), 0)


if __name__ == "__main__":
    harness.main()
