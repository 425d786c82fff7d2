#!/usr/bin/env python3
"""What a hostile or broken peer may try, and what it gets: a second message never, room without end never, a place in the way
of others never. Every attempt is noted; docs/hostile.md is that list and the last test compares it.

  hostile_test.py --write   writes the list, and hostile_tls_test.py its part of it, instead of comparing
"""

import base64
import os
import re
import resource
import socket
import ssl
import struct
import subprocess
import sys
import unittest

import harness
from harness import Barid, lf, mail, tls_context, without_trace
from hostile import MEBIBYTE, QUIET, STORE, Hostile, code, codes, note, shown, written

# --- a second message ----------------------------------------------------------------------------------


EVIL = b"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n..\r\n"
ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
        b"\n\r\n.\n\r\n", b"\r\n.\n\r\n", b"\r\n\r.\r\n", b"\r\n.\n.\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n. \r\n",
        b"\r\n.\t\r\n", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x85.\x85")


class Smuggling(Hostile):
    POLICY = """
tls { certificate = "@cert@", key = "@key@" }
listen { "127.0.0.1:@smtp@", tls = "starttls" }
listen { "127.0.0.1:@lmtp@", protocol = "lmtp" }
""" + STORE

    def begin(self, way, user):
        c = self.daemon.connect("lmtp" if way == "LMTP" else "smtp")
        c.hello(verb="LHLO" if way == "LMTP" else "EHLO")
        if way == "STARTTLS":
            self.said(c.do("STARTTLS"), "220")
            c.start_tls(tls_context())
            c.send("EHLO client.test\r\n")
            c.reply()
        for reply in c.envelope(rcpts=[user + "@example.com"]):
            self.said(reply, "250")
        return c

    def pieces(self, c, way, data, at):
        """data in two pieces; a TLS record is one by itself."""
        c.send(data[:at])
        if way != "STARTTLS":
            c.settled()
        c.send(data[at:])

    def attempt(self, way, end, at):
        """One message with a false end in it, cut `at` octets behind where that begins."""
        with self.begin(way, "outer") as c:
            self.said(c.do("DATA"), "354")
            head = b"Subject: outer\r\n\r\nbefore"
            self.pieces(c, way, head + end + EVIL + b"after\r\n.\r\nQUIT\r\n", len(head) + at)
            return codes(c.rest())

    def test_false_ends(self):
        accepted = 0
        for end in ENDS:
            bare = re.sub(b"\r\n", b"", end)
            expected = "550 5.6.11" if b"\r" in bare or b"\n" in bare else "250 2.0.0"
            for way in ("SMTP", "LMTP", "STARTTLS"):
                for at in range(len(end) + 1):
                    self.assertEqual(self.attempt(way, end, at), [expected, "221 2.0.0"], (way, end, at))
                    accepted += expected.startswith("250")
            note("A false end of data, then MAIL, RCPT, DATA: by SMTP, LMTP and after STARTTLS, cut at every octet", shown(end),
                 "`550 5.6.11`, nothing is stored" if expected.startswith("5") else "text: one message")
        self.only("outer", accepted)

    def only(self, user, count):
        self.idle()
        self.assertEqual(len(self.daemon.box(user)), count)
        self.assertEqual(self.daemon.box("victim"), [])
        self.assertNotIn("evil@sender.test", {m["sender"] for m in self.daemon.queue()})

    def test_the_true_end_cut_anywhere(self):
        content = b"Subject: true\r\n\r\nlast\r\n.\r\n"
        for way in ("SMTP", "LMTP", "STARTTLS"):
            for at in range(len(content) - 6, len(content) + 1):
                with self.begin(way, "true") as c:
                    self.said(c.do("DATA"), "354")
                    self.pieces(c, way, content + b"QUIT\r\n", at)
                    self.assertEqual(codes(c.rest()), ["250 2.0.0", "221 2.0.0"])
        note("The true end of data", shown("\r\n.\r\n") + " cut at every octet", "one message, `250`")
        self.only("true", 3 * 7)

    def test_ends_in_chunks(self):
        content = b"Subject: chunks\r\n\r\nbefore\r\n.\r\n" + EVIL + b"QUIT\r\n"
        begin = content.index(b"\r\n.\r\n")
        for at in range(begin, begin + 6):
            with self.begin("SMTP", "chunks") as c:
                c.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%sQUIT\r\n" % (at, content[:at], len(content) - at, content[at:]))
                self.assertEqual(codes(c.rest()), ["250 2.0.0", "250 2.0.0", "221 2.0.0"])
        note("By BDAT", shown("\r\n.\r\n") + ", MAIL, RCPT, DATA in a chunk, chunks cut at every octet", "text: one message")
        self.only("chunks", 6)
        for stored in self.daemon.box("chunks"):
            self.assertEqual(without_trace(stored), lf(content))

    def test_sizes_of_chunks_that_lie(self):
        section = "By BDAT"
        for size in (b"-1", b"+5", b"0x10", b"1e3", b"18446744073709551617", b"99999999999999999999999", b"", b"5 LASTING", b"5 5",
                     b"5,5"):
            with self.begin("SMTP", "lies") as c:
                c.send(b"BDAT " + size + b"\r\n" + EVIL)
                got = codes(c.end())
            self.assertEqual(got[0][:1], "5", (size, got))
            note(section, shown(b"BDAT " + size) + ", then MAIL, RCPT, DATA", "`%s`, closed: what follows is not looked at" % got[0]
                 if len(got) == 1 else "`%s`" % "`, `".join(got))
        for name, octets in (("8 octets of 100, then closed", b"BDAT 100 LAST\r\n12345678"), ("nothing", b"BDAT 100\r\n")):
            with self.begin("SMTP", "lies") as c:
                c.send(octets)
                self.assertEqual(c.end(), b"")
            note(section, shown("BDAT 100") + " and " + name, "nothing is stored")
        self.only("lies", 0)

    def test_starttls(self):
        section = "STARTTLS"
        for name, injected in (("the same segment", b"EHLO evil.test\r\n" + EVIL), ("the same segment, AUTH",
                               b"AUTH PLAIN AGFsaWNlAHdvbmRlciBsYW5k\r\n"), ("the same segment, half a command", b"MAIL FROM:<ev")):
            with self.daemon.connect() as c:
                c.hello()
                c.send(b"STARTTLS\r\n" + injected)
                self.said(c.reply()[-1], "220")
                self.assertEqual(c.buffer, b"")
                c.start_tls(tls_context())
                got = c.do("RCPT TO:<victim@example.com>")
                self.said(got, "503")
                c.send("QUIT\r\n")
                self.assertEqual(codes(c.rest()), ["221 2.0.0"])
            note(section, "commands in %s as STARTTLS" % name, "dropped; the first command after the handshake gets `%s`" % code(got))
        with self.daemon.connect() as c:
            c.hello()
            self.said(c.do("STARTTLS"), "220")
            c.send(EVIL)
            self.assertNotIn(b"250", c.rest())
        note(section, "commands instead of a handshake", "closed")
        with self.begin("STARTTLS", "twice") as c:
            got = c.do("STARTTLS")
            self.said(got, "5")
            note(section, "STARTTLS within TLS", "`%s`" % code(got))
        with self.begin("SMTP", "early") as c:
            got = code(c.do("STARTTLS"))
            note(section, "STARTTLS within a transaction", "`%s`" % got)
            self.assertEqual(got, "503 5.5.1")
        self.only("victim", 0)


# --- time ---------------------------------------------------------------------------------------------


class Slow(Hostile):
    CLOCK = True
    POLICY = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
networks { proxy = { "127.0.0.2" } }
listen { "127.0.0.1:@smtp@", tls = "starttls", auth = "on", plain_auth_without_tls = true }
listen { "127.0.0.1:@implicit@", tls = "implicit" }
listen { "127.0.0.1:@proxy@", proxy = true }
""" + STORE

    def ready(self, *commands, name="smtp"):
        c = self.opened(name)
        c.hello()
        for command in commands:
            self.assertIn(c.do(command)[:1], "23", command)
        return c

    def ended(self, c, what, seconds):
        got = codes(c.rest())
        note("Time", what, "%s after %s s" % ("`%s`" % got[-1] if got else "closed", seconds))
        return got[-1] if got else ""

    def test_silence_at_every_state(self):
        envelope = ("MAIL FROM:<a@sender.test>", "RCPT TO:<slow@example.com>")
        table = [("silence, the banner not read", [], b"", 300), ("silence after EHLO", [""], b"", 300),
                 ("half a command line", [""], b"MAIL FR", 300), ("silence after MAIL", ["", envelope[0]], b"", 300),
                 ("silence after RCPT", ["", *envelope], b"", 300), ("silence in AUTH", ["", "AUTH PLAIN"], b"", 300),
                 ("half a line in AUTH", ["", "AUTH PLAIN"], b"AGFs", 300), ("silence after DATA", ["", *envelope, "DATA"], b"", 60),
                 ("DATA without its last dot", ["", *envelope, "DATA"], b"Subject: x\r\n\r\n\r\n.", 60),
                 ("a chunk without its octets", ["", *envelope], b"BDAT 1000 LAST\r\nonly", 60)]
        for limit in (60, 300):
            waiting = []
            for what, commands, rest, seconds in table:
                if seconds != limit:
                    continue
                c = self.ready(*commands[1:]) if commands else self.opened()
                c.send(rest)
                if rest:
                    c.settled()
                waiting.append((c, what))
            self.pass_time(limit - 1)
            self.probe()
            for c, _ in waiting:
                self.assertNotIn(b"421", self.now(c))
            self.pass_time(2)
            for c, what in waiting:
                self.assertEqual(self.ended(c, what, limit), "421 4.4.2", what)
            self.probe()
        self.assertEqual(self.daemon.box("slow"), [])

    def now(self, c):
        """What has come so far, without waiting."""
        c.socket.setblocking(False)
        try:
            c.buffer += c.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        c.socket.settimeout(harness.DEADLINE)
        return c.buffer

    def test_handshakes_and_headers(self):
        c = self.ready("STARTTLS")
        half = self.ready("STARTTLS")
        half.send(b"\x16\x03\x01\x02\x00\x01")
        silent = self.opened("implicit")
        proxy, word = self.opened("proxy", "127.0.0.2"), self.opened("proxy", "127.0.0.2")
        word.send(b"PROXY TCP4 192.0.2.1")
        for x, name in ((half, "smtp"), (word, "proxy")):
            x.settled()
        self.probe()
        self.pass_time(11)
        self.assertEqual(self.ended(proxy, "silence where a PROXY header is due", 10), "")
        self.assertEqual(self.ended(word, "half a PROXY header", 10), "")
        self.pass_time(51)
        self.assertEqual(self.ended(c, "silence after STARTTLS", 60), "")
        self.assertEqual(self.ended(half, "half a handshake", 60), "")
        self.assertEqual(self.ended(silent, "silence where implicit TLS is due", 60), "")
        self.probe()

    def test_dribbling(self):
        """An octet now and then buys no time."""
        envelope = ("MAIL FROM:<a@sender.test>", "RCPT TO:<drip@example.com>")
        command, data, chunk = self.ready(), self.ready(*envelope, "DATA"), self.ready(*envelope)
        auth, steady = self.ready("AUTH PLAIN"), self.ready("MAIL FROM:<a@sender.test>", "RCPT TO:<steady@example.com>", "DATA")
        chunk.send(b"BDAT 100000 LAST\r\n")
        port, over = self.daemon.port["smtp"], {}
        for step in range(31): # of ten seconds; what comes a step late does no harm
            steady.send(b"y" * 998 + b"\r\n")
            steady.settled()
            for c, octets in ((command, b"N"), (auth, b"A"), (data, b"x" * 3000 + b"\r\n"), (chunk, b"x" * 3000)):
                if step in (0, 12, 18, 24) and c not in over:
                    c.send(octets)
                    c.settled()
            self.pass_time(10)
            if step == 6:
                for c in (data, chunk):
                    over[c] = self.ended(c, "%s at less than 64 octets a second" % ("DATA" if c is data else "BDAT"), 60)
                self.probe()
        self.assertEqual(set(over.values()), {"421 4.4.2"})
        self.assertEqual(self.ended(command, "a command line, an octet a minute", 300), "421 4.4.2")
        self.assertEqual(self.ended(auth, "an AUTH line, an octet a minute", 300), "421 4.4.2")
        steady.send(b".\r\n")
        self.said(steady.reply()[-1], "250")
        note("Time", "DATA for five minutes at more than 64 octets a second", "`250 2.0.0`")


# --- numbers ------------------------------------------------------------------------------------------


class Many(Hostile):
    CLOCK = True
    POLICY = """
listen { "127.0.0.1:@smtp@" }
limits { connections = 100000 }
""" + STORE
    EACH = 6000 # octets of memory for an idle or dribbling connection, the allocator's waste included

    def test_thousands(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        count = min(hard - 500, 10000)
        if count < 5000:
            self.skipTest("RLIMIT_NOFILE is %d here" % hard)
        self.probe()
        before, port, held = self.memory(), self.daemon.port["smtp"], []
        starts = (b"", b"EH", b"EHLO client.test\r\nMAIL FROM:<a", b"EHLO client.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO")
        for i in range(count):
            s = socket.socket()
            self.addCleanup(s.close)
            s.bind(("127.0.%d.1" % (i // 1000), 0))
            s.connect(("127.0.0.1", port))
            if starts[i % 4]:
                s.send(starts[i % 4])
            held.append(s)
            if i % 2500 == 0:
                self.probe()
        self.until(lambda s: s["connections_open"] >= count, "all are accepted")
        self.probe()
        each = (self.memory() - before) / count
        self.bounded(each)
        for s in held[2::4]: # another octet each
            s.send(b"b")
        self.probe()
        self.pass_time(301)
        for s in held:
            s.settimeout(harness.DEADLINE)
            said = b""
            while True:
                more = s.recv(4096)
                if not more:
                    break
                said += more
            self.assertIn(b"421 4.4.2", said)
        note("Numbers", "10,000 connections that are silent or stopped within a line, a quarter in a transaction",
             "less than %d octets of memory each; mail flows; `421 4.4.2` after 300 s" % self.EACH)

    def test_storms(self):
        port = self.daemon.port["smtp"]
        reset = struct.pack("ii", 1, 0)
        for name, act in (("closed at once", None), ("reset at once", reset), ("reset with a command on its way", b"EHLO x\r\n")):
            for i in range(2000):
                s = socket.socket()
                s.connect(("127.0.0.1", port))
                if act == b"EHLO x\r\n":
                    s.send(act)
                if act is not None:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                s.close()
                if i % 1000 == 500:
                    self.probe()
            note("Numbers", "2,000 connections, one after another, " + name, "mail flows, none is left")

    def test_half_closed(self):
        envelope = [b"EHLO client.test\r\n", b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<half@example.com>\r\n"]
        table = [("a connection", [], "220"), ("half a command", [b"EHL"], "220"), ("EHLO", envelope[:1], "250"),
                 ("MAIL", envelope[:2], "250 2.1.0"), ("RCPT", envelope, "250 2.1.5"), ("DATA", envelope + [b"DATA\r\n"], "354"),
                 ("half a message", envelope + [b"DATA\r\n", b"Subject: x\r\n\r\nx\r\n."], "354"),
                 ("half a chunk", envelope + [b"BDAT 10 LAST\r\n123"], "250 2.1.5"),
                 ("a whole message", envelope[:2] + [b"RCPT TO:<whole@example.com>\r\n", b"DATA\r\n",
                                                     b"Subject: x\r\n\r\nx\r\n.\r\n"], "250 2.0.0")]
        for what, sent, expected in table:
            with self.daemon.connect() as c:
                for piece in sent:
                    c.send(piece)
                got = codes(c.end())
            self.assertEqual(got[-1], expected, what)
            note("Half-closed connections", "no more from the client after " + what,
                 "`%s`%s, closed" % (got[-1], ", delivered" if expected == "250 2.0.0" else ""))
        self.until(lambda s: self.daemon.box("whole"), "the whole message")
        self.idle()
        self.assertEqual(self.daemon.box("half"), [])


class Floods(Hostile):
    """One kind of command without end, all in one go: one reply for each until the limit ends it."""

    POLICY = """
auth { users = "users" }
listen { "127.0.0.1:@smtp@", auth = "on", plain_auth_without_tls = true }
""" + STORE

    def test_commands(self):
        for command, limit in (("NOOP", 100), ("RSET", 100), ("EHLO x", 100), ("VRFY x", 100), ("HELP", 100), ("FOO", 20), ("\0\1", 20),
                               ("MAIL FROM:<", 20), ("RCPT TO:<x@example.com>", 20), ("DATA", 20), ("EXPN x", 20), ("", 20)):
            with self.subTest(command=command):
                got = self.flood(shown(command) + " without end", command.encode() + b"\r\n", 5000)
                self.assertLessEqual(abs(len(got) - 1 - limit), 1)

    def test_auth(self):
        wrong = base64.b64encode(b"\0alice\0wrong").decode()
        got = self.flood("AUTH PLAIN with a wrong password without end", ("AUTH PLAIN %s\r\n" % wrong).encode(), 200)
        self.assertLessEqual(len(got), 4)
        self.flood("AUTH PLAIN that is no base64, without end", b"AUTH PLAIN ====\r\n", 200)
        self.flood("AUTH PLAIN cancelled, without end", b"AUTH PLAIN\r\n*\r\n", 200)

    def test_recipients(self):
        envelope = b"MAIL FROM:<a@sender.test>\r\n"
        got = self.flood("RCPT without end", b"RCPT TO:<u@example.com>\r\n", 12000, before=envelope)
        self.assertEqual(got.count("250 2.1.5"), 1000)
        got = self.flood("RCPT of others' domains without end", b"RCPT TO:<u@elsewhere.test>\r\n", 2000, before=envelope)
        self.assertNotIn("250 2.1.5", got)

    def test_chunks_of_an_octet(self):
        got = self.flood("BDAT of an octet without end", b"BDAT 1\r\nx", 12000,
                         before=b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<tiny@example.com>\r\n")
        self.assertLess(len(got), 10001)
        self.flood("BDAT of no octet without end", b"BDAT 0\r\n", 12000,
                   before=b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<tiny@example.com>\r\n")
        self.assertEqual(self.daemon.box("tiny"), [])


class Deaf(Hostile):
    """Clients that do not read, and hooks that are slower than what is pipelined behind them."""

    CLOCK = True
    POLICY = """
listen { "127.0.0.1:@smtp@" }
limits { noops = 10000000, commands = 10000000, hook_ms = 300000 }
function on.helo(session, name) if name == "wait.test" then sleep(100000) end end
""" + STORE
    CLIENTS = 30
    EACH = 400 << 10 # output and pipelined, 65,536 each, doubled by buffers that grow

    def connect_small(self):
        c = self.opened()
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return c

    def test_replies_not_read(self):
        self.probe()
        before, held = self.memory(), []
        for i in range(self.CLIENTS):
            c = self.connect_small()
            sent = self.push(c.socket, (b"EHLO client.test\r\n", b"HELP\r\n", b"NOOP\r\n", b"FOO\r\n")[i % 3] * 2000)
            self.assertLess(sent, 64 * MEBIBYTE)
            held.append(c)
            if i == 15:
                self.probe()
        self.bounded((self.memory() - before) / self.CLIENTS)
        self.probe()
        self.out_of_time(301) # no command; the 421 is not read; what the kernel has not taken is dropped
        note("Numbers", "30 clients that send commands without end and read no reply",
             "reading stops; less than %d KiB of memory each; closed" % (self.EACH >> 10))

    def test_pipelined_past_the_buffers(self):
        self.probe()
        before, held = self.memory(), []
        for _ in range(20):
            c = self.opened()
            c.reply()
            c.send("EHLO wait.test\r\n")
            sent = self.push(c.socket, b"NOOP x\r\n" * 1000)
            self.assertGreater(sent, 65536)
            held.append((c, sent))
        self.bounded((self.memory() - before) / len(held))
        self.probe()
        self.pass_time(101)
        for c, sent in held:
            self.said(c.reply()[-1], "250")
            whole = sent // 8 # octets of a line that was cut are made whole
            c.send(b"NOOP x\r\n"[sent % 8:] if sent % 8 else b"")
            c.socket.shutdown(socket.SHUT_WR)
            got = codes(c.rest())
            self.assertEqual(got, ["250 2.0.0"] * (whole + (sent % 8 > 0)))
        note("Numbers", "as many commands as the sockets take, pipelined behind a hook that waits",
             "reading stops; less than %d KiB of memory each; then one reply for each, in order" % (self.EACH >> 10))


# --- proxies ------------------------------------------------------------------------------------------


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, family=0x11, body=None, length=None):
    if body is None:
        body = struct.pack("!4s4sHH", bytes([192, 0, 2, 10]), bytes([192, 0, 2, 1]), 4711, 25)
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


class Peers(Hostile):
    POLICY = """
tls { certificate = "@cert@", key = "@key@" }
networks { proxy = { "127.0.0.2" }, xclient = { "127.0.0.2" } }
listen { "127.0.0.1:@smtp@" }
listen { "127.0.0.1:@proxy@", proxy = true }
listen { "127.0.0.1:@both@", proxy = true, tls = "implicit" }
""" + STORE
    V1 = b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\r\n"

    def said_to(self, what, data, source="127.0.0.2", name="proxy"):
        """What the daemon says to a header and EHLO behind it."""
        with self.daemon.connect(name, source) as c:
            c.send(data)
            try:
                c.send(b"EHLO client.test\r\nQUIT\r\n")
                got = codes(c.end())
            except OSError:
                got = []
        note("PROXY", what, "`%s`" % "`, `".join(got) if got else "closed, no word")
        return got

    def test_headers_that_are_none(self):
        tlv = struct.pack("!4s4sHH", bytes([192, 0, 2, 10]), bytes([192, 0, 2, 1]), 4711, 25)
        table = [("nothing but EHLO", b""), ("v1, lower case", b"proxy TCP4 192.0.2.9 192.0.2.1 4711 25\r\n"),
                 ("v1, LF alone", b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\n"), ("v1, a port of 65536", self.V1.replace(b"4711", b"65536")),
                 ("v1, a port of 025", self.V1.replace(b"4711", b"025")), ("v1, an address of 256", self.V1.replace(b"2.9", b"256.9")),
                 ("v1, IPv6 said to be TCP4", self.V1.replace(b"192.0.2.9", b"2001:db8::9")), ("v1, UDP4", self.V1.replace(b"TCP", b"UDP")),
                 ("v1, one address", b"PROXY TCP4 192.0.2.9 4711 25\r\n"), ("v1, two blanks", self.V1.replace(b" ", b"  ")),
                 ("v1, 200 octets without an end", b"PROXY TCP4 " + b"1" * 189), ("v1, UNKNOWN and 200 octets", b"PROXY UNKNOWN " + b"x" * 186),
                 ("v1, a NUL", self.V1.replace(b" 25", b" 2\x00")), ("v2, version 3", v2(0x31)), ("v2, command 2", v2(0x22)),
                 ("v2, half a signature", SIGNATURE[:7]), ("v2, IPv4 of 11 octets", v2(body=tlv[:11])), ("v2, IPv6 of 12 octets", v2(family=0x21)),
                 ("v2, a TLV that is longer than the rest", v2(body=tlv + b"\x04\xff\xff\x00")),
                 ("v2, half a TLV", v2(body=tlv + b"\x04")), ("v2, a wrong checksum", v2(body=tlv + b"\x03\x00\x04\x00\x00\x00\x01"))]
        for what, data in table:
            with self.subTest(what=what):
                got = self.said_to(what, data)
                self.assertNotIn("250", got)

    def test_lengths_that_lie(self):
        """More is announced than comes: EHLO is taken for the header, and then the connection ends."""
        for what, length in (("v2, 65535 octets announced, 12 sent", 65535), ("v2, 13 octets announced, 12 sent", 13)):
            self.assertNotIn("250", self.said_to(what, v2(length=length)))

    def test_truncated(self):
        for header in (self.V1, v2()):
            for at in range(1, len(header)):
                with self.daemon.connect("proxy", "127.0.0.2") as c:
                    c.send(header[:at])
                    self.assertEqual(c.end(), b"")
        note("PROXY", "v1 and v2, closed after every octet", "closed, no word")

    def test_second_header_and_untrusted(self):
        got = self.said_to("a second header after the first", self.V1 + self.V1)
        self.assertEqual(got[:2], ["220", "500 5.5.2"])
        got = self.said_to("a header after EHLO", self.V1 + b"EHLO client.test\r\n" + v2())
        self.assertEqual(got[:2], ["220", "250"])
        self.assertIn("500 5.5.2", got)
        for what, header in (("v1 from who is no proxy", self.V1), ("v2 from who is no proxy", v2())):
            got = self.said_to(what, header, source="127.0.0.3")
            self.assertEqual(got[:2], ["220", "500 5.5.2"])
        got = self.said_to("v1 where no header is expected", self.V1, name="smtp")
        self.assertEqual(got[:2], ["220", "500 5.5.2"])

    def test_behind_it_implicit_tls(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        for name, pieces in (("in one segment", [self.V1 + hello]), ("cut in the handshake", [self.V1 + hello[:9], hello[9:]]),):
            with self.daemon.connect("both", "127.0.0.2") as c:
                for piece in pieces:
                    c.send(piece)
                    c.settled()
                self.assertEqual(c.socket.recv(1), b"\x16") # a handshake is answered
            note("PROXY", "v1 and a TLS handshake " + name, "the handshake is answered")
        with self.daemon.connect("both", "127.0.0.2") as c:
            c.send(v2())
            c.start_tls(tls_context())
            self.said(c.hello()[-1], "250")
        with self.daemon.connect("both", "127.0.0.2") as c:
            c.send(self.V1 + b"EHLO client.test\r\nQUIT\r\n")
            self.assertNotIn(b"250", c.rest())
        note("PROXY", "v1 and EHLO where TLS is due", "closed")

    def xclient(self, command, *before):
        with self.daemon.connect(source="127.0.0.2") as c:
            c.hello()
            for line in before:
                c.do(line)
            return code(c.do(command))

    def test_xclient(self):
        with self.daemon.connect(source="127.0.0.3") as c:
            c.hello()
            got = code(c.do("XCLIENT ADDR=192.0.2.7"))
        self.assertEqual(got[:1], "5")
        note("XCLIENT", "from who may not", "`%s`" % got)
        for command in ("XCLIENT", "XCLIENT ADDR", "XCLIENT ADDR=1.2.3", "XCLIENT ADDR=[192.0.2.1]", "XCLIENT PORT=65536", "XCLIENT FOO=bar",
                        "XCLIENT NAME=a+0D+0AMAIL", "XCLIENT HELO=+00", "XCLIENT PROTO=FTP", "XCLIENT NAME=a+0", "XCLIENT LOGIN=" + "x" * 1500):
            got = self.xclient(command)
            self.assertEqual(got[:1], "5", command)
            note("XCLIENT", shown(command[:40]), "`%s`" % got)
        got = self.xclient("XCLIENT ADDR=192.0.2.7", "MAIL FROM:<a@sender.test>")
        self.assertEqual(got, "503 5.5.1")
        note("XCLIENT", "within a transaction", "`%s`" % got)
        with self.daemon.connect("proxy", "127.0.0.2") as c:
            c.send(self.V1)
            c.hello()
            got = code(c.do("XCLIENT ADDR=192.0.2.7"))
        self.assertEqual(got[:1], "5")
        note("XCLIENT", "from who came through a proxy that itself may", "`%s`" % got)


# --- limits -------------------------------------------------------------------------------------------


class Limits(Hostile):
    """A test for each name of limits{}; the last one compares with what `barid check --defaults` lists."""

    CLOCK = True
    POLICY = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
networks { proxy = { "127.0.0.2" } }
limits { hook_ms = 20000, hook_instructions = 100000, hook_cpu_ms = 60000, lua_memory = 4194304 }
listen { "127.0.0.1:@smtp@" }
listen { "127.0.0.1:@small@", tls = "starttls", auth = "on", plain_auth_without_tls = true, limits = {
  line = 512, auth_line = 600, data_line = 998, commands = 12, errors = 4, auth_failures = 2, noops = 5, recipients = 3,
  transactions = 2, header = 1024, message = 4096, hops = 3 } }
listen { "127.0.0.1:@times@", tls = "starttls", limits = { command_ms = 20000, data_idle_ms = 30000, data_min_rate = 10,
  data_rate_window_ms = 40000, session_ms = 100000, tls_ms = 15000 } }
listen { "127.0.0.1:@proxy@", proxy = true, limits = { connections_per_client = 2, proxy_ms = 5000 } }
listen { "127.0.0.1:@narrow@", limits = { pipelined = 4096, output = 4096, noops = 10000000, commands = 10000000 } }
function on.helo(session, name)
  if name == "wait.test" then sleep(60000) end
  if name == "loop.test" then while true do end end
  if name == "memory.test" then local t = {} for i = 1, 90000 do t[i] = { i } end for i = 1, 9000 do t[i] = ("x"):rep(9000) .. i end end
end
""" + STORE
    SECTION = "Limits"

    def open(self, name="small"):
        c = self.opened(name)
        c.hello()
        return c

    def shows(self, limit, what, got, expected):
        self.assertEqual(got if re.match(r"\d{3} \d\.\d\.\d+$|closed$|\d{3}$", got) else code(got), expected, limit)
        note(self.SECTION, "`%s`: %s" % (limit, what), "`%s`" % expected if expected[0].isdigit() else expected)

    def last(self, c):
        got = codes(c.rest())
        return got[-1] if got else "closed"

    def test_line(self):
        c = self.open()
        self.said(c.do("NOOP " + "x" * 505), "250")
        self.shows("line", "a longer command line; the session goes on", c.do("NOOP " + "x" * 506), "500 5.5.2")
        self.said(c.do("RSET"), "250")

    def test_auth_line(self):
        c = self.open()
        self.said(c.do("AUTH PLAIN"), "334")
        self.shows("auth_line", "a longer line in AUTH", c.do("A" * 700), "500 5.5.6")

    def test_data_line(self):
        c = self.open()
        c.envelope()
        self.said(c.message(mail("x", "y" * 998 + "\r\n")), "250")
        c.envelope()
        self.shows("data_line", "a longer line in a message", c.message(mail("x", "y" * 999 + "\r\n")), "552 5.6.0")

    def test_commands(self):
        c = self.open()
        c.send("MAIL FROM:<a@sender.test>\r\nRSET\r\n" * 10)
        got = codes(c.rest())
        self.assertLessEqual(len(got), 12)
        self.shows("commands", "more commands", got[-1], "421 4.7.0")

    def test_errors(self):
        c = self.open()
        c.send("FOO\r\n" * 10)
        self.shows("errors", "more refused commands", self.last(c), "421 4.7.0")

    def test_auth_failures(self):
        c = self.open()
        c.send(b"AUTH PLAIN AGFsaWNlAHdyb25n\r\n" * 3)
        got = codes(c.rest())
        self.assertEqual(got[:-1].count("535 5.7.8"), len(got) - 1)
        self.assertIn(len(got), (2, 3))
        self.shows("auth_failures", "more failed AUTH", got[-1], "421 4.7.0")

    def test_noops(self):
        c = self.open()
        c.send("NOOP\r\n" * 10)
        self.shows("noops", "more commands in a row that do nothing", self.last(c), "421 4.7.0")

    def test_recipients(self):
        c = self.open()
        got = c.envelope(rcpts=["u%d@example.com" % i for i in range(4)])
        self.said(got[3], "250")
        self.shows("recipients", "one more recipient; the others get the mail", got[4], "452 4.5.3")
        self.said(c.message(mail()), "250")

    def test_transactions(self):
        c = self.open()
        for _ in range(2):
            self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
            c.do("RSET")
        got = code(c.do("MAIL FROM:<a@sender.test>"))
        self.assertEqual(got[:1], "4")
        self.shows("transactions", "one more mail", got, got)

    def test_header(self):
        c = self.open()
        c.envelope()
        self.shows("header", "a longer header block", c.message("X: " + "y" * 70 + "\r\n" + ("X: " + "y" * 70 + "\r\n") * 15 + "\r\n"), "552 5.3.4")

    def test_message(self):
        c = self.open()
        self.shows("message", "SIZE= says more", c.do("MAIL FROM:<a@sender.test> SIZE=4097"), "552 5.3.4")
        c.envelope()
        self.shows("message", "more comes by DATA", c.message(mail("x", "0123456789\r\n" * 400)), "552 5.3.4")
        c = self.open()
        c.envelope()
        c.send(b"BDAT 6000 LAST\r\n" + b"0123456789\r\n" * 500)
        self.shows("message", "more comes by BDAT", c.reply()[-1], "552 5.3.4")
        c = self.open()
        c.envelope()
        c.do("DATA")
        try:
            c.send(b"0123456789\r\n" * 2000)
        except OSError:
            pass
        self.shows("message", "more than twice as much comes, without an end", self.last(c), "552 5.3.4")

    def test_hops(self):
        c = self.open()
        c.envelope()
        self.shows("hops", "more Received fields", c.message("Received: x\r\n" * 4 + mail()), "554 5.4.6")

    def test_pipelined(self):
        c = self.opened("narrow")
        c.reply()
        c.send("EHLO wait.test\r\n")
        self.probe()
        before, total = self.memory(), 0
        c.socket.setblocking(False)
        for _ in range(200):
            try:
                total += c.socket.send(b"NOOP\r\n" * 10000)
            except BlockingIOError:
                self.daemon.get("/v1/status")
        self.assertGreater(total, 4096)
        if not harness.sanitized():
            self.assertLess(self.memory() - before, 2 * MEBIBYTE)
        c.close()
        note(self.SECTION, "`pipelined`: more input behind a hook that waits", "it is not read")
        self.pass_time(61)

    def test_output(self):
        c = self.opened("narrow")
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.reply()
        before, total = self.memory(), 0
        c.socket.setblocking(False)
        for _ in range(400):
            try:
                total += c.socket.send(b"EHLO x\r\n" * 1000)
            except BlockingIOError:
                self.daemon.get("/v1/status")
        if not harness.sanitized():
            self.assertLess(self.memory() - before, 2 * MEBIBYTE)
        c.socket.settimeout(harness.DEADLINE)
        note(self.SECTION, "`output`: more replies than are read", "nothing is parsed until they are")

    def test_times(self):
        c = self.open("times")
        self.pass_time(21)
        self.shows("command_ms", "no command within", self.last(c), "421 4.4.2")
        c = self.open("times")
        c.envelope()
        c.do("DATA")
        self.pass_time(31)
        self.shows("data_idle_ms", "silence in DATA", self.last(c), "421 4.4.2")
        c = self.open("times")
        self.said(c.do("STARTTLS"), "220")
        self.pass_time(16)
        self.shows("tls_ms", "no handshake within", self.last(c), "closed")
        c = self.opened("proxy", "127.0.0.2")
        self.probe()
        self.pass_time(6)
        self.shows("proxy_ms", "no PROXY header within", self.last(c), "closed")
        c = self.open("times")
        for _ in range(6):
            self.said(c.do("NOOP"), "250")
            self.pass_time(16)
            self.probe()
        self.pass_time(16)
        self.shows("session_ms", "a session that is busy for longer", self.last(c), "421 4.4.2")

    def test_rate(self):
        c = self.open("times")
        c.envelope()
        c.do("DATA")
        for octets in (500, 40):
            c.send("x" * octets + "\r\n")
            c.settled()
            self.pass_time(20)
            self.probe()
        for _ in range(3):
            c.send("x\r\n")
            c.settled()
            self.pass_time(14)
            self.probe()
        said = c.reply()[-1]
        self.assertIn("slowly", said)
        self.shows("data_min_rate, data_rate_window_ms", "fewer octets within a window", said, "421 4.4.2")

    def test_connections_per_client(self):
        header, held = b"PROXY TCP4 192.0.2.77 192.0.2.1 4711 25\r\n", []
        for _ in range(3):
            c = self.opened("proxy", "127.0.0.2")
            c.send(header)
            held.append(c.reply()[-1])
        self.assertEqual([code(h) for h in held[:2]], ["220", "220"])
        self.shows("connections_per_client", "one more from the same client", held[2], "421 4.7.0")

    def test_hooks(self):
        c = self.opened()
        c.reply()
        c.send("EHLO wait.test\r\n")
        c.settled()
        self.pass_time(21)
        self.shows("hook_ms", "a hook that waits for longer", c.reply()[-1], "451 4.3.0")
        c = self.opened()
        c.reply()
        self.shows("hook_instructions, hook_cpu_ms", "a hook that never ends", c.do("EHLO loop.test"), "451 4.3.0")
        c.send("EHLO client.test\r\n")
        self.said(c.reply()[-1], "250")
        c = self.opened()
        c.reply()
        self.shows("lua_memory", "a hook that wants more", c.do("EHLO memory.test"), "451 4.3.0")

    TESTED = {"line", "auth_line", "data_line", "commands", "errors", "auth_failures", "noops", "recipients", "transactions", "header",
              "message", "hops", "pipelined", "output", "command_ms", "data_idle_ms", "tls_ms", "proxy_ms", "session_ms", "data_min_rate",
              "data_rate_window_ms", "connections_per_client", "hook_ms", "hook_instructions", "hook_cpu_ms", "lua_memory"}

    def test_no_limit_is_without_a_test(self):
        listed = set(re.findall(r"(?m)^limits\.(\w+) = ", self.daemon.run("check", "--defaults").stdout.decode()))
        self.assertEqual(listed, self.TESTED | {"connections", "drain_ms"})


class Total(Hostile):
    CLOCK = True
    POLICY = 'listen { "127.0.0.1:@smtp@" }\nlimits { connections = 3, drain_ms = 30000 }\n' + STORE

    def test_connections(self):
        held = [self.opened() for _ in range(3)]
        for c in held:
            self.said(c.reply()[-1], "220")
        c = self.opened()
        got = code(c.reply()[-1])
        self.assertEqual(got, "421 4.7.0")
        note("Limits", "`connections`: one more", "`%s`" % got)
        for c in (*held, c):
            c.close()
        self.until(lambda s: s["connections_open"] == 0, "all have left") # before an honest client comes


class Drain(unittest.TestCase):
    def until_refused(self, daemon):
        while True:
            try:
                daemon.connect().close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass

    def test_drain_ms(self):
        daemon = Barid('listen { "127.0.0.1:@smtp@" }\nlimits { drain_ms = 30000 }\n' + STORE, clock=True)
        with daemon:
            with daemon.connect() as c:
                c.hello()
                c.envelope()
                c.do("DATA")
                daemon.process.send_signal(harness.signal.SIGTERM)
                self.until_refused(daemon)  # by every worker: from then on the time counts
                daemon.shift_clock(31)
                got = codes(c.rest())
            self.assertEqual(daemon.process.wait(harness.DEADLINE), 0)
            daemon.process = None
        self.assertEqual(got[-1][:3], "421")
        note("Limits", "`drain_ms`: a stop, and a message that does not end", "`%s`" % got[-1])


class Strangers(unittest.TestCase):
    """SCRAM shows a salt to users who do not exist: it must not be known, and not change."""

    POLICY = 'auth { users = "users" }\nlisten { "127.0.0.1:@smtp@", auth = "on" }\n' + STORE

    def salt(self, daemon, user):
        first = base64.b64encode(b"n,,n=%s,r=abcdefghijklmnop" % user).decode()
        with daemon.connect() as c:
            c.hello()
            answer = base64.b64decode(c.do("AUTH SCRAM-SHA-256 " + first)[4:])
        return re.search(rb",s=([^,]+)", answer).group(1)

    def test_salts(self):
        salts = []
        for _ in range(2):
            with Barid(self.POLICY) as daemon:
                seen = {self.salt(daemon, b"nobody") for _ in range(8)} # several workers
                self.assertEqual(len(seen), 1)
                self.assertNotEqual(self.salt(daemon, b"nobody2"), min(seen))
                salts += seen
        self.assertNotEqual(salts[0], salts[1])
        note("Users who do not exist", "SCRAM-SHA-256 again and again", "the same salt from every worker, another in another process")


class Written(unittest.TestCase):
    maxDiff = None

    def test_the_document_is_true(self):
        written(self, lambda section: not section.startswith("TLS: "))
        if "--write" in sys.argv:
            subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile_tls_test.py"), "--write"],
                           check=True)


def load_tests(loader, tests, pattern):
    """In the order of this file: the document comes last."""
    classes = (Smuggling, Slow, Many, Floods, Deaf, Peers, Limits, Total, Drain, Strangers, Written)
    return unittest.TestSuite(loader.loadTestsFromTestCase(c) for c in classes)


if __name__ == "__main__":
    harness.main()
