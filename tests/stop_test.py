#!/usr/bin/env python3
"""The end of a daemon, and what follows it: signals at any moment of a stop.

BARID_STOP_SEED repeats the choices of a run as far as timing lets it."""

import os
import random
import signal
import time
import unittest

import harness
from harness import Barid, mail

SEED = int(os.environ.get("BARID_STOP_SEED", str(int(time.time()))))
ROUNDS = 30

LISTEN = 'listen { "127.0.0.1:@smtp@" }\n'
STORE = """
function on.recipient(session, mail, rcpt) rcpt:store("%{user}") end
"""


def proof(text):
    print("# proof: " + text, flush=True)


class Signals(unittest.TestCase):
    """One SIGTERM asks for an orderly stop. A second one while that goes on ends the process at once (75); one that comes when
    all is done changes nothing any more, however late."""

    def setUp(self):
        self.random = random.Random(SEED)
        self.daemon = Barid(LISTEN + STORE, head=harness.SMALL_SEGMENTS)
        self.addCleanup(self.daemon.close)

    def begin(self):
        del self.daemon.lines[:], self.daemon.records[:]
        self.daemon.start()
        with self.daemon.connect() as c:
            c.hello()
            c.envelope()
            self.assertTrue(c.message(mail()).startswith("250"))

    def ended(self):
        process, self.daemon.process = self.daemon.process, None
        status = process.wait(harness.DEADLINE)
        self.daemon.reader.join(harness.DEADLINE)
        return status

    def stopped(self):
        return any(r["what"] == "stopped" for r in list(self.daemon.records))

    def test_after_the_loop(self):
        sent = 0
        for _ in range(ROUNDS):
            self.begin()
            process = self.daemon.process
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:  # a socket is taken away, or the line was written: nothing goes on any more
                if not os.path.exists(self.daemon.dir + "/control") or self.stopped():
                    process.send_signal(self.random.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)))
                    sent += 1
            self.assertEqual(self.ended(), 0, self.daemon.log())
        self.assertGreater(sent, 0)
        proof("signals after a stop: %d stops, %d more signals in their last milliseconds, exit status always 0" % (ROUNDS, sent))

    def test_at_any_moment(self):
        statuses = {0: 0, 75: 0}
        for number in range(2 * ROUNDS):
            self.begin()
            process = self.daemon.process
            process.send_signal(signal.SIGTERM)
            until = time.monotonic() + (self.random.random() * 0.02 if number > 3 else 0)
            while time.monotonic() < until and process.poll() is None:
                process.send_signal(signal.SIGHUP)  # a reload asked of who stops is no second signal
            process.send_signal(signal.SIGTERM)
            status = self.ended()
            self.assertIn(status, statuses, self.daemon.log())
            statuses[status] += 1
            self.assertEqual(self.stopped(), status == 0, self.daemon.log())
        proof("a second signal: %d stops, at once %d times, too late %d times, no other end" % (2 * ROUNDS, statuses[75], statuses[0]))


if __name__ == "__main__":
    harness.main()
