#!/usr/bin/env python3
"""The relay against servers that misbehave: what becomes of the mail when a session ends, stalls or makes no sense, stage by stage.
Every mail that is put off is sent after the next interval: nothing is lost and nothing is sent twice without saying so."""

import unittest

import fake_mta
import harness
from relaying import FIRST, RelayTests

LATER = FIRST * 11 // 10 + 2
AGAIN = "2.0.0 kept as"


class Sessions(RelayTests):
    """Each case: a rule that applies once, and what is said of it. All of a table at once, each with a server of its own."""

    def begin(self, table, **options):
        """[(case, server, id)] of rows (name, rules, reply, options)."""
        begun = []
        for row in table:
            name, rules = row[0], row[1]
            more = dict(options, **(row[3] if len(row) > 3 else {}))
            relay = more.pop("relay", None)
            rcpts = more.pop("rcpts", "u@elsewhere.test")
            mta = self.mta([rules] if isinstance(rules, str) else rules, **more)
            begun.append((row, mta, self.submit(rcpts, route=mta, relay=relay)))
        return begun

    def end(self, begun, suspects=()):
        """Each is put off as its row says, and arrives after the next interval."""
        for row, mta, ident in begun:
            with self.subTest(row[0]):
                self.deferred(ident, row[2])
        self.advance(LATER)
        for row, mta, ident in begun:
            with self.subTest(row[0]):
                line = self.wait_what(ident, "delivered")
                self.assertEqual(line["attempts"], 2)
                self.assertRegex(line["reply"], AGAIN)
                self.gone(ident)
                self.assertEqual([m.to for m in mta.mails if m.delivered], [["u@elsewhere.test"]])
                self.assertEqual(len(mta.mails), 2 if row[0] in suspects else 1)
        self.assert_counts(deferred=len(begun), delivered=len(begun))
        self.no_violations()

    DATA = [w for w in fake_mta.EHLO if w not in ("CHUNKING", "BINARYMIME")]
    # stage, how the server offers it, what is said after two minutes and more
    STAGES = (("banner", {}), ("ehlo", {}), ("mail", {}), ("rcpt", {}), ("data", {"ehlo": DATA}), ("bdat", {"relay": "chunk=50"}),
              ("dot", {}), ("starttls", {"tls": "starttls", "relay": "tls=required"}),
              ("authenticated", {"users": {"me": "secret"}, "relay": "user=me password=secret"}))

    def table(self, action, reply, stages=STAGES):
        return [(stage, "%s nth=1 -> %s" % (stage, action), reply, options) for stage, options in stages]

    def test_421(self):
        self.end(self.begin(self.table("421 4.3.2 going down", "^421 4.3.2 going down")), suspects=("dot",))

    def test_the_end(self):
        """No answer will come: it is said at which stage, and after the dot that it may be the second time."""
        begun = self.begin(self.table("close", r"^451 4.[47].[025] \[127.0.0.1\] \(127.0.0.1:\d+\): .*closed"))
        begun += self.begin(self.table("reset", r"^451 4.[47].[0125] \[127.0.0.1\]"))
        self.end(begun, suspects=("dot",))
        self.assert_suspects(begun)

    def assert_suspects(self, begun):
        """The attempt after the one that was not answered to its end: that line says so, and only that."""
        for row, mta, ident in begun:
            self.assertEqual([r["maybe_duplicate"] for r in self.lines(ident, "deferred")], [row[0] == "dot"], row[0])

    def test_silence(self):
        """The client gives up by its own clock, RFC 5321 4.5.3.2, and not before."""
        seconds = {"data": 120, "bdat": 180, "dot": 600, "starttls": 120}
        begun = self.begin(self.table("silence", "^451 4.[47].[025] .*took too long"))
        for row, mta, ident in begun:
            mta.wait(silence=1)
        passed = 0
        for limit in sorted({seconds.get(row[0], 300) for row, _, _ in begun}):
            self.advance(limit - 30 - passed)
            passed = limit - 30
            self.at_rest()
            late = [b for b in begun if seconds.get(b[0][0], 300) == limit]
            for row, mta, ident in late:
                self.assertEqual(self.lines(ident), [], row[0])
            self.advance(40)
            passed += 40
            for row, mta, ident in late:
                with self.subTest(row[0]):
                    self.deferred(ident, row[2])
        self.advance(LATER)
        for row, mta, ident in begun:
            self.wait_what(ident, "delivered")
            self.gone(ident)
        self.assert_counts(deferred=len(begun), delivered=len(begun))
        self.assert_suspects(begun)
        self.no_violations()

    def test_inside_the_message(self):
        # More than the kernel's buffers take: what the client has not sent to its end cannot have been delivered.
        body = "x" * 70 + "\r\n"
        begun = []
        for action in ("close", "reset", "421 4.3.2 going down"):
            for name, ehlo in (("DATA", self.DATA), ("BDAT", fake_mta.EHLO)):
                mta = self.mta(["content after=200000 nth=1 -> " + action], ehlo=ehlo, small=True)
                begun.append(((name, None, r"^(451 4.4.2 \[127.0.0.1\]|421 4.3.2)"), mta,
                              self.submit(route=mta, body=body * 80000)))
        self.end(begun)
        self.assert_suspects(begun)
        for _, mta, _ in begun:
            self.assertEqual(mta.mails[0].content[-len(body):], body.encode())

    def test_bad_answers(self):
        """Answers that are none: the mail waits, and nothing of them grows in memory or on the disk."""
        self.end(self.begin([
            ("garbage for a greeting", "banner nth=1 -> garbage 1000 ; close", "^451 4.4.2"),
            ("garbage for EHLO", "ehlo nth=1 -> garbage 1000 ; close", "^451 4.4.2"),
            ("10,000 keywords", "ehlo nth=1 -> flood keywords 10000", "^451 4.4.2"),
            ("lines without end", "ehlo nth=1 -> flood lines", "^451 4.4.2"),
            ("a line of 10 MB", "ehlo nth=1 -> flood octets 10485760", "^451 4.4.2"),
            ("a reply of 10 MB to RCPT", "rcpt nth=1 -> flood octets 10485760", "^451 4.4.2"),
            ("an endless reply to MAIL", "mail nth=1 -> flood lines", "^451 4.4.2"),
            ("no code", "mail nth=1 -> raw hello\\r\\n ; silence", "^451 4.4.2"),
            ("a code of four digits", "mail nth=1 -> raw 2500 hello\\r\\n ; silence", "^451 4.4.2"),
            ("two codes", "mail nth=1 -> raw 250-a\\r\\n550 b\\r\\n ; silence", "^451 4.4.2"),
            ("a code of 1yz", "mail nth=1 -> raw 150 hello\\r\\n ; silence", "^451 4.4.2"),
            ("NUL", "mail nth=1 -> raw 2\\0\\0 ok\\r\\n ; silence", "^451 4.4.2"),
            ("a greeting of EHLO's", "banner nth=1 -> raw 354 go ahead\\r\\n ; silence", "^354 go ahead$")]))

    def test_slow_banner(self):
        mta = self.mta(["banner -> silence"])
        ident = self.submit(route=mta)
        mta.wait(silence=1)
        self.advance(250)
        mta.release()
        self.wait_what(ident, "delivered")
        self.gone(ident)
        self.assert_counts(delivered=1)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
