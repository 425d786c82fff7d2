#!/usr/bin/env python3
"""Hostile peers by TLS and LMTP: floods, clients that do not read, storms, halves of handshakes and of connections, records that
are none. The list of what they got is a part of docs/hostile.md: hostile_test.py --write writes all of it."""

import base64
import random
import resource
import select
import socket
import ssl
import struct
import unittest

import harness
from harness import Raw, lf, mail, tls_context, without_trace
from hostile import MEBIBYTE, QUIET, STORE, Hostile, codes, heard, note, written

LISTEN = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
listen { "127.0.0.1:@smtp@", tls = "starttls" }
listen { "127.0.0.1:@tls@", tls = "implicit", auth = "on" }
listen { "127.0.0.1:@lmtp@", protocol = "lmtp" }
listen { "127.0.0.1:@lmtptls@", protocol = "lmtp", tls = "implicit" }
"""
NAMES = {"tls": "TLS", "lmtp": "LMTP", "lmtptls": "LMTP within TLS"}
RESET = struct.pack("ii", 1, 0)


def client_hello():
    """The first octets of an honest client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class HostileTls(Hostile):
    HEAD = QUIET
    CLOCK = True
    POLICY = LISTEN + "limits { connections = 100000, connections_per_client = 100000 }\n" + STORE

    def probe(self, name="smtp"):
        """An honest mail in the clear, and one within TLS."""
        super().probe(name)
        self.mail_by_tls("honest")

    def mail_by_tls(self, user):
        with self.greeted("tls") as c:
            c.envelope(rcpts=[user + "@example.com"])
            self.said(c.message(mail()), "250")


class Floods(HostileTls):
    def test_commands(self):
        sent = 0
        for way, name in NAMES.items():
            hello = "LHLO" if "lmtp" in way else "EHLO"
            for command, limit in (("NOOP", 100), ("RSET", 100), (hello + " x", 100), ("FOO", 20), ("MAIL FROM:<", 20), ("DATA", 20),
                                   ("RCPT TO:<x@example.com>", 20), ("STARTTLS", 20), ("", 20)):
                if command == "STARTTLS" and way == "lmtp":
                    continue  # that is where it is in place
                got = self.flood("%s: `%s` without end" % (name, command), command.encode() + b"\r\n", 3000, way=way,
                                 section="TLS: floods, and by LMTP")
                self.assertLessEqual(abs(len(got) - 1 - limit), 1, (way, command))
                sent += 1
        print("# proof: floods of commands: %d by TLS and LMTP, each ended by one 421, mail flows" % sent)

    def test_recipients(self):
        envelope = b"MAIL FROM:<a@sender.test>\r\n"
        for way, name in NAMES.items():
            got = self.flood(name + ": RCPT without end", b"RCPT TO:<u@example.com>\r\n", 12000, before=envelope, way=way,
                             section="TLS: floods, and by LMTP")
            self.assertEqual(got.count("250 2.1.5"), 1000)

    def test_auth(self):
        wrong = base64.b64encode(b"\0alice\0wrong").decode()
        for what, command in (("with a wrong password", "AUTH PLAIN %s\r\n" % wrong), ("that is no base64", "AUTH PLAIN ====\r\n"),
                              ("cancelled", "AUTH PLAIN\r\n*\r\n")):
            got = self.flood("TLS: AUTH PLAIN %s, without end" % what, command.encode(), 200, way="tls",
                             section="TLS: floods, and by LMTP")
            self.assertLessEqual(len(got), 42)  # a 334 and a 501 each
        print("# proof: floods of AUTH: 3 within TLS, each ended by one 421, mail flows")


class Deaf(HostileTls):
    POLICY = LISTEN + """
limits { noops = 10000000, commands = 10000000, hook_ms = 300000, connections_per_client = 1000 }
function on.helo(session, name) if name == "wait.test" then sleep(100000) end end
""" + STORE
    EACH = 500 << 10  # output and pipelined, 65,536 each, doubled by buffers that grow; a TLS connection has 60 KiB of its own
    CLIENTS = 10
    BLOCK = b"NOOP x\r\n" * 1000

    def write_and_read(self, c, *pieces):
        """The daemon reads on when its replies are read, so both at once."""
        c.socket.setblocking(False)
        for piece in pieces:
            while piece:
                try:
                    piece = piece[c.socket.send(piece):]
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    select.select([c.socket], [c.socket], [], harness.DEADLINE)
                try:
                    c.buffer += c.socket.recv(65536)
                except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    pass
        c.socket.settimeout(harness.DEADLINE)

    def warm(self):
        """What is made once, by each worker and pool thread, is not what a client costs."""
        for _ in range(10):
            self.probe()

    def small(self, way):
        """Its own receive buffer is small, so that what is not read soon fills the daemon's."""
        c = self.greeted(way)
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.addCleanup(c.close)
        return c

    def test_replies_not_read(self):
        for way, name in NAMES.items():
            self.warm()
            before = self.memory()
            hello = b"LHLO" if "lmtp" in way else b"EHLO"
            for i in range(self.CLIENTS):
                sent = self.push(self.small(way).socket, (hello + b" client.test\r\n", b"NOOP\r\n", b"FOO\r\n")[i % 2] * 2000)
                self.assertLess(sent, 64 * MEBIBYTE)
            self.bounded((self.memory() - before) / self.CLIENTS)
            self.out_of_time(301)
            note("TLS: clients that do not read, and by LMTP", "%s: 10 clients that send commands without end and read no reply" % name,
                 "reading stops; less than %d KiB of memory each; closed" % (self.EACH >> 10))
        print("# proof: clients that do not read: %d by TLS and LMTP, less than %d KiB each, all closed, mail flows" % (
            self.CLIENTS * len(NAMES), self.EACH >> 10))

    def test_pipelined_past_the_buffers(self):
        answered = 0
        for way, name in NAMES.items():
            self.warm()
            before, held = self.memory(), []
            for _ in range(self.CLIENTS):
                c = self.greeted(way)
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                self.addCleanup(c.close)
                c.send("%s wait.test\r\n" % ("LHLO" if "lmtp" in way else "EHLO"))
                held.append((c, self.push(c.socket, self.BLOCK)))
                self.assertGreater(held[-1][1], 65536)
            self.bounded((self.memory() - before) / len(held))
            self.probe()
            self.pass_time(101)
            for c, sent in held:
                self.said(c.reply()[-1], "250")
                # TLS wants what it has not got rid of once more, as it was.
                rest = self.BLOCK if "tls" in way else self.BLOCK[sent % 8:] if sent % 8 else b""
                self.write_and_read(c, rest, b"QUIT\r\n")
                got = codes(heard(c))
                self.assertEqual(got, ["250 2.0.0"] * ((sent + len(rest)) // 8) + ["221 2.0.0"])
                answered += len(got)
            note("TLS: clients that do not read, and by LMTP", "%s: as many commands as fit, pipelined behind a hook that waits" % name,
                 "reading stops; then one reply for each, in order")
        print("# proof: pipelining past the buffers: %d commands by TLS and LMTP, one reply for each, in order" % answered)


class Handshakes(HostileTls):
    EACH = 64 << 10  # octets of memory for a handshake that has begun

    def connect_raw(self, name="tls", source=None):
        s = socket.socket()
        s.settimeout(harness.DEADLINE)
        if source:
            s.bind((source, 0))
        s.connect(("127.0.0.1", self.daemon.port[name]))
        return s

    def test_storms(self):
        hello, count = client_hello(), 1000
        for what, first in (("closed at once", None), ("reset at once", b""), ("reset after half a handshake", hello[:100]),
                            ("reset after a ClientHello", hello)):
            for i in range(count):
                with self.connect_raw() as s:
                    if first is not None:
                        s.send(first)
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                if i % 500 == 250:
                    self.probe()
            note("TLS: handshakes", "%d connections to a TLS port, one after another, %s" % (count, what), "mail flows, none is left")
        self.until(lambda s: s["connections_open"] == 0, "no connection is left")
        print("# proof: storms at a TLS port: 4 times %d connections, mail flows, none is left" % count)

    def test_thousands_that_are_slow(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        hello, held, count = client_hello(), [], min(3000, hard - 500)
        self.probe()
        before = self.memory()
        for i in range(count):
            s = self.connect_raw(source="127.0.%d.1" % (i // 1000))
            self.addCleanup(s.close)
            s.send(hello[:(0, 1, 5, 6, 50, len(hello) - 1)[i % 6]])
            held.append(s)
            if i % 500 == 250:
                self.probe()
        self.until(lambda s: s["connections_open"] >= count, "all are accepted")
        self.bounded((self.memory() - before) / count)
        self.pass_time(30)
        for i, s in enumerate(held):  # another octet buys no time
            if i % 6 < 5:
                at = (0, 1, 5, 6, 50)[i % 6]
                s.send(hello[at:at + 1])
        self.probe()
        self.pass_time(31)
        for s in held:
            try:
                self.assertEqual(s.recv(100), b"")
            except ConnectionResetError:
                pass
        note("TLS: handshakes", "3,000 handshakes that stop within the ClientHello, with another octet after 30 s",
             "less than %d KiB of memory each; mail flows; closed after 60 s" % (self.EACH >> 10))
        print("# proof: slow handshakes: %d at once, less than %d KiB each, all closed after 60 s, mail flows" % (count, self.EACH >> 10))


class Records(HostileTls):
    def closed(self, s, what):
        """No word of the protocol is heard, and the end comes."""
        said = b""
        s.settimeout(harness.DEADLINE)
        while True:
            try:
                more = s.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                break
            if not more:
                break
            said += more
        self.assertNotIn(b"220 ", said, what)

    def test_instead_of_a_handshake(self):
        hello, chance = client_hello(), random.Random(1)
        broken = bytearray(hello)
        broken[50] ^= 0xff
        table = [("EHLO in the clear", b"EHLO client.test\r\n" * 20), ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                 ("zeros", b"\0" * 1000), ("random octets", bytes(chance.getrandbits(8) for _ in range(5000))),
                 ("a record of 65,535 octets", b"\x16\x03\x01\xff\xff" + b"x" * 65535), ("an alert", b"\x15\x03\x03\x00\x02\x02\x28"),
                 ("application data", b"\x17\x03\x03\x00\x10" + b"x" * 16), ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"x" * 40),
                 ("a ClientHello of SSL 3", b"\x16\x03\x00" + hello[3:9] + b"\x03\x00" + hello[11:]),
                 ("a ClientHello twice", hello + hello), ("a ClientHello, then random octets", hello + b"\xff" * 500)]
        for what, octets in table:
            s = socket.create_connection(("127.0.0.1", self.daemon.port["tls"]), harness.DEADLINE)
            with s:
                try:
                    s.sendall(octets)
                    s.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                self.closed(s, what)
            note("TLS: records", "%s where a handshake is due" % what, "closed, no greeting")
        print("# proof: garbage instead of a handshake: %d kinds, all closed without a greeting, mail flows" % len(table))

    def test_within_a_session(self):
        table = [("octets that are no record", b"QUIT\r\n" * 5), ("a record that nobody can have sealed", b"\x17\x03\x03\x00\x40" + b"x" * 64),
                 ("a record of 65,535 octets", b"\x17\x03\x03\xff\xff" + b"x" * 65535), ("an alert in the clear", b"\x15\x03\x03\x00\x02\x02\x28"),
                 ("a record without octets", b"\x17\x03\x03\x00\x00" * 50), ("a ClientHello in the clear", client_hello())]
        for what, octets in table:
            for way in ("tls", "lmtptls"):
                with self.greeted(way) as c:
                    c.envelope(rcpts=["records@example.com"])
                    self.said(c.do("DATA"), "354")
                    c.send(b"Subject: half\r\n\r\nhalf\r\n")
                    raw = socket.socket(fileno=c.socket.detach())  # below TLS
                    with raw:
                        try:
                            raw.sendall(octets)
                        except OSError:
                            pass
                        self.closed(raw, what)
            note("TLS: records", "%s within a message" % what, "closed, nothing is stored")
        self.idle()
        self.assertEqual(self.daemon.box("records"), [])
        print("# proof: garbage within TLS: %d kinds by SMTP and LMTP, all closed, nothing stored, mail flows" % len(table))

    def test_half_closed(self):
        """No more from the client, with and without TLS having said so."""
        done = acknowledged = 0
        content = b"Subject: x\r\n\r\nwhole\r\n"
        steps = [("the handshake", []), ("EHLO", [b"EHLO client.test\r\n"]),
                 ("half a command", [b"EHLO client.test\r\n", b"MAIL FR"]),
                 ("half a message", [b"EHLO client.test\r\n", b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<half@example.com>\r\n", b"DATA\r\n",
                                     content]),
                 ("a whole message", [b"EHLO client.test\r\n", b"MAIL FROM:<a@sender.test>\r\n", b"RCPT TO:<whole@example.com>\r\n",
                                      b"DATA\r\n", content + b".\r\n"])]
        for what, sent in steps:
            for proper in (False, True):
                c = Raw(("127.0.0.1", self.daemon.port["tls"]), tls=tls_context())
                with c:
                    for piece in sent:
                        c.send(piece)
                    if proper:
                        c.socket.settimeout(0)
                        try:
                            c.socket.unwrap()  # says so, and does not wait for the answer
                        except (OSError, ValueError):
                            pass
                        c.socket.settimeout(harness.DEADLINE)
                    else:
                        socket.socket.shutdown(c.socket, socket.SHUT_WR)  # TLS is not asked
                        acknowledged += "250 2.0.0" in codes(heard(c))
                done += 1
            note("TLS: half-closed connections", "no more from the client after %s, with and without TLS saying so" % what, "closed" + (
                "; what was not acknowledged may be delivered" if what == "a whole message" else ", nothing is stored"))
        self.until(lambda s: s["connections_open"] == 0, "no connection is left")
        self.idle()
        self.assertEqual(self.daemon.box("half"), [])
        whole = self.daemon.box("whole")
        self.assertLessEqual(acknowledged, len(whole))
        self.assertEqual({without_trace(stored) for stored in whole} - {lf(content)}, set())
        print("# proof: half-closed TLS: %d connections, never half a message, none is left" % done)


class Written(unittest.TestCase):
    maxDiff = None

    def test_the_document_is_true(self):
        written(self, lambda section: section.startswith("TLS: "))


def load_tests(loader, tests, pattern):
    """In the order of this file: the document comes last."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(c) for c in (Floods, Deaf, Handshakes, Records, Written))


if __name__ == "__main__":
    harness.main()
