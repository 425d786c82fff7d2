#!/usr/bin/env python3
"""Delivery status notifications (RFC 3461): what goes on to a server that knows them, what this server says in place of one that does
not, and what a report says."""

import unittest

import fake_mta
import harness
from relaying import FIRST, RelayTests, Report

LATER = FIRST * 11 // 10 + 2
NO_DSN = [w for w in fake_mta.EHLO if w != "DSN"]
SECRET = "Not for the report.\r\n"


class Notify(RelayTests):
    NOTIFY = ("", "NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=FAILURE", "NOTIFY=DELAY", "NOTIFY=SUCCESS,FAILURE,DELAY")

    def each(self, rules, **options):
        """One mail for each NOTIFY: (the words, server, id, sender)."""
        begun = []
        for words in self.NOTIFY:
            mta = self.mta(rules, **options)
            begun.append((words, mta, self.submit("u@x.test", route=mta, rcpt_params=words), self.sender))
        return begun

    def reports(self, begun, line, wants, action):
        """Exactly those that want to hear of that heard of it once."""
        n = 0
        for words, mta, ident, sender in begun:
            with self.subTest(words):
                self.wait_what(ident, line)
                if wants(words):
                    self.assertEqual([f["Action"] for f in self.report(sender).rcpts.values()], [action])
                    n += 1
        for words, mta, ident, sender in begun:
            if not wants(words):
                self.no_report(sender)
        return n

    def test_failure(self):
        begun = self.each(["rcpt -> 550 5.1.1 nobody"])
        n = self.reports(begun, "failed", lambda w: w == "" or "FAILURE" in w, "failed")
        for _, _, ident, _ in begun:
            self.gone(ident)
        self.assert_counts(failed=len(begun), reported=n, delivered=n)
        self.no_violations()

    def test_relayed(self):
        """A server without DSN: who asked for SUCCESS hears that it was passed on."""
        begun = self.each([], ehlo=NO_DSN)
        n = self.reports(begun, "delivered", lambda w: "SUCCESS" in w, "relayed")
        for words, mta, ident, _ in begun:
            self.gone(ident)
            self.assertEqual((mta.mails[0].params.keys() & {"RET", "ENVID"}, mta.mails[0].recipients[0].params), (set(), {}))
        self.assert_counts(delivered=len(begun) + n, reported=n)
        self.no_violations()

    def test_passed_on(self):
        """A server with DSN: it hears what was asked for, and says the rest."""
        begun = self.each([])
        self.reports(begun, "delivered", lambda w: False, None)
        for words, mta, ident, _ in begun:
            self.gone(ident)
            self.assertEqual(mta.mails[0].recipients[0].params.get("NOTIFY", ""), words.partition("=")[2])
        self.assert_counts(delivered=len(begun))
        self.no_violations()

    def test_lmtp(self):
        """Delivered there for good: that is what is said."""
        mta = self.mta(lmtp=True, ehlo=NO_DSN)
        ident = self.submit("u@x.test", route=mta, rcpt_params="NOTIFY=SUCCESS")
        self.wait_what(ident, "delivered")
        self.assertEqual([f["Action"] for f in self.report().rcpts.values()], ["delivered"])
        self.gone(ident)
        self.assert_counts(delivered=2, reported=1)
        self.no_violations()

    def test_delay(self):
        """After the fourth failure, once."""
        begun = self.each(["rcpt nth=1-5 -> 451 4.2.2 full"], ehlo=NO_DSN)
        wait = FIRST
        for n in range(1, 6):
            for words, mta, ident, sender in begun:
                self.wait_what(ident, "deferred", n)
            if n < 4:
                for words, mta, ident, sender in begun:
                    self.no_report(sender)
            if n == 5:
                told = self.reports(begun, "deferred", lambda w: w == "" or "DELAY" in w, "delayed")
            self.advance(wait * 11 // 10 + 2)
            wait *= 2
        for words, mta, ident, sender in begun:
            self.wait_what(ident, "delivered")
            self.gone(ident)
        relayed = sum("SUCCESS" in w for w in self.NOTIFY)
        for words, mta, ident, sender in begun:
            reports = (words == "" or "DELAY" in words) + ("SUCCESS" in words)
            if reports:
                self.daemon.wait_box(sender.partition("@")[0], reports)
        self.assert_counts(deferred=5 * len(begun), delivered=len(begun) + told + relayed, reported=told + relayed)
        self.no_violations()

    def test_parameters(self):
        """RET, ENVID, ORCPT: as they came, to a server with DSN."""
        mta = self.mta()
        ident = self.submit(["a@x.test", "b@x.test"], route=mta, params="RET=HDRS ENVID=QQ+2B314159",
                            rcpt_params=["NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Btag@orig.test", "NOTIFY=NEVER"])
        self.wait_what(ident, "delivered", 2)
        m = mta.mails[0]
        self.assertEqual((m.params["RET"], m.params["ENVID"]), ("HDRS", "QQ+2B314159"))
        self.assertEqual([r.params for r in m.recipients],
                         [{"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;Bob+2Btag@orig.test"}, {"NOTIFY": "NEVER", **self.orcpt(m)}])
        self.gone(ident)
        self.assert_counts(delivered=2)
        self.no_violations()

    @staticmethod
    def orcpt(m):
        """A server may add ORCPT where there was none (RFC 3461 5.2.1)."""
        return {k: v for k, v in m.recipients[1].params.items() if k == "ORCPT" and v == "rfc822;b@x.test"}

    def test_what_is_in_it(self):
        """RET: the whole mail or its header; of a report that says no failure never more than the header. ENVID and ORCPT, decoded."""
        rows = (("", 0, "message/rfc822"), ("RET=FULL", 0, "message/rfc822"), ("RET=HDRS", 0, "text/rfc822-headers"),
                ("", 90000, "text/rfc822-headers"), ("RET=FULL", 90000, "message/rfc822"))
        begun = []
        for ret, more, kind in rows:
            mta = self.mta(["rcpt -> 550 5.1.1 nobody"])
            begun.append((ret, more, kind, self.submit("u@x.test", route=mta, params=(ret + " ENVID=QQ+2B314159").strip(),
                                                       rcpt_params="ORCPT=rfc822;Bob+2Btag@orig.test",
                                                       body=SECRET + ("y" * 70 + "\r\n") * (more // 72)), self.sender))
        for ret, more, kind, ident, sender in begun:
            with self.subTest("%s %d" % (ret, more)):
                report = self.report(sender)
                self.assertEqual(report.source_type, kind)
                self.assertEqual(SECRET.strip() in report.source_text(), kind == "message/rfc822")
                self.assertIn("Subject: a case", report.source_text())
                self.assertEqual((report.message["Original-Envelope-Id"], report.message["X-Barid-Id"]), ("QQ+314159", ident))
                self.assertEqual(report.rcpts["u@x.test"]["Original-Recipient"], "rfc822; Bob+tag@orig.test")
                self.assertEqual(report.mail["Auto-Submitted"], "auto-replied")
                self.gone(ident)
        self.assert_counts(failed=len(rows), reported=len(rows), delivered=len(rows))
        self.no_violations()

    def test_one_report_for_all(self):
        """Recipients of one mail that fail together stand in one report, those that were delivered do not."""
        mta = self.mta(["rcpt:bad*@* -> 550 5.1.1 nobody", "rcpt:big*@* -> 552 5.2.2 full"])
        rcpts = ["good@x.test", "bad1@x.test", "bad2@x.test", "big1@x.test", "silent@x.test", "bad3@x.test"]
        ident = self.submit(rcpts, route=mta, rcpt_params=["", "", "", "", "", "NOTIFY=NEVER"])
        self.wait_what(ident, "failed", 4)
        report = self.report()
        self.assertEqual({r: f["Status"] for r, f in report.rcpts.items()},
                         {"bad1@x.test": "5.1.1", "bad2@x.test": "5.1.1", "big1@x.test": "5.2.2"})
        for rcpt, said in (("bad1@x.test", "550 5.1.1 nobody"), ("big1@x.test", "552 5.2.2 full")):
            self.assertIn("<%s>" % rcpt, report.text)
            self.assertIn(said, report.text)
        self.assertNotIn("good@x.test", report.text + str(report.rcpts))
        self.gone(ident)
        self.assert_counts(delivered=3, failed=4, reported=1)
        self.no_violations()

    def test_a_report_that_fails(self):
        """Its sender is null: it is not reported, and not held."""
        home = self.mta(["rcpt -> 550 5.1.1 gone"], host="127.0.0.67", port=25)
        self.dns.set("gone.test", "MX", "10 mx.gone.test")
        self.dns.set("mx.gone.test", "A", "127.0.0.67")
        mta = self.mta(["rcpt -> 550 5.1.1 nobody"])
        ident = self.submit("u@x.test", sender="who@gone.test", route=mta)
        self.wait_what(ident, "failed")
        home.wait(rcpt=1)
        self.gone(ident)
        report = self.daemon.wait_log({"area": "queue", "what": "reported", "id": ident})["report"]
        self.wait_what(report, "failed")
        self.gone(report)
        self.assertEqual(home.connections[0].commands[1][0].split()[1], "FROM:<>")
        self.assert_counts(failed=2, reported=1)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
