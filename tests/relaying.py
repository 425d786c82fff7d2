"""What the tests of the relay share: a daemon whose mail is routed as its header says, servers that do what they are told, and
questions about what became of a mail: states, replies, due times, reports, counts.

    X-Route: [127.0.0.1]:2525 [127.0.0.2]:2525     next hops, whenever they are asked for; without it: by the configuration
    X-Relay: tls=required max_recipients=2         fields of the next hop; true and false, numbers and texts

Time is the daemon's, which only a test moves. It never goes back, so that what one case waits for is over in the next.
"""

import datetime
import email
import glob
import os
import re
import time

import harness
from fake import DEADLINE, Hang
from fake_dns import FakeDNS
from fake_mta import FakeMTA
from harness import Barid, Tests

# %s: more declarations.
HEAD = harness.SMALL_SEGMENTS.replace("workers(2)", "workers(1)") + """
networks { trusted = { "127.0.0.1" } }
listen { "127.0.0.1:@smtp@" }
dns { servers = { "127.0.0.1:@dns@" } }
"""

# Reports and other mail for us.
STORED = """
function on.recipient(session, mail, rcpt)
  if rcpt.is_local then rcpt:store("%{user}") end
end
"""

ROUTED = STORED + """
function on.message(session, mail)
  if mail:header("X-Until") then mail:delay_until(mail:header("X-Until")) end
end
function on.route(mail, recipients)
  local list = mail:header("X-Route")
  if not list then return end
  local hops = {}
  for hop in list:gmatch("%S+") do hops[#hops + 1] = hop end
  return send(hops)
end
function on.relay(hop, mail)
  for name, value in (mail:header("X-Relay") or ""):gmatch("(%S+)=(%S+)") do
    if value == "true" or value == "false" then hop[name] = value == "true"
    else hop[name] = math.tointeger(value) or value end
  end
end
"""

FIRST, MAX, TRIES = 300, 28800, 20


def moment(stamp):
    """Seconds since 1970 of a time in JSON."""
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


class Report:
    """A report as it arrived: header, text for people, fields of the message and of each recipient, what of the mail is in it."""

    def __init__(self, content):
        self.content = content
        self.mail = email.message_from_bytes(content)
        parts = self.mail.get_payload()
        self.text = parts[0].get_payload(decode=True).decode()
        groups = parts[1].get_payload()
        if parts[1].get_content_type() != "message/delivery-status":  # the parser takes it for one message
            text = groups[0].as_bytes().decode()
            groups = [email.message_from_string(g + "\n\n") for g in re.split(r"\n\n+", text.strip())]
        self.message = dict(groups[0].items())
        self.rcpts = {g["Final-Recipient"].partition("; ")[2]: dict(g.items()) for g in groups[1:]}
        self.source = parts[2] if len(parts) > 2 else None

    @property
    def source_type(self):
        return self.source.get_content_type() if self.source is not None else None

    def source_text(self):
        """What of the mail is in it, as one text."""
        payload = self.source.get_payload()
        return payload[0].as_string() if isinstance(payload, list) else payload


class RelayTests(Tests):
    """One daemon for all cases of a class, one fake DNS, and a fake MTA for each that asks for one."""

    MORE, POLICY = "", ROUTED

    @classmethod
    def setUpClass(cls):
        cls.offset, cls.number, cls.sent = 0, 0, 0
        cls.daemon = Barid(cls.more() + cls.POLICY, head=HEAD, clock=True)
        try:
            cls.dns = FakeDNS(port=cls.daemon.port["dns"]).start()
            cls.daemon.start()
        except BaseException:
            cls.daemon.close()
            raise

    @classmethod
    def more(cls):
        return cls.MORE

    @classmethod
    def tearDownClass(cls):
        print("# proof: relay, %s: %d mails, each with the states, replies, reports and counts that were expected, 0 violations"
              % (cls.__name__, cls.sent))
        try:
            cls.daemon.close()
        finally:
            cls.dns.close()

    def setUp(self):
        self.mtas = []
        self.before = self.counts()

    def doCleanups(self):
        super().doCleanups()
        for mta in self.mtas:
            mta.close()

    # --- servers

    def mta(self, rules=(), small=False, **options):
        """small: takes little that it has not read, so that a large mail is still with us while it is silent."""
        mta = FakeMTA(rules, **options).start()
        if small:
            mta.take_little()
        self.mtas.append(mta)
        return mta

    def no_violations(self):
        for mta in self.mtas:
            self.assertEqual(mta.violations, [])

    # --- time

    def advance(self, seconds):
        """Once the daemon is at rest: what it waits for, it waits for from now on."""
        self.at_rest()
        type(self).offset += seconds
        self.daemon.shift_clock(self.offset)

    def at_rest(self):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if self._sleeps():
                return
            os.sched_yield()
        raise Hang("the daemon does not come to rest:\n" + self.daemon.log())

    def _sleeps(self):
        for name in glob.glob("/proc/%d/task/*/stat" % self.daemon.process.pid):
            try:
                with open(name, encoding="ascii", errors="replace") as f:
                    if f.read().rpartition(")")[2].split()[0] != "S":
                        return False
            except OSError:
                pass  # a thread that ended
        return True

    def until(self, condition, what):
        """For what no line of the log tells: asked again and again."""
        end = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > end:
                raise Hang("never happened: %s; the log ends:\n%s" % (what, self.daemon.log()))
            with self.daemon.changed:
                self.daemon.changed.wait(0.005)

    # --- mail

    def fresh(self):
        """A local part that nobody had before."""
        type(self).number += 1
        return "s%d" % self.number

    def submit(self, rcpts="u@elsewhere.test", sender=None, route=None, relay=None, extra="", body="Hello.\r\n", params="",
               rcpt_params="", content=None):
        """One mail from a sender of ours, unless sender says otherwise; its id. route: servers or texts of next hops."""
        self.sender = self.fresh() + "@example.com" if sender is None else sender
        rcpts = [rcpts] if isinstance(rcpts, str) else list(rcpts)
        route = [route] if isinstance(route, (str, FakeMTA)) else route
        head = extra
        if route is not None:
            head += "X-Route: %s\r\n" % " ".join(hop_of(r) for r in route)
        if relay is not None:
            head += "X-Relay: %s\r\n" % relay
        with self.daemon.connect() as c:
            c.hello()
            self.said(c.do("MAIL FROM:<%s>%s" % (self.sender, " " + params if params else "")), "250")
            for i, rcpt in enumerate(rcpts):
                more = rcpt_params[i] if isinstance(rcpt_params, (list, tuple)) else rcpt_params
                self.said(c.do("RCPT TO:<%s>%s" % (rcpt, " " + more if more else "")), "250")
            mail = "From: <%s>\r\nSubject: a case\r\nMessage-ID: <%s@case.test>\r\n" % (self.sender or "x@y.test", self.fresh())
            body = body.encode() if isinstance(body, str) else body
            said = c.message(content if content is not None else (head + mail + "\r\n").encode() + body)
            self.said(said, "250")
            c.do("QUIT")
        type(self).sent += 1
        return re.search(r"queued as (\S+)", said).group(1)

    def lines(self, ident, what=None):
        """Log lines of the queue about that mail's results."""
        wanted = ("delivered", "deferred", "failed", "held") if what is None else (what,)
        return [r for r in list(self.daemon.records)
                if r["area"] == "queue" and r.get("id") == ident and r["what"] in wanted and "attempts" in r]

    def wait_lines(self, ident, n=1, what=None):
        self.daemon.wait(lambda: len(self.lines(ident, what)) >= n, "%d results (%s) of %s" % (n, what, ident))
        return self.lines(ident, what)

    def wait_what(self, ident, what, n=1):
        """The n-th line of the log that says so of that mail."""
        line = self.wait_lines(ident, n, what)[n - 1]
        for mta in self.mtas:
            mta.settle()
        return line

    def show(self, ident):
        status, found = self.daemon.get("/v1/queue/" + ident)
        return found if status == 200 else None

    def units(self, ident):
        return self.show(ident)["units"]

    def gone(self, ident):
        """Nothing is left of it: everything is recorded."""
        self.until(lambda: self.show(ident) is None, "the end of " + ident)
        for mta in self.mtas:
            mta.settle()

    def assert_due(self, unit, line, seconds):
        """As the schedule says, from that line of the log on: not before, and at most a tenth later."""
        due = moment(unit["due"]) - moment(line["time"])
        self.assertTrue(seconds - 0.5 <= due <= seconds * 1.1 + 0.5, "due after %s seconds, expected %s" % (due, seconds))

    # --- counts

    def counts(self):
        q = self.daemon.get("/v1/status")[1]["queue"]
        return {k: q[k] for k in ("delivered", "deferred", "held", "failed", "reported")}

    def assert_counts(self, **expected):
        """Since the case began: units, and the reports' own deliveries."""
        wanted = {k: self.before[k] + expected.get(k, 0) for k in self.before}
        try:
            self.until(lambda: self.counts() == wanted, "these counts")
        except Hang:
            pass
        self.at_rest()  # and no more comes
        now = self.counts()
        self.assertEqual({k: now[k] - self.before[k] for k in now if now[k] != self.before[k]},
                         {k: v for k, v in expected.items() if v})

    # --- reports

    def report(self, sender=None, n=1):
        """The n-th report to a sender of ours, which must be the last that there is."""
        user = (sender or self.sender).partition("@")[0]
        return Report(self.daemon.wait_box(user, n)[n - 1])

    def no_report(self, sender=None):
        self.assertEqual(self.daemon.box((sender or self.sender).partition("@")[0]), [])

    def deferred(self, ident, reply, attempts=1, unit=0, seconds=FIRST):
        """It waits for another attempt, for that reason."""
        line = self.wait_what(ident, "deferred", attempts)
        found = self.units(ident)[unit]
        self.assertEqual((found["status"], found["attempts"]), ("pending", attempts))
        self.assertRegex(found["reply"], reply)
        if seconds is not None:
            self.assert_due(found, line, seconds)
        return line


def hop_of(place):
    """The next hop of a server, or the text that it is."""
    if not isinstance(place, FakeMTA):
        return place
    head = "lmtp:" if place.lmtp else ""
    if place.path is not None:
        return "lmtp:unix:" + place.path
    return head + ("[IPv6:%s]:%d" if ":" in place.host else "[%s]:%d") % (place.host, place.port)
