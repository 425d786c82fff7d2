#!/usr/bin/env python3
"""What goes over the wire, octet by octet: pipelining, chunks, newlines that are none, injections, trusted peers, limits."""

import json
import random
import re
import signal
import socket
import struct
import subprocess
import unittest

import harness
from harness import Raw, Tests, lf, mail, stuffed, tls_context, without_trace

LISTEN = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
networks { proxy = { "127.0.0.2" }, xclient = { "127.0.0.2" } }
listen { "127.0.0.1:@smtp@", tls = "starttls", auth = "on" }
listen { "127.0.0.1:@proxy@", proxy = true }
listen { "127.0.0.1:@small@", limits = { recipients = 3, message = 4096, header = 1024, line = 600, data_line = 1500, errors = 4,
         commands = 30, transactions = 2, auth_failures = 2 } }
listen { "127.0.0.1:@lmtp@", protocol = "lmtp" }
function on.recipient(session, mail, rcpt)
  if rcpt.user == "refused" then return reject(550, "5.7.1", "not for you") end
  rcpt:store("%{user}")
end
"""

EVIL = b"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n"


def conversation(rcpt, content):
    return (b"EHLO client.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\nNOOP\r\nQUIT\r\n"
            % (rcpt.encode(), stuffed(content)))


def no_id(data):
    return b"\n".join(b"queued" if b"queued as" in line else line for line in data.split(b"\n"))


class Stream(Tests):
    POLICY = LISTEN

    def exchange(self, pieces, name="smtp"):
        with self.daemon.connect(name) as c:
            for piece in pieces:
                c.send(piece)
            return c.rest()

    def test_chunking_changes_nothing(self):
        choices = random.Random(1)
        content = mail("cuts", "one\r\n.dot\r\n..\r\n\r\nlast\r\n")
        whole = no_id(self.exchange([conversation("cuts@example.com", content)]))
        self.assertEqual(whole.count(b"\r\n250 "), 3)
        self.assertEqual(whole.count(b"\nqueued\n"), 1)
        self.assertIn(b"\r\n354 ", whole)
        self.assertIn(b"\r\n221 ", whole)
        data = conversation("cuts@example.com", content)
        runs = [[data[i:i + 1] for i in range(len(data))]]
        for _ in range(5):
            at = sorted(choices.sample(range(1, len(data)), 12))
            runs.append([data[a:b] for a, b in zip([0] + at, at + [len(data)])])
        for pieces in runs:
            self.assertEqual(no_id(self.exchange(pieces)), whole)
        for stored in self.daemon.wait_box("cuts", 7):
            self.assertEqual(without_trace(stored), lf(content))

    def test_many_messages_in_one_segment(self):
        one = b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<many@example.com>\r\nDATA\r\n" + mail("many").encode() + b".\r\n"
        data = self.exchange([b"EHLO client.test\r\n" + one * 20 + b"QUIT\r\n"])
        self.assertEqual(data.count(b"queued as"), 20)
        self.daemon.wait_box("many", 20)

    def test_pipelined_after_a_refusal(self):
        data = self.exchange([b"EHLO client.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<x@elsewhere.test>\r\nDATA\r\n"
                              b"MAIL FROM:<b@sender.test>\r\nRSET\r\nNOOP\r\nQUIT\r\n"])
        codes = [line[:3] for line in data.split(b"\r\n") if line[3:4] == b" "]
        self.assertEqual(codes[0:5], [b"220", b"250", b"250", b"550", b"554"])
        self.assertEqual(codes[-3:], [b"250", b"250", b"221"])

    def test_connection_lost_in_data(self):
        with self.daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=["lost@example.com"])
            c.do("DATA")
            c.send("Subject: lost\r\n\r\nno end\r\n")
            c.end()
        with self.daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=["lost@example.com"])
            c.send("BDAT 100 LAST\r\nonly some")
            c.end()
        self.daemon.wait_idle()
        self.assertEqual(self.daemon.count()["messages"], 0)
        self.assertEqual(self.daemon.box("lost"), [])

    def test_verbs(self):
        with self.daemon.connect() as c:
            self.said(c.reply()[-1], "220 mx.example.com ESMTP")
            for command, code in (("MAIL FROM:<a@b.test>", 503), ("NOOP", 250), ("HELP", 214), ("RSET", 250),
                                  ("HELO client.test", 250), ("VRFY user", 252), ("EXPN list", 502), ("FOO", 500),
                                  ("EHLO", 501), ("RCPT TO:<user@example.com>", 503), ("DATA", 503), ("MAIL FROM:<a@b.test", 501),
                                  ("MAIL FROM:<a@b.test>", 250), ("MAIL FROM:<a@b.test>", 503), ("DATA", 503),
                                  ("RCPT TO:<>", 553), ("RSET", 250), ("DATA", 503), ("QUIT", 221)):
                with self.subTest(command=command):
                    got = c.do(command)
                    self.assertEqual(got[:1], str(code)[:1], got)
                    if code not in (501, 553):  # syntax: either reads well
                        self.assertEqual(got[:3], str(code))

    def test_extensions(self):
        with self.daemon.connect() as c:
            offered = {line[4:].split()[0] for line in c.hello()[1:]}
        for name in ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME",
                     "STARTTLS", "LIMITS", "PRDR", "DSN"):
            self.assertIn(name, offered)
        for name in ("XCLIENT", "VRFY_LIES", "ETRN"):
            self.assertNotIn(name, offered)

    def test_addresses(self):
        with self.daemon.connect() as c:
            c.hello()
            for sender in ("", "a@sender.test", '"a b"@sender.test', "a@[192.0.2.1]", "@relay.test,@b.test:a@sender.test"):
                self.said(c.do("MAIL FROM:<%s>" % sender), "250")
                for rcpt in ("user@example.com", "USER@EXAMPLE.COM", "postmaster", "Postmaster", '"quoted user"@example.org',
                             "@relay.test:user@example.com", "user+tag@example.com"):
                    self.said(c.do("RCPT TO:<%s>" % rcpt), "250")
                c.do("RSET")
            self.said(c.do("MAIL FROM:<gr\u00fc\u00df@sender.test> SMTPUTF8"), "250")
            self.said(c.do("RCPT TO:<gr\u00fc\u00df@example.com>"), "250")
            c.do("RSET")
            self.said(c.do("MAIL FROM:<gr\u00fc\u00df@sender.test>"), "553 5.6.7")
            for bad in ("a b@sender.test", "a@", "@sender.test", "a@sender..test", "a@b@c.test", "a\x00@b.test"):
                self.said(c.do("MAIL FROM:<%s>" % bad), "5")


class Chunks(Tests):
    POLICY = LISTEN

    def bdat(self, c, data, last=False):
        c.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
        return c.reply()[-1]

    def start(self, c, rcpts, parameters=""):
        c.hello()
        self.said(c.do("MAIL FROM:<a@sender.test>" + parameters), "250")
        for r in rcpts:
            self.said(c.do("RCPT TO:<%s>" % r), "250")

    def test_bdat(self):
        content = mail("bdat", ".\r\n..\r\nMAIL FROM:<x@y.test>\r\n.\r\n").encode()
        for cut in (0, 1, 17, len(content) - 1, len(content)):
            with self.daemon.connect() as c:
                self.start(c, ["bdat%d@example.com" % cut])
                self.said(self.bdat(c, content[:cut]), "250")
                self.said(self.bdat(c, content[cut:], True), "250")
                self.said(c.do("NOOP"), "250")
            self.assertEqual(without_trace(self.daemon.wait_box("bdat%d" % cut)[0]), lf(content))

    def test_binary(self):
        content = b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 700
        with self.daemon.connect() as c:
            self.start(c, ["binary@example.com"], " BODY=BINARYMIME")
            self.said(c.do("DATA"), "503")
            self.said(self.bdat(c, content[:1000]), "250")
            self.said(self.bdat(c, content[1000:], True), "250")
        stored = self.daemon.wait_box("binary")[0]
        self.assertTrue(stored.endswith(content), "the octets changed")

    def test_refused_chunks_are_consumed(self):
        with self.daemon.connect() as c:
            c.hello()
            self.said(self.bdat(c, EVIL), "503")
            self.said(c.do("NOOP"), "250")
            self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
            self.said(self.bdat(c, EVIL, True), "5")
            self.said(c.do("RSET"), "250")
            self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
            self.said(c.do("RCPT TO:<refused@example.com>"), "250")
            self.said(self.bdat(c, b"Subject: x\r\n\r\n"), "250")
            self.said(c.do("DATA"), "503")
            self.said(c.do("RSET"), "250")
        self.assertEqual(self.daemon.box("victim"), [])

    def test_bare_newline_in_a_chunk(self):
        with self.daemon.connect() as c:
            self.start(c, ["bare@example.com"])
            self.said(self.bdat(c, b"Subject: x\r\n\r\nbare\nnewline\r\n", True), "550 5.6.11")
        self.assertEqual(self.daemon.box("bare"), [])

    def test_prdr(self):
        with self.daemon.connect() as c:
            self.start(c, ["one@example.com", "refused@example.com", "two@example.com"], " PRDR")
            self.said(c.message(mail("prdr")), "353")
            self.said(c.reply()[-1], "250")
            self.said(c.reply()[-1], "550 5.7.1")
            self.said(c.reply()[-1], "250")
            self.said(c.reply()[-1], "250")
            self.said(c.do("NOOP"), "250")
        self.daemon.wait_box("one")
        self.daemon.wait_box("two")

    def test_prdr_all_refused(self):
        with self.daemon.connect() as c:
            self.start(c, ["refused@example.com", "refused@example.com"], " PRDR")
            self.said(c.message(mail("prdr")), "353")
            for _ in range(3):
                self.said(c.reply()[-1], "550 5.7.1")


class Smuggling(Tests):
    """Ends of data that some other server might believe in. Never may a second message appear."""

    POLICY = LISTEN
    ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\r\n.\r\r\n", b"\r\n\x00.\r\n",
            b"\r\n.\x00\r\n", b"\r\r\n.\r\r\n", b"\n\r\n.\n\r\n", b"\r\n.\n\r\n", b"\r\n\r.\r\n", b"\r\n.\n.\n")

    def attempt(self, end, byte_by_byte=False):
        with self.daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=["user@example.com"])
            c.do("DATA")
            data = b"Subject: outer\r\n\r\nbefore" + end + EVIL.replace(b"QUIT\r\n", b"") + b"after\r\n.\r\nQUIT\r\n"
            # The evil part has a real end of data of its own: what follows it is commands again, and must fail as such.
            data = data.replace(b"smuggled\r\n.\r\n", b"smuggled\r\n..\r\n")
            for piece in [data[i:i + 1] for i in range(len(data))] if byte_by_byte else [data]:
                c.send(piece)
            return c.rest()

    def test_every_end(self):
        for end in self.ENDS:
            with self.subTest(end=end):
                data = self.attempt(end)
                self.assertEqual(data.count(b"\r\n"), 2, data)
                if b"\x00" in end and b"\n." not in end.replace(b"\r\n", b""):
                    self.assertEqual(data[3:4], b" ")  # a NUL is ugly, but ends nothing
                else:
                    self.said(data.decode(), "550 5.6.11")
        self.assertEqual(self.daemon.box("victim"), [])
        senders = {m["sender"] for m in self.daemon.queue()}
        self.assertNotIn("evil@sender.test", senders)

    def test_byte_by_byte(self):
        for end in self.ENDS[:4]:
            self.said(self.attempt(end, True).decode(), "550 5.6.11")
        self.assertEqual(self.daemon.box("victim"), [])

    def test_bare_newline_in_commands(self):
        with self.daemon.connect() as c:
            c.hello()
            self.said(c.do("MAIL FROM:<a@sender.test>\nRCPT TO:<victim@example.com>"), "5")
            self.said(c.do("NOOP\rRSET"), "5")
            self.said(c.do("NOOP"), "250")

    def test_only_crlf_in_the_middle_of_a_stored_message(self):
        content = "Subject: x\r\n\r\na\r\n.b\r\n. \r\n.\t\r\n...\r\n"
        _, final = self.sends("exact@example.com", content)
        self.said(final, "250")
        self.assertEqual(without_trace(self.daemon.wait_box("exact")[0]), lf(content))


class SmugglingIntoSink(unittest.TestCase):
    """The same against `barid sink`, which writes a line per envelope: one may never be two, and evil is no sender."""

    def test_every_end(self):
        ends = Smuggling.ENDS
        process = subprocess.Popen([harness.BARID, "sink", "--port", "0"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        said = process.stderr.readline().decode()
        port = int(re.search(r"port (\d+)", said).group(1))
        for n, end in enumerate(ends):
            with Raw(("127.0.0.1", port)) as c:
                c.hello()
                c.envelope("attempt%d@sender.test" % n)
                c.do("DATA")
                c.send(b"Subject: outer\r\n\r\nbefore" + end + EVIL.replace(b"\r\n.\r\nQUIT\r\n", b"\r\n") + b"after\r\n.\r\nNOOP\r\n")
                c.reply()
                c.reply()
                c.envelope("attempt%d@sender.test" % n)  # one that is well-formed: it is recorded whatever became of the first
                self.assertTrue(c.message(mail()).startswith("250"))
                c.do("QUIT")
        process.terminate()
        senders = [json.loads(line)["sender"] for line in process.stdout]
        self.assertEqual({"attempt%d@sender.test" % n for n in range(len(ends))}, set(senders))


class Stopping(unittest.TestCase):
    def test_graceful(self):
        daemon = harness.Barid(LISTEN)
        self.addCleanup(daemon.close)
        daemon.start()
        with daemon.connect() as idle, daemon.connect() as busy:
            idle.hello()
            busy.hello()
            busy.envelope(rcpts=["stopping@example.com"])
            busy.do("DATA")
            busy.send("Subject: last\r\n\r\nfirst half, ")
            daemon.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.reply()[-1].startswith("421"))
            self.assertIsNone(idle.line())
            busy.send("second half\r\n.\r\n")
            self.assertTrue(busy.reply()[-1].startswith("250"))
            self.assertTrue(busy.reply()[-1].startswith("421"))
        self.assertEqual(daemon.process.wait(harness.DEADLINE), 0)
        daemon.process = None
        daemon.start()  # accepted: delivered before the stop, or now
        self.assertIn(b"first half, second half\n", daemon.wait_box("stopping")[0])


class Normalise(Tests):
    POLICY = LISTEN + 'bare_newline "normalise"\n'

    def test_one_message_however_it_is_written(self):
        for n, end in enumerate(Smuggling.ENDS[:8]):
            with self.daemon.connect() as c:
                c.hello()
                c.envelope(rcpts=["normal%d@example.com" % n])
                c.do("DATA")
                c.send(b"Subject: outer\r\n\r\nbefore" + end + b"MAIL FROM:<evil@sender.test>\r\nafter\r\n.\r\n")
                self.said(c.reply()[-1], "250")
                self.said(c.do("NOOP"), "250")
            stored = self.daemon.wait_box("normal%d" % n)[0]
            self.assertNotIn(b"\r", stored)
            self.assertIn(b"MAIL FROM:<evil@sender.test>\nafter\n", stored)


class Starttls(Tests):
    POLICY = LISTEN

    def test_injected_commands_are_dropped(self):
        with self.daemon.connect() as c:
            c.hello()
            c.send("STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<evil@sender.test>\r\nRCPT TO:<victim@example.com>\r\n")
            self.said(c.reply()[-1], "220")
            self.assertEqual(c.buffer, b"")
            c.start_tls(tls_context())
            # Nothing of before counts: the first reply is to what is said now.
            self.said(c.do("MAIL FROM:<a@sender.test>"), "503")
            c.send("EHLO client.test\r\n")
            offered = c.reply()
            self.assertNotIn("STARTTLS", "".join(offered))
            self.assertIn("AUTH", "".join(offered))
            self.said(c.do("RCPT TO:<victim@example.com>"), "503")
            self.said(c.do("STARTTLS"), "5")

    def test_helo_is_forgotten(self):
        with self.daemon.connect() as c:
            c.hello()
            self.said(c.do("STARTTLS now"), "501")
            self.said(c.do("STARTTLS"), "220")
            c.start_tls(tls_context())
            self.said(c.do("MAIL FROM:<a@sender.test>"), "503")

    def test_failed_handshake_harms_nobody(self):
        with self.daemon.connect() as c:
            c.hello()
            c.do("STARTTLS")
            c.send(b"this is no handshake\r\n" * 20)
            c.rest()
        _, final = self.sends("after@example.com")
        self.said(final, "250")


class Peers(Tests):
    POLICY = LISTEN

    def deliver(self, c, user):
        c.envelope(rcpts=[user + "@example.com"])
        self.said(c.message(mail()), "250")
        return self.daemon.wait_box(user)[0].decode()

    def test_xclient_from_a_trusted_peer(self):
        with self.daemon.connect(source="127.0.0.2") as c:
            self.assertIn("XCLIENT", "".join(c.hello()))
            self.said(c.do("XCLIENT ADDR=192.0.2.7 NAME=spike.example HELO=inner.example PROTO=ESMTP"), "220")
            c.send("EHLO real.example\r\n")
            c.reply()
            stored = self.deliver(c, "xclient")
        self.assertIn("[192.0.2.7]", stored)
        self.assertIn("spike.example", stored)

    def test_xclient_from_anybody(self):
        with self.daemon.connect() as c:
            self.assertNotIn("XCLIENT", "".join(c.hello()))
            self.said(c.do("XCLIENT ADDR=192.0.2.7 NAME=spike.example"), "5")
            stored = self.deliver(c, "noxclient")
        self.assertNotIn("192.0.2.7", stored)

    def proxied(self, header, user, source="127.0.0.2"):
        with self.daemon.connect("proxy", source) as c:
            c.send(header)
            if not c.hello():
                return None
            return self.deliver(c, user)

    def test_proxy_v1(self):
        self.assertIn("[192.0.2.9]", self.proxied(b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\r\n", "v1"))
        self.assertIn("[IPv6:2001:db8::9]", self.proxied(b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 25\r\n", "v16"))
        self.assertIn("[127.0.0.2]", self.proxied(b"PROXY UNKNOWN\r\n", "v1u"))

    def test_proxy_v2(self):
        signature = b"\r\n\r\n\0\r\nQUIT\n"
        four = signature + b"\x21\x11" + struct.pack("!H4s4sHH", 12, bytes([192, 0, 2, 10]), bytes([192, 0, 2, 1]), 4711, 25)
        six = signature + b"\x21\x21" + struct.pack("!H16s16sHH", 36, socket.inet_pton(socket.AF_INET6, "2001:db8::a"),
                                                     socket.inet_pton(socket.AF_INET6, "2001:db8::1"), 4711, 25)
        local = signature + b"\x20\x00\x00\x00"
        self.assertIn("[192.0.2.10]", self.proxied(four, "v2"))
        self.assertIn("[IPv6:2001:db8::a]", self.proxied(six, "v26"))
        self.assertIn("[127.0.0.2]", self.proxied(local, "v2l"))

    def test_proxy_header_is_required_there(self):
        with self.daemon.connect("proxy", "127.0.0.2") as c:
            c.send("EHLO client.test\r\n")
            self.assertNotIn(b"250", c.rest())

    def test_proxy_header_from_anybody(self):
        """Not a trusted peer: its header is no header, and nobody believes it."""
        with self.daemon.connect("proxy") as c:
            c.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\r\n")
            c.hello()
            self.said(c.reply()[-1], "250")
            stored = self.deliver(c, "unproxied")
        self.assertNotIn("192.0.2.9", stored)
        self.assertIn("[127.0.0.1]", stored)

    def test_proxy_header_where_none_is_expected(self):
        with self.daemon.connect(source="127.0.0.2") as c:
            c.reply()
            self.said(c.do("PROXY TCP4 192.0.2.9 192.0.2.1 4711 25"), "5")


class Limits(Tests):
    POLICY = LISTEN

    def small(self):
        c = self.daemon.connect("small")
        self.addCleanup(c.close)
        return c, c.hello()

    def test_announced(self):
        _, offered = self.small()
        self.assertIn("SIZE 4096", "\n".join(offered))
        limits = next(line for line in offered if line[4:].startswith("LIMITS"))
        self.assertIn("RCPTMAX=3", limits)
        self.assertIn("MAILMAX=2", limits)

    def test_recipients(self):
        c, _ = self.small()
        replies = c.envelope(rcpts=["u%d@example.com" % i for i in range(5)])
        self.assertEqual([r[:9] for r in replies[1:]], ["250 2.1.5"] * 3 + ["452 4.5.3"] * 2)
        self.said(c.message(mail()), "250")

    def test_size(self):
        c, _ = self.small()
        self.said(c.do("MAIL FROM:<a@sender.test> SIZE=4097"), "552 5.3.4")
        self.said(c.do("MAIL FROM:<a@sender.test> SIZE=4096"), "250")
        self.said(c.do("RCPT TO:<big@example.com>"), "250")
        self.said(c.message(mail("big", ("x" * 78 + "\r\n") * 60)), "552 5.3.4")
        self.said(c.do("NOOP"), "250")
        self.assertEqual(self.daemon.box("big"), [])

    def test_size_by_chunks(self):
        c, _ = self.small()
        c.envelope(rcpts=["bigchunk@example.com"])
        c.send(b"BDAT 5000 LAST\r\n" + b"x" * 4998 + b"\r\n")
        self.said(c.reply()[-1], "552 5.3.4")
        self.said(c.do("NOOP"), "250")

    def test_header(self):
        c, _ = self.small()
        c.envelope(rcpts=["header@example.com"])
        self.said(c.message("X-Long: " + "\r\n ".join(["y" * 70] * 20) + "\r\n\r\nbody\r\n"), "552 5.3.4")

    def test_line_of_a_message(self):
        c, _ = self.small()
        c.envelope(rcpts=["line@example.com"])
        self.said(c.message(mail("line", "z" * 1600 + "\r\n")), "552 5.6.0")

    def test_command_line(self):
        c, _ = self.small()
        self.said(c.do("NOOP " + "x" * 500), "250")
        self.said(c.do("NOOP " + "x" * 700), "500 5.5.2")
        self.said(c.do("NOOP"), "250")

    def test_errors(self):
        c, _ = self.small()
        got = [c.do("FOO") for _ in range(5)]
        self.assertIn("421 4.7.0", [g[:9] for g in got])
        self.assertIsNone(c.line())

    def test_commands(self):
        c, _ = self.small()
        c.send("VRFY x\r\n" * 40)
        data = c.rest()
        self.assertIn(b"421 4.7.0", data)
        self.assertLess(data.count(b"252"), 31)

    def test_transactions(self):
        c, _ = self.small()
        for _ in range(2):
            c.envelope(rcpts=["tx@example.com"])
            self.said(c.message(mail()), "250")
        self.said(c.do("MAIL FROM:<a@sender.test>"), "4")

    def test_endless_line(self):
        c, _ = self.small()
        try:
            for _ in range(200):
                c.send("x" * 65536)
        except OSError:
            return  # closed: fine
        c.send("\r\n")
        self.said(c.reply()[-1], "500")


class Connections(Tests):
    POLICY = LISTEN + "limits { connections = 3 }\n"

    def test_in_total(self):
        kept = [self.daemon.connect() for _ in range(3)]
        for c in kept:
            self.addCleanup(c.close)
            self.said(c.reply()[-1], "220")
        with self.daemon.connect() as c:
            self.said(c.reply()[-1], "421")
            self.assertIsNone(c.line())
        self.said(kept[0].do("QUIT"), "221")
        self.assertIsNone(kept[0].line())
        with self.daemon.connect() as c:
            self.said(c.reply()[-1], "220")


class Deadlines(Tests):
    POLICY = LISTEN
    CLOCK = True
    shifted = 0

    def pass_time(self, seconds):
        type(self).shifted += seconds
        self.daemon.shift_clock(self.shifted)

    def test_silence(self):
        with self.daemon.connect() as c:
            c.hello()
            self.pass_time(4 * 3600)
            self.said(c.reply()[-1], "421 4.4.2")
            self.assertIsNone(c.line())

    def test_dribbling_a_command(self):
        with self.daemon.connect() as c:
            c.hello()
            c.send("NO")
            c.settled()
            self.pass_time(4 * 3600)
            self.said(c.reply()[-1], "421 4.4.2")

    def test_silence_in_data(self):
        with self.daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=["slow@example.com"])
            c.do("DATA")
            c.send("Subject: slow\r\n\r\nabc")
            c.settled()
            self.pass_time(4 * 3600)
            self.said(c.reply()[-1], "421 4.4.2")
        self.assertEqual(self.daemon.box("slow"), [])


if __name__ == "__main__":
    harness.main()
