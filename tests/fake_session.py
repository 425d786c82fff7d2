"""The dialogue of the fake MTA on one connection: SMTP or LMTP, accepting what no rule refuses, noting what the client does wrong."""

import re
import socket
import ssl
import time

import fake_auth
import fake_wire
from fake_records import Mail

COMMAND_MAX = 512          # RFC 5321 4.5.3.1.4, with its end
PARAMETERS_MAX = 512       # more, for the extensions of MAIL and RCPT together
AUTH_MAX = 12288           # RFC 4954 4
TEXT_LINE_MAX = 1000       # RFC 5321 4.5.3.1.6, with its end, without the dot that was added

# RFC 2920 3.1: what may only stand at the end of a group of commands.
LAST_OF_GROUP = ("EHLO", "HELO", "LHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP", "STARTTLS", "AUTH")
# A parameter of MAIL or RCPT and the keyword that must have been offered.
NEEDS = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN",
         "ORCPT": "DSN", "AUTH": "AUTH", "REQUIRETLS": "REQUIRETLS", "MT-PRIORITY": "MT-PRIORITY", "PRDR": "PRDR",
         "BY": "DELIVERBY"}
LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Over(Exception):
    """A rule ended AUTH at a challenge."""


class Session(fake_wire.Wire):
    def __init__(self, mta, sock, record):
        super().__init__(mta, sock)
        self.record = record
        self.tls = False
        self.context = None
        self.hello = None      # the verb that was accepted
        self.offered = {}      # keyword: its arguments
        self.user = None
        self.mail = None

    # --- the connection

    def run(self):
        late = b""
        try:
            self.open()
            while True:
                self.command(self.line())
        except fake_wire.Ended as e:
            self.record.end = str(e)
        finally:
            if self.mail is not None and self.record.end is not None:
                self.mta.keep(self.mail)
            late = self.finish()
            if late and self.record.end == "quit" and not self.tls:
                self.violation("octets after QUIT: %r" % late[:80])
            self.record.seconds = time.monotonic() - self.record.began

    def open(self):
        self.ask("connect", [self.record.peer], None)
        if self.mta.tls == "implicit":
            self.handshake()
        self.checked_before_reply = "the connection, the greeting,"
        self.ask("banner", [self.record.peer], "220 %s %s fake" % (self.mta.hostname, "LMTP" if self.mta.lmtp else "ESMTP"))

    def facts(self):
        return {"connection": self.record.number, "tls": "yes" if self.tls else "no", "local": self.record.local, "port": self.mta.port,
                "user": self.user or ""}

    def ask(self, stage, arguments, ordinary):
        """What is said at a stage: by a rule or the ordinary; the code, or None."""
        rule = self.mta.rule_for(stage, arguments, self.facts())
        actions = rule.actions if rule is not None else ["ok"]
        if callable(actions[0]):
            chosen = actions[0](self, *arguments)
            actions = [chosen or "ok"] if not isinstance(chosen, list) else chosen
        try:
            return self.act(actions, ordinary)
        finally:
            if self.record.commands and (self.said is not None or ordinary is not None):
                self.record.commands[-1][1].append(self.said)

    def handshake(self):
        """A rule acts when the ClientHello is there: what came before it would count as said before TLS."""
        try:
            if not self.sock.recv(1, socket.MSG_PEEK):
                raise fake_wire.Ended("eof")
        except OSError:
            raise fake_wire.Ended("reset") from None
        self.ask("handshake", [self.hello or ""], None)
        self.buffer = b""
        try:
            self.sock = self.mta.context.wrap_socket(self.sock, server_side=True)
        except (ssl.SSLError, OSError) as e:
            self.record.handshake_error = getattr(e, "reason", None) or str(e)
            raise fake_wire.Ended("tls: %s" % self.record.handshake_error) from None
        self.tls = True
        self.record.tls = {"version": self.sock.version(), "cipher": self.sock.cipher()[0],
                           "name": getattr(self.sock, "name_asked", None)}
        self.hello, self.offered, self.user, self.mail = None, {}, None, None

    # --- commands

    def command(self, line):
        text = line.decode("utf-8", "surrogateescape")
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        self.record.commands.append([text, []])
        self.check_line(verb, line)
        if verb in LAST_OF_GROUP or "PIPELINING" not in self.offered:
            self.checked_before_reply = verb
        if verb == "BDAT":
            return self.on_bdat(rest)
        known = getattr(self, "on_" + verb.lower(), None) if verb.isalpha() and verb.isascii() else None
        return known(rest) if known is not None else self.ask("unknown", [text], "500 5.5.2 what is that")

    def check_line(self, verb, line):
        limit = {"AUTH": AUTH_MAX, "MAIL": COMMAND_MAX + PARAMETERS_MAX, "RCPT": COMMAND_MAX + PARAMETERS_MAX}.get(verb, COMMAND_MAX)
        if len(line) + 2 > limit:
            self.violation("a command line of %d octets: %r" % (len(line) + 2, line[:40]))
        if max(line, default=0) > 127 and "SMTPUTF8" not in self.offered:
            self.violation("UTF-8 in a command without SMTPUTF8: %r" % line[:80])

    def wrong(self, text):
        self.violation(text)
        return "503 5.5.1 " + text

    def on_ehlo(self, rest, verb="EHLO"):
        ordinary = "250 " + "\n".join([self.mta.hostname] + self.mta.keywords(self.tls))
        if (verb == "LHLO") != self.mta.lmtp:
            ordinary = "500 5.5.1 " + self.bad(verb + (" in LMTP" if self.mta.lmtp else " in SMTP"))
        if not rest.strip():
            self.violation(verb + " without a name")
        self.offered = {}
        self.offer(self.mta.keywords(self.tls))
        code = self.ask(verb.lower(), [rest], ordinary)
        self.keep_partial()
        if code is None or code // 100 != 2:
            self.offered = {}
            return
        self.hello, self.record.helo, self.mail = verb, rest, None
        if verb == "HELO":
            self.offered = {}

    def bad(self, text):
        self.violation(text)
        return text

    def on_lhlo(self, rest):
        self.on_ehlo(rest, "LHLO")

    def on_helo(self, rest):
        if self.mta.lmtp:
            self.violation("HELO in LMTP")
        self.offered = {}
        if self.ask("helo", [rest], "250 " + self.mta.hostname) == 250:
            self.hello, self.record.helo, self.mail = "HELO", rest, None

    def offer(self, words):
        self.offered = {w.split()[0].upper(): w.split()[1:] for w in words if w.split()}
        self.record.offered = list(words)

    def on_starttls(self, rest):
        ordinary = "220 2.0.0 go ahead"
        if "STARTTLS" not in self.offered or self.tls:
            ordinary = self.wrong("STARTTLS that is not offered")
        if self.ask("starttls", [rest], ordinary) == 220:
            self.handshake()

    def on_auth(self, rest):
        mechanism, _, first = rest.partition(" ")
        mechanism = mechanism.upper()
        ordinary = None
        if mechanism not in self.offered.get("AUTH", []):
            ordinary = self.wrong("AUTH with a mechanism that is not offered: %s" % mechanism)
        rule = self.mta.rule_for("auth", [mechanism], self.facts())
        if rule is not None or ordinary is not None:
            code = self.act(rule.actions if rule is not None else ["ok"], ordinary or "235 2.7.0 welcome")
            self.record.commands[-1][1].append(code)
            if code == 235:
                self.user = self.record.user = "?"
            return
        try:
            name, good = fake_auth.authenticate(mechanism, first or None, self.mta.users, self.challenge)
        except fake_auth.Refused as e:
            self.ask("authenticated", ["", mechanism], "501 5.5.2 %s" % e)
            return
        except Over:
            return
        self.checked_before_reply = "AUTH"
        ordinary = "235 2.7.0 welcome" if good else "535 5.7.8 wrong user or password"
        if self.ask("authenticated", [name, mechanism], ordinary) == 235:
            self.user = self.record.user = name
            self.record.mechanism = mechanism

    def challenge(self, text):
        self.checked_before_reply = "AUTH"
        if self.ask("challenge", [text], "334 " + text) != 334:
            raise Over()
        line = self.line().decode("utf-8", "replace")
        if len(line) + 2 > AUTH_MAX:
            self.violation("an AUTH line of %d octets" % (len(line) + 2))
        return line

    # --- the envelope

    def path(self, prefix, rest):
        """(address, parameters) of "FROM:<a@b> SIZE=1"; (None, {}) where there is none."""
        match = re.fullmatch(prefix + r':<((?:"(?:[^"\\]|\\.)*"|[^">])*)>((?: [^ ]+)*)', rest, re.I)
        if match is None:
            self.violation("not %s:<address>: %r" % (prefix, rest[:80]))
            return None, {}
        found = {}
        for word in match.group(2).split():
            name, _, value = word.partition("=")
            name = name.upper()
            found[name] = value
            needed = "BINARYMIME" if (name, value.upper()) == ("BODY", "BINARYMIME") else NEEDS.get(name)
            if needed is None or needed not in self.offered:
                self.violation("the parameter %s is not offered" % word)
        return match.group(1), found

    def on_mail(self, rest):
        sender, found = self.path("FROM", rest)
        ordinary = "250 2.1.0 sender good"
        if sender is None:
            ordinary = "501 5.5.4 no address"
        elif self.hello is None:
            ordinary = self.wrong("MAIL without a greeting")
        elif self.mail is not None:
            ordinary = self.wrong("MAIL within a transaction")
        elif self.mta.auth_required and self.user is None:
            ordinary = "530 5.7.0 authenticate first"
        code = self.ask("mail", [sender or ""], ordinary)
        if code is not None and code // 100 == 2 and sender is not None:
            self.record.mails += 1
            self.mail = Mail(self.record, sender, found, self.tls, self.user)

    def on_rcpt(self, rest):
        address, found = self.path("TO", rest)
        ordinary = "250 2.1.5 recipient good"
        if address is None:
            ordinary = "501 5.5.4 no address"
        elif self.mail is None:
            ordinary = "503 5.5.1 no MAIL"
            if "PIPELINING" not in self.offered:
                self.violation("RCPT outside of a transaction")
        code = self.ask("rcpt", [address or ""], ordinary)
        if self.mail is not None and address is not None:
            self.mail.add(address, found, code)

    def on_rset(self, rest):
        self.ask("rset", [rest], "250 2.0.0 forgotten")
        self.keep_partial()

    def keep_partial(self):
        """A mail that was begun and is over without its end."""
        if self.mail is not None:
            self.mta.keep(self.mail)
            self.mail = None

    # --- the message

    def accepted(self):
        return [r.address for r in self.mail.recipients if r.is_accepted] if self.mail is not None else []

    def on_data(self, rest):
        to = self.accepted()
        ordinary = "354 go ahead"
        if not to:
            ordinary = "503 5.5.1 no recipient"
            if "PIPELINING" not in self.offered:
                self.violation("DATA without a recipient")
        if self.mail is not None and self.mail.params.get("BODY", "").upper() == "BINARYMIME":
            self.violation("DATA for BODY=BINARYMIME")
        if self.ask("data", to or [""], ordinary) != 354:
            return
        self.read_content(to)

    def read_content(self, to):
        rule = self.mta.rule_for("content", to or [""], self.facts())
        text, looked_at = bytearray(self.buffer), 0
        self.buffer = b""
        while True:
            if rule is not None and len(text) >= rule.after:
                self.note_partial(text)
                self.act(rule.actions, None)
                rule = None
            end = 3 if text.startswith(b".\r\n") else text.find(b"\r\n.\r\n", max(looked_at - 4, 0)) + 5
            if end != 4:
                break
            looked_at = len(text)
            try:
                text += self.recv()
            except fake_wire.Ended:
                self.note_partial(text)
                raise
        raw, self.buffer = bytes(text[:end - 3]), bytes(text[end:])
        self.check_text(raw)
        if "PIPELINING" not in self.offered:
            self.checked_before_reply = "the message"
        if self.mail is None:  # 354 without a transaction: a rule wanted it
            self.ask("dot", [""], "250 2.0.0 nothing kept")
            return
        self.mail.content = self.unstuffed(raw)
        self.end_of_mail("DATA")

    def note_partial(self, text):
        if self.mail is not None:
            self.mail.how, self.mail.content = "DATA", bytes(text)

    @staticmethod
    def unstuffed(raw):
        text = raw[1:] if raw.startswith(b".") else raw
        return text.replace(b"\r\n.", b"\r\n")

    def check_text(self, raw):
        if LONE.search(raw):
            self.violation("CR or LF alone in a message")
        if b"\0" in raw:
            self.violation("NUL in a message")
        for line in raw.split(b"\r\n"):
            if line.startswith(b".") and not line.startswith(b".."):
                self.violation("a dot that is not doubled: %r" % line[:40])
            if len(line) + 2 - line.startswith(b".") > TEXT_LINE_MAX:
                self.violation("a line of %d octets in a message" % (len(line) + 2))
        body = self.mail.params.get("BODY", "").upper() if self.mail is not None else "8BITMIME"
        if body != "8BITMIME" and max(raw, default=0) > 127 and "SMTPUTF8" not in self.mail.params:
            self.violation("octets above 127 in a message of 7 bits")

    def on_bdat(self, rest):
        match = re.fullmatch(r"(\d{1,12})( LAST)?", rest, re.I)
        if match is None:
            self.violation("not BDAT SIZE [LAST]: %r" % rest[:80])
            self.ask("bdat", [rest], "501 5.5.4 not a size")
            self.close()
        if "CHUNKING" not in self.offered:
            self.violation("BDAT that is not offered")
        size, last = int(match.group(1)), bool(match.group(2))
        if self.mail is not None:
            self.mail.how = "BDAT"
        rule = self.mta.rule_for("content", self.accepted() or [""], self.facts())
        if rule is not None:
            chunk = self.take(min(rule.after, size))
            self.add_chunk(chunk)
            self.act(rule.actions, None)
            size -= len(chunk)
        try:
            self.add_chunk(self.take(size))
        except fake_wire.Ended:
            self.add_chunk(self.buffer)
            raise
        if self.mail is None or not self.accepted():
            if "PIPELINING" not in self.offered:
                self.violation("BDAT without a recipient")
            self.ask("bdat", [rest], "503 5.5.1 no recipient")
        elif last:
            self.end_of_mail("BDAT")
        else:
            code = self.ask("bdat", [rest], "250 2.0.0 %d octets" % len(self.mail.content))
            if code is None or code // 100 != 2:
                self.keep_partial()

    def add_chunk(self, octets):
        if self.mail is not None:
            self.mail.content += octets

    def end_of_mail(self, how):
        mail, to = self.mail, self.accepted()
        mail.how, mail.dot = how, True
        self.mta.answering(1)
        try:
            if self.mta.lmtp:
                for recipient in mail.recipients:
                    if recipient.is_accepted:
                        self.final_reply(recipient, [recipient.address])
            elif "PRDR" in mail.params and len(to) > 1:
                self.send_reply("353 a reply for each follows")
                for recipient in mail.recipients:
                    if recipient.is_accepted:
                        self.final_reply(recipient, [recipient.address])
                refused = all((r.final or 500) // 100 != 2 for r in mail.recipients if r.is_accepted)
                self.final_reply(mail, [""], "550 5.0.0 for nobody" if refused else "250 2.0.0 for those")
            else:
                self.final_reply(mail, to or [""])
        finally:
            self.mail = None
            self.mta.keep(mail)
            self.mta.answering(-1)

    def final_reply(self, to_whom, about, ordinary=None):
        try:
            self.ask("dot", about, ordinary or "250 2.0.0 kept as %d" % self.mta.next_mail())
        finally:
            to_whom.final = self.said

    # --- the rest

    def on_noop(self, rest):
        self.ask("noop", [rest], "250 2.0.0 nothing done")

    def on_vrfy(self, rest):
        self.ask("vrfy", [rest], "252 2.5.2 try it")

    def on_quit(self, rest):
        self.keep_partial()
        self.record.quit = True
        self.ask("quit", [rest], "221 2.0.0 bye")
        self.close(said="quit")
