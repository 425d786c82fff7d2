#!/usr/bin/env python3
"""Where mail goes: DNS in all its states, several exchangers, several next hops, and which of them gets its turn when."""

import unittest

import harness
from harness import has_ipv6
from relaying import FIRST, RelayTests

LATER = FIRST * 11 // 10 + 2


class Hosts(RelayTests):
    def servers(self, n, rules=(), port=None, first=1):
        """Servers at 127.0.0.FIRST and after it, on one port."""
        found = []
        for i in range(n):
            found.append(self.mta(rules[i] if i < len(rules) else (), host="127.0.0.%d" % (first + i),
                                  port=port or (found[0].port if found else 0)))
        return found

    def zone(self, *lines):
        for line in lines:
            self.dns.add_text(line)

    def domain(self):
        return self.fresh() + ".test"

    def all_delivered(self, *idents):
        for ident in idents:
            self.wait_what(ident, "delivered")
            self.gone(ident)

    # --- DNS

    def test_no_such_place(self):
        """For good, at once: reported with the words of this server, and no other server is named."""
        self.zone("null.test MX 0 .", "empty.test TXT nothing", "looped.test CNAME looped2.test", "looped2.test CNAME looped.test",
                  "mxless.test MX 10 nowhere.mxless.test", "self.test MX 10 mx.example.com", "mx.example.com A 127.0.0.9",
                  "here.test MX 10 a.here.test", "a.here.test A 127.0.0.1", "farther.test MX 10 here.example",
                  "farther.test MX 20 mx.elsewhere.test", "here.example A 127.0.0.1", "mx.elsewhere.test A 127.0.0.3")
        smtp = self.daemon.port["smtp"]
        rows = [("nxdomain.test", "550 5.1.2 nxdomain.test: no such domain", None),
                ("null.test", "556 5.1.10 null.test: takes no mail (null MX)", None),
                ("empty.test", "550 5.4.4 empty.test: no mail server with an address", None),
                ("mxless.test", "550 5.4.4 mxless.test: no mail server with an address", None),
                ("self.test", "554 5.4.6 self.test: its mail servers lead back to this one", None),
                ("here.test", "554 5.4.6 here.test: its mail servers lead back to this one", "here.test:%d" % smtp),
                ("farther.test", "554 5.4.6 farther.test: its mail servers lead back to this one", "farther.test:%d" % smtp)]
        begun = [(row, self.submit("u@" + row[0], route=row[2]), self.sender) for row in rows]
        for (name, reply, _), ident, sender in begun:
            with self.subTest(name):
                self.assertEqual(self.wait_what(ident, "failed")["reply"], reply)
                fields = self.report(sender).rcpts["u@" + name]
                self.assertEqual((fields["Action"], fields["Status"]), ("failed", reply.split()[1]))
                self.assertEqual(fields["Diagnostic-Code"], "x-barid; " + reply)
                self.assertNotIn("Remote-MTA", fields)
                self.gone(ident)
        self.assert_counts(failed=len(rows), reported=len(rows), delivered=len(rows))

    def test_again_there(self):
        """What is for good is so for the second mail, too, that comes right after the first."""
        for _ in range(2):
            ident = self.submit("u@nowhere.test")
            self.assertEqual(self.wait_what(ident, "failed")["reply"], "550 5.1.2 nowhere.test: no such domain")
            self.report()
            self.gone(ident)
        self.assert_counts(failed=2, reported=2, delivered=2)

    def test_no_answer(self):
        """SERVFAIL, silence and the like: later. An answer, and it goes."""
        (mta,) = self.servers(1)
        rows = []
        for action in ("timeout", "servfail", "refused", "formerr", "notimp", "garbage"):
            name = "%s.test" % action
            self.zone("%s MX 10 mx.%s" % (name, name), "mx.%s A 127.0.0.1" % name)
            rules = [self.dns.on("mx", action, match=name)]
            rows.append((name, "^451 4.4.3 %s: no answer about its mail servers" % name, rules))
            if action in ("servfail", "refused"):
                name = "a-" + name
                self.zone("%s MX 10 mx.%s" % (name, name), "mx.%s A 127.0.0.1" % name)
                rules = [self.dns.on(kind, action, match="mx." + name) for kind in ("a", "aaaa")]
                rows.append((name, "^451 4.4.3 mx.%s: no answer about its address" % name, rules))
        begun = [(row, self.submit("u@" + row[0], route="%s:%d" % (row[0], mta.port))) for row in rows]
        for (name, reply, rules), ident in begun:
            with self.subTest(name):
                line = self.wait_what(ident, "deferred")
                self.deferred(ident, reply)
                self.assertEqual(line["remote"], "")
                for rule in rules:
                    self.dns.off(rule)
        self.advance(LATER)
        self.all_delivered(*[ident for _, ident in begun])
        self.assert_counts(deferred=len(rows), delivered=len(rows))
        self.no_violations()

    def test_ways(self):
        """Each zone leads to the server, which is asked once."""
        (mta,) = self.servers(1)
        six = self.mta(host="::1", port=mta.port) if has_ipv6() else None
        self.zone("mx.ways.test A 127.0.0.1", "mx1.ways.test CNAME mx.ways.test", "by-a.test A 127.0.0.1",
                  "by-mx.test MX 10 mx.ways.test", "by-cname.test CNAME by-cname2.test", "by-cname2.test CNAME by-cname3.test",
                  "by-cname3.test MX 10 mx.ways.test", "mx-cname.test MX 10 mx1.ways.test", "by-aaaa.test AAAA ::1",
                  "ten.test MX 5 mx.ways.test", "one-up.test MX 10 mx.example.com", "one-up.test MX 5 mx.ways.test",
                  "half.test MX 5 gone.half.test", "half.test MX 10 mx.ways.test", "big.test MX 10 mx.ways.test",
                  "any:big.test over=udp -> truncated", *["ten.test MX %d no%d.ways.test" % (10 + i, i) for i in range(9)])
        names = ["by-a.test", "by-mx.test", "by-cname.test", "mx-cname.test", "ten.test", "one-up.test", "half.test", "big.test"]
        begun = [self.submit("u@" + n, route="%s:%d" % (n, mta.port)) for n in names]
        begun.append(self.submit("u@[127.0.0.1]", route="[127.0.0.1]:%d" % mta.port))
        if six is not None:
            begun.append(self.submit("u@by-aaaa.test", route="by-aaaa.test:%d" % mta.port))
            begun.append(self.submit("u@[IPv6:::1]", route="[IPv6:::1]:%d" % mta.port))
        self.all_delivered(*begun)
        self.assertEqual(sorted(m.to[0] for m in mta.mails), sorted(["u@" + n for n in names] + ["u@[127.0.0.1]"]))
        if six is not None:
            self.assertEqual(sorted(m.to for m in six.mails), [["u@[IPv6:::1]"], ["u@by-aaaa.test"]])
        self.assert_counts(delivered=len(begun))
        self.no_violations()

    def test_literal(self):
        """Without a route: the address of the literal, at port 25, where here nobody is."""
        ident = self.submit("u@[127.0.0.77]")
        self.deferred(ident, r"^451 4.4.1 \[127.0.0.77\] \(127.0.0.77:25\): .*refused")
        mta = self.mta(host="127.0.0.77", port=25)
        self.advance(LATER)
        self.all_delivered(ident)
        self.assertEqual([m.to for m in mta.mails], [["u@[127.0.0.77]"]])
        self.assert_counts(deferred=1, delivered=1)

    # --- several servers

    # Of the first of two: what it does, what becomes of the mail, whether the second is asked.
    FIRSTS = (("refuses connections", None, "delivered", 1),
              ("421 in its greeting", ["banner -> 421 4.3.2 busy"], "delivered", 1),
              ("554 in its greeting", ["banner -> 554 5.3.2 not here"], "delivered", 1),
              ("closes", ["connect -> close"], "delivered", 1),
              ("421 to MAIL", ["mail -> 421 4.3.2 busy"], "delivered", 1),
              ("4xx to RCPT", ["rcpt -> 451 4.2.0 later"], "delivered", 1),
              ("5xx to RCPT", ["rcpt -> 550 5.1.1 nobody"], "failed", 0),
              ("5xx to MAIL", ["mail -> 550 5.7.1 not from you"], "failed", 0),
              ("5xx after the dot", ["dot -> 554 5.6.0 no"], "failed", 0))

    def test_two_exchangers(self):
        begun = []
        for i, (name, rules, end, asked) in enumerate(self.FIRSTS):
            domain = self.domain()
            mtas = self.servers(2, [rules or ()], first=20 + 2 * i)
            if rules is None:
                mtas[0].down()
            self.zone("%s MX 10 a.%s" % (domain, domain), "%s MX 20 b.%s" % (domain, domain),
                      "a.%s A %s" % (domain, mtas[0].host), "b.%s A %s" % (domain, mtas[1].host))
            begun.append((name, mtas, end, asked, self.submit("u@" + domain, route="%s:%d" % (domain, mtas[0].port)), self.sender))
        for name, mtas, end, asked, ident, sender in begun:
            with self.subTest(name):
                line = self.wait_what(ident, end)
                self.gone(ident)
                self.assertIn(mtas[asked].host, line["remote"])
                self.assertEqual(len(mtas[1].connections), asked)
                self.assertEqual(len([m for m in mtas[1].mails if m.delivered]), asked)
                if end == "failed":
                    fields = list(self.report(sender).rcpts.values())[0]
                    self.assertEqual(fields["Diagnostic-Code"], "smtp; " + line["reply"])
                    self.assertEqual(fields["Remote-MTA"], "dns; " + line["remote"].partition(" ")[0])
        n = sum(row[2] == "failed" for row in self.FIRSTS)
        self.assert_counts(delivered=len(begun), failed=n, reported=n)
        self.no_violations()

    def test_all_down_but_one_that_will_not(self):
        """A server that was not reached may do better later, whatever another says of all mail, before it or after."""
        begun = []
        for i, order in enumerate(((10, 20), (20, 10))):
            domain = self.domain()
            mtas = self.servers(2, [(), ["banner -> 554 5.3.2 not here"]], first=50 + 2 * i)
            mtas[0].down()
            self.zone("%s MX %d a.%s" % (domain, order[0], domain), "%s MX %d b.%s" % (domain, order[1], domain),
                      "a.%s A %s" % (domain, mtas[0].host), "b.%s A %s" % (domain, mtas[1].host))
            begun.append((mtas[0], self.submit("u@" + domain, route="%s:%d" % (domain, mtas[0].port))))
        for hops in ((0, 1), (1, 0)):
            mta = self.mta()
            mta.down()
            places = (mta, "unknown.invalid:25")
            begun.append((mta, self.submit(route=[places[i] for i in hops])))
        for mta, ident in begun:
            self.deferred(ident, "^(451 4.4.1|554 5.3.2|550 5.1.2) ")
            mta.up()
        self.advance(LATER)
        self.all_delivered(*[ident for _, ident in begun])
        self.assert_counts(deferred=4, delivered=4)
        self.no_violations()

    def test_next_hops(self):
        """A list: the next one only where nobody was reached, not where a server has refused."""
        rows = (("refuses connections", None, "delivered", 1),
                ("421 in its greeting", ["banner -> 421 4.3.2 busy"], "delivered", 1),
                ("no such domain", "unknown.invalid:25", "delivered", 1),
                ("5xx to RCPT", ["rcpt -> 550 5.1.1 nobody"], "failed", 0),
                ("4xx to RCPT", ["rcpt nth=1 -> 450 4.2.0 later"], "deferred", 0))
        begun = []
        for name, rules, end, asked in rows:
            first, second = self.mta(rules if isinstance(rules, list) else ()), self.mta()
            if rules is None:
                first.down()
            begun.append((name, second, end, asked,
                          self.submit(route=[rules if isinstance(rules, str) else first, second]), self.sender))
        for name, second, end, asked, ident, sender in begun:
            with self.subTest(name):
                self.wait_what(ident, end)
                self.assertEqual(len(second.mails), asked)
                if end == "failed":
                    self.report(sender)
        self.advance(LATER)
        self.all_delivered(begun[-1][4])
        self.assertEqual(len(begun[-1][1].connections), 0)
        self.assert_counts(delivered=5, deferred=1, failed=1, reported=1)
        self.no_violations()


if __name__ == "__main__":
    harness.main()
