#!/usr/bin/env python3
"""What a Lua policy says and what the client sees and finds: every verdict at every stage, edits, dispositions, variables, time,
errors; and that no configuration relays for anybody."""

import base64
import email
import json
import os
import unittest

import harness
from harness import PASSWORDS, Barid, Tests, mail, tls_context, without_trace

LISTEN = 'listen { "127.0.0.1:@smtp@" }\nlisten { "127.0.0.1:@lmtp@", protocol = "lmtp" }\n'

VERDICTS = """
local verdicts = {
  accept = function() return accept(250, "2.0.9", "said accept") end,
  reject = function() return reject(550, "5.7.9", "said reject") end,
  tempfail = function() return tempfail(451, "4.7.9", "said tempfail") end,
  disconnect = function() return disconnect(421, "4.7.9", "said disconnect") end,
  discard = function() return discard("said discard") end,
  quarantine = function() return quarantine("said quarantine") end,
  hold = function() return hold("said hold") end,
}

local function by_sender(stage, mail)
  local at, verdict = mail.sender:match("^(%a+)%-(%a+)@")
  if at == stage then return verdicts[verdict]() end
end

local function by_name(stage, name)
  local at, verdict = name:match("^(%a+)%-(%a+)")
  if at == stage then return verdicts[verdict]() end
end

function on.connect(session)
  local which = ({ ["127.0.0.11"] = "reject", ["127.0.0.12"] = "tempfail", ["127.0.0.13"] = "disconnect" })[session.ip]
  if which then return verdicts[which]() end
  if session.ip == "127.0.0.14" then return accept("hello from the policy") end
  if session.ip == "127.0.0.15" then return disconnect { silent = true } end
end

function on.helo(session, name)
  if name == "shy.test" then session:hide("PRDR", "CHUNKING") end
  return by_name("helo", name)
end

function on.mail(session, mail) return by_sender("mail", mail) end
function on.rcpt(session, mail, rcpt) return by_sender("rcpt", mail) end
function on.data(session, mail) return by_sender("data", mail) end
function on.headers(session, mail) return by_sender("headers", mail) end
function on.body(session, mail, chunk) return by_sender("body", mail) end
function on.message(session, mail)
  mail:store("%{user}")
  return by_sender("message", mail)
end
function on.recipient(session, mail, rcpt) return by_sender("recipient", mail) end
function on.noop(session, argument) return by_name("noop", argument) end
function on.rset(session, argument) if session.vars.rset then return verdicts[session.vars.rset]() end end
function on.vrfy(session, argument)
  if argument:find("^rset") then session.vars.rset = argument:sub(6) end
  return by_name("vrfy", argument)
end
function on.expn(session, argument) return by_name("expn", argument) end
function on.help(session, argument) return by_name("help", argument) end
function on.unknown(session, line) return by_name("unknown", line:lower()) end
"""


class Verdicts(Tests):
    POLICY = LISTEN + VERDICTS

    SAID = {"reject": "550 5.7.9 said reject", "tempfail": "451 4.7.9 said tempfail", "disconnect": "421 4.7.9 said disconnect"}

    def transaction(self, stage, verdict):
        """Replies to MAIL, RCPT, DATA, the message; '' once the server has closed."""
        with self.daemon.connect() as c:
            c.hello()
            replies = c.envelope("%s-%s@sender.test" % (stage, verdict), ["%s-%s@example.com" % (stage, verdict)])
            if replies[-1].startswith("250"):
                replies.append(c.do("DATA"))
            if replies[-1].startswith("354"):
                c.send(mail("%s %s" % (stage, verdict)) + ".\r\n")
                replies.append((c.reply() or [""])[-1])
            open_still = verdict != "disconnect" or replies[-1].startswith("250")
            if open_still:
                self.said(c.do("NOOP"), "250")
            else:
                self.assertIsNone(c.line())
            return replies

    def test_mail(self):
        for verdict, said in self.SAID.items():
            self.said(self.transaction("mail", verdict)[0], said)
        self.said(self.transaction("mail", "accept")[0], "250 2.0.9 said accept")

    def test_rcpt(self):
        for verdict, said in self.SAID.items():
            self.said(self.transaction("rcpt", verdict)[1], said)
        self.said(self.transaction("rcpt", "accept")[1], "250 2.0.9 said accept")

    def test_data(self):
        for verdict, said in self.SAID.items():
            self.said(self.transaction("data", verdict)[2], said)
        self.said(self.transaction("data", "accept")[3], "250")

    def refusals_of_content(self, stage):
        for verdict, said in self.SAID.items():
            with self.subTest(stage=stage, verdict=verdict):
                self.said(self.transaction(stage, verdict)[3], said)
                self.assertEqual(self.daemon.box("%s-%s" % (stage, verdict)), [])

    def acceptances_of_content(self, stage):
        with self.subTest(stage=stage, verdict="accept"):
            self.said(self.transaction(stage, "accept")[3], "250")
            self.daemon.wait_box(stage + "-accept")
        with self.subTest(stage=stage, verdict="discard"):
            self.daemon.wait_idle()
            before = self.daemon.count()
            self.said(self.transaction(stage, "discard")[3], "250")
            self.assertEqual(self.daemon.count()["messages"], before["messages"])
            self.assertEqual(self.daemon.box(stage + "-discard"), [])
        for verdict, state in (("hold", "held"), ("quarantine", "quarantined")):
            with self.subTest(stage=stage, verdict=verdict):
                self.daemon.wait_idle()
                before = self.daemon.count()
                self.said(self.transaction(stage, verdict)[3], "250")
                after = self.daemon.count()
                self.assertEqual(after[state], before[state] + 1)
                self.assertEqual(self.daemon.box("%s-%s" % (stage, verdict)), [])

    def test_headers(self):
        self.refusals_of_content("headers")
        self.acceptances_of_content("headers")

    def test_body(self):
        self.refusals_of_content("body")
        self.acceptances_of_content("body")

    def test_message(self):
        self.refusals_of_content("message")
        self.acceptances_of_content("message")
        self.assertIn("said accept", self.transaction("message", "accept")[3])

    def test_recipient(self):
        for verdict in ("reject", "tempfail"):
            self.said(self.transaction("recipient", verdict)[3], self.SAID[verdict])
        self.said(self.transaction("recipient", "disconnect")[3], "421")
        self.said(self.transaction("recipient", "accept")[3], "250")
        self.daemon.wait_box("recipient-accept")
        self.daemon.wait_idle()
        before = self.daemon.count()
        self.said(self.transaction("recipient", "discard")[3], "250")
        self.assertEqual(self.daemon.count()["messages"], before["messages"])
        for verdict in ("hold", "quarantine"):
            with self.subTest(verdict=verdict):
                self.daemon.wait_idle()
                before = self.daemon.count()
                self.said(self.transaction("recipient", verdict)[3], "250")
                self.assertEqual(self.daemon.count()["messages"], before["messages"] + 1)
                self.assertEqual(self.daemon.box("recipient-" + verdict), [])

    def test_refused_content_is_drained(self):
        for stage in ("headers", "body"):
            with self.daemon.connect() as c:
                c.hello()
                c.envelope(stage + "-reject@sender.test", ["x@example.com"])
                self.said(c.message(mail("long", "MAIL FROM:<evil@x.test>\r\n" * 20000)), "550 5.7.9")
                self.said(c.do("NOOP"), "250")

    def test_refused_chunk(self):
        with self.daemon.connect() as c:
            c.hello()
            c.envelope("headers-reject@sender.test", ["x@example.com"])
            c.send("BDAT 14\r\nSubject: x\r\n\r\n")
            self.said(c.reply()[-1], "550 5.7.9")
            c.send("BDAT 6\r\nNOOP\r\n")
            self.said(c.reply()[-1], "503")
            self.said(c.do("RSET"), "250")
            self.said(c.do("MAIL FROM:<a@sender.test>"), "250")

    def test_connect(self):
        with self.daemon.connect(source="127.0.0.11") as c:
            self.said(c.reply()[-1], "550")
            self.said(c.do("EHLO client.test"), "503")
            self.said(c.do("MAIL FROM:<a@sender.test>"), "503")
            self.said(c.do("QUIT"), "221")
        with self.daemon.connect(source="127.0.0.12") as c:
            self.said(c.reply()[-1], "451")
            self.assertIsNone(c.line())
        with self.daemon.connect(source="127.0.0.13") as c:
            self.said(c.reply()[-1], "421 4.7.9 said disconnect")
            self.assertIsNone(c.line())
        with self.daemon.connect(source="127.0.0.14") as c:
            self.assertIn("hello from the policy", c.reply()[-1])
        with self.daemon.connect(source="127.0.0.15") as c:
            self.assertEqual(c.rest(), b"")

    def test_helo(self):
        with self.daemon.connect() as c:
            c.reply()
            self.said(c.do("EHLO helo-reject.test"), "550 5.7.9")
            self.said(c.do("MAIL FROM:<a@sender.test>"), "503")
            self.said(c.do("EHLO client.test"), "250")
            self.said(c.do("EHLO helo-disconnect.test"), "421")
            self.assertIsNone(c.line())
        with self.daemon.connect() as c: # a second one that is refused changes nothing (RFC 5321 4.1.4)
            c.hello("first.test")
            c.envelope(rcpts=["greeted@example.com"])
            self.said(c.do("EHLO helo-reject.test"), "550 5.7.9")
            c.do("DATA")
            self.said(c.do("Subject: x\r\n\r\nx\r\n."), "250")
        self.assertIn(b"Received: from first.test", self.daemon.wait_box("greeted")[0])
        with self.daemon.connect() as c:
            shy = c.hello("shy.test")
            self.assertNotIn("PRDR", "".join(shy))
            self.assertNotIn("CHUNKING", "".join(shy))
            c.send("EHLO client.test\r\n")
            self.assertIn("PRDR", "".join(c.reply()))

    def test_verbs(self):
        with self.daemon.connect() as c:
            c.hello()
            # 214 is no 250: the code of HELP stays, the text is the policy's.
            for verb, code in (("NOOP", 250), ("VRFY", 250), ("EXPN", 250), ("HELP", 214)):
                with self.subTest(verb=verb):
                    self.said(c.do("%s %s-accept" % (verb, verb.lower())), "%d 2.0.9 said accept" % code)
                    self.said(c.do("%s %s-reject" % (verb, verb.lower())), "550 5.7.9 said reject")
            self.said(c.do("UNKNOWN-ACCEPT"), "250 2.0.9 said accept")
            self.said(c.do("UNKNOWN-REJECT"), "550 5.7.9 said reject")
            c.do("VRFY rset-accept")
            self.said(c.do("RSET"), "250 2.0.9 said accept")
            self.said(c.do("NOOP noop-disconnect"), "421 4.7.9 said disconnect")
            self.assertIsNone(c.line())

    def test_verdicts_that_a_stage_has_not(self):
        for stage, verdict, at in (("mail", "discard", 0), ("rcpt", "hold", 1), ("data", "quarantine", 2)):
            with self.subTest(stage=stage, verdict=verdict):
                self.said(self.transaction(stage, verdict)[at], "451 4.3.0")
                self.daemon.wait_log(lambda r: "policy.lua:" in json.dumps(r) and verdict in json.dumps(r))


CONTENT = LISTEN + """
aliases {
  ["team@example.com"] = { "anna@example.com", "bert@example.org" },
  ["one@example.com"] = "anna@example.com",
  ["loop@example.com"] = "loop@example.com",
  ["@example.org"] = "all@example.com",
  ["bert@example.org"] = "bert@example.org",
}

local act = {}
function act.headers(mail)
  mail:add_header("X-Added", "at the end")
  mail:add_header("X-Top", "first", 1)
  mail:set_header("Subject", "another subject")
  mail:remove_header("X-Secret")
end
function act.body(mail)
  assert(mail:body() == "Hello.\\r\\n", "the body reads back")
  mail:replace_body("A new body.\\r\\n")
end
function act.sender(mail) mail.sender = "new@sender.test" end
function act.rcpt(mail) mail.recipients[1].address = "moved@example.com" end
function act.add(mail) mail:add_recipient("added@example.com") end
function act.remove(mail) mail:remove_recipient("gone@example.com") end
function act.crowd(mail) for i = 1, 20 do mail:add_recipient("crowd" .. i .. "@example.com") end end
function act.archive(mail) mail:archive("%{yyyy}/%{sender}") end
function act.exclude(mail) mail:exclude("store", "%{user}/excluded") mail:store("%{user}/excluded") end
function act.twice(mail) mail:store("%{user}/twice") mail:store("%{user}/twice") end
function act.climb(mail) mail:store("%{local}") end
function act.delay(mail) mail:delay_until("+1h") end
function act.vars(mail)
  mail.vars.text = "of the mail"
  mail.vars.number = 42
  mail.vars.real = 1.5
  mail.vars.flag = true
end
function act.mime(mail) mail:add_header("X-Mime", mail:mime().type) end
function act.tree(mail)
  local function walk(part, path)
    local data = #part.parts == 0 and part:get_data() or ""
    mail:add_header("X-Part", table.concat({ path, part.type, part.file_name or "-", part.charset or "-", data }, "|"))
    for i, child in ipairs(part.parts) do walk(child, path .. "." .. i) end
  end
  walk(mail:mime(), "0")
end
function act.hidden(mail)
  local names = {}
  for _, rcpt in ipairs(mail.hidden_recipients) do names[#names + 1] = rcpt.address end
  mail:add_header("X-Hidden", table.concat(names, ","))
end

function on.mail(session, mail)
  session.vars.mails = (session.vars.mails or 0) + 1
end

function on.message(session, mail)
  local what = mail:header("X-Do")
  if mail:header("X-Count") then mail:add_header("X-Mails", tostring(session.vars.mails)) end
  if what then act[what](mail) end
  mail:store("%{user}")
end

function on.recipient(session, mail, rcpt)
  if rcpt.user:find("^grow") and #rcpt.user < 60 then mail:add_recipient(rcpt.user .. "x@example.com") end
  if rcpt.tag ~= "" then rcpt:store("%{user}/.%{tag}") end
end
"""


def doing(what, extra=""):
    return "From: <a@sender.test>\r\nTo: <user@example.com>\r\nSubject: s\r\nX-Do: %s\r\nX-Secret: s\r\n%s\r\nHello.\r\n" % (what, extra)


class Content(Tests):
    POLICY = CONTENT
    CLOCK = True

    def after(self, what, rcpts, box=None, extra="", sender="a@sender.test"):
        rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
        _, final = self.sends(rcpts, doing(what, extra), sender)
        self.said(final, "250")
        return self.daemon.wait_box(box or rcpts[0].split("@")[0])[0].decode()

    def test_headers(self):
        stored = without_trace(self.after("headers", "h@example.com").encode()).decode()
        self.assertEqual(stored, "X-Top: first\nFrom: <a@sender.test>\nTo: <user@example.com>\nSubject: another subject\n"
                                 "X-Do: headers\nX-Added: at the end\n\nHello.\n")

    def test_body(self):
        self.assertTrue(self.after("body", "b@example.com").endswith("\n\nA new body.\n"))

    def test_sender(self):
        self.assertTrue(self.after("sender", "s@example.com").startswith("Return-Path: <new@sender.test>\n"))

    def test_recipients(self):
        self.assertIn("Delivered-To: moved@example.com\n", self.after("rcpt", "before@example.com", "moved"))
        self.assertEqual(self.daemon.box("before"), [])
        self.after("add", "adder@example.com")
        self.daemon.wait_box("added")
        self.after("remove", ["stays@example.com", "gone@example.com"])
        self.assertEqual(self.daemon.box("gone"), [])

    def test_added_while_recipients_are_asked(self):
        self.after("vars", "grow@example.com")
        self.daemon.wait_box("grow" + "x" * 56)

    def test_many_added(self):
        self.after("crowd", "crowd@example.com")
        self.daemon.wait_box("crowd20")

    def test_archive(self):
        self.after("archive", "arch@example.com", sender="archived@sender.test")
        self.daemon.wait_log(lambda r: r["area"] == "queue" and r.get("kind") == "archive" and r["what"] == "delivered")
        found = [os.path.join(d, f) for d, _, files in os.walk(self.daemon.dir + "/archive") for f in files]
        self.assertEqual(len([f for f in found if "archived@sender.test" in f]), 1, found)

    def test_exclude_and_twice(self):
        self.after("exclude", "ex@example.com")
        self.assertEqual(self.daemon.box("ex/excluded"), [])
        self.after("twice", "tw@example.com")
        self.assertEqual(len(self.daemon.wait_box("tw/twice")), 1)

    def test_nobody_climbs_out(self):
        for local in ('"../../escape"', '"/etc/escape"', '".."', '"a/../../b"'):
            with self.subTest(local=local):
                with self.daemon.connect() as c:
                    c.hello()
                    replies = c.envelope(rcpts=[local + "@example.com"])
                    if replies[-1].startswith("250"):
                        c.message(doing("climb"))
        self.sends("after-climb@example.com")
        self.daemon.wait_box("after-climb")
        outside = [f for f in os.listdir(self.daemon.dir) if "escape" in f or f == "b"]
        self.assertEqual(outside, [])
        self.assertFalse(os.path.exists("/etc/escape"))

    def test_aliases(self):
        def counts():
            return {b: len(self.daemon.box(b)) for b in ("anna", "bert", "all", "loop")}

        before = counts()
        _, final = self.sends(["team@example.com", "one@example.com", "anybody@example.org", "loop@example.com"])
        self.said(final, "250")
        self.daemon.wait(lambda: counts()["loop"] > before["loop"] and counts()["all"] > before["all"], "aliases")
        self.daemon.wait(lambda: counts()["anna"] > before["anna"] and counts()["bert"] > before["bert"], "aliases")
        with self.daemon.connect("lmtp") as c:  # one reply per RCPT, however many it became
            c.hello(verb="LHLO")
            c.envelope(rcpts=["team@example.com", "one@example.com"])
            self.said(c.message(mail()), "250")
            self.said(c.reply()[-1], "250")
            self.said(c.do("NOOP"), "250")

    def test_subaddress(self):
        _, final = self.sends("tagged+lists@example.com")
        self.said(final, "250")
        stored = self.daemon.wait_box("tagged/.lists")[0]
        self.assertIn(b"Delivered-To: tagged+lists@example.com\n", stored)

    def test_session_variables(self):
        with self.daemon.connect() as c:
            c.hello()
            for number in (1, 2):
                c.envelope(rcpts=["count%d@example.com" % number])
                self.said(c.message(doing("vars", "X-Count: yes\r\n")), "250")
        self.assertIn(b"X-Mails: 1\n", self.daemon.wait_box("count1")[0])
        self.assertIn(b"X-Mails: 2\n", self.daemon.wait_box("count2")[0])

    def test_hidden_recipients(self):
        stored = self.after("hidden", ["user@example.com", "blind@example.com"], "blind")
        self.assertIn("X-Hidden: blind@example.com\n", stored)

    def test_mime(self):
        stored = self.after("mime", "m@example.com", extra="MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n")
        self.assertIn("X-Mime: text/html\n", stored)

    def test_mime_tree(self):
        message = (
            "From: <a@sender.test>\r\nTo: <tree@example.com>\r\nX-Do: tree\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            "gr=FC=DFe\r\n"
            "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            "Content-Disposition: attachment; filename*=utf-8''h%C3%A9llo.bin\r\n\r\naGFsbG8=\r\n--b--\r\n")
        _, final = self.sends("tree@example.com", message)
        self.said(final, "250")
        stored = self.daemon.wait_box("tree")[0].decode()
        parts = [line[8:] for line in stored.split("\n\n")[0].splitlines() if line.startswith("X-Part: ")]
        self.assertEqual(parts, ["0|multipart/mixed|-|-|", "0.1|text/plain|-|iso-8859-1|grüße",
                                 "0.2|application/octet-stream|héllo.bin|-|hallo"])

    def test_delay(self):
        _, final = self.sends("late@example.com", doing("delay"))
        self.said(final, "250")
        waiting = [m for m in self.daemon.queue() if "late@example.com" in json.dumps(m)]
        self.assertEqual(len(waiting), 1)
        self.assertEqual(self.daemon.box("late"), [])
        self.daemon.shift_clock(3590)
        self.sends("early@example.com")
        self.daemon.wait_box("early")
        self.assertEqual(self.daemon.box("late"), [])
        self.daemon.shift_clock(3700)
        self.daemon.wait_box("late")


class Crowd(unittest.TestCase):
    """As many recipients as one message can have, each with a hook that answers at once: no stack is deep enough for a recursion."""

    def test_ten_thousand(self):
        names = ", ".join('"u%d@example.com"' % i for i in range(1000))
        lists = "\n".join('["list%d@example.com"] = { %s },' % (i, names.replace("u", "v%d-" % i)) for i in range(10))
        daemon = Barid(LISTEN + """
            aliases { %s }
            function on.recipient(session, mail, rcpt)
              if rcpt.user == "v9-999" then rcpt:store("last") else return discard() end
            end""" % lists)
        self.addCleanup(daemon.close)
        daemon.start()
        with daemon.connect() as c:
            c.hello()
            replies = c.envelope(rcpts=["list%d@example.com" % i for i in range(10)])
            self.assertEqual([r[:3] for r in replies], ["250"] * 11)
            self.assertTrue(c.message(mail()).startswith("250"))
        daemon.wait_box("last")


class VarsPersist(unittest.TestCase):
    def test_kept_across_a_restart(self):
        daemon = Barid(LISTEN + """
            function on.message(session, mail)
              mail.vars.text = "of the mail"
              mail.vars.number = 42
              return hold("look at me")
            end""")
        self.addCleanup(daemon.close)
        daemon.start()
        with daemon.connect() as c:
            c.hello()
            c.envelope()
            self.assertTrue(c.message(mail()).startswith("250"))
        daemon.stop()
        daemon.start()
        held = daemon.queue()
        self.assertEqual(len(held), 1)
        status, shown = daemon.get("/v1/queue/" + held[0]["id"])
        self.assertEqual(status, 200)
        self.assertEqual(shown["vars"], {"text": "of the mail", "number": 42})
        self.assertIn("look at me", json.dumps(shown))


class Undecided(unittest.TestCase):
    RULE = LISTEN + """
        function on.recipient(session, mail, rcpt) if rcpt.user == "known" then rcpt:store("known") end end
        """

    def run_with(self, declaration):
        daemon = Barid(self.RULE + declaration)
        self.addCleanup(daemon.close)
        return daemon.start()

    def final(self, daemon, rcpts):
        with daemon.connect() as c:
            c.hello()
            c.envelope(rcpts=rcpts)
            return c.message(mail())

    def test_reject_is_the_default(self):
        daemon = self.run_with("")
        self.assertTrue(self.final(daemon, ["lost@example.com"]).startswith("550 5.1.1"))
        self.assertEqual(daemon.count()["messages"], 0)

    def test_tempfail(self):
        self.assertTrue(self.final(self.run_with('undecided "tempfail"'), ["lost@example.com"]).startswith("451"))

    def test_hold(self):
        daemon = self.run_with('undecided "hold"')
        self.assertTrue(self.final(daemon, ["lost@example.com"]).startswith("250"))
        self.assertEqual(daemon.count()["messages"], 1)

    def test_mixed(self):
        daemon = self.run_with("")
        self.assertTrue(self.final(daemon, ["known@example.com", "lost@example.com"]).startswith("250"))
        daemon.wait_box("known")
        self.assertEqual(daemon.box("lost"), [])

    def test_mixed_strict(self):
        daemon = self.run_with('mixed "strict"')
        self.assertTrue(self.final(daemon, ["known@example.com", "lost@example.com"]).startswith("451"))
        self.assertEqual(daemon.count()["messages"], 0)
        self.assertEqual(daemon.box("known"), [])


class Errors(Tests):
    POLICY = LISTEN + """
limits { hook_cpu_ms = 200 }
function on.mail(session, mail)
  local s = mail.sender
  if s:find("^error") then error("broken on purpose") end -- error
  if s:find("^index") then return session.vars.none.more end -- index
  if s:find("^field") then return session.nonsense end -- field
  if s:find("^write") then session.ip = "x" end -- write
  if s:find("^type") then return 42 end -- type
  if s:find("^global") then leaked = true end -- global
  if s:find("^loop") then while true do end end -- loop
  if s:find("^rep") then return #string.rep("x", 1 << 40) end -- rep
  if s:find("^match") then return string.find(string.rep("a", 100000), string.rep("a*", 50) .. "b") end -- match
  if s:find("^memory") then local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end -- memory
  if s:find("^deep") then local function f() return 1 + f() end return f() end -- deep
  if s:find("^code") then return reject(200, "no") end -- code
end
function on.message(session, mail) mail:store("%{user}") end
"""

    def broken(self, kind):
        with self.daemon.connect() as c:
            c.hello()
            start = len(self.daemon.records)
            self.said(c.do("MAIL FROM:<%s@sender.test>" % kind), "451 4.3.0")
            # What was returned does not know its line: the hook's own is named then.
            line = self.daemon.line_of("function on.mail" if kind == "type" else "-- " + kind)
            self.daemon.wait_log(lambda r: r["level"] in ("error", "warn") and "policy.lua:%d" % line in json.dumps(r), start)
            self.said(c.do("MAIL FROM:<fine@sender.test>"), "250")

    def test_each(self):
        for kind in ("error", "index", "field", "write", "type", "global", "loop", "rep", "match", "memory", "deep", "code"):
            with self.subTest(kind=kind):
                self.broken(kind)
        _, final = self.sends("still@example.com")
        self.said(final, "250")
        self.daemon.wait_box("still")

    def test_counted(self):
        self.broken("error")
        self.assertIn("errors", json.dumps(self.daemon.get("/v1/status")[1]))


class Waiting(Tests):
    """A hook that waits holds its own session and no other, and not for ever."""

    CLOCK = True
    POLICY = LISTEN + """
        workers(1)
        function on.mail(session, mail)
          if mail.sender:find("^wait") then sleep(60000) end
        end
        function on.message(session, mail)
          shared.add("mails", 1)
          mail:add_header("X-Shared", tostring(shared.get("mails")))
          mail:store("%{user}")
        end
        limits { hook_ms = 100000 }
        """
    HEAD = harness.HEAD.replace("workers(2)", "")

    def test_only_its_own_session(self):
        with self.daemon.connect() as waiting:
            waiting.hello()
            waiting.send("MAIL FROM:<wait@sender.test>\r\nNOOP\r\n")
            _, final = self.sends("other@example.com")  # the same worker serves it meanwhile
            self.said(final, "250")
            self.daemon.shift_clock(61)
            self.said(waiting.reply()[-1], "250 2.1.0")
            self.said(waiting.reply()[-1], "250")

    def test_client_that_leaves(self):
        with self.daemon.connect() as waiting:
            waiting.hello()
            waiting.send("MAIL FROM:<wait@sender.test>\r\n")
        _, final = self.sends("after@example.com")
        self.said(final, "250")

    def test_shared_between_sessions(self):
        for number in (1, 2):
            _, final = self.sends("shared%d@example.com" % number)
            self.said(final, "250")
        values = [int(email.message_from_bytes(self.daemon.wait_box("shared%d" % n)[0])["X-Shared"]) for n in (1, 2)]
        self.assertEqual(values[1], values[0] + 1)


RELAY = """
tls { certificate = "@cert@", key = "@key@" }
auth { users = "users" }
networks { trusted = { "127.0.0.3" } }
limits { errors = 1000, commands = 10000 }
listen { "127.0.0.1:@smtp@", tls = "starttls", auth = "on", plain_auth_without_tls = true }
listen { "127.0.0.1:@submission@", protocol = "submission" }
function on.rcpt(session, mail, rcpt) return accept() end
function on.message(session, mail) mail:store("%{domain}/%{local}") end
"""


class Relay(Tests):
    POLICY = RELAY

    FOREIGN = ("user@relay.test", "@example.com:user@relay.test", "@example.com,@example.org:user@relay.test", "user@[127.0.0.1]",
               "user@[IPv6:::1]", "user@[192.0.2.1]", "user@example.com.relay.test", "user@relay.test.", '"user@example.com"@relay.test',
               "user%example.com@relay.test", "example.com!user@relay.test", "user@sub.example.com", "user@localhost",
               "user@mx.example.com", "user@example", "user@xn--example.com")
    MALFORMED = ("user@example.com@relay.test", "user@relay.test@example.com", "user@example.com,user@relay.test", "relay.test!user@",
                 "user@relay.test%example.com", "<user@relay.test>", "user@relay.test:25", "@example.com:", "user@[127.0.0.1",
                 "user@relay.test ", "user\x00@example.com", "user@example.com\x00.relay.test")
    # Ours by their domain: what a careless server would take apart and send on must stay here as it is.
    OURS = ("user%relay.test@example.com", '"user@relay.test"@example.com', "relay.test!user@example.com",
            "@relay.test:user@example.com", '"user%relay.test"@example.com', '"relay.test!user"@example.com')

    def refused_by_relay(self):
        """Those of FOREIGN that only the relay check refuses."""
        c = self.session()
        self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
        return [rcpt for rcpt in self.FOREIGN if c.do("RCPT TO:<%s>" % rcpt).startswith("550 5.7.1")]

    def battery(self, c, text, let_out=()):
        for sender in ("a@sender.test", "", "user@example.com"):
            self.said(c.do("MAIL FROM:<%s>" % sender), "250")
            for rcpt in self.FOREIGN:
                with self.subTest(client=text, sender=sender, rcpt=rcpt):
                    got = c.do("RCPT TO:<%s>" % rcpt)
                    self.assertIn(got[:9], ("250 2.1.5",) if rcpt in let_out else ("550 5.7.1", "553 5.1.3", "501 5.5.4"), got)
            for rcpt in self.MALFORMED:
                with self.subTest(client=text, sender=sender, rcpt=rcpt):
                    self.said(c.do("RCPT TO:<%s>" % rcpt), "5")
            self.said(c.do("RSET"), "250")

    def session(self, source=None):
        c = self.daemon.connect(source=source)
        self.addCleanup(c.close)
        c.hello()
        return c

    def test_anybody(self):
        self.battery(self.session(), "anybody")

    def test_authenticated(self):
        c = self.session()
        plain = base64.b64encode(("\0alice\0" + PASSWORDS["alice"]).encode()).decode()
        self.said(c.do("AUTH PLAIN " + plain), "235")
        let_out = self.refused_by_relay()
        self.assertGreater(len(let_out), 8)
        self.battery(c, "authenticated", let_out)

    def test_trusted(self):
        self.battery(self.session("127.0.0.3"), "trusted", self.refused_by_relay())

    def test_ours_stay_here(self):
        for rcpt in self.OURS:
            with self.subTest(rcpt=rcpt):
                with self.daemon.connect() as c:
                    c.hello()
                    if c.envelope(rcpts=[rcpt])[-1].startswith("250"):
                        self.said(c.message(mail()), "250")
        self.daemon.wait_idle()
        self.assertEqual(os.listdir(self.daemon.dir + "/mail"), ["example.com"])

    def test_default_configuration(self):
        with Barid('listen { "127.0.0.1:@smtp@" }\n', head=harness.HEAD.replace('domains { "example.com", "example.org" }', "")) as bare:
            with bare.connect() as c:
                c.hello()
                self.said(c.do("MAIL FROM:<a@sender.test>"), "250")
                for rcpt in ("user@relay.test", "user@example.com", "user@mx.example.com", "user@[127.0.0.1]"):
                    self.said(c.do("RCPT TO:<%s>" % rcpt), "550 5.7.1")


class Submission(Tests):
    POLICY = RELAY

    def start(self):
        c = self.daemon.connect("submission")
        self.addCleanup(c.close)
        c.hello()
        return c

    def login(self, c, user="alice"):
        self.said(c.do("STARTTLS"), "220")
        c.start_tls(tls_context())
        c.send("EHLO client.test\r\n")
        c.reply()
        plain = base64.b64encode(("\0%s\0%s" % (user, PASSWORDS[user])).encode()).decode()
        self.said(c.do("AUTH PLAIN " + plain), "235")

    def test_needs_tls_then_auth(self):
        c = self.start()
        self.said(c.do("MAIL FROM:<alice@example.com>"), "530 5.7.0")
        self.said(c.do("STARTTLS"), "220")
        c.start_tls(tls_context())
        c.send("EHLO client.test\r\n")
        c.reply()
        self.said(c.do("MAIL FROM:<alice@example.com>"), "530 5.7.0")

    def test_sender_belongs_to_user(self):
        c = self.start()
        self.login(c)
        for sender in ("bob@example.com", "alice@elsewhere.test"):
            self.said(c.do("MAIL FROM:<%s>" % sender), "553 5.7.1")
        for sender in ("alice@example.com", "alice+tag@example.org", "ALICE@example.com"):
            self.said(c.do("MAIL FROM:<%s>" % sender), "250")
            c.do("RSET")

    def test_completes_the_header(self):
        c = self.start()
        self.login(c)
        c.envelope("alice@example.com", ["done@example.com"])
        self.said(c.message("From: <alice@example.com>\r\nSubject: bare\r\n\r\nbody\r\n"), "250")
        stored = email.message_from_bytes(self.daemon.wait_box("example.com/done")[0])
        self.assertIsNotNone(stored["Date"])
        self.assertRegex(stored["Message-ID"], r"^<[^<>@\s]+@[^<>@\s]+>$")
        c.envelope("alice@example.com", ["kept@example.com"])
        self.said(c.message("From: <alice@example.com>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@y.test>\r\n\r\nb\r\n"),
                  "250")
        stored = email.message_from_bytes(self.daemon.wait_box("example.com/kept")[0])
        self.assertEqual(stored.get_all("Message-ID"), ["<x@y.test>"])
        self.assertEqual(len(stored.get_all("Date")), 1)

    def test_wrong_passwords_end(self):
        c = self.start()
        self.said(c.do("STARTTLS"), "220")
        c.start_tls(tls_context())
        c.send("EHLO client.test\r\n")
        c.reply()
        got = []
        for _ in range(20):
            reply = c.do("AUTH PLAIN AGFsaWNlAG5v")
            got.append(reply[:3])
            if not reply.startswith("535"):
                break
        self.assertIn(got[-1], ("421", ""), got)


class Retry(unittest.TestCase):
    """Local delivery that fails for a while, and for good."""

    def setUp(self):
        self.daemon = Barid(LISTEN + """
            retry { first = 60, max = 240, tries = 4 }
            function on.message(session, mail) mail:store("%{user}") end""", clock=True)
        self.addCleanup(self.daemon.close)
        with open(self.daemon.dir + "/mail/user", "w", encoding="utf-8") as f:
            f.write("in the way")
        self.daemon.start()
        with self.daemon.connect() as c:
            c.hello()
            c.envelope()
            self.assertTrue(c.message(mail()).startswith("250"))

    def attempt(self, number, what):
        return self.daemon.wait_log(lambda r: r["area"] == "queue" and r["what"] == what and r.get("attempts") == number)

    def test_delivered_when_the_way_is_free(self):
        first = self.attempt(1, "deferred")
        self.assertEqual(first["rcpt"], "user@example.com")
        self.assertIn("seconds", first)
        self.daemon.shift_clock(67)
        self.attempt(2, "deferred")
        os.unlink(self.daemon.dir + "/mail/user")
        self.daemon.shift_clock(300)
        self.attempt(3, "delivered")
        self.daemon.wait_box("user")
        self.assertEqual(self.daemon.count()["messages"], 0)

    def test_reported_after_the_last_try(self):
        for number in (1, 2, 3):
            self.attempt(number, "deferred")
            self.daemon.shift_clock(300 * number)
        self.attempt(4, "failed")
        told = self.daemon.wait_log(lambda r: r["area"] == "queue" and r["what"] == "reported")
        self.assertEqual((told["action"], told["to"]), ("failure", "a@sender.test"))
        self.assertEqual(self.daemon.count()["messages"], 1)  # the report: its way is not known here


class Reload(Tests):
    POLICY = LISTEN + 'function on.mail(session, mail) return accept("one") end\n'

    def mail_reply(self):
        with self.daemon.connect() as c:
            c.hello()
            return c.do("MAIL FROM:<a@sender.test>")

    def test_new_policy_for_new_sessions(self):
        self.assertIn("one", self.mail_reply())
        with self.daemon.connect() as old:
            old.hello()
            self.daemon.write_policy(self.POLICY.replace("one", "two"))
            self.daemon.reload()
            self.daemon.wait(lambda: "two" in self.mail_reply() or None, "the new policy")
            self.assertIn("one", old.do("MAIL FROM:<a@sender.test>"))
        self.daemon.write_policy(self.POLICY.replace("one", "two") + "nonsense(\n")
        start = len(self.daemon.records)
        self.daemon.reload()
        self.daemon.wait_log(lambda r: r["level"] == "error" and "policy.lua:" in json.dumps(r), start)
        self.assertIn("two", self.mail_reply())


if __name__ == "__main__":
    harness.main()
