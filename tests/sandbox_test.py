#!/usr/bin/env python3
"""The daemon in its sandbox: every thread is inside, what it does all day works, reloads that reach outside are refused."""

import os
import pwd
import shutil
import tempfile
import unittest

import harness
from harness import HEAD, STORE, Barid, Tests, certificate, mail, tls_context

LISTEN = """
tls { certificate = "@dir@/tls/cert.pem", key = "@dir@/tls/key.pem" }
auth { users = "users" }
listen { "127.0.0.1:@smtp@", tls = "starttls", auth = "on" }
listen { "unix:@dir@/run/lmtp", protocol = "lmtp" }
"""


def threads(pid):
    """Status fields of each thread."""
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, tid), encoding="utf-8") as f:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def in_force(daemon):
    record = daemon.wait_log(lambda r: r["what"].startswith("sandbox"))
    return record.get("landlock") == "on", record.get("seccomp") == "on"


class Inside(Tests):
    POLICY = LISTEN + STORE

    @classmethod
    def setUpClass(cls):
        cls.daemon = Barid(cls.POLICY)
        for name in ("tls", "tls/archive", "run"):
            os.mkdir(cls.daemon.dir + "/" + name)
        cls.outside = tempfile.mkdtemp(prefix="barid-outside-")
        cls.addClassCleanup(shutil.rmtree, cls.outside)
        # As tools that renew certificates lay them out: links to numbered files.
        for source, name in zip(certificate(), ("cert", "key")):
            shutil.copy(source, "%s/tls/archive/%s1.pem" % (cls.daemon.dir, name))
            shutil.copy(source, "%s/%s.pem" % (cls.outside, name))
            os.symlink("archive/%s1.pem" % name, "%s/tls/%s.pem" % (cls.daemon.dir, name))
        try:
            cls.daemon.start()
        except BaseException:
            cls.daemon.close()
            raise

    def landlock(self):
        if not in_force(self.daemon)[0]:
            self.skipTest("no Landlock in this kernel")

    def reads_anything(self):
        return bool(self.daemon.wait_log(lambda r: r["what"].startswith("sandbox"))["except"])

    def reload(self, policy, head=HEAD):
        self.daemon.write_policy(policy, head)
        before = len(self.daemon.records)
        self.daemon.run("reload", "-c", "policy.lua")
        self.daemon.wait_log(lambda r: r["what"].startswith(("serving the new", "the configuration does not load")), before)
        # What else a reload says may come before or behind what came of it.
        return [r for r in self.daemon.records[before:] if r["what"] != "configuration version is no longer used"]

    def serves(self, user):
        _, final = self.sends(user + "@example.com")
        self.said(final, "250")
        self.daemon.wait(lambda: self.daemon.box("example.com/" + user), "a mail in the Maildir")

    def refused(self, policy, *words, head=HEAD):
        records = self.reload(policy, head)
        line = " ".join(r.get("line", "") for r in records)
        self.assertIn("restart", line)
        for word in words:
            self.assertIn(word, line)
        self.assertIn("the configuration does not load", records[-1]["what"])
        self.serves("still")

    def tearDown(self):
        self.daemon.write_policy(self.POLICY)

    def test_every_thread_is_inside(self):
        _, seccomp = in_force(self.daemon)
        self.serves("threads")
        found = list(threads(self.daemon.process.pid))
        self.assertGreater(len(found), 5)
        for fields in found:
            self.assertEqual(fields["NoNewPrivs"], "1", fields["Name"])
            if seccomp:
                self.assertEqual(fields["Seccomp"], "2", fields["Name"])

    def test_it_says_so(self):
        record = self.daemon.wait_log(lambda r: r["what"].startswith("sandbox"))
        self.assertEqual(record["level"], "info" if all(in_force(self.daemon)) else "warn")
        self.assertIn("landlock_abi", record)

    def test_certificates_can_be_renewed(self):
        for source, name in zip(certificate(), ("cert", "key")):
            shutil.copy(source, "%s/tls/archive/%s2.pem" % (self.daemon.dir, name))
            os.symlink("archive/%s2.pem" % name, "%s/tls/new" % self.daemon.dir)
            os.rename("%s/tls/new" % self.daemon.dir, "%s/tls/%s.pem" % (self.daemon.dir, name))
        self.assertEqual(self.reload(self.POLICY)[-1]["what"], "serving the new configuration")
        with self.daemon.connect() as c:
            c.hello()
            self.said(c.do("STARTTLS"), "220")
            c.start_tls(tls_context())
            c.send("EHLO client.test\r\n")
            self.said(c.reply()[-1], "250")

    def test_users_can_be_replaced(self):
        harness.write_users(self.daemon.dir + "/users.new")
        os.rename(self.daemon.dir + "/users.new", self.daemon.dir + "/users")
        self.assertEqual(self.reload(self.POLICY)[-1]["what"], "serving the new configuration")

    def test_sockets_by_reload(self):
        more = self.POLICY + 'listen { "unix:@dir@/run/second", protocol = "lmtp" }\n'
        self.assertEqual(self.reload(more)[-1]["what"], "serving the new configuration")
        with harness.Raw(self.daemon.dir + "/run/second") as c:
            self.said(c.hello(verb="LHLO")[-1], "250")
        self.assertEqual(self.reload(self.POLICY)[-1]["what"], "serving the new configuration")
        self.daemon.wait(lambda: not os.path.exists(self.daemon.dir + "/run/second"), "the socket is removed")

    def test_reloads_outside_are_refused(self):
        self.landlock()
        self.refused(self.POLICY + 'listen { "unix:%s/lmtp", protocol = "lmtp" }\n' % self.outside, "listen", self.outside + "/lmtp")
        self.assertFalse(os.path.exists(self.outside + "/lmtp"))
        self.refused(self.POLICY, "log.file", self.outside + "/log",
                     head=HEAD.replace("log {", 'log { file = "%s/log",' % self.outside))
        if self.reads_anything():
            return
        self.refused(self.POLICY.replace("@dir@/tls/", self.outside + "/"), "tls", self.outside + "/cert.pem")

    def test_a_link_to_the_outside_is_seen(self):
        self.landlock()
        if self.reads_anything():
            self.skipTest("a sanitizer's reports need the files")
        os.symlink(self.outside + "/cert.pem", self.daemon.dir + "/tls/stolen.pem")
        self.refused(self.POLICY.replace("tls/cert.pem", "tls/stolen.pem"), "stolen.pem")

    def test_a_changed_declaration_waits_for_a_restart(self):
        records = self.reload(self.POLICY + 'sandbox "off"\n')
        self.assertIn("sandbox", [r.get("declaration") for r in records])
        self.serves("restart")


class Off(Tests):
    POLICY = 'listen { "127.0.0.1:@smtp@" }\nsandbox "off"\n' + STORE

    def test_off(self):
        record = self.daemon.wait_log(lambda r: r["what"].startswith("sandbox"))
        self.assertEqual((record["what"], record["level"]), ("sandbox: off by declaration", "warn"))
        self.assertEqual({t["Seccomp"] for t in threads(self.daemon.process.pid)}, {"0"})


class NoRoot(unittest.TestCase):
    @unittest.skipIf(os.geteuid() != 0, "only root can become another user")
    def test_another_user(self):
        nobody = pwd.getpwnam("nobody")
        daemon = Barid('listen { "127.0.0.1:@smtp@" }\nuser "nobody"\n' + STORE)
        try:
            for folder, _, files in os.walk(daemon.dir):
                for name in [folder] + [folder + "/" + f for f in files]:
                    os.chown(name, nobody.pw_uid, nobody.pw_gid)
            with daemon:
                with daemon.connect() as c:
                    c.hello()
                    c.envelope()
                    self.assertTrue(c.message(mail()).startswith("250"))
                daemon.wait(lambda: daemon.box("example.com/user"), "a mail in the Maildir")
                _, seccomp = in_force(daemon)
                for fields in threads(daemon.process.pid):
                    self.assertEqual(fields["Uid"].split()[1], str(nobody.pw_uid))
                    self.assertEqual(fields["Seccomp"], "2" if seccomp else "0")
        finally:
            daemon.close()

    def test_new_directories(self):
        """Spool, Maildir root and archive are made at start."""
        daemon = Barid('listen { "127.0.0.1:@smtp@" }\n' + STORE)
        for name in ("mail", "archive"):
            os.rmdir(daemon.dir + "/" + name)
        with daemon:
            with daemon.connect() as c:
                c.hello()
                c.envelope()
                self.assertTrue(c.message(mail()).startswith("250"))
            daemon.wait(lambda: daemon.box("example.com/user"), "a mail in the Maildir")


if __name__ == "__main__":
    harness.main()
