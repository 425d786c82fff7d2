#!/usr/bin/env python3
"""The five hooks of delivery in the daemon: route, relay, attempt, failure, delay. What a header of the mail says, the hook does."""

import unittest

import harness
from relaying import FIRST, HEAD, ROUTED, RelayTests, Report, moment

LATER = FIRST * 11 // 10 + 2

POLICY = ROUTED.replace("""
  if not list then return end
""", """
  local say = mail:header("X-At-Route")
  if say == "reject" then return reject(550, "5.7.1", "no way") end
  if say == "tempfail" then return tempfail(451, "4.7.1", "not today") end
  if say == "hold" then return hold("for a look") end
  if say == "discard" then return discard("never mind") end
  if say == "error" then error("in route") end
  if not list then return end
""").replace("""function on.relay(hop, mail)
""", """function on.relay(hop, mail)
  local say = mail:header("X-At-Relay")
  if say == "reject" then return reject(550, "5.7.1", "not there") end
  if say == "tempfail" then return tempfail(451, "4.7.1", "not now") end
  if say == "hold" then return hold("for a look") end
""") + """
function on.attempt(result, mail)
  local say = mail:header("X-At-Attempt")
  log.info("attempted", { id = mail.id, status = result.status, code = result.code, stage = result.stage, hop = result.hop,
                          n = #result.recipients, attempts = result.attempts, suspect = result.suspect })
  if not say or result.attempts > 1 or result.status == "delivered" then return end
  if say == "done" then return done() end
  if say == "again" then return again("+2h") end
  if say == "limited" then return again { at = "+10m", rate_limited = true } end
  if say == "fail" then return fail(550, "5.7.9", "enough") end
  if say == "hold" then return hold("for a look") end
  if say == "error" then error("in attempt") end
end
function on.failure(report, mail)
  local say = mail:header("X-At-Failure")
  if say == "silent" then return discard("silent") end
  if say == "hold" then return hold("for a look") end
  if say == "anyway" then return accept() end
  if say == "error" then error("in failure") end
  if say == "edit" then
    report.subject = "Bad news"
    report.sender = "postmaster@example.com"
    report.text = "It did not work.\\n"
    report.recipient_text = "%{address}: %{reason}\\n"
    report.footer = "Yours.\\n"
    report.attach = "nothing"
  end
  if say == "source" then report.attach = "source" end
  if say == "header" then report.attach = "header" end
end
function on.delay(report, mail)
  local say = mail:header("X-At-Delay")
  if say == "silent" then return discard("silent") end
  if say == "always" then return accept() end
  if say == "edit" then
    report.subject = "Patience"
    report.text = report.attempts .. " tries, " .. report.remaining_retries .. " left.\\n"
    report.to = "desk@example.com"
  end
end
"""


class Hooks(RelayTests):
    POLICY = POLICY

    def held(self, ident):
        """A person decides: nothing is tried, nobody is told."""
        self.wait_what(ident, "held")
        self.assertEqual([u["status"] for u in self.units(ident)], ["held"])

    def say(self, at, what, route, **more):
        return self.submit(route=route, extra="X-At-%s: %s\r\n" % (at, what), **more)

    # --- route and relay

    def verdicts(self, at, reject, tempfail):
        mta = self.mta()
        ident = self.say(at, "reject", mta)
        self.assertEqual(self.wait_what(ident, "failed")["reply"], reject)
        fields = self.report().rcpts["u@elsewhere.test"]
        self.assertEqual((fields["Status"], fields["Diagnostic-Code"]), ("5.7.1", "x-barid; " + reject))
        self.assertNotIn("Remote-MTA", fields)
        late = self.say(at, "tempfail", mta)
        self.deferred(late, "^%s$" % tempfail)
        held = self.say(at, "hold", mta)
        self.held(held)
        self.no_report()
        self.assertEqual(mta.connections, [])
        return late

    def test_route(self):
        late = self.verdicts("Route", "550 5.7.1 no way", "451 4.7.1 not today")
        mta = self.mta()
        gone = self.say("Route", "discard", mta)
        self.wait_what(gone, "delivered")
        broken = self.say("Route", "error", mta)
        self.assertEqual(self.wait_lines(broken)[0]["what"], "deferred")
        self.assertEqual(mta.connections, [])
        self.assert_counts(failed=1, reported=1, deferred=2, held=1, delivered=2)
        self.finish(late, broken)

    def test_relay(self):
        late = self.verdicts("Relay", "550 5.7.1 not there", "451 4.7.1 not now")
        self.assert_counts(failed=1, reported=1, deferred=1, held=1, delivered=1)
        self.finish(late)

    def finish(self, *idents):
        """What a case leaves behind would be tried within the others: they get their last word now."""
        policy = self.POLICY.replace('mail:header("X-At-', 'mail:header("X-No-')
        self.daemon.write_policy(policy, head=HEAD)
        self.daemon.reload()
        self.advance(LATER)
        for ident in idents:
            self.wait_what(ident, "delivered")
        self.daemon.write_policy(self.POLICY, head=HEAD)
        self.daemon.reload()

    def test_fields(self):
        """What the hook writes is what is done: port, source address, name, extensions."""
        mta = self.mta()
        wrong = self.daemon.ports.take()
        ident = self.submit(route="[127.0.0.1]:%d" % wrong, relay="port=%d source=127.0.0.5 helo=me.test pipelining=false chunking=false"
                            " dsn=false" % mta.port, rcpt_params="NOTIFY=SUCCESS")
        self.wait_what(ident, "delivered")
        m, c = mta.mails[0], mta.connections[0]
        self.assertEqual((c.peer, c.helo, m.how, m.recipients[0].params), ("127.0.0.5", "me.test", "DATA", {}))
        self.assertEqual([f["Action"] for f in self.report().rcpts.values()], ["relayed"])
        self.gone(ident)
        host = self.submit(route="[127.0.0.1]:%d" % wrong, relay="ip=127.0.0.2 port=%d" % self.mta(host="127.0.0.2").port)
        self.wait_what(host, "delivered")
        self.gone(host)
        self.assert_counts(delivered=3, reported=1)
        self.no_violations()

    # --- attempt

    def attempted(self, ident):
        return [r for r in list(self.daemon.records) if r["what"] == "attempted" and r.get("id") == ident]

    def test_attempt(self):
        rows = (("done", "delivered", None), ("again", "deferred", 7200), ("limited", "deferred", 600), ("fail", "failed", None),
                ("hold", "held", None), ("error", "deferred", FIRST))
        begun = []
        for say, end, seconds in rows:
            mta = self.mta(["rcpt nth=1 -> 451 4.2.2 full"])
            begun.append((say, end, seconds, mta, self.say("Attempt", say, mta), self.sender))
        for say, end, seconds, mta, ident, sender in begun:
            with self.subTest(say):
                line = self.wait_what(ident, end)
                self.assertEqual(line["attempts"], 0 if say == "limited" else 1)
                if end in ("deferred", "held"):
                    unit = self.units(ident)[0]
                    self.assertEqual((unit["status"], unit["attempts"]), ("pending" if end == "deferred" else "held", line["attempts"]))
                if seconds == FIRST:
                    self.assert_due(unit, line, FIRST)
                elif seconds is not None:
                    self.assert_due_exactly(unit, line, seconds)
                told = self.attempted(ident)[0]
                self.assertEqual((told["status"], told["code"], told["stage"], told["n"], told["attempts"], told["suspect"]),
                                 ("deferred", 451, "rcpt", 1, 1, False))
                if say == "fail":
                    fields = self.report(sender).rcpts["u@elsewhere.test"]
                    self.assertEqual(fields["Status"], "5.7.9")
        self.assert_counts(delivered=2, deferred=3, failed=1, held=1, reported=1)
        self.advance(7300)
        for say, end, seconds, mta, ident, sender in begun:
            if end == "deferred":
                self.wait_what(ident, "delivered")
                self.gone(ident)
        self.assert_counts(delivered=5, deferred=3, failed=1, held=1, reported=1)
        self.no_violations()

    def assert_due_exactly(self, unit, line, seconds):
        self.assertAlmostEqual(moment(unit["due"]) - moment(line["time"]), seconds, delta=1.5)

    def test_attempt_sees_the_same_ends_together(self):
        """One question for those that ended alike."""
        mta = self.mta(["rcpt:n*@* -> 550 5.1.1 nobody", "rcpt:l* nth=1 -> 451 4.2.2 full"])
        ident = self.submit(["n1@x.test", "n2@x.test", "l@x.test", "ok1@x.test", "ok2@x.test"], route=mta)
        self.wait_lines(ident, 5)
        self.assertEqual(sorted((r["status"], r["n"]) for r in self.attempted(ident)),
                         [("deferred", 1), ("delivered", 2), ("failed", 2)])
        self.report()
        self.advance(LATER)
        self.wait_what(ident, "delivered", 3)
        self.gone(ident)
        self.assert_counts(delivered=4, deferred=1, failed=2, reported=1)
        self.no_violations()

    # --- failure and delay

    def test_failure(self):
        begun = []
        for say, notify in (("silent", ""), ("hold", ""), ("anyway", "NOTIFY=NEVER"), ("error", ""), ("edit", ""), ("source", ""),
                            ("header", "")):
            mta = self.mta(["rcpt -> 550 5.1.1 nobody"])
            begun.append((say, self.say("Failure", say, mta, rcpt_params=notify), self.sender))
        ends = {}
        for say, ident, sender in begun:
            ends[say] = (self.wait_lines(ident)[0]["what"], ident, sender)
        self.assertEqual([ends[s][0] for s, _, _ in begun], ["failed", "held"] + ["failed"] * 5)
        self.assertEqual([u["status"] for u in self.units(ends["hold"][1])], ["held"])
        edited = self.report(ends["edit"][2])
        self.assertEqual((edited.mail["Subject"], edited.source), ("Bad news", None))
        self.assertIn("<postmaster@example.com>", edited.mail["From"])
        self.assertIn("It did not work.\r\n", edited.text.replace("\r\n", "\n").replace("\n", "\r\n"))
        self.assertIn("u@elsewhere.test: The mail server [127.0.0.1] said: 550 5.1.1 nobody", edited.text)
        self.assertTrue(edited.text.rstrip().endswith("Yours."))
        self.assertEqual(self.report(ends["source"][2]).source_type, "message/rfc822")
        self.assertEqual(self.report(ends["header"][2]).source_type, "text/rfc822-headers")
        self.report(ends["error"][2])
        self.report(ends["anyway"][2])
        for say in ("silent", "hold"):
            self.no_report(ends[say][2])
        self.assert_counts(failed=6, held=1, reported=5, delivered=5)
        self.no_violations()

    def test_delay(self):
        begun = []
        for say in ("silent", "edit", "always", "nothing"):
            mta = self.mta(["rcpt nth=1-4 -> 451 4.2.2 full"])
            begun.append((say, self.say("Delay", say, mta), self.sender))
        wait = FIRST
        for n in range(1, 5):
            for say, ident, sender in begun:
                self.wait_what(ident, "deferred", n)
            self.advance(wait * 11 // 10 + 2)
            wait *= 2
        for say, ident, sender in begun:
            self.wait_what(ident, "delivered")
            self.gone(ident)
        self.assert_counts(deferred=16, reported=6, delivered=4 + 6)
        told = {say: [Report(c) for c in self.daemon.box(sender.partition("@")[0])] for say, _, sender in begun}
        self.assertEqual([len(told[s]) for s in ("silent", "edit", "always", "nothing")], [0, 0, 4, 1])
        desk = Report(self.daemon.wait_box("desk", 1)[0])
        self.assertEqual(desk.mail["Subject"], "Patience")
        self.assertIn("4 tries, 16 left.", desk.text)
        self.assertEqual([f["Action"] for f in desk.rcpts.values()], ["delayed"])
        self.no_violations()


if __name__ == "__main__":
    harness.main()
