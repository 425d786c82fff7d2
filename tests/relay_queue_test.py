#!/usr/bin/env python3
"""The queue of what is sent: when it is tried again, when its sender hears of it, how much goes to one server at once, and what a
reload changes."""

import unittest

import harness
from relaying import FIRST, HEAD, MAX, STORED, TRIES, RelayTests, Report

LATER = FIRST * 11 // 10 + 2
SEND = STORED + """
function on.route(mail, recipients)
  if not mail:header("X-Route") then return send("[127.0.0.1]:@wrong@") end
end
"""


class Schedule(RelayTests):
    def fails(self, ident, n, seconds):
        """Its n-th attempt has just failed: due again as the schedule says."""
        line = self.wait_what(ident, "deferred", n)
        self.assertEqual(line["attempts"], n)
        self.assert_due(self.units(ident)[0], line, seconds)

    def test_twenty_tries(self):
        """5 minutes, doubling to 8 hours; one delay notice, after the fourth failure; after the twentieth a failure report."""
        mta = self.mta(["rcpt -> 451 4.2.2 full"])
        ident, wait = self.submit("u@x.test", route=mta), FIRST
        sender = self.sender.partition("@")[0]
        for n in range(1, TRIES):
            self.fails(ident, n, wait)
            if n == 4:
                self.daemon.wait_box(sender, 1)
            self.assertEqual(len(self.daemon.box(sender)), n >= 4, "after %d tries" % n)
            self.advance(wait * 11 // 10 + 2)
            wait = min(2 * wait, MAX)
        self.assertEqual(self.wait_what(ident, "failed")["attempts"], TRIES)
        delay, failure = [Report(c) for c in self.daemon.wait_box(sender, 2)]
        self.assertEqual([f["Action"] for f in delay.rcpts.values()], ["delayed"])
        self.assertEqual([(f["Status"], f["Diagnostic-Code"]) for f in delay.rcpts.values()], [("4.2.2", "smtp; 451 4.2.2 full")])
        self.assertIn("Will-Retry-Until", delay.rcpts["u@x.test"])
        self.assertEqual([(f["Action"], f["Status"], f["Diagnostic-Code"], f["Remote-MTA"]) for f in failure.rcpts.values()],
                         [("failed", "4.2.2", "smtp; 451 4.2.2 full", "dns; [127.0.0.1]")])
        self.gone(ident)
        self.assertEqual(mta.seen["rcpt"], TRIES)
        self.assert_counts(deferred=TRIES - 1, failed=1, reported=2, delivered=2)
        self.no_violations()

    def test_not_before(self):
        """A minute before its time nothing is tried, though the queue looks."""
        mta = self.mta(["rcpt nth=1 -> 451 4.2.2 full"])
        ident = self.submit(route=mta)
        self.deferred(ident, "^451 4.2.2 full")
        self.advance(FIRST - 60)
        other = self.submit(route=self.mta())
        self.wait_what(other, "delivered")
        self.at_rest()
        self.assertEqual(mta.seen["rcpt"], 1)
        self.advance(LATER)
        self.wait_what(ident, "delivered")
        self.gone(ident)
        self.assert_counts(deferred=1, delivered=2)

    def test_until(self):
        """A mail that its policy delays is not sent before, and then at once."""
        mta = self.mta()
        ident = self.submit(route=mta, extra="X-Until: +2h\r\n")
        other = self.submit(route=mta)
        self.wait_what(other, "delivered")
        self.advance(7100)
        self.wait_what(self.submit(route=mta), "delivered")
        self.assertEqual((self.lines(ident), len(mta.mails)), ([], 2))
        self.advance(110)
        self.assertEqual(self.wait_what(ident, "delivered")["attempts"], 1)
        self.gone(ident)
        self.assert_counts(delivered=3)
        self.no_violations()

    def test_back_again(self):
        """A server that was down: what waits for it is put off by its own schedule, and all of it goes with the first that is taken."""
        mta = self.mta()
        mta.down()
        idents = [self.submit(route=mta) for _ in range(10)]
        for ident in idents:
            self.deferred(ident, "^451 4.4.1 .*refused")
        self.assertEqual(mta.connections, [])
        self.advance(LATER)  # all are due; one asks, the others are put off by what it hears
        for ident in idents:
            self.wait_what(ident, "deferred", 2)
        mta.up()
        self.advance(400)  # the others are due after 600 and more
        first = self.submit(route=mta)
        self.wait_what(first, "delivered")
        for ident in idents:
            self.wait_what(ident, "delivered")
            self.gone(ident)
        self.assertEqual(len(mta.mails), 11)
        self.assert_counts(deferred=20, delivered=11)
        self.no_violations()

    def test_full_is_not_down(self):
        """A mailbox that is full is no server that is down: the others are not held up."""
        mta = self.mta(["rcpt:full@* nth=1 -> 452 4.2.2 full"])
        full = self.submit("full@x.test", route=mta)
        self.deferred(full, "^452 4.2.2 full")
        for _ in range(3):
            self.wait_what(self.submit("fine@x.test", route=mta), "delivered")
        self.advance(LATER)
        self.wait_what(full, "delivered")
        self.gone(full)
        self.assert_counts(deferred=1, delivered=4)
        self.no_violations()

    # --- connections

    def test_one_connection(self):
        """Kept for the next mail for some seconds, then ended in order."""
        mta = self.mta()
        for _ in range(5):
            self.gone(self.submit(route=mta))
        self.assertEqual(len(mta.connections), 1)
        self.assertEqual([m.number for m in mta.mails], [1, 2, 3, 4, 5])
        self.advance(11)
        mta.wait(ended=1)
        self.assertEqual(mta.connections[0].end, "quit")
        self.gone(self.submit(route=mta))
        self.assertEqual(len(mta.connections), 2)
        self.assert_counts(delivered=6)
        self.no_violations()

    def test_kept_connection_lost(self):
        """A server that ends it meanwhile, or says 421 to the next mail: sent on another at once."""
        for rule in ("mail nth=2 -> 421 4.4.2 idle", "mail nth=2 -> close", "mail nth=2 -> reset", "dot nth=1 -> 250 2.0.0 ok ; close"):
            with self.subTest(rule):
                mta = self.mta([rule])
                for _ in range(2):
                    ident = self.submit(route=mta)
                    self.wait_what(ident, "delivered")
                    self.gone(ident)
                self.assertEqual((len(mta.connections), len(mta.mails)), (2, 2))
        self.assert_counts(delivered=8)
        self.no_violations()

    def test_mails_in_a_connection(self):
        mta = self.mta()
        for _ in range(5):
            self.gone(self.submit(route=mta, relay="max_mails=2"))
        self.assertEqual([m.connection for m in mta.mails], [1, 1, 2, 2, 3])
        self.assert_counts(delivered=5)
        self.no_violations()

    def test_at_once(self):
        """20 to one next hop, or as many as its hook says; the others wait, and each gets there once."""
        for limit, relay in ((20, None), (3, "max_connections=3")):
            with self.subTest(limit):
                mta = self.mta(["dot connection=1-%d -> silence ; ok" % limit])
                idents = [self.submit(route=mta, relay=relay) for _ in range(30)]
                mta.wait(silence=limit)
                self.at_rest()
                mta.wait_until(lambda: mta.release() or len(mta.mails) == 30, "all mails", 20)
                for ident in idents:
                    self.wait_what(ident, "delivered")
                    self.gone(ident)
                self.assertEqual(mta.peak, limit)
        self.assert_counts(delivered=60)
        self.no_violations()


    def test_rate(self):
        """Two in a minute: the third waits for the next minute, and none is counted as an attempt that failed."""
        mta = self.mta()
        idents = [self.submit(route=mta, relay="rate=2/1m") for _ in range(9)]
        for n in (2, 4, 6, 8, 9):
            mta.wait(mails=n)
            self.at_rest()
            self.assertEqual(len(mta.mails), n)
            self.advance(61)
        for ident in idents:
            self.assertEqual(self.wait_what(ident, "delivered")["attempts"], 1)
            self.gone(ident)
        self.assert_counts(delivered=9)
        self.no_violations()

    def test_several_destinations(self):
        """One mail, four domains, each with an end of its own; a server of two domains has the mail once for each."""
        hosts = {"ok1": "127.0.0.81", "ok2": "127.0.0.81", "down": "127.0.0.82", "no": "127.0.0.83"}
        for name, host in hosts.items():
            self.dns.set(name + ".many.test", "MX", "10 mx." + name + ".many.test")
            self.dns.set("mx." + name + ".many.test", "A", host)
        good = self.mta(host="127.0.0.81", port=25)
        bad = self.mta(["rcpt -> 550 5.1.1 nobody"], host="127.0.0.83", port=25)
        rcpts = ["a@ok1.many.test", "b@down.many.test", "c@no.many.test", "d@ok2.many.test", "e@ok1.many.test"]
        ident = self.submit(rcpts)
        self.wait_lines(ident, 5)
        self.assertEqual([u["status"] for u in self.units(ident)], ["done", "pending", "failed", "done", "done"])
        self.assertEqual(list(self.report().rcpts), ["c@no.many.test"])
        self.assertEqual(sorted(m.to for m in good.mails), [["a@ok1.many.test", "e@ok1.many.test"], ["d@ok2.many.test"]])
        down = self.mta(host="127.0.0.82", port=25)
        self.advance(LATER)
        self.wait_what(ident, "delivered", 4)
        self.gone(ident)
        self.assertEqual([m.to for m in down.mails], [["b@down.many.test"]])
        self.assertEqual(len(bad.connections), 1)
        self.assert_counts(delivered=5, deferred=1, failed=1, reported=1)
        self.no_violations()


class Reload(RelayTests):
    """A route that leads nowhere, and what changes when it is mended."""

    POLICY = SEND + """
function on.message(session, mail)
  if mail:header("X-Pinned") then
    for _, rcpt in ipairs(mail.recipients) do
      if not rcpt.is_local then rcpt:send{ "[127.0.0.1]:@wrong@", pinned = true } end
    end
  end
end
"""

    def lead_to(self, mta):
        self.daemon.write_policy(self.POLICY.replace("@wrong@", str(mta.port), 1), head=HEAD)
        self.daemon.reload()

    def test_mended(self):
        """Asked again at every attempt: what waits goes the new way. What is pinned does not."""
        right = self.mta()
        idents = [self.submit(), self.submit(extra="X-Pinned: yes\r\n")]
        for ident in idents:
            self.deferred(ident, "^451 4.4.1 .*refused")
        self.lead_to(right)
        self.advance(LATER)
        self.assertEqual(self.wait_what(idents[0], "delivered")["hop"], "[127.0.0.1]:%d" % right.port)
        self.gone(idents[0])
        self.deferred(idents[1], "^451 4.4.1 .*refused", attempts=2, seconds=2 * FIRST)
        wrong = self.mta(port=self.daemon.port["wrong"])
        self.advance(2 * LATER)
        self.wait_what(idents[1], "delivered")
        self.gone(idents[1])
        self.assertEqual((len(right.mails), len(wrong.mails)), (1, 1))
        self.assert_counts(deferred=3, delivered=2)
        self.no_violations()

    def test_while_sending(self):
        """A mail under way ends as it began; the next one goes by the new configuration."""
        mta = self.mta(["dot nth=1 -> silence ; ok"])
        self.lead_to(mta)
        ident = self.submit()
        mta.wait(silence=1)
        second = self.mta()
        self.lead_to(second)
        other = self.submit()
        self.wait_what(other, "delivered")
        self.assertEqual(self.lines(ident), [])
        mta.release()
        self.assertEqual(self.wait_what(ident, "delivered")["maybe_duplicate"], False)
        self.gone(ident)
        self.gone(other)
        self.assertEqual((len(mta.mails), len(second.mails)), (1, 1))
        self.assert_counts(delivered=2)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
