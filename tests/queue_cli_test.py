#!/usr/bin/env python3
"""What operators do to mail: barid queue with its filters and verbs, the stream of events, and the story of one mail.

Nothing waits for time to pass: a daemon's log and the stream of events say when something happened.
"""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import BARID, DEADLINE, HEAD, Barid  # noqa: E402

POLICY = """
history { dir = "history", days = 3 }
listen { "127.0.0.1:@smtp@" }

function on.message(session, mail)
  if mail.sender:match("^hold") then return hold("look at it") end
  if mail.sender:match("^bad") then return quarantine("looks bad") end
  mail:store("%{domain}/%{user}")
end

function on.recipient(session, mail, rcpt)
  if mail.sender:match("^hold") or mail.sender:match("^bad") then rcpt:store("%{domain}/%{user}") end
end
"""


class Queue(unittest.TestCase):
    def setUp(self):
        self.barid = Barid(POLICY, HEAD)
        self.addCleanup(self.barid.close)
        self.barid.start()

    def send(self, sender, *rcpts):
        """Queue id of a mail that was accepted."""
        c = self.barid.connect()
        c.line()
        for line in ["HELO client.example", "MAIL FROM:<%s>" % sender] + ["RCPT TO:<%s>" % r for r in rcpts] + ["DATA"]:
            c.send(line + "\r\n")
            self.assertIn(c.line()[:1], "23", line)
        c.send("Subject: x\r\n\r\nhello\r\n.\r\n")
        reply = c.line()
        self.assertTrue(reply.startswith("250 "), reply)
        c.send("QUIT\r\n")
        c.line()
        return reply.split()[-1] if "queued as" in reply else self.barid.queue()[-1]["id"]

    def run_barid(self, *arguments):
        done = self.barid.run(*arguments, "-c", "policy.lua")
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def good(self, *arguments):
        code, out, err = self.run_barid(*arguments)
        self.assertEqual((code, err), (0, ""), (arguments, out))
        return out

    def bad(self, code, *arguments):
        got, out, err = self.run_barid(*arguments)
        self.assertEqual(got, code, (arguments, out, err))
        return err

    def ids(self, *filters):
        return [json.loads(line)["id"] for line in self.good("queue", "list", "--json", *filters).splitlines()]

    def state(self, mail):
        return json.loads(self.good("queue", "show", "--json", mail))["state"]

    def test_filters(self):
        held = self.send("hold@one.test", "u@example.com")
        other = self.send("hold@two.test", "v@example.com", "w@example.org")
        bad = self.send("bad@one.test", "u@example.com")
        for stopped in (False, True):
            if stopped:
                self.barid.stop()
            self.assertEqual(self.ids(), [held, other, bad])
            self.assertEqual(self.ids("--sender", "*@one.test"), [held, bad])
            self.assertEqual(self.ids("--sender", "@one.*"), [held, bad])
            self.assertEqual(self.ids("--sender", "HOLD@t?o.test"), [other])
            self.assertEqual(self.ids("--recipient", "w@example.org"), [other])
            self.assertEqual(self.ids("--recipient", "?@example.com", "--state", "held"), [held, other])
            self.assertEqual(self.ids("--state", "quarantined"), [bad])
            self.assertEqual(self.ids("--state", "deferred"), [])
            self.assertEqual(self.ids("--next-hop", "*"), [])
            self.assertEqual(self.ids("--younger", "1h"), [held, other, bad])
            self.assertEqual(self.ids("--younger", "1h", "--older", "30m"), [])
            self.assertEqual(self.good("queue", "count", "--sender", "hold@*"), "2\n")
            shown = self.good("queue", "show", other)
            self.assertIn("<w@example.org>: pending, attempts 0", shown)
            self.assertIn("because: look at it", shown)
            self.bad(64, "queue", "list", "--younger", "soon")
            self.bad(64, "queue", "list", "--all")
        for verb in ("hold", "release", "retry", "remove", "recover", "bounce"):
            self.assertIn("is it running", self.bad(69, "queue", verb, held))
        self.assertIn("is it running", self.bad(69, "queue", "events"))

    def test_wrong_words(self):
        self.assertIn("which messages", self.bad(64, "queue", "hold"))
        self.assertIn("either", self.bad(64, "queue", "hold", "0000000000001", "--all"))
        self.assertIn("not a queue id", self.bad(64, "queue", "release", "x"))
        self.assertIn("--held", self.bad(64, "queue", "hold", "--held"))
        self.bad(64, "queue", "retry", "--all", "--interval", "0")
        self.bad(64, "queue", "retry", "--all", *["--interval", "1m"] * 5)
        self.assertIn("0000000000001", self.bad(66, "queue", "hold", "0000000000001"))
        self.assertIn("history knows nothing", self.bad(66, "trace", "0000000000001"))
        self.bad(64, "trace", "x")
        self.bad(64, "trace")

    def test_verbs(self):
        one, two = self.send("hold@one.test", "u@example.com"), self.send("hold@two.test", "v@example.com")
        bad = self.send("bad@one.test", "w@example.com")
        self.assertIn("is held already", self.bad(65, "queue", "hold", one))
        self.assertIn("only held mail can be removed", self.bad(65, "queue", "remove", bad))
        self.assertIn("only removed or quarantined", self.bad(65, "queue", "recover", one))
        self.assertIn("is quarantined: release it first", self.bad(65, "queue", "retry", bad))
        self.assertEqual(self.good("queue", "remove", one, two), one + "\n" + two + "\n")
        self.assertEqual(self.state(one), "removed")
        for verb in ("release", "retry", "bounce"):
            self.assertIn("recover it first", self.bad(65, "queue", verb, one))
        self.assertIn("is removed already", self.bad(65, "queue", "remove", one))
        # One of two is refused: the other is done.
        code, out, err = self.run_barid("queue", "recover", one, "0000000000001", bad)
        self.assertEqual((code, out.split()), (66, [one, bad]))
        self.assertEqual(len(err.splitlines()), 1)
        self.assertEqual([self.state(i) for i in (one, two, bad)], ["held", "removed", "held"])
        answer = json.loads(self.good("queue", "release", one, "--json"))
        self.assertEqual((answer["changed"], answer["refused"]), ([one], []))
        self.barid.wait_box("example.com/u")
        # Filters touch only what the verb is for, and complain of nothing.
        self.assertEqual(self.good("queue", "recover", "--sender", "*"), two + "\n")
        self.assertEqual(self.good("queue", "hold", "--all"), "")
        self.assertEqual(self.good("queue", "retry", "--all"), "")
        self.assertEqual(self.good("queue", "retry", "--held", "--recipient", "v@*"), two + "\n")
        self.barid.wait_box("example.com/v")
        self.assertEqual(self.good("queue", "retry", bad, "--interval", "1m", "--interval", "2h"), bad + "\n")
        self.barid.wait_box("example.com/w")

    def test_retry(self):
        """What failed for now is due when an operator says so, with his intervals in front."""
        box = self.barid.dir + "/mail/example.com"
        os.makedirs(box)
        os.chmod(box, 0o500)
        if os.access(box + "/.", os.W_OK):  # root: a file in the way instead
            os.rmdir(box)
            with open(box, "w", encoding="ascii"):
                pass
        mail = self.send("a@one.test", "u@example.com")
        self.barid.wait(lambda: any(r.get("id") == mail and "again" in json.dumps(r) for r in self.barid.records)
                        or self.ids("--state", "deferred"), "a deferred mail")
        self.assertEqual(self.ids("--state", "deferred"), [mail])
        self.assertEqual(self.good("queue", "hold", mail), mail + "\n")
        self.assertEqual(self.ids("--state", "deferred"), [])
        self.good("queue", "release", mail)
        os.chmod(box, 0o700)
        if not os.path.isdir(box):
            os.remove(box)
        self.assertEqual(self.good("queue", "retry", "--state", "deferred", "--interval", "60"), mail + "\n")
        self.barid.wait_box("example.com/u")

    def test_events(self):
        with subprocess.Popen([BARID, "queue", "events", "-c", "policy.lua"], cwd=self.barid.dir, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as p:
            self.addCleanup(p.kill)
            self.assertEqual(p.stderr.readline(), b"listening\n")
            mail = self.send("hold@one.test", "u@example.com")
            for verb in ("remove", "recover", "release"):
                self.good("queue", verb, mail)
            seen = [json.loads(p.stdout.readline()) for _ in range(5)]
            self.assertEqual({e["id"] for e in seen}, {mail})
            self.assertEqual([e["event"] for e in seen], ["spooled", "held", "removed", "recovered", "released"])
            self.assertEqual(seen[0]["sender"], "hold@one.test")
            self.assertEqual(seen[0]["recipients"], ["u@example.com"])
            self.assertEqual(seen[2]["text"], "by an operator")
            self.barid.stop()  # the daemon does not wait for those who listen, and they end with it
            p.stdout.read()
            self.assertEqual(p.wait(DEADLINE), 0)

    def test_trace(self):
        held, gone = self.send("hold@one.test", "u@example.com"), self.send("a@one.test", "v@example.com")
        self.barid.wait_box("example.com/v")
        self.barid.wait(lambda: not self.ids("--recipient", "v@example.com"), "the mail is gone")
        hold_line = "policy.lua:%d" % self.barid.line_of("return hold(")
        self.good("queue", "remove", held)
        for stopped in (False, True):
            if stopped:
                self.barid.stop()
            told = self.good("trace", held)
            for words in ("<u@example.com>", ": removed", hold_line, "spooled", "look at it", "by an operator", "now:"):
                self.assertIn(words, told)
            story = json.loads(self.good("trace", "--json", held))
            self.assertEqual([e["event"] for e in story["history"]], ["spooled", "held", "removed"])
            self.assertIn(hold_line, [e.get("where") for e in story["explain"]])
            told = self.good("trace", gone)
            self.assertIn("no longer in the spool", told)
            self.assertIn("from <a@one.test> to <v@example.com>", told)
            story = json.loads(self.good("trace", "--json", gone))
            self.assertIsNone(story["message"])
            self.assertEqual(story["history"][0]["event"], "spooled")
            self.assertEqual(story["history"][0]["recipients"], ["v@example.com"])


if __name__ == "__main__":
    harness.main()
