#!/usr/bin/env python3
"""Who is let out: recipients elsewhere at RCPT, the units that they become in the queue, and that neither a hook nor an alias opens
the relay to anybody. Mail is held, so that nothing leaves."""

import base64
import unittest

import harness
from harness import PASSWORDS, Tests, mail

POLICY = """
auth { users = "users" }
networks { trusted = { "127.0.0.3" } }
aliases { ["out@example.com"] = { "a@relay.test", "b@example.com" } }
listen { "127.0.0.1:@smtp@", auth = "on", plain_auth_without_tls = true }

function on.rcpt(session, mail, rcpt)
  if mail.sender == "open@sender.test" then mail.relay_allowed = true end
  return accept()
end

function on.message(session, mail)
  for _, rcpt in ipairs(mail.recipients) do
    if rcpt.is_local then rcpt:store("%{user}") end
    if rcpt.user == "far" then rcpt:send{ "Mail.relay.test:2525", "[IPv6:2001:DB8::1]", pinned = true } end
    if rcpt.user == "twice" then rcpt:send() end
  end
  if mail.sender == "never@sender.test" then mail:exclude("send") end
  mail.retry = { first = "1m" }
  return hold("for a look")
end
"""


class Accept(Tests):
    POLICY = POLICY

    def session(self, source=None, user=None):
        c = self.daemon.connect(source=source)
        self.addCleanup(c.close)
        c.hello()
        if user is not None:
            plain = base64.b64encode(("\0%s\0%s" % (user, PASSWORDS[user])).encode()).decode()
            self.said(c.do("AUTH PLAIN " + plain), "235")
        return c

    def units(self, c, rcpts, sender="a@sender.test", final="250"):
        """The units of the one mail that the queue has now and had not before: kind, target, recipients."""
        before = {m["id"] for m in self.daemon.queue()}
        for reply in c.envelope(sender, rcpts):
            self.said(reply, "250")
        self.said(c.message(mail()), final)
        new = {m["id"] for m in self.daemon.queue()} - before
        if final[0] != "2":
            self.assertEqual(new, set())
            return []
        self.assertEqual(len(new), 1)
        return [(u["kind"], u.get("target", "")) for u in self.daemon.get("/v1/queue/" + new.pop())[1]["units"]]

    def test_anybody_is_refused(self):
        c = self.session()
        self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
        for _ in range(2):
            self.said(c.do("RCPT TO:<a@relay.test>"), "550 5.7.1")
        self.said(c.do("RCPT TO:<b@example.com>"), "250")
        self.said(c.do("RCPT TO:<a@relay.test>"), "550 5.7.1")

    def test_authenticated(self):
        self.assertEqual(self.units(self.session(user="alice"), ["a@relay.test", "b@example.com"]),
                         [("store", "b"), ("send", "")])

    def test_trusted(self):
        self.assertEqual(self.units(self.session("127.0.0.3"), ["a@relay.test", "c@[192.0.2.1]"]), [("send", ""), ("send", "")])

    def test_let_through_by_policy(self):
        self.assertEqual(self.units(self.session(), ["a@relay.test"], "open@sender.test"), [("send", "")])
        self.daemon.wait_log(lambda r: r["what"] == "relay_allowed set")

    def test_alias_to_the_outside(self):
        self.assertEqual(self.units(self.session(), ["out@example.com"]), [("store", "b"), ("send", "")])

    def test_rows(self):
        c = self.session(user="alice")
        self.assertEqual(self.units(c, ["far@relay.test", "twice@example.com"]),
                         [("send", "mail.relay.test:2525 [IPv6:2001:db8::1]"), ("store", "twice"), ("send", "")])

    def test_taken_back(self):
        """Nothing is left for the recipient: the mail as a whole is held, and so is the recipient."""
        self.assertEqual(self.units(self.session(user="alice"), ["a@relay.test"], "never@sender.test"), [("none", "")])

    def test_dsn_is_offered(self):
        with self.daemon.connect() as c:
            self.assertIn("250-DSN", c.hello())
            self.said(c.do("MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ314159"), "250")
            self.said(c.do("RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.com"), "250")
            self.said(c.do("RCPT TO:<c@example.com> NOTIFY=NEVER,DELAY"), "501")


if __name__ == "__main__":
    harness.main()
