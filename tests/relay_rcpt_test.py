#!/usr/bin/env python3
"""Several recipients in one transaction, each with an end of its own; LMTP, which answers for each; and what a server cannot take."""

import unittest

import fake_mta
import harness
from relaying import FIRST, RelayTests

LATER = FIRST * 11 // 10 + 2
OK, LATE, NO = "ok@x.test", "late@x.test", "no@x.test"
WITHOUT = {e: [w for w in fake_mta.EHLO if w.split()[0] not in (e, "BINARYMIME" if e == "CHUNKING" else e)]
           for e in ("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES")}


class Mixed(RelayTests):
    def ends(self, ident, rcpts, results=None):
        """The last line of the log for each recipient."""
        self.wait_lines(ident, len(rcpts) if results is None else results)
        return {r["rcpt"]: r for r in self.lines(ident)}

    def failed(self, sender, rcpt, status, diagnostic, remote="[127.0.0.1]"):
        """The one report: to the sender from nobody, with these fields."""
        report = self.report(sender)
        self.assertEqual(report.mail["To"], "<%s>" % sender)
        self.assertIn("MAILER-DAEMON@mx.example.com", report.mail["From"])
        self.assertTrue(report.content.startswith(b"Return-Path: <>\n"), report.content[:100])
        self.assertEqual(report.message["Reporting-MTA"], "dns; mx.example.com")
        self.assertEqual(list(report.rcpts), [rcpt])
        fields = report.rcpts[rcpt]
        self.assertEqual((fields["Action"], fields["Status"], fields["Diagnostic-Code"]), ("failed", status, diagnostic))
        self.assertEqual(fields.get("Remote-MTA"), remote and "dns; " + remote)
        return report

    ROWS = [("pipelined", {}), ("one by one", {"ehlo": WITHOUT["PIPELINING"]}), ("DATA", {"ehlo": WITHOUT["CHUNKING"]}),
            ("LMTP", {"lmtp": True}), ("LMTP, DATA", {"lmtp": True, "ehlo": WITHOUT["CHUNKING"]}), ("unix", {"lmtp": True, "path": "sock"})]

    def begin(self, rules):
        begun = []
        for name, options in self.ROWS:
            if "path" in options:
                options = dict(options, path=self.daemon.dir + "/" + self.fresh())
            mta = self.mta(rules, **options)
            begun.append((name, mta, self.submit([OK, LATE, NO], route=mta), self.sender))
        return begun

    def check(self, begun, later):
        for name, mta, ident, sender in begun:
            with self.subTest(name):
                ends = self.ends(ident, [OK, LATE, NO])
                self.assertEqual({r: e["what"] for r, e in ends.items()}, {OK: "delivered", LATE: "deferred", NO: "failed"})
                self.assertEqual([(u["status"], u["attempts"]) for u in self.units(ident)],
                                 [("done", 1), ("pending", 1), ("failed", 1)])
                self.assertEqual(self.units(ident)[1]["reply"], later)
                self.assert_due(self.units(ident)[1], ends[LATE], FIRST)
                remote = ends[NO]["remote"].partition(" ")[0]
                self.failed(sender, NO, "5.1.1", "smtp; 550 5.1.1 nobody", remote)
        self.advance(LATER)
        for name, mta, ident, sender in begun:
            with self.subTest(name):
                self.wait_what(ident, "delivered", 2)
                self.gone(ident)
                self.assertEqual([m.delivered for m in mta.mails], [[OK], [LATE]])
                self.report(sender)  # one, and no more
        n = len(begun)
        self.assert_counts(delivered=3 * n, deferred=n, failed=n, reported=n)
        self.no_violations()

    def test_at_rcpt(self):
        self.check(self.begin(["rcpt:late@* nth=1 -> 451 4.2.1 not now", "rcpt:no@* -> 550 5.1.1 nobody"]), "451 4.2.1 not now")

    def test_after_the_dot(self):
        """LMTP: a reply for each recipient."""
        self.ROWS = self.ROWS[3:]
        self.check(self.begin(["dot:late@* nth=1 -> 451 4.2.1 not now", "dot:no@* -> 550 5.1.1 nobody"]), "451 4.2.1 not now")

    def test_lmtp_cut(self):
        """The first reply came, the others did not: only those are in doubt."""
        mta = self.mta(["dot:late@* nth=1 -> close"], lmtp=True)
        ident = self.submit([OK, LATE, "c@x.test"], route=mta)
        ends = self.ends(ident, 3 * [0])
        self.assertEqual([(ends[r]["what"], ends[r]["maybe_duplicate"]) for r in (OK, LATE, "c@x.test")],
                         [("delivered", False), ("deferred", True), ("deferred", True)])
        self.advance(LATER)
        self.wait_what(ident, "delivered", 3)
        self.gone(ident)
        self.assertEqual(mta.mails[1].delivered, [LATE, "c@x.test"])
        self.assert_counts(delivered=3, deferred=2)
        self.no_violations()

    def test_all_refused(self):
        """Every recipient, and DATA after it, in one packet: each hears of its own refusal."""
        begun = []
        for data in ("503 5.5.1 no recipients", "554 5.5.1 no valid recipients", "ok"):
            for name, options in (("BDAT", {}), ("DATA", {"ehlo": WITHOUT["CHUNKING"]})):
                rules = ["rcpt:a@* -> 550 5.1.1 not a", "rcpt:b@* -> 553 5.1.3 not b"]
                mta = self.mta(rules + ([] if data == "ok" else ["data -> " + data, "bdat -> " + data]), **options)
                begun.append((name + " " + data, mta, self.submit(["a@x.test", "b@x.test"], route=mta), self.sender))
        for name, mta, ident, sender in begun:
            with self.subTest(name):
                self.wait_what(ident, "failed", 2)
                self.gone(ident)
                fields = self.report(sender).rcpts
                self.assertEqual({r: f["Diagnostic-Code"] for r, f in fields.items()},
                                 {"a@x.test": "smtp; 550 5.1.1 not a", "b@x.test": "smtp; 553 5.1.3 not b"})
                self.assertEqual([m for m in mta.mails if m.delivered], [])
        n = len(begun)
        self.assert_counts(failed=2 * n, reported=n, delivered=n)

    # A rule, and what becomes of the mail: for good, or later.
    STAGES = (("mail", "552 5.3.4 too large", "5.3.4"), ("mail", "550 no", "5.0.0"), ("data", "554 5.7.1 no", "5.7.1"),
              ("dot", "554 5.6.0 content", "5.6.0"), ("rcpt", "571 5.7.1 go away", "5.7.1"), ("ehlo", "550 5.7.1 no", "5.7.1"))

    def test_refused(self):
        begun = []
        for stage, reply, status in self.STAGES:
            rules = ["%s -> %s" % (stage, reply)] + (["helo -> " + reply] if stage == "ehlo" else [])
            mta = self.mta(rules, ehlo=WITHOUT["CHUNKING"])
            begun.append((stage + " " + reply, mta, self.submit(NO, route=mta), self.sender, reply, status))
        for name, mta, ident, sender, reply, status in begun:
            with self.subTest(name):
                self.wait_what(ident, "failed")
                self.gone(ident)
                self.failed(sender, NO, status, "smtp; " + reply)
                self.assertEqual([m for m in mta.mails if m.delivered], [])
        n = len(begun)
        self.assert_counts(failed=n, reported=n, delivered=n)
        self.no_violations()

    def test_null_sender(self):
        """Nobody is told of a report that fails; what a server said is in the log."""
        mta = self.mta(["rcpt -> 550 5.1.1 nobody"])
        ident = self.submit(NO, sender="", route=mta)
        self.assertEqual(self.wait_what(ident, "failed")["reply"], "550 5.1.1 nobody")
        self.gone(ident)
        self.assert_counts(failed=1)
        self.no_violations()

    def test_sender_elsewhere(self):
        """The report is sent as mail from nobody, by the ways of any mail."""
        mta = self.mta(["rcpt:no@* -> 550 5.1.1 nobody"])
        self.dns.set("away.test", "MX", "10 mx.away.test")
        self.dns.set("mx.away.test", "A", "127.0.0.66")
        home = self.mta(host="127.0.0.66", port=25)
        ident = self.submit(NO, sender="boss@away.test", route=mta)
        self.wait_what(ident, "failed")
        home.wait(mails=1)
        self.assertEqual((home.mails[0].sender, home.mails[0].to), ("", ["boss@away.test"]))
        self.assertIn(b"Action: failed\r\n", home.mails[0].content)
        self.gone(ident)
        self.assert_counts(failed=1, reported=1, delivered=1)
        self.no_violations()

    # --- what a server cannot take

    def test_not_offered(self):
        """SIZE too small, addresses of UTF-8 and no SMTPUTF8: refused without a word to the server. 8 bits: as the declaration says."""
        rows = [("size", {"ehlo": ["SIZE 1000"]}, {"body": "x" * 70 + "\r\n" + "y" * 2000 + "\r\n"}, "552 5.3.4 ", "5.3.4"),
                ("utf8", {"ehlo": WITHOUT["SMTPUTF8"]}, {"rcpts": "\u00fc@x.test", "params": "SMTPUTF8"}, "550 5.6.7 |553 5.6.7 ", "5.6.7"),
                ("8bit", {"ehlo": WITHOUT["8BITMIME"]}, {"body": "gr\u00fc\u00df\r\n".encode(), "params": "BODY=8BITMIME",
                                                         "relay": "downgrade=refuse"}, "55. 5.6.[13] ", "5.6.3")]
        begun = []
        for name, options, mail, reply, status in rows:
            mta = self.mta(**options)
            begun.append((name, mta, self.submit(**dict({"rcpts": NO}, **mail), route=mta), self.sender, reply, status))
        for name, mta, ident, sender, reply, status in begun:
            with self.subTest(name):
                self.assertRegex(self.wait_what(ident, "failed")["reply"], "^(%s)" % reply)
                report = self.report(sender)
                self.assertEqual([f["Status"] for f in report.rcpts.values()], [status])
                self.assertNotIn("MAIL", mta.connections[0].verbs())
                self.gone(ident)
        self.assert_counts(failed=3, reported=3, delivered=3)
        self.no_violations()

    def test_offered(self):
        """8 bits, UTF-8 and a size arrive as they came and as they were announced."""
        mta = self.mta()
        body = "gr\u00fc\u00df\r\n".encode()
        ident = self.submit("\u00fc@x.test", route=mta, params="BODY=8BITMIME SMTPUTF8", body=body)
        self.wait_what(ident, "delivered")
        m = mta.mails[0]
        self.assertEqual((m.to, m.params["BODY"], "SMTPUTF8" in m.params), (["\u00fc@x.test"], "8BITMIME", True))
        self.assertEqual(int(m.params["SIZE"]), len(m.content))
        self.assertTrue(m.content.endswith(b"\r\n\r\n" + body))
        self.gone(ident)
        self.assert_counts(delivered=1)
        self.no_violations()

    def test_recipients_per_transaction(self):
        mta = self.mta()
        rcpts = ["r%d@x.test" % i for i in range(23)]
        ident = self.submit(rcpts, route=mta, relay="max_recipients=10")
        self.wait_what(ident, "delivered", 23)
        self.gone(ident)
        self.assertEqual([m.to for m in mta.mails], [rcpts[:10], rcpts[10:20], rcpts[20:]])
        self.assertEqual(len(mta.connections), 1)
        self.assert_counts(delivered=23)
        self.no_violations()

    def test_too_many_for_the_server(self):
        """452 to the 11th: those wait, the others are delivered."""
        mta = self.mta(["rcpt nth=11- connection=1 -> 452 4.5.3 too many recipients"])
        rcpts = ["r%d@x.test" % i for i in range(23)]
        ident = self.submit(rcpts, route=mta)
        self.wait_lines(ident, 23)
        self.assertEqual([u["status"] for u in self.units(ident)], ["done"] * 10 + ["pending"] * 13)
        self.advance(LATER)
        self.wait_what(ident, "delivered", 23)
        self.gone(ident)
        self.assertEqual(sorted(to for to, _ in mta.delivered), sorted(rcpts))
        self.assert_counts(delivered=23, deferred=13)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
