"""A DNS server that says what it is told, by UDP and TCP: for tests of what asks it, and for trying a configuration.

    with FakeDNS("example.test MX 10 mx.example.test\\nmx.example.test A 127.0.0.1") as dns:
        dns.on("mx", "servfail", match="example.test", nth=1)
        ... a resolver asks dns.host, dns.port ...
        assert dns.count("example.test", "MX") == 2

The zone: fake_zone.py. What is not in it is NXDOMAIN; a name without such records has an empty answer; both with a SOA. Rules
are those of fake.py: the stage is a type of record in small letters, or "any"; match is the name; over=udp or tcp. Actions:

    ok                      the zone's answer
    servfail refused nxdomain notimp formerr   that code, and no record
    nodata                  an empty answer
    timeout                 no answer
    silence                 none until release(); then the rest of the rule
    delay SECONDS           a pause
    truncated               by UDP an empty answer with TC; by TCP the zone's
    lame                    a referral to nowhere, without authority
    empty                   no error, no record, no SOA
    garbage                 random octets
    short                   half of the zone's answer
    wrong-id                another id
    wrong-question          the answer to another question
    no-question             the answer without a question
    answer TYPE VALUE, TYPE VALUE   these records instead of the zone's
"""

import argparse
import collections
import random
import signal
import socket
import struct
import sys
import threading
import time

import fake
import fake_zone
from fake_zone import TTL, Zone, encode_data, encode_name, type_name, type_number

CODES = {"formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5}
PLAIN_UDP_MAX = 512  # octets of an answer by UDP to who did not say more (RFC 1035 2.3.4)
UDP_MAX = 4096       # and to who did
SPECIAL = ("ok", "nodata", "timeout", "silence", "truncated", "lame", "empty", "garbage", "short", "wrong-id", "wrong-question",
           "no-question")
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
SOA = ("", "SOA", TTL, "ns.fake.test postmaster.fake.test 1 3600 600 86400 60")

Query = collections.namedtuple("Query", "name type over at")


class Question:
    """A query taken apart."""

    def __init__(self, octets):
        self.id, self.flags, questions, _, _, more = struct.unpack("!6H", octets[:12])
        if questions != 1 or self.flags & QR:
            raise fake.Mistake("not a query")
        self.name, at = fake_zone.decode_name(octets, 12)
        number, _ = struct.unpack("!2H", octets[at:at + 4])
        self.type = type_name(number)
        self.octets = octets[12:at + 4]
        self.udp_max, self.has_opt = PLAIN_UDP_MAX, False
        if more and octets[at + 4:at + 7] == b"\0\0\x29":
            self.has_opt = True
            self.udp_max = min(max(struct.unpack("!H", octets[at + 7:at + 9])[0], PLAIN_UDP_MAX), UDP_MAX)


def record_octets(name, kind, ttl, value):
    data = encode_data(kind, value)
    return encode_name(name) + struct.pack("!2HIH", type_number(kind), 1, ttl, len(data)) + data


def answer_octets(q, code=0, records=(), authority=(), flags=AA, question=None, number=None):
    question = q.octets if question is None else question
    head = struct.pack("!6H", q.id if number is None else number, QR | RA | flags | q.flags & RD | code, 1 if question else 0,
                       len(records), len(authority), 1 if q.has_opt else 0)
    opt = b"\0" + struct.pack("!2HIH", 41, UDP_MAX, 0, 0) if q.has_opt else b""
    return head + question + b"".join(record_octets(*r) for r in tuple(records) + tuple(authority)) + opt


class FakeDNS(fake.Fake):
    STAGES = tuple(name.lower() for name in fake_zone.TYPES)

    def __init__(self, zone="", rules=(), host="127.0.0.1", port=0, out=None, changed=None):
        super().__init__(rules, out, changed)
        self.host, self.port = host, port
        self.zone = Zone()
        self.queries = []
        self._counts = collections.Counter()
        self.waiting = 0     # who is within "silence"
        self._released = 0
        self.closing = threading.Event()
        self._sockets = []
        self._threads = []
        self.add_text(zone)

    def add_text(self, text):
        """Records, and rules: the lines that have an arrow."""
        if isinstance(text, dict):
            self.zone.add(text)
            return
        for line in fake.lines_of(text):
            if " -> " in line:
                self.add(fake.parse_rule(line))
            else:
                with self.changed:
                    self.zone.add(line)

    def set(self, name, kind, *values):
        """These are the records of a name and type from now on; no value: none."""
        with self.changed:
            self.zone.remove(name, kind)
            for value in values:
                self.zone.add({name: {kind: value}})

    def check_action(self, action):
        word, _, rest = action.partition(" ")
        if word == "delay" and rest or word == "answer" and rest:
            return
        if action not in SPECIAL and action not in CODES:
            raise fake.Mistake("not an action: %s" % action)

    # --- life

    def start(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for _ in range(100):  # the port that the kernel chose for UDP may be taken for TCP
            udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            try:
                udp.bind((self.host, self.port))
                tcp.bind((self.host, udp.getsockname()[1]))
                break
            except OSError:
                udp.close()
                tcp.close()
                if self.port != 0:
                    raise
        else:
            raise OSError("no port that is free for UDP and TCP")
        self.port = udp.getsockname()[1]
        tcp.listen(256)
        self._sockets = [udp, tcp]
        for work in (lambda: self._udp(udp), lambda: self._tcp(tcp)):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()
        return self

    def close(self):
        self.closing.set()
        self.happened()
        udp, tcp = self._sockets
        try:
            tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        with socket.socket(udp.family, socket.SOCK_DGRAM) as s:  # recvfrom() returns
            s.sendto(b"", udp.getsockname())
        for thread in self._threads:
            thread.join(fake.DEADLINE)
        udp.close()
        tcp.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()

    @property
    def address(self):
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)

    def release(self):
        """Ends every silence that there is now."""
        with self.changed:
            self._released += 1
            self.changed.notify_all()

    # --- answering

    def _udp(self, sock):
        while not self.closing.is_set():
            octets, peer = sock.recvfrom(65536)
            if octets:
                self._start(octets, "udp", lambda answer, peer=peer: sock.sendto(answer, peer))

    def _tcp(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._tcp_peer, args=(sock,), daemon=True).start()

    def _tcp_peer(self, sock):
        with sock, sock.makefile("rb") as f:
            try:
                while True:
                    size = f.read(2)
                    if len(size) < 2:
                        return
                    octets = f.read(struct.unpack("!H", size)[0])
                    self._start(octets, "tcp", lambda answer: sock.sendall(struct.pack("!H", len(answer)) + answer), True)
            except OSError:
                return

    def _start(self, octets, over, send, wait=False):
        """Answers here where that takes no time, else in a thread: a pause holds up nobody else (by TCP: no other connection)."""
        try:
            q = Question(octets)
        except (fake.Mistake, struct.error, IndexError):
            self.happened({"event": "garbage", "over": over})
            return
        query = Query(fake_zone.plain(q.name), q.type, over, time.time())
        with self.changed:
            self.queries.append(query)
            self._counts[(query.name, query.type)] += 1
        rule = self.rule_for(q.type.lower(), [query.name], {"over": over})
        self.happened({"event": "query", **query._asdict()})
        actions = rule.actions if rule is not None else ["ok"]
        work = lambda: self._carry_out(q, actions, over, send)
        if wait or not any(a == "silence" or callable(a) or a.startswith("delay ") for a in actions):
            work()
        else:
            threading.Thread(target=work, daemon=True).start()

    def _carry_out(self, q, actions, over, send):
        last = "ok"
        for action in actions:
            if callable(action):
                action = action(q.name, q.type) or "ok"
            if action == "silence":
                with self.changed:
                    now = self._released
                    self.waiting += 1
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self._released != now or self.closing.is_set())
                    self.waiting -= 1
            elif action.startswith("delay "):
                self.closing.wait(float(action[6:]))
            else:
                last = action
        if last == "timeout" or self.closing.is_set():
            return
        octets = self.made(q, last, over)
        if over == "udp" and len(octets) > q.udp_max:
            octets = answer_octets(q, flags=AA | TC)
        try:
            send(octets)
        except OSError:  # who asked has gone
            pass

    def made(self, q, action, over):
        """The octets of an answer."""
        with self.changed:
            code, records = self.zone.answer(q.name, q.type)
        authority = () if records and records[-1][1] == q.type or q.type == "ANY" and records else (SOA,)
        if action in CODES:
            return answer_octets(q, CODES[action], (), (SOA,) if action == "nxdomain" else ())
        if action.startswith("answer "):
            given = [part.split(None, 1) for part in action[7:].split(",")]
            return answer_octets(q, 0, [(q.name, kind.upper(), TTL, value) for kind, value in given])
        whole = answer_octets(q, code, records, authority)
        special = {
            "nodata": lambda: answer_octets(q, 0, (), (SOA,)),
            "empty": lambda: answer_octets(q),
            "truncated": lambda: answer_octets(q, flags=AA | TC) if over == "udp" else whole,
            "lame": lambda: answer_octets(q, 0, (), [("test", "NS", TTL, "ns.nowhere.invalid")], flags=0),
            "garbage": lambda: random.Random(1).randbytes(100),
            "short": lambda: whole[:len(whole) // 2],
            "wrong-id": lambda: answer_octets(q, code, records, authority, number=q.id ^ 0xffff),
            "wrong-question": lambda: answer_octets(q, code, records, authority,
                                                    question=encode_name("other.invalid") + q.octets[-4:]),
            "no-question": lambda: answer_octets(q, code, records, authority, question=b""),
        }
        return special.get(action, lambda: whole)()

    # --- what tests ask

    def count(self, name=None, kind=None):
        """How often was asked: for a name, for a type, for both, at all."""
        with self.changed:
            return sum(n for (a, t), n in self._counts.items()
                       if (name is None or fake_zone.plain(name) == a) and (kind is None or kind.upper() == t))

    def reached(self, name):
        return len(self.queries) if name == "queries" else super().reached(name)


def main(arguments=None):
    p = argparse.ArgumentParser(prog="fake-dns", description="A DNS server that says what it is told; docs/testing.md.")
    p.add_argument("--listen", metavar="ADDRESS", default="127.0.0.1:0", help="host:port or [::1]:port; 127.0.0.1:0")
    p.add_argument("--zone", metavar="FILE", action="append", default=[], help="records and rules, one a line")
    p.add_argument("--on", metavar="RULE", action="append", default=[], help='one rule: "mx:slow.test -> delay 2"')
    p.add_argument("--record", metavar="RECORD", action="append", default=[], help='one record: "a.test MX 10 mx.test"')
    p.add_argument("--out", metavar="FILE", help="where the JSON lines go; standard output")
    o = p.parse_args(arguments)
    host, _, port = o.listen.rpartition(":")
    heard = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)  # before there are threads: they inherit it
    try:
        dns = FakeDNS(rules=o.on, host=host.strip("[]"), port=int(port),
                      out=open(o.out, "a", encoding="utf-8") if o.out else sys.stdout)
        for name in o.zone:
            with open(name, encoding="utf-8") as f:
                dns.add_text(f.read())
        dns.add_text("\n".join(o.record))
        dns.start()
    except (ValueError, OSError) as e:
        print("fake-dns: %s" % e, file=sys.stderr)
        return 69 if isinstance(e, OSError) else 64
    print("listening on " + dns.address, file=sys.stderr, flush=True)
    while signal.sigwait(heard) == signal.SIGUSR1:
        dns.release()
    dns.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
