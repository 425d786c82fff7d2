#!/usr/bin/env python3
"""The fake DNS answers what its zone and its rules say; asked by octets made and taken apart here."""

import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

import fake
import harness
from fake_dns import FakeDNS

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "fake-dns")
KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52}
ZONE = """
example.test        300 MX    10 mx1.example.test
example.test            MX    20 mx2.example.test
example.test            TXT   v=spf1 -all
mx1.example.test        A     127.0.0.1
mx1.example.test        AAAA  ::1
mx2.example.test        CNAME mx1.example.test
1.0.0.127.in-addr.arpa  PTR   localhost
null.test               MX    0 .
toalias.test            MX    10 mx2.example.test
chain1.test             CNAME chain2.test
chain2.test             CNAME example.test
loop1.test              CNAME loop2.test
loop2.test              CNAME loop1.test
lost.test               CNAME nowhere.test
*.wild.test             A     127.0.0.2
d%d.test                MX    10 mx%d.test
mx%d.test               A     127.0.0.1
_25._tcp.mx1.example.test TLSA 3 1 1 00ff
odd.test                TYPE65280 0102
"""


def name_octets(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def query(name, kind, number=4711, udp_max=None):
    opt = b"\0" + struct.pack("!2HIH", 41, udp_max, 0, 0) if udp_max else b""
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 1 if opt else 0) + name_octets(name) + struct.pack("!2H", KINDS.get(kind, 65280), 1) + opt


class Answer:
    def __init__(self, octets):
        self.octets = octets
        self.id, flags, self.questions, answers, authority, _ = struct.unpack("!6H", octets[:12])
        self.code, self.truncated, self.authoritative, self.response = flags & 15, bool(flags & 0x200), bool(flags & 0x400), flags >> 15
        self.at = 12
        if self.questions:
            self.question = self.name()
            self.at += 4
        self.records = [self.record() for _ in range(answers)]
        self.authority = [self.record() for _ in range(authority)]

    def name(self):
        parts = []
        while self.octets[self.at]:
            n = self.octets[self.at]
            assert n < 64
            parts.append(self.octets[self.at + 1:self.at + 1 + n].decode())
            self.at += 1 + n
        self.at += 1
        return ".".join(parts) or "."

    def record(self):
        name = self.name()
        number, _, ttl, size = struct.unpack("!2HIH", self.octets[self.at:self.at + 10])
        self.at += 10
        end = self.at + size
        data = self.octets[self.at:end]
        kind = next((k for k, n in KINDS.items() if n == number), str(number))
        if kind in ("A", "AAAA"):
            value = str(ipaddress.ip_address(data))
        elif kind in ("CNAME", "PTR", "NS"):
            value = self.name()
        elif kind == "MX":
            self.at += 2
            value = "%d %s" % (struct.unpack("!H", data[:2])[0], self.name())
        else:
            value = data
        assert kind in ("A", "AAAA", "TXT", "SOA", "TLSA") or kind.isdigit() or self.at == end
        self.at = end
        return name, kind, ttl, value


def udp(dns, octets, seconds=fake.DEADLINE):
    """The answer's octets; None after that time."""
    with socket.socket(socket.AF_INET6 if ":" in dns.host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(seconds)
        s.connect((dns.host, dns.port))
        s.send(octets)
        try:
            return s.recv(65536)
        except TimeoutError:
            return None


def tcp(dns, *queries):
    """The answers on one connection."""
    with socket.create_connection((dns.host, dns.port), fake.DEADLINE) as s, s.makefile("rb") as f:
        s.sendall(b"".join(struct.pack("!H", len(q)) + q for q in queries))
        return [f.read(struct.unpack("!H", f.read(2))[0]) for _ in queries]


def ask(dns, name, kind, **more):
    return Answer(udp(dns, query(name, kind, **more)))


class Zone(unittest.TestCase):
    def values(self, answer):
        return [(kind, value) for _, kind, _, value in answer.records]

    def test_records(self):
        table = [
            ("example.test", "MX", [("MX", "10 mx1.example.test"), ("MX", "20 mx2.example.test")]),
            ("EXAMPLE.test", "TXT", [("TXT", b"\x0bv=spf1 -all")]),
            ("mx1.example.test", "A", [("A", "127.0.0.1")]), ("mx1.example.test", "AAAA", [("AAAA", "::1")]),
            ("mx2.example.test", "A", [("CNAME", "mx1.example.test"), ("A", "127.0.0.1")]),
            ("mx2.example.test", "CNAME", [("CNAME", "mx1.example.test")]),
            ("1.0.0.127.in-addr.arpa", "PTR", [("PTR", "localhost")]), ("null.test", "MX", [("MX", "0 .")]),
            ("toalias.test", "MX", [("MX", "10 mx2.example.test")]),
            ("chain1.test", "MX", [("CNAME", "chain2.test"), ("CNAME", "example.test"), ("MX", "10 mx1.example.test"),
                                   ("MX", "20 mx2.example.test")]),
            ("loop1.test", "A", [("CNAME", "loop2.test"), ("CNAME", "loop1.test")]),
            ("a.wild.test", "A", [("A", "127.0.0.2")]), ("a.b.wild.test", "A", [("A", "127.0.0.2")]),
            ("d9999.test", "MX", [("MX", "10 mx9999.test")]), ("mx9999.test", "A", [("A", "127.0.0.1")]),
            ("_25._tcp.mx1.example.test", "TLSA", [("TLSA", b"\3\1\1\0\xff")]), ("odd.test", "TYPE65280", [("65280", b"\1\2")]),
        ]
        with FakeDNS(ZONE) as dns:
            for name, kind, expected in table:
                for over in "udp", "tcp":
                    with self.subTest("%s %s %s" % (name, kind, over)):
                        octets = query(name, kind)
                        answer = Answer(udp(dns, octets) if over == "udp" else tcp(dns, octets)[0])
                        self.assertEqual((answer.id, answer.response, answer.code, answer.question), (4711, 1, 0, name))
                        self.assertEqual(self.values(answer), expected)
            self.assertEqual([ttl for _, _, ttl, _ in ask(dns, "example.test", "MX").records], [300, 60])
            self.assertEqual(len(tcp(dns, query("null.test", "MX"), query("d1.test", "MX"))), 2)

    def test_nothing(self):
        with FakeDNS(ZONE) as dns:
            for name, kind, code in (("nowhere.test", "MX", 3), ("lost.test", "A", 3), ("example.test", "A", 0), ("wild.test", "A", 0),
                                     ("dx.test", "MX", 3)):
                with self.subTest(name):
                    answer = ask(dns, name, kind)
                    self.assertEqual((answer.code, [k for _, k, _, _ in answer.authority]), (code, ["SOA"]))

    def test_it_changes_while_it_runs(self):
        with FakeDNS({"a.test": {"A": ["127.0.0.1", "127.0.0.2"]}}) as dns:
            self.assertEqual(len(ask(dns, "a.test", "A").records), 2)
            dns.set("a.test", "A", "127.0.0.3")
            self.assertEqual(self.values(ask(dns, "a.test", "A")), [("A", "127.0.0.3")])
            dns.set("b.test", "MX", "5 a.test")
            self.assertEqual(self.values(ask(dns, "b.test", "MX")), [("MX", "5 a.test")])
            dns.set("b.test", "MX")
            self.assertEqual(ask(dns, "b.test", "MX").code, 3)
            self.assertEqual((dns.count("b.test", "MX"), dns.count("a.test"), dns.count(kind="mx"), dns.count()), (2, 2, 2, 4))
            dns.wait(queries=4, a=2, mx=2)

    def test_what_is_too_big_for_udp_is_cut(self):
        with FakeDNS("\n".join("big.test A 127.0.1.%d" % i for i in range(100))) as dns:
            answer = ask(dns, "big.test", "A")
            self.assertEqual((answer.truncated, answer.records), (True, []))
            self.assertEqual(len(ask(dns, "big.test", "A", udp_max=4096).records), 100)
            self.assertEqual(len(Answer(tcp(dns, query("big.test", "A"))[0]).records), 100)

    def test_mistakes_are_told(self):
        for text in ("a.test", "a.test A", "a.test A x", "a.test MX mx", "a.test FOO x", "a..test MX 10 a..b", "mx -> explode"):
            with self.subTest(text), self.assertRaises(fake.Mistake):
                FakeDNS(text)

    def test_ten_thousand_destinations(self):
        with FakeDNS(ZONE) as dns:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(fake.DEADLINE)
                s.connect((dns.host, dns.port))
                for i in range(10000):
                    s.send(query("d%d.test" % i, "MX", i))
                    answer = Answer(s.recv(4096))
                    self.assertEqual((answer.id, answer.records[0][3]), (i, "10 mx%d.test" % i))
            self.assertEqual((dns.count(), dns.count("d77.test")), (10000, 1))

    def test_ipv6(self):
        if not harness.has_ipv6():
            self.skipTest("no IPv6 here")
        with FakeDNS(ZONE, host="::1") as dns:
            self.assertEqual(self.values(ask(dns, "null.test", "MX")), [("MX", "0 .")])


class Faults(unittest.TestCase):
    def setUp(self):
        self.dns = FakeDNS(ZONE).start()
        self.addCleanup(self.dns.close)

    def test_codes(self):
        for action, code in (("servfail", 2), ("refused", 5), ("nxdomain", 3), ("formerr", 1), ("notimp", 4), ("nodata", 0), ("empty", 0)):
            with self.subTest(action):
                self.dns.on("mx", action, match="example.*")
                answer = ask(self.dns, "example.test", "MX")
                self.assertEqual((answer.code, answer.records), (code, []))
                self.assertEqual(len(answer.authority), 1 if action in ("nxdomain", "nodata") else 0)
                self.assertEqual(len(ask(self.dns, "example.test", "TXT").records), 1)
                self.assertEqual(len(ask(self.dns, "d1.test", "MX").records), 1)

    def test_the_nth_time(self):
        self.dns.add_text("mx:example.test nth=1-2 -> servfail")
        self.assertEqual([ask(self.dns, "example.test", "MX").code for _ in range(3)], [2, 2, 0])
        self.dns.off()
        self.dns.on("mx", "servfail", nth=1, each=True)
        self.assertEqual([ask(self.dns, name, "MX").code for name in ("d1.test", "d2.test", "d1.test")], [2, 2, 0])

    def test_truncated(self):
        self.dns.on("any", "truncated")
        answer = ask(self.dns, "example.test", "MX")
        self.assertEqual((answer.truncated, answer.records), (True, []))
        self.assertEqual(len(Answer(tcp(self.dns, query("example.test", "MX"))[0]).records), 2)

    def test_by_one_way_only(self):
        self.dns.on("mx", "servfail", over="tcp")
        self.assertEqual(ask(self.dns, "example.test", "MX").code, 0)
        self.assertEqual(Answer(tcp(self.dns, query("example.test", "MX"))[0]).code, 2)

    def test_no_answer(self):
        self.dns.on("mx", "timeout", match="example.test")
        self.assertIsNone(udp(self.dns, query("example.test", "MX"), 0.05))
        self.dns.wait(mx=1)
        self.assertEqual(ask(self.dns, "d1.test", "MX").code, 0)

    def test_silence_and_delay_hold_up_nobody_else(self):
        self.dns.on("mx", ["silence", "refused"], match="example.test")
        self.dns.on("txt", "delay 0.01")
        heard = []
        thread = threading.Thread(target=lambda: heard.append(ask(self.dns, "example.test", "MX")))
        thread.start()
        self.dns.wait(mx=1)
        self.assertEqual(len(ask(self.dns, "example.test", "TXT").records), 1)
        self.assertEqual(heard, [])
        self.dns.wait_until(lambda: self.dns.waiting == 1, "the silence")
        self.dns.release()
        thread.join(fake.DEADLINE)
        self.assertEqual(heard[0].code, 5)

    def test_wrong_answers(self):
        right = udp(self.dns, query("d5.test", "MX"))
        for action in ("garbage", "short", "wrong-id", "wrong-question", "no-question", "lame", "answer MX 10 a.test, A 127.0.0.9"):
            with self.subTest(action):
                self.dns.off()
                self.dns.on("any", action)
                octets = udp(self.dns, query("d5.test", "MX"))
                self.assertNotEqual(octets, right)
                if action == "short":
                    self.assertTrue(right.startswith(octets))
                elif action != "garbage":
                    answer = Answer(octets)
                    self.assertEqual(answer.id == 4711, action != "wrong-id")
                    self.assertEqual(answer.questions, 0 if action == "no-question" else 1)
                    self.assertEqual(answer.authoritative, action != "lame")
                    if action == "wrong-question":
                        self.assertEqual(answer.question, "other.invalid")
                    if action.startswith("answer"):
                        self.assertEqual([r[1::2] for r in answer.records], [("MX", "10 a.test"), ("A", "127.0.0.9")])
                        self.assertEqual({r[0] for r in answer.records}, {"d5.test"})

    def test_a_rule_may_be_a_function(self):
        self.dns.on("any", lambda name, kind: "refused" if name == "d2.test" else None)
        self.assertEqual([ask(self.dns, name, "MX").code for name in ("d1.test", "d2.test")], [0, 5])

    def test_garbage_from_the_client(self):
        for octets in (b"x", b"\0" * 12, b"\xff" * 40, query("d1.test", "MX")[:-3]):
            self.assertIsNone(udp(self.dns, octets, 0.01))
        self.assertEqual(len(ask(self.dns, "d1.test", "MX").records), 1)


POLICY = """
dns { servers = { "127.0.0.1:%d" } }
listen { "127.0.0.1:@smtp@" }
function on.rcpt(session, mail, rcpt)
  local found, why = dns.mx(rcpt.domain)
  local said = {}
  for _, mx in ipairs(found or {}) do said[#said + 1] = mx.preference .. " " .. mx.host end
  return reject(550, "5.1.1", "[" .. table.concat(said, ",") .. "] " .. tostring(why))
end
"""


class Resolver(unittest.TestCase):
    """A real resolver understands what is said here."""

    def test_barid_asks(self):
        big = "\n".join("big.test MX %d a-rather-long-name-%d.example.test" % (i, i) for i in range(100, 180))
        rules = ["mx:broken.test -> servfail", "mx:small.test -> truncated"]
        with FakeDNS(ZONE + big + "\nsmall.test MX 1 mx.test", rules) as dns, harness.Barid(POLICY % dns.port) as daemon:
            for name, expected in (("example.test", "[10 mx1.example.test,20 mx2.example.test]"), ("nowhere.test", "[] nxdomain"),
                                   ("broken.test", "[] servfail"), ("d77.test", "[10 mx77.test]"), ("small.test", "[1 mx.test]"),
                                   ("chain1.test", "[10 mx1.example.test,20 mx2"), ("big.test", "79 a-rather-long-name-179.example.test]")):
                with self.subTest(name), daemon.connect() as c:
                    c.hello()
                    c.do("MAIL FROM:<a@x.test>")
                    self.assertIn(expected, c.do("RCPT TO:<u@%s>" % name))
            self.assertIn("tcp", [q.over for q in dns.queries if q.name == "small.test"])


class Tool(unittest.TestCase):
    def test_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/zone", "w", encoding="utf-8") as f:
                f.write("# a zone\n" + ZONE + "mx:broken.test -> servfail\n")
            process = subprocess.Popen([sys.executable, TOOL, "--zone", folder + "/zone", "--record", "more.test MX 1 mx.test",
                                        "--on", "mx:null.test -> refused", "--out", folder + "/out"], stderr=subprocess.PIPE, text=True)
            with process:
                host, _, port = process.stderr.readline().split()[-1].rpartition(":")

                class At:
                    pass

                At.host, At.port = host, int(port)
                codes = [ask(At, name, "MX").code for name in ("example.test", "broken.test", "more.test", "null.test")]
                process.send_signal(signal.SIGTERM)
                self.assertEqual((codes, process.wait(fake.DEADLINE)), ([0, 2, 0, 5], 0))
            with open(folder + "/out", encoding="utf-8") as f:
                self.assertEqual([json.loads(line)["name"] for line in f], ["example.test", "broken.test", "more.test", "null.test"])

    def test_a_bad_line(self):
        done = subprocess.run([sys.executable, TOOL, "--record", "a.test A x"], capture_output=True, text=True,
                              timeout=fake.DEADLINE, check=False)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (64, 1), done.stderr)


if __name__ == "__main__":
    harness.main()
