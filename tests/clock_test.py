#!/usr/bin/env python3
"""A wall clock that is set while mail waits: an hour, a day, ten years, forward and back, in a running daemon and between two.
Nothing is lost, nothing is tried in a circle, and what is put off is tried again after the longest interval at the latest."""

import os
import unittest

import harness
from harness import Barid, mail

FIRST, MAX = 60, 600
LATEST = MAX * 11 // 10 + 1  # with the spread on top
HOUR, DAY, YEARS = 3600, 86400, 3653 * 86400

POLICY = """
listen { "127.0.0.1:@smtp@" }
retry { first = %d, max = %d, tries = 1000, notice = 0 }
function on.message(session, mail)
  if mail:header("X-Delay") then mail:delay_until(mail:header("X-Delay")) end
end
function on.recipient(session, mail, rcpt)
  if rcpt.user == "asked" and not shared.get("open") then return tempfail("later") end
  rcpt:store("%%{user}")
end
""" % (FIRST, MAX)


class Jumps(unittest.TestCase):
    def setUp(self):
        self.daemon = Barid(POLICY, head=harness.SMALL_SEGMENTS, clock=True)
        self.addCleanup(self.daemon.close)
        self.offset, self.ids, self.honest, self.attempts = 0, [], 0, 0
        with open(self.daemon.dir + "/mail/late", "w", encoding="utf-8") as f:
            f.write("in the way")

    def send(self, *users, extra=""):
        with self.daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=[u + "@example.com" for u in users])
            said = c.message(extra + mail())
        self.assertIn("queued as ", said)
        self.ids.append(said.split()[-1])

    def set(self, seconds):
        self.offset = seconds
        self.daemon.shift_clock(seconds)

    def flows(self):
        """A mail of an honest client arrives, whatever time it is."""
        self.honest += 1
        self.send("honest")
        self.daemon.wait(lambda: len(self.daemon.box("honest")) == self.honest, "the mail of an honest client")

    def deferred(self, user="late"):
        return sum(r["area"] == "queue" and r["what"] == "deferred" and r.get("rcpt") == user + "@example.com"
                   for r in list(self.daemon.records))

    def tried(self, times, what):
        """Attempts since the last question: so many, and no more while a mail comes through."""
        self.daemon.wait(lambda: self.deferred() >= self.attempts + times, "%d attempts after %s" % (times, what))
        self.flows()
        self.assertEqual(self.deferred() - self.attempts, times, what)
        self.attempts += times

    def later(self, what):
        self.set(self.offset + LATEST)
        self.tried(1, "the longest interval, after " + what)

    def again(self, way, seconds):
        """Another process, with another clock."""
        way()
        self.set(seconds)
        self.daemon.start()

    def finish(self, expected):
        os.unlink(self.daemon.dir + "/mail/late")
        self.set(self.offset + LATEST)
        self.daemon.wait(lambda: self.daemon.count()["messages"] == 0, "an empty spool")
        self.assertEqual(len(self.daemon.box("late")), expected)
        self.assertEqual(len(set(self.ids)), len(self.ids))
        self.assertEqual(self.ids, sorted(self.ids))

    JUMPS = ((DAY, "a day forward"), (HOUR - DAY, "nearly a day back"), (-DAY, "a day back"), (YEARS, "ten years forward"),
             (-HOUR, "an hour back"), (-DAY, "a day back"), (-YEARS, "ten years back"), (-2 * DAY, "before it was sent"))

    def test_running(self):
        self.daemon.start()
        self.send("late")
        self.tried(1, "the mail")
        for jump, what in self.JUMPS:
            self.set(self.offset + jump)
            self.tried(1 if jump > 0 else 0, what)
            self.later(what)
        self.finish(1)
        print("# proof: clock set while mail waits: %d jumps, each retry after the longest interval at the latest, %d attempts in all, "
              "%d ids all different and in order, 0 lost" % (len(self.JUMPS), self.attempts, len(self.ids)))

    def test_between_two_processes(self):
        self.daemon.start()
        self.send("late")
        self.tried(1, "the mail")
        for number, (jump, what) in enumerate(self.JUMPS):
            self.again((self.daemon.kill, self.daemon.stop)[number % 2], self.offset + jump)
            self.send("late")  # one that has not been tried before
            self.set(self.offset + LATEST)
            self.daemon.wait(lambda: self.deferred() >= self.attempts + number + 2, "an attempt at each after " + what)
            self.flows()
            # At once, as it was due, or put off once before; but never in a circle.
            made = self.deferred() - self.attempts
            self.assertLessEqual(made, 3 * (number + 2), what)
            self.attempts += made
        self.finish(len(self.JUMPS) + 1)
        print("# proof: clock set between two processes: %d restarts, every second by kill -9, all retried after the longest interval "
              "at the latest, %d ids all different and in order, 0 lost" % (len(self.JUMPS), len(self.ids)))

    def test_put_off_by_its_policy(self):
        """What is not to be tried before a time is not tried before it, whatever a restart thinks of the clock."""
        self.daemon.start()
        self.send("patient", extra="X-Delay: +480h\r\n")
        self.again(self.daemon.stop, 10 * DAY)
        self.flows()
        self.assertEqual(self.daemon.box("patient"), [])
        self.set(20 * DAY + HOUR)
        self.daemon.wait_box("patient")


if __name__ == "__main__":
    harness.main()
