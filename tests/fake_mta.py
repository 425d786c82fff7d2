"""A remote mail server that does what it is told: the other side in tests of a client, SMTP and LMTP.

    with FakeMTA(["rcpt:*@full.test -> 452 4.2.2 full"], tls="starttls") as mta:
        mta.on("dot", "close", nth=1)              # a message arrives, its 250 does not
        ... a client sends to mta.host, mta.port ...
        mta.wait(mails=2)
        assert mta.mails[1].delivered == ["a@b.test"] and mta.violations == []

What nothing refuses is accepted. Rules: fake.py. Actions: fake_wire.py. Certificates: fake_tls.py. What is recorded:
fake_records.py. tools/fake-mta is the same for a command line.
"""

import argparse
import itertools
import os
import signal
import socket
import sys
import threading

import fake
import fake_session
import fake_tls
import fake_wire
from fake_records import Connection

EHLO = ("PIPELINING", "SIZE 52428800", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")
BACKLOG = 4096


class FakeMTA(fake.Fake):
    # connect: before anything, also TLS; challenge, authenticated: within AUTH; content: within a message; dot: after it
    STAGES = ("connect", "banner", "ehlo", "helo", "lhlo", "starttls", "handshake", "auth", "challenge", "authenticated", "mail",
              "rcpt", "data", "bdat", "content", "dot", "rset", "noop", "vrfy", "quit", "unknown")

    def __init__(self, rules=(), host="127.0.0.1", port=0, path=None, lmtp=False, ehlo=EHLO, tls=None, cert="good", names=None,
                 users=None, mechanisms=MECHANISMS, auth_required=False, hostname="mx.fake.test", out=None, keep=True,
                 changed=None):
        """tls: None, "starttls" or "implicit"; cert: a kind of fake_tls, (certificate, key) or an ssl context, for names; users:
        {name: password}, which offers AUTH; path: a unix socket, a file; ehlo: keywords besides STARTTLS and AUTH; keep=False:
        content is counted in wait() and written to out, but not kept in memory."""
        super().__init__(rules, out, changed)
        self.host, self.port, self.path, self.hostname = host, port, path, hostname
        self.lmtp, self.ehlo, self.tls = lmtp, list(ehlo), tls
        self.users, self.mechanisms, self.auth_required = users or {}, list(mechanisms), auth_required
        self.keeps = keep
        self.mails = []          # the end of the message was seen, and answered as told
        self.partial = []        # MAIL was accepted, the end of the message never came
        self.connections = []    # of all times
        self.ended = []          # those that are over
        self.silent = []         # who is within "silence"
        self.peak = 0            # most connections at once
        self.ending = 0          # mails that are being answered: the client may know the reply before it is here
        self.closing = threading.Event()
        self.context = None
        self._numbers = itertools.count(1)
        self._live = {}          # connection's number: (thread, session)
        self._listener = None
        self._acceptor = None
        if tls is not None:
            self.context = self._tls_context(cert, names)

    def _tls_context(self, cert, names):
        made = cert if hasattr(cert, "wrap_socket") else fake_tls.context(
            cert, tuple(names or fake_tls.NAMES + (self.hostname,)))

        def asked(sock, name, _):
            sock.name_asked = name

        made.sni_callback = asked
        return made

    # --- life

    def start(self):
        self.up()
        return self

    def up(self):
        """Listens; again at the same place after down()."""
        if self.path is not None:
            if os.path.exists(self.path):
                os.unlink(self.path)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(self.path)
        else:
            self._listener = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((self.host, self.port))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(BACKLOG)
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def take_little(self):
        """Connections from now on hold 64 KiB that are not read; else the kernel's buffers grow to some megabytes."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def down(self):
        """Connections are refused from now on; those that are there go on."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(fake.DEADLINE)
            self._listener.close()
            self._listener = None
            if self.path is not None:
                os.unlink(self.path)

    def drain(self):
        """No new connections; returns when those that are there have ended, or did not for some seconds."""
        self.down()
        try:
            self.wait_until(lambda: not self._live, "the end of every connection", fake_wire.LINGER)
        except fake.Hang:
            pass

    def close(self):
        self.closing.set()
        self.down()
        self.release()
        with self.changed:
            live = list(self._live.values())
        for thread, session in live:
            try:
                socket.socket.shutdown(session.sock, socket.SHUT_RDWR)
            except OSError:
                pass
        for thread, _ in live:
            thread.join(fake.DEADLINE)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()

    @property
    def address(self):
        """As in a configuration: 127.0.0.1:2525, [::1]:2525, unix:/path."""
        if self.path is not None:
            return "unix:" + self.path
        return ("[%s]:%d" if ":" in self.host else "%s:%d") % (self.host, self.port)

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                record = Connection(len(self.connections) + 1, peer[0] if peer else "unix",
                                    self.path or sock.getsockname()[0])
                self.connections.append(record)
                session = fake_session.Session(self, sock, record)
                thread = threading.Thread(target=self._serve, args=(session,), daemon=True)
                self._live[record.number] = (thread, session)
                self.peak = max(self.peak, len(self._live))
                self.changed.notify_all()
            thread.start()

    def _serve(self, session):
        try:
            session.run()
        except Exception as e:  # a mistake of the fake's own: the test must see it
            session.violation("the fake failed: %r" % e)
            raise
        finally:
            with self.changed:
                self.ended.append(session.record)
                del self._live[session.record.number]
            self.happened(session.record.as_record())

    # --- what sessions need

    def keywords(self, is_tls):
        found = list(self.ehlo)
        if self.tls == "starttls" and not is_tls:
            found.append("STARTTLS")
        if self.users:
            found.append("AUTH " + " ".join(self.mechanisms))
        return found

    def answering(self, n):
        with self.changed:
            self.ending += n
            self.changed.notify_all()

    def next_mail(self):
        return next(self._numbers)

    def keep(self, mail):
        record = mail.as_record(self.keeps) if self.out is not None else None
        if not self.keeps:
            mail.content = b""
        with self.changed:
            (self.mails if mail.dot else self.partial).append(mail)
        self.happened(record)

    def check_action(self, action):
        if not fake_wire.is_good_action(action):
            raise fake.Mistake("not an action: %s" % action)

    # --- what tests ask

    def release(self):
        """Ends every silence that there is now."""
        with self.changed:
            for end in self.silent:
                end.send(b"x")
            self.silent = []

    def settle(self):
        """Until what the client has heard of its mails is in mails, too."""
        self.wait_until(lambda: self.ending <= len(self.silent), "the record of what was answered")

    @property
    def active(self):
        with self.changed:
            return len(self._live)

    @property
    def violations(self):
        with self.changed:
            return ["connection %d: %s" % (c.number, v) for c in self.connections for v in c.violations]

    @property
    def delivered(self):
        """(recipient, mail) for every 2xx after a message: what the client may forget."""
        with self.changed:
            return [(to, m) for m in self.mails for to in m.delivered]

    def reached(self, name):
        if name in ("mails", "connections", "ended", "partial", "delivered", "violations"):
            return len(getattr(self, name))
        return super().reached(name)

    def summary(self):
        return "%d connections (%d ended), %d mails; %s" % (len(self.connections), len(self.ended), len(self.mails), super().summary())


# --- the command line


def options():
    p = argparse.ArgumentParser(prog="fake-mta", description="A mail server that does what it is told; docs/testing.md.")
    p.add_argument("--listen", action="append", metavar="ADDRESS", help="host:port, [::1]:port or unix:/path; 127.0.0.1:0")
    p.add_argument("--script", metavar="FILE", action="append", default=[], help="rules, one a line")
    p.add_argument("--on", metavar="RULE", action="append", default=[], help='one rule: "rcpt:*@full.test -> 452 4.2.2 full"')
    p.add_argument("--lmtp", action="store_true")
    p.add_argument("--hostname", default="mx.fake.test")
    p.add_argument("--ehlo", metavar="WORDS", help="keywords, with commas; without STARTTLS and AUTH")
    p.add_argument("--tls", choices=("starttls", "implicit"))
    p.add_argument("--cert", metavar="KIND|FILE", default="good", help=", ".join(fake_tls.KINDS) + ", or a file with --key")
    p.add_argument("--key", metavar="FILE")
    p.add_argument("--user", metavar="NAME:PASSWORD", action="append", default=[], help="offers AUTH")
    p.add_argument("--mechanisms", metavar="WORDS", default=",".join(MECHANISMS))
    p.add_argument("--auth-required", action="store_true")
    p.add_argument("--out", metavar="FILE", help="where the JSON lines go; standard output")
    p.add_argument("--no-octets", action="store_true", help="records without the octets of messages")
    p.add_argument("--count", type=int, metavar="N", help="ends after N mails, all servers together")
    return p


def place(text):
    """{host, port} or {path} of an address."""
    if text.startswith("unix:"):
        return {"path": text[5:]}
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise fake.Mistake("not an address: %s" % text)
    return {"host": host.strip("[]"), "port": int(port)}


def from_options(o, out, changed):
    rules = [fake.parse_rule(line) for line in o.on]
    for name in o.script:
        with open(name, encoding="utf-8") as f:
            rules += [fake.parse_rule(line) for line in fake.lines_of(f.read())]
    users = dict(u.split(":", 1) for u in o.user)
    ehlo = EHLO if o.ehlo is None else [w.strip() for w in o.ehlo.split(",") if w.strip()]
    return [FakeMTA(rules, lmtp=o.lmtp, hostname=o.hostname, ehlo=ehlo, tls=o.tls, cert=(o.cert, o.key) if o.key else o.cert,
                    users=users, mechanisms=o.mechanisms.split(","), auth_required=o.auth_required, out=out,
                    keep=not o.no_octets, changed=changed, **place(address)) for address in o.listen or ["127.0.0.1:0"]]


def main(arguments=None):
    o = options().parse_args(arguments)
    out = open(o.out, "a", encoding="utf-8") if o.out else sys.stdout
    changed, over, servers = threading.Condition(), threading.Event(), []

    def stop(*_):
        with changed:  # the main thread's lock is one that it may take twice
            over.set()
            changed.notify_all()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    signal.signal(signal.SIGUSR1, lambda *_: [s.release() for s in servers])
    try:
        for server in from_options(o, out, changed):
            servers.append(server.start())
            print("listening on " + server.address, file=sys.stderr, flush=True)
        if o.tls and o.cert in fake_tls.KINDS and o.cert != "self-signed":
            print("its CA is " + fake_tls.ca(), file=sys.stderr, flush=True)
        servers[0].wait_until(lambda: over.is_set() or o.count and sum(len(s.mails) for s in servers) >= o.count,
                              deadline=float("inf"))
        for server in servers if not over.is_set() else []:
            server.drain()
    except (fake.Mistake, OSError) as e:
        print("fake-mta: %s" % e, file=sys.stderr)
        return 64 if isinstance(e, fake.Mistake) else 69
    finally:
        for server in servers:
            server.close()
    return 1 if any(s.violations for s in servers) else 0


if __name__ == "__main__":
    sys.exit(main())
