#!/usr/bin/env python3
"""A spool on a file system that fills up: clients hear 452 or 451, what was acknowledged stays, deliveries go on, and when there
is room again mail is accepted again. Needs root: it mounts a small tmpfs."""

import os
import subprocess
import threading
import unittest

import crash_test
import harness
from harness import Barid, stuffed

MEBIBYTE = 1 << 20
ROOM = 24  # MiB
POLICY = """
listen { "127.0.0.1:@smtp@" }
retry { first = 60, max = 60, tries = 1000, notice = 0 }
function on.recipient(session, mail, rcpt) rcpt:store("%{user}") end
"""
HEAD = harness.SMALL_SEGMENTS.replace("4194304", str(MEBIBYTE)).replace('level = "debug"', 'level = "info"')


class Full(unittest.TestCase):
    def setUp(self):
        self.daemon = Barid(POLICY, head=HEAD, clock=True)
        self.addCleanup(self.daemon.close)
        spool = self.daemon.dir + "/spool"
        os.mkdir(spool, 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=700" % ROOM, "tmpfs", spool], capture_output=True, check=False)
        if done.returncode != 0:
            print("# a file system that fills up: not tried, mount says: " + done.stderr.decode().strip())
            self.skipTest("no tmpfs can be mounted")
        self.addCleanup(subprocess.run, ["umount", "-l", spool], check=False)
        self.addCleanup(self.daemon.kill)  # before that
        self.block = self.daemon.dir + "/mail/u0"
        self.ledger, self.lock, self.made, self.refused, self.shifted = crash_test.Ledger(), threading.Lock(), 0, {}, 0

    def close_way(self):
        with open(self.block, "w", encoding="utf-8") as f:
            f.write("in the way")

    def note(self, reply):
        with self.lock:
            self.refused[reply[:9]] = self.refused.get(reply[:9], 0) + 1

    def send(self, c, size):
        """The reply that ended it; a refusal is noted."""
        with self.lock:
            self.made += 1
            name = "full-%d" % self.made
        content = "X-Name: %s\r\nSubject: full\r\n\r\n%s" % (name, "0123456789\r\n" * (size // 12))
        self.ledger.begin(name, content)
        for command in ("MAIL FROM:<a@sender.test>", "RCPT TO:<u0@example.com>", "DATA"):
            said = c.do(command)
            if said[:1] not in ("2", "3"):
                self.note(said)
                return said
        c.send(stuffed(content) + b".\r\n")
        said = (c.reply() or [""])[-1]
        if said.startswith("250"):
            self.ledger.acknowledge(name, ["u0"], 0)
        else:
            self.note(said)
        return said

    def fill(self, size):
        """Until it was refused three times in a row: what is small may find room where what is large did not."""
        refused = 0
        while refused < 3:
            with self.daemon.connect() as c:
                c.hello()
                while refused < 3:
                    said = self.send(c, size)
                    refused = 0 if said.startswith("250") else refused + 1
                    if said.startswith("421") or not said:
                        break
                    c.do("RSET")

    def fill_by_all(self):
        threads = [threading.Thread(target=self.fill, args=(size,), daemon=True) for size in (2 * MEBIBYTE, 300000, 20000, 2000)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(4 * harness.DEADLINE)
        self.assertFalse([t for t in threads if t.is_alive()])

    def drain(self):
        if os.path.isfile(self.block):
            os.unlink(self.block)
        self.daemon.wait(self.is_drained, "an empty spool")

    def is_drained(self):
        """An attempt of a moment ago, when the way was still closed, put its mail off: the clock goes on until none is left."""
        self.shifted += 100
        self.daemon.shift_clock(self.shifted)
        return self.daemon.count()["messages"] == 0

    def accepted_again(self):
        end = harness.time.monotonic() + harness.DEADLINE
        while True:
            with self.daemon.connect() as c:
                c.hello()
                if self.send(c, 2000).startswith("250"):
                    return
            if harness.time.monotonic() > end:
                raise harness.Hang("never accepted again: %s" % self.daemon.count())

    def test_fills_drains_fills(self):
        rounds, counts = 3, []
        for number in range(rounds):
            if not os.path.isdir(self.block):
                self.close_way()
            else:
                os.rename(self.block, "%s/kept%d" % (self.daemon.dir, number))
                self.close_way()
            self.daemon.start()
            before = self.ledger.count()
            self.fill_by_all()
            counts.append(self.ledger.count() - before)
            self.daemon.kill()  # full, and killed
            self.daemon.start()
            self.drain()
            self.accepted_again()
            self.daemon.wait(lambda: self.daemon.count()["messages"] == 0, "an empty spool")
            self.daemon.stop()
        contents = self.daemon.box("u0")
        for number in range(1, rounds):
            folder = "%s/kept%d/new/" % (self.daemon.dir, number)
            for name in os.listdir(folder):
                with open(folder + name, "rb") as f:
                    contents.append(f.read())
        v = crash_test.verify(self.ledger, {"u0": contents})
        print("# proof: a full file system: filled %d times (%s messages), refused with %s, %d acknowledged, %d lost, accepted again "
              "%d times" % (rounds, ", ".join(map(str, counts)), ", ".join("%s %d times" % r for r in sorted(self.refused.items())),
                            self.ledger.count(), len(v.missing), rounds))
        self.assertEqual((v.missing[:3], v.damaged[:3], v.foreign[:3]), ([], [], []))
        self.assertEqual({r[:3] for r in self.refused} - {"451", "452"}, set())
        self.assertIn("452", {r[:3] for r in self.refused})
        self.assertGreater(min(counts), 3)


if __name__ == "__main__":
    harness.main()
