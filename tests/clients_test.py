#!/usr/bin/env python3
"""Real clients deliver into Maildirs: every client, in the clear, by STARTTLS and by implicit TLS, over IPv4 and IPv6, with every
mechanism of AUTH that it has; and LMTP with recipients that fare differently."""

import os
import shutil
import smtplib
import subprocess
import unittest

import harness
from harness import DEADLINE, PASSWORDS, Raw, Tests, flat, has_ipv6, lf, stuffed, tls_context, without_trace

# Named, as the users file of the tests has passwords and verifiers: what does not serve all is not offered by itself.
EVERY = 'auth = "on", mechanisms = { "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256" }'
POLICY = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
listen { "127.0.0.1:@smtp@", tls = "starttls", @every@ }
listen { "127.0.0.1:@tls@", tls = "implicit", @every@ }
listen { "127.0.0.1:@choice@", tls = "starttls", auth = "on" }
listen { "127.0.0.1:@lmtp@", "unix:lmtp", protocol = "lmtp", tls = "none" }
""" + ("""
listen { "[::1]:@smtp6@", tls = "starttls", @every@ }
listen { "[::1]:@tls6@", tls = "implicit", @every@ }
listen { "[::1]:@lmtp6@", protocol = "lmtp", tls = "none" }
""" if has_ipv6() else "") + """
function on.recipient(session, mail, rcpt)
  if rcpt.user == "refused" then return reject(550, "5.7.1", "not for " .. rcpt.user) end
  if rcpt.user == "later" then return tempfail(451, "4.2.1", "not now") end
  rcpt:store("%{domain}/%{user}")
end
"""
POLICY = POLICY.replace("@every@", EVERY)

# What clients and servers like to spoil: leading dots, a From line, long lines, 8-bit text, trailing blanks, empty lines.
BODY = ("Hello.\r\n.one dot\r\n..two dots\r\n.\r\n..\r\nFrom the start\r\n" + "x" * 900 + "\r\n"
        "sm\u00f8rrebr\u00f8d\r\ntrailing blanks  \t\r\n\r\n\r\nthe end\r\n")


def content_for(recipient, body=BODY):
    return ("From: A <a@sender.test>\r\nTo: <%s>\r\nSubject: from a client\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
            "Message-ID: <%s.1@sender.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\nX-Folded: one\r\n two\r\n\tthree\r\n\r\n%s"
            % (recipient, recipient.split("@")[0], body)).encode()


class Job:
    """One message to one recipient, and how it is to travel."""

    def __init__(self, daemon, recipient, content, mode="plain", v6=False, mechanism=None, user="alice", password=None):
        self.daemon, self.recipient, self.content = daemon, recipient, content
        self.mode, self.v6, self.mechanism, self.user = mode, v6, mechanism, user
        self.password = password if password is not None else PASSWORDS[user]
        self.host = "::1" if v6 else "127.0.0.1"
        self.port = daemon.port[("tls" if mode == "implicit" else "smtp") + ("6" if v6 else "")]
        self.file = daemon.dir + "/" + recipient
        with open(self.file, "wb") as f:
            f.write(content)


def run(command, stdin=b"", env=None):
    """(exit status, everything it printed)"""
    environment = dict(os.environ, LC_ALL="C.UTF-8", HOME="/nonexistent", **(env or {}))
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE,
                          env=environment)
    return done.returncode, done.stdout.decode("utf-8", "replace")


# --- the clients: each sends a job and gives (status, output), status 0 = the server took it


def by_swaks(job):
    command = ["swaks", "--server", job.host, "--port", str(job.port), "--ehlo", "client.test", "--from", "a@sender.test",
               "--to", job.recipient, "--data", "@" + job.file, "--no-data-fixup"]
    # Without fixing up, swaks sends the file as it is: so it gets what goes over the wire, dots and all.
    with open(job.file, "wb") as f:
        f.write(stuffed(job.content) + b".")
    command += ["-6"] if job.v6 else ["-4"]
    command += {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[job.mode]
    if job.mechanism:
        command += ["--auth", job.mechanism, "--auth-user", job.user, "--auth-password", job.password]
    return run(command)


def by_smtplib(job):
    make = smtplib.SMTP
    extra = {}
    if job.mode == "implicit":
        make, extra = smtplib.SMTP_SSL, {"context": tls_context()}
    try:
        with make(job.host, job.port, "client.test", timeout=DEADLINE, **extra) as client:
            if job.mode == "starttls":
                client.starttls(context=tls_context())
            if job.mechanism:
                client.ehlo()
                client.user, client.password = job.user, job.password
                client.auth(job.mechanism, getattr(client, "auth_" + job.mechanism.lower().replace("-", "_")))
            refused = client.sendmail("a@sender.test", [job.recipient], job.content)
            return (1 if refused else 0), str(refused)
    except smtplib.SMTPException as e:
        return 1, repr(e)


def by_curl(job):
    command = ["curl", "-sS", "-g", "--url",
               "%s://%s:%d/client.test" % ("smtps" if job.mode == "implicit" else "smtp",
                                           "[::1]" if job.v6 else job.host, job.port),
               "--mail-from", "a@sender.test", "--mail-rcpt", job.recipient, "-T", job.file, "--cacert",
               harness.certificate()[0]]
    if job.mode == "starttls":
        command.append("--ssl-reqd")
    if job.mechanism:
        command += ["--user", job.user + ":" + job.password, "--login-options", "AUTH=" + job.mechanism]
    return run(command)


def by_msmtp(job):
    command = ["msmtp", "--host=" + job.host, "--port=%d" % job.port, "--domain=client.test", "--from=a@sender.test",
               "--timeout=%d" % DEADLINE, "--set-from-header=off", "--set-date-header=off"]
    if job.mode != "plain":
        command += ["--tls=on", "--tls-trust-file=" + harness.certificate()[0],
                    "--tls-starttls=" + ("off" if job.mode == "implicit" else "on")]
    else:
        command.append("--tls=off")
    env = {}
    if job.mechanism:
        env["TEST_PASSWORD"] = job.password
        command += ["--auth=" + job.mechanism.lower(), "--user=" + job.user,
                    "--passwordeval=printf '%s\\n' \"$TEST_PASSWORD\""]
    return run(command + ["--", job.recipient], lf(job.content), env)


def script(job):
    return (b"EHLO client.test\nMAIL FROM:<a@sender.test> BODY=8BITMIME\nRCPT TO:<" + job.recipient.encode() +
            b">\nDATA\n" + lf(stuffed(job.content)) + b".\nQUIT\n")


def accepted(status, output):
    """Tools that only carry bytes: the server's reply to the final dot decides."""
    return (0 if status == 0 and "queued as" in output else 1), output


def by_nc(job):
    if job.mode == "plain":
        return accepted(*run(["nc", "-C", "-w", str(int(DEADLINE)), job.host, str(job.port)], script(job)))
    command = ["openssl", "s_client", "-quiet", "-crlf", "-verify_return_error", "-CAfile", harness.certificate()[0],
               "-connect", ("[::1]" if job.v6 else job.host) + ":%d" % job.port]
    if job.mode == "starttls":
        command += ["-starttls", "smtp", "-name", "client.test"]
    return accepted(*run(command, script(job)))


def by_barid(job):
    command = [harness.BARID, "send", "--server", ("[::1]" if job.v6 else job.host) + ":%d" % job.port, "--helo", "client.test",
               "--from", "a@sender.test", "--to", job.recipient, "--data", job.file, "--ca", harness.certificate()[0],
               "--tls", {"plain": "none"}.get(job.mode, job.mode)]
    if job.mode == "plain":
        command = command[:-4] + command[-2:]
    env = {}
    if job.mechanism:
        env["TEST_PASSWORD"] = job.password
        command += ["--user", job.user, "--password-env", "TEST_PASSWORD", "--mechanism", job.mechanism]
    return run(command, env=env)


CLIENTS = {"barid": by_barid, "swaks": by_swaks, "smtplib": by_smtplib, "curl": by_curl, "msmtp": by_msmtp, "nc": by_nc}
TOOLS = {"smtplib": "python3", "barid": harness.BARID}

AUTH = [("swaks", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5")]
AUTH += [("smtplib", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5")]
AUTH += [("curl", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5")]
AUTH += [("barid", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")]
AUTH += [("msmtp", m) for m in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")]


class WithDaemon(Tests):
    POLICY = POLICY

    def need(self, client):
        if shutil.which(TOOLS.get(client, client)) is None:
            self.skipTest(client + " is not installed")

    def arrives(self, job, client):
        status, output = CLIENTS[client](job)
        self.assertEqual(status, 0, output)
        user = job.recipient.split("@")[0]
        stored = self.daemon.wait_box("example.com/" + user)[0]
        self.assertEqual(without_trace(stored), lf(job.content))
        return flat(stored)


class Delivery(WithDaemon):
    """Generated below: test_CLIENT_MODE_FAMILY."""


class Authentication(WithDaemon):
    """Generated below: test_CLIENT_MECHANISM and test_CLIENT_MECHANISM_wrong."""

    def gsasl(self, user, password, mechanism):
        self.need("gsasl")
        return run(["gsasl", "--smtp", "--no-starttls", "--connect=127.0.0.1:%d" % self.daemon.port["smtp"],
                    "--mechanism=" + mechanism, "--authentication-id=" + user, "--password=" + password,
                    "--hostname=localhost", "--service=smtp"], b"\n")

    def test_gsasl(self):
        for user, mechanism in (("alice", "SCRAM-SHA-1"), ("alice", "SCRAM-SHA-256"), ("bob", "SCRAM-SHA-256"),
                                ("carol", "SCRAM-SHA-1"), ("alice", "CRAM-MD5")):
            with self.subTest(user=user, mechanism=mechanism):
                status, output = self.gsasl(user, PASSWORDS[user], mechanism)
                self.assertIn("235", output)
                self.assertEqual(status, 0, output)

    def test_gsasl_wrong(self):
        for user, mechanism in (("alice", "SCRAM-SHA-1"), ("bob", "SCRAM-SHA-256"), ("nobody", "SCRAM-SHA-256"),
                                ("alice", "CRAM-MD5"), ("nobody", "CRAM-MD5")):
            with self.subTest(user=user, mechanism=mechanism):
                status, output = self.gsasl(user, "not it", mechanism)
                self.assertNotEqual(status, 0, output)
                self.assertNotIn("235 ", output)

    def test_verifier_serves_plain_and_login(self):
        for mechanism in ("PLAIN", "LOGIN"):
            with self.subTest(mechanism=mechanism):
                job = Job(self.daemon, "verifier-%s@example.com" % mechanism.lower(), content_for("v@example.com"),
                          "starttls", mechanism=mechanism, user="bob")
                self.arrives(job, "smtplib")

    def test_what_is_offered_unasked_serves_all(self):
        """curl takes the mechanism that it likes best and no other: bob has a verifier, though alice has a password."""
        self.need("curl")
        job = Job(self.daemon, "choice@example.com", content_for("choice@example.com"), "starttls", mechanism="*", user="bob")
        job.port = self.daemon.port["choice"]
        self.arrives(job, "curl")

    def test_no_plaintext_mechanism_in_the_clear(self):
        with self.daemon.connect() as c:
            offered = next((line for line in c.hello() if line[4:].startswith("AUTH")), "")
            self.assertNotIn("PLAIN", offered)
            self.assertNotIn("LOGIN", offered)
            self.assertIn("SCRAM-SHA-256", offered)
            self.assertIn(c.do("AUTH PLAIN AGFsaWNlAHdvbmRlciBsYW5k")[:3], ("538", "504"))

    def test_tls_facts_are_traced(self):
        job = Job(self.daemon, "traced@example.com", content_for("t@example.com"), "implicit", mechanism="PLAIN")
        stored = self.arrives(job, "smtplib")
        self.assertIn("with ESMTPSA", stored)
        self.assertIn("TLSv1.3", stored)
        self.assertTrue(stored.startswith("Return-Path: <a@sender.test>\nDelivered-To: traced@example.com\nReceived: "))


class Lmtp(WithDaemon):
    def swaks(self, where, recipients):
        content = content_for("lmtp@example.com")
        file = self.daemon.dir + "/lmtp.eml"
        with open(file, "wb") as f:
            f.write(stuffed(content) + b".")
        return content, run(["swaks", "--protocol", "LMTP", *where, "--ehlo", "client.test", "--from", "a@sender.test", "--to",
                             ",".join(recipients), "--data", "@" + file, "--no-data-fixup"])

    def check(self, where, name):
        self.need("swaks")
        good, last = "good-%s@example.com" % name, "last-%s@example.com" % name
        content, (status, output) = self.swaks(where, [good, "refused@example.com", "later@example.com", last])
        after_data = output.split("~ .", 1)[-1] if "~ ." in output else output.split("\n -> .", 1)[-1]
        replies = [line.split()[1] for line in after_data.splitlines() if line.startswith(("<-  ", "<** ", "<~  ", "<~* "))]
        self.assertEqual([r[:3] for r in replies[:4]], ["250", "550", "451", "250"], output)
        for recipient in (good, last):
            stored = self.daemon.wait_box("example.com/" + recipient.split("@")[0])[0]
            self.assertEqual(without_trace(stored), lf(content))
            self.assertIn("with LMTP", flat(stored))
        self.assertEqual(self.daemon.box("example.com/refused") + self.daemon.box("example.com/later"), [])

    def test_tcp(self):
        self.check(["--server", "127.0.0.1", "--port", str(self.daemon.port["lmtp"])], "tcp")

    def test_unix(self):
        self.check(["--socket", self.daemon.dir + "/lmtp"], "unix")

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_tcp6(self):
        self.check(["-6", "--server", "::1", "--port", str(self.daemon.port["lmtp6"])], "tcp6")

    def test_one_reply_for_each_of_the_same(self):
        with Raw(self.daemon.dir + "/lmtp") as c:
            self.assertTrue(c.hello(verb="LHLO")[-1].startswith("250"))
            c.envelope(rcpts=("twice@example.com", "refused@example.com", "twice@example.com"))
            self.assertTrue(c.message(harness.mail()).startswith("250"))
            self.assertEqual(c.code(), 550)
            self.assertEqual(c.code(), 250)
            self.assertTrue(c.do("NOOP").startswith("250"))  # and nothing more

    def test_helo_is_not_lmtp(self):
        with self.daemon.connect("lmtp") as c:
            c.reply()
            self.assertTrue(c.do("EHLO client.test").startswith("500"))
            self.assertTrue(c.do("LHLO client.test").startswith("250"))

    def test_all_recipients_refused(self):
        with self.daemon.connect("lmtp") as c:
            c.hello(verb="LHLO")
            c.envelope(rcpts=("refused@example.com", "refused@example.com"))
            self.assertTrue(c.message(harness.mail()).startswith("550"))
            self.assertEqual(c.code(), 550)


class SlowLogin(Tests):
    """Passwords are hashed by threads of their own."""

    # A verifier of nobody's password, as expensive as one may be: some seconds.
    POLICY = """
pool_threads(1)
listen { "127.0.0.1:@smtp@", auth = "on", plain_auth_without_tls = true }
function on.auth()
  log.info("hashing begins")
  return accept { verifier = "SCRAM-SHA-256$10000000:%s$%s:%s" }
end
""" % ("A" * 22 + "==", "A" * 43 + "=", "A" * 43 + "=") + harness.STORE

    def test_no_delivery_waits_for_it(self):
        waiting = []
        for _ in range(2):  # one after the other on the one thread: the last is under way for long enough on a busy machine
            slow = self.daemon.connect()
            self.addCleanup(slow.close)
            slow.hello()
            slow.send("AUTH PLAIN AGEAYg==\r\n")
            waiting.append(slow)
        self.daemon.wait_log({"what": "hashing begins"})
        self.sends(["user@example.com"])
        self.daemon.wait_box("example.com/user")
        waiting[-1].socket.setblocking(False)
        self.assertRaises(BlockingIOError, waiting[-1].socket.recv, 1)
        for slow in waiting:
            slow.socket.settimeout(2 * DEADLINE)
            self.assertEqual(slow.code(), 535)


def add_delivery(client, mode, v6):
    name = "%s_%s_%s" % (client, mode, "ipv6" if v6 else "ipv4")

    def test(self):
        self.need(client)
        recipient = name.replace("_", "-") + "@example.com"
        stored = self.arrives(Job(self.daemon, recipient, content_for(recipient), mode, v6), client)
        self.assertIn("with ESMTP" + ("" if mode == "plain" else "S"), stored)

    if v6 and not has_ipv6():
        test = unittest.skip("no IPv6 here")(test)
    setattr(Delivery, "test_" + name, test)


def add_auth(client, mechanism):
    name = "%s_%s" % (client, mechanism.lower().replace("-", "_"))

    def right(self):
        self.need(client)
        for mode in ("starttls", "implicit"):
            recipient = "%s-%s@example.com" % (name.replace("_", "-"), mode)
            job = Job(self.daemon, recipient, content_for(recipient), mode, mechanism=mechanism)
            stored = self.arrives(job, client)
            self.assertIn("with ESMTPSA", stored)

    def wrong(self):
        self.need(client)
        for user in ("alice", "nobody"):
            recipient = "wrong-" + name.replace("_", "-") + "@example.com"
            job = Job(self.daemon, recipient, content_for(recipient), "starttls", mechanism=mechanism, user=user, password="no")
            status, output = CLIENTS[client](job)
            self.assertNotEqual(status, 0, output)
            self.assertEqual(self.daemon.box("example.com/" + recipient.split("@")[0]), [])

    setattr(Authentication, "test_" + name, right)
    setattr(Authentication, "test_" + name + "_wrong", wrong)


for client_name in CLIENTS:
    for tls_mode in ("plain", "starttls", "implicit"):
        for family6 in (False, True):
            add_delivery(client_name, tls_mode, family6)
for client_name, sasl in AUTH:
    add_auth(client_name, sasl)

if __name__ == "__main__":
    harness.main()
