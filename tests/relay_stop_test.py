#!/usr/bin/env python3
"""The daemon ends while it sends, by SIGTERM and by kill -9, at each stage. Nothing is lost; what may have been delivered says so, and
nothing else is delivered twice."""

import signal
import unittest

import fake_mta
import harness
from relaying import FIRST, RelayTests

LATER = FIRST * 11 // 10 + 2
DATA = [w for w in fake_mta.EHLO if w not in ("CHUNKING", "BINARYMIME")]
BODY = "x" * 70 + "\r\n"
CUT = "451 4.4.2 this server was stopped while the answer was awaited"


class Stopped(RelayTests):
    # Where the server is silent when the daemon ends.
    BEFORE = (("connect", "banner nth=1 -> silence", {}), ("EHLO", "ehlo nth=1 -> silence", {}), ("MAIL", "mail nth=1 -> silence", {}),
              ("RCPT", "rcpt nth=1 -> silence", {}), ("DATA", "data nth=1 -> silence", {"ehlo": DATA}),
              ("within DATA", "content after=200000 nth=1 -> silence", {"ehlo": DATA}),
              ("within BDAT", "content after=200000 nth=1 -> silence", {}))

    def begin(self, rows):
        begun = []
        for name, rule, options in rows:
            mta = self.mta([rule], small=True, **options)
            begun.append((name, mta, self.submit(route=mta, body=BODY * (80000 if "within" in name else 1))))
        for name, mta, _ in begun:
            mta.wait(silence=1)
        self.at_rest()
        return begun

    def again(self):
        self.daemon.start()
        self.before = {k: 0 for k in self.before}

    def check(self, begun):
        for name, mta, ident in begun:
            with self.subTest(name):
                line = self.wait_what(ident, "delivered")
                self.assertEqual((line["attempts"], line["maybe_duplicate"]), (1, False))
                self.gone(ident)
                mta.wait(mails=1)
                self.assertEqual([m.delivered for m in mta.mails], [["u@elsewhere.test"]])
        self.assert_counts(delivered=len(begun))
        self.no_violations()

    def test_sigterm_before_the_end(self):
        """Given back as it was: no attempt was made."""
        begun = self.begin(self.BEFORE)
        self.daemon.stop()
        for name, mta, ident in begun:
            self.assertEqual(self.lines(ident), [], name)
        self.again()
        self.check(begun)

    def test_kill_before_the_end(self):
        begun = self.begin(self.BEFORE)
        self.daemon.kill()
        self.again()
        self.check(begun)

    def test_sigterm_waits_for_an_answer(self):
        """A server that has the whole mail is heard: it is not sent again."""
        mta = self.mta(["dot -> silence ; ok"])
        ident = self.submit(route=mta)
        mta.wait(silence=1)
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.wait_log(lambda r: "stop" in r["what"])
        mta.release()
        self.wait_what(ident, "delivered")
        self.daemon.process.wait(harness.DEADLINE)
        self.daemon.stop()
        self.again()
        self.gone(ident)
        self.assertEqual(len(mta.mails), 1)
        self.assert_counts()
        self.no_violations()

    def cut(self, ident, mta):
        """In doubt, and said so in the queue, at the next attempts, whatever those end with, and when it is delivered."""
        line = self.wait_what(ident, "deferred")
        self.assertTrue(line["maybe_duplicate"])
        self.assertTrue(self.units(ident)[0]["suspect"])
        self.advance(LATER * 3)
        line = self.wait_what(ident, "delivered")
        self.assertTrue(line["maybe_duplicate"])
        self.gone(ident)
        self.assertEqual(len([m for m in mta.mails if m.delivered]), 1)
        self.no_violations()

    def test_sigterm_without_an_answer(self):
        """Ten seconds, then the connection is cut."""
        mta = self.mta(["dot nth=1 -> silence", "rcpt nth=2 -> 451 4.2.2 full"])
        ident = self.submit(route=mta)
        mta.wait(silence=1)
        self.daemon.process.send_signal(signal.SIGTERM)
        self.daemon.wait_log(lambda r: "stop" in r["what"])
        self.advance(9)
        self.at_rest()
        self.assertEqual(self.lines(ident), [])
        self.advance(2)
        line = self.wait_what(ident, "deferred")
        self.assertEqual((line["reply"], line["maybe_duplicate"]), (CUT, True))
        self.daemon.process.wait(harness.DEADLINE)
        self.daemon.stop()
        self.again()
        found = self.units(ident)[0]
        self.assertEqual((found["status"], found["attempts"], found["reply"], found["suspect"]), ("pending", 1, CUT, True))
        self.assert_due(found, line, FIRST)
        del self.daemon.records[:]
        self.advance(LATER)
        self.cut(ident, mta)
        self.assertEqual([m.final for m in mta.mails], [None, 250])
        self.assert_counts(deferred=1, delivered=1)

    def test_kill_after_the_end(self):
        """The next process finds what was being sent."""
        mta = self.mta(["dot nth=1 -> silence", "rcpt nth=2 -> 451 4.2.2 full"])
        ident = self.submit(route=mta)
        mta.wait(silence=1)
        self.at_rest()
        self.daemon.kill()
        self.again()
        self.daemon.wait_log(lambda r: r.get("id") == ident and r["what"].startswith("was being sent when the server was stopped"))
        self.cut(ident, mta)
        self.assert_counts(deferred=1, delivered=1)

    def test_kill_after_the_record(self):
        """What was answered and recorded is not in doubt: two recipients, of which one waits."""
        mta = self.mta(["rcpt:late@* nth=1 -> 451 4.2.2 full"])
        ident = self.submit(["ok@x.test", "late@x.test"], route=mta)
        self.wait_lines(ident, 2)
        later = self.submit(extra="X-Until: +99h\r\n")  # acknowledged: what was recorded before is on the disk, too
        self.daemon.kill()
        self.again()
        self.assertEqual([(u["status"], u.get("suspect", False)) for u in self.units(ident)], [("done", False), ("pending", False)])
        self.advance(LATER)
        self.assertFalse(self.wait_what(ident, "delivered", 2)["maybe_duplicate"])
        self.gone(ident)
        self.assertEqual(sorted(to for to, _ in mta.delivered), ["late@x.test", "ok@x.test"])
        self.assert_counts(delivered=1)
        self.assertEqual([u["status"] for u in self.units(later)], ["pending"])
        self.no_violations()

    def test_back_again(self):
        """Another process knows from the queue that the server was down: the first mail that it takes brings the others along."""
        mta = self.mta()
        mta.down()
        idents = [self.submit(route=mta) for _ in range(3)]
        for ident in idents:
            self.deferred(ident, "^451 4.4.1 ")
        self.daemon.stop()
        self.again()
        self.advance(100)
        self.at_rest()
        self.assertEqual([u["status"] for i in idents for u in self.units(i)], ["pending"] * 3)
        mta.up()
        self.advance(230)  # the first of them is due, perhaps not all
        for ident in idents:
            self.assertEqual(self.wait_what(ident, "delivered")["attempts"], 2)
            self.gone(ident)
        self.assert_counts(delivered=3)
        self.no_violations()

    def test_with_much_to_do(self):
        """Killed again and again while hundreds wait for two servers: each arrives, twice only where that is said."""
        mtas = [self.mta(), self.mta()]
        idents = [self.submit("u%d@x.test" % i, route=mtas[i % 2], relay="max_connections=4") for i in range(120)]
        for n in (20, 50, 80):
            mtas[0].wait_until(lambda: sum(len(m.mails) for m in mtas) >= n, "%d mails" % n)
            (self.daemon.stop if n == 50 else self.daemon.kill)()
            self.again()
        for ident in idents:
            self.gone(ident)
        got = [to for m in mtas for to, _ in m.delivered]
        self.assertEqual(set(got), {"u%d@x.test" % i for i in range(120)})
        doubtful = {r["rcpt"] for r in list(self.daemon.records) if r.get("maybe_duplicate")}
        self.assertLessEqual({to for to in got if got.count(to) > 1}, doubtful)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
