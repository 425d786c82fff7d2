#!/usr/bin/env python3
"""TLS and AUTH towards others: handshakes that are refused or fail, certificates that lie, passwords that are wrong. What the next hop
demands is never given up for the sake of a delivery."""

import unittest

import fake_tls
import harness
from relaying import FIRST, RelayTests

LATER = FIRST * 11 // 10 + 2
BAD = ("wrong-name", "expired", "self-signed")


class Secure(RelayTests):
    @classmethod
    def more(cls):
        return """
relay { ca = "%s" }
relayhost { "[127.0.0.1]:@hosted@", user = "me", password = "secret", tls = "required" }
""" % fake_tls.ca()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dns.set("mx.fake.test", "A", "127.0.0.1")

    def send(self, mta, relay, by_name=True):
        return self.submit(route="[mx.fake.test]:%d" % mta.port if by_name else mta, relay=relay)

    def all_sent(self, begun, tls=True):
        for name, mta, ident in begun:
            with self.subTest(name):
                self.wait_what(ident, "delivered")
                self.gone(ident)
                self.assertEqual([bool(m.tls) for m in mta.mails], [tls])
        self.assert_counts(delivered=len(begun))
        self.no_violations()

    def test_sent(self):
        begun = []
        for level in ("opportunistic", "required"):
            for cert in fake_tls.KINDS:
                mta = self.mta(tls="starttls", cert=cert)
                begun.append((level + " " + cert, mta, self.send(mta, "tls=" + level)))
        for by_name in (True, False):  # a name, and an address that the certificate names
            mta = self.mta(tls="starttls")
            begun.append(("verified", mta, self.send(mta, "tls=verified", by_name)))
            for level in ("required", "verified"):
                mta = self.mta(tls="implicit")
                begun.append(("implicit " + level, mta, self.send(mta, "implicit_tls=true tls=" + level, by_name)))
        self.all_sent(begun)

    def test_sent_without(self):
        """Opportunistic: refused, or a handshake that fails; off: never asked for."""
        begun = []
        for name, rules, level, asked, connections in (
                ("off", (), "off", 0, 1),
                ("refused", ["starttls -> 454 4.7.0 not now"], "opportunistic", 1, 1),
                ("refused for good", ["starttls -> 502 5.5.1 no such thing"], "opportunistic", 1, 1),
                ("garbage", ["handshake -> garbage 200 ; close"], "opportunistic", 1, 2),
                ("closed", ["handshake -> close"], "opportunistic", 1, 2),
                ("reset", ["handshake -> reset"], "opportunistic", 1, 2)):
            mta = self.mta(rules, tls="starttls")
            begun.append((name, mta, self.send(mta, "tls=" + level)))
            begun[-1] += (asked, connections)
        self.all_sent([b[:3] for b in begun], tls=False)
        for name, mta, _, asked, connections in begun:
            with self.subTest(name):
                self.assertEqual(sum(c.verbs().count("STARTTLS") for c in mta.connections), asked)
                self.assertEqual(len(mta.connections), connections)

    def test_put_off(self):
        """Nothing is sent, no sender, no recipient is named, until the server does what is demanded."""
        rows = [("refused", ["starttls nth=1 -> 454 4.7.0 not now"], "required", {}, "^454 4.7.0 not now"),
                ("refused for good", ["starttls nth=1 -> 502 5.5.1 no such thing"], "required", {}, "^502 5.5.1 no such thing"),
                ("garbage", ["handshake nth=1 -> garbage 200 ; close"], "required", {}, r"^451 4.7.5 mx.fake.test \(127.0.0.1:\d+\): tls"),
                ("closed", ["handshake nth=1 -> close"], "verified", {}, r"^451 4.7.5 mx.fake.test \(127.0.0.1:\d+\): tls"),
                ("not offered", ["ehlo nth=1 -> ehlo 8BITMIME"], "required", {}, "^451 4.7.5 .*STARTTLS|^451 4.7.5 ")]
        for cert in BAD:
            for tls in ("starttls", "implicit"):
                reason = {"wrong-name": "name|match", "expired": "expired", "self-signed": "self.signed"}[cert]
                rows.append((cert + " " + tls, (), "verified", {"tls": tls, "cert": cert}, "(?i)^451 4.7.5 .*(%s)" % reason))
        begun = []
        for name, rules, level, options, reply in rows:
            mta = self.mta(rules, **dict({"tls": "starttls"}, **options))
            implicit = " implicit_tls=true" if mta.tls == "implicit" else ""
            begun.append((name, mta, self.send(mta, "tls=" + level + implicit), reply))
        for name, mta, ident, reply in begun:
            with self.subTest(name):
                self.deferred(ident, reply)
                self.assertEqual([v for c in mta.connections for v in c.verbs() if v in ("MAIL", "RCPT", "AUTH")], [])
                mta.context = fake_tls.context("good", fake_tls.NAMES + ("mx.fake.test",))
        self.advance(LATER)
        for name, mta, ident, _ in begun:
            with self.subTest(name):
                self.wait_what(ident, "delivered")
                self.gone(ident)
                self.assertEqual([bool(m.tls) for m in mta.mails], [True])
        self.assert_counts(delivered=len(begun), deferred=len(begun))
        self.no_violations()


class Passwords(Secure):
    """AUTH; the cases above are not run again."""

    test_sent = test_sent_without = test_put_off = None

    def test_mechanisms(self):
        begun = []
        for tls, words in (("starttls", ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")), (None, ("CRAM-MD5", "SCRAM-SHA-256"))):
            for word in words:
                mta = self.mta(tls=tls, users={"me": "secret"}, mechanisms=[word], auth_required=True)
                begun.append((word, mta, self.send(mta, "user=me password=secret require_auth=true")))
        for word, mta, ident in begun:
            with self.subTest(word):
                self.wait_what(ident, "delivered")
                self.assertEqual([(m.user, mta.connections[0].mechanism) for m in mta.mails], [("me", word)])
                self.gone(ident)
        self.assert_counts(delivered=len(begun))
        self.no_violations()

    def test_put_off(self):
        users = {"me": "secret"}
        rows = [("wrong password", {"users": {"me": "another"}, "mechanisms": ["CRAM-MD5"]}, "^535 5.7.8 wrong"),
                ("wrong password, TLS", {"users": {"me": "another"}, "mechanisms": ["PLAIN"], "tls": "starttls"}, "^535 5.7.8 wrong"),
                ("no such user", {"users": {"you": "secret"}, "mechanisms": ["SCRAM-SHA-256"]}, "^535 5.7.8 wrong"),
                ("only with TLS", {"users": users, "mechanisms": ["PLAIN", "LOGIN"]}, "^45[14] 4.7.0 "),
                ("not offered", {}, "^45[14] 4.7.0 ")]
        begun = []
        for name, options, reply in rows:
            mta = self.mta(**options)
            begun.append((name, mta, self.send(mta, "user=me password=secret require_auth=true"), reply))
        for name, mta, ident, reply in begun:
            with self.subTest(name):
                self.deferred(ident, reply)
                self.assertNotIn("MAIL", mta.connections[0].verbs())
                if name in ("only with TLS", "not offered"):
                    self.assertNotIn("AUTH", mta.connections[0].verbs())
                mta.users, mta.mechanisms = users, ["SCRAM-SHA-256"]
        self.advance(LATER)
        for name, mta, ident, _ in begun:
            self.wait_what(ident, "delivered")
            self.gone(ident)
            self.assertEqual([m.user for m in mta.mails], ["me"], name)
        self.assert_counts(delivered=len(begun), deferred=len(begun))
        self.no_violations()

    def test_smart_host(self):
        """As declared: name and password, and only within TLS."""
        mta = self.mta(port=self.daemon.port["hosted"], tls="starttls", users={"me": "secret"}, mechanisms=["PLAIN"], auth_required=True)
        ident = self.submit(["a@one.test", "b@two.test"])
        self.wait_what(ident, "delivered", 2)
        self.gone(ident)
        self.assertEqual([(m.user, bool(m.tls), m.to) for m in mta.mails], [("me", True, ["a@one.test", "b@two.test"])])
        self.assert_counts(delivered=2)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
