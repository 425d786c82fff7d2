"""Varied mails with their envelopes, the same for the same seed: what two servers have to agree about."""

import base64
import random

DOMAINS = ("one.test", "two.test", "three.example", "a-b.sub.four.test")
LONG_LOCAL = 64   # octets of a local part (RFC 5321, 4.5.3.1.1)
LONG_PATH = 254   # of an address: a path has 256 with its brackets
LONGEST_LINE = 998


class Mail:
    """rcpts: every local part contains mNUMBERrINDEX; so what is stored can be told apart whatever a server did to it."""

    def __init__(self, number, kind):
        self.number, self.kind = number, kind
        self.sender = "from%d@sender.test" % number
        self.rcpts = []
        self.content = b""
        self.body = None       # BODY= of MAIL
        self.smtputf8 = False
        self.bdat = None       # sizes of chunks, for BDAT instead of DATA
        self.parts = None      # of a mail that may be converted on its way: contents of its leaves, decoded

    def rcpt(self, local="%s", domain="one.test"):
        self.rcpts.append((local % ("m%dr%d" % (self.number, len(self.rcpts)))) + "@" + domain)


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    # pieces

    def text(self, lines, longest=100, eightbit=False):
        r = self.random
        letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGH 0123456789 .,;:=<>@\t-\"\\" + ("äöüßéñ漢字€" if eightbit else "")
        return "".join("".join(r.choice(letters) for _ in range(r.randrange(longest + 1))) + "\r\n" for _ in range(lines)).encode()

    def header(self, m, *more):
        r = self.random
        fields = [b"From: A Sender <from@sender.test>", b"To: B Recipient <to@one.test>, c@two.test",
                  b"Date: Thu, 26 Nov 2026 10:%02d:%02d +0100" % (r.randrange(60), r.randrange(60)),
                  b"Message-ID: <%d.%d@sender.test>" % (m.number, r.getrandbits(40)), b"Subject: mail %d, %s" % (m.number, m.kind.encode()), *more]
        return b"\r\n".join(fields) + b"\r\n"

    def mail(self, number, kind):
        m = Mail(number, kind)
        getattr(self, "make_" + kind)(m)
        if not m.rcpts:
            for _ in range(self.random.choice((1, 1, 1, 2, 3))):
                m.rcpt(domain=self.random.choice(DOMAINS))
        return m

    # kinds of content

    def make_plain(self, m):
        m.content = self.header(m) + b"\r\n" + self.text(self.random.randrange(1, 60))

    def make_eightbit(self, m):
        m.body = "8BITMIME"
        m.content = self.header(m, b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=utf-8",
                                b"Content-Transfer-Encoding: 8bit") + b"\r\n" + self.text(30, eightbit=True) + bytes(range(128, 256)) + b"\r\n"

    def make_eightbit_header(self, m):
        """Octets above 127 in a header that no SMTPUTF8 announces: Latin-1, as old programs write."""
        m.body = "8BITMIME"
        m.content = self.header(m, b"X-Name: M\xfcller", "X-Also: ünï".encode()) + b"\r\n" + self.text(5)

    def make_dots(self, m):
        lines = [b".", b"..", b"...", b".x", b". ", b"", b".\tQUIT", b"x.", b"." * LONGEST_LINE]
        self.random.shuffle(lines)
        m.content = self.header(m) + b"\r\n" + b"\r\n".join(lines) + b"\r\n.\r\n"

    def make_empty(self, m):
        m.content = b""

    def make_empty_header(self, m):
        m.content = b"\r\n" + self.text(10)

    def make_one_line(self, m):
        m.content = self.random.choice((b"\r\n", b"\r\n.\r\n", b"Subject: nothing else\r\n"))

    def make_no_body(self, m):
        m.content = self.header(m) + self.random.choice((b"", b"\r\n", b"\r\n\r\n", b"\r\n" * 20))

    def make_long_lines(self, m):
        lines = [bytes(self.random.choice(b"abc .xyz") for _ in range(n)) for n in (LONGEST_LINE, LONGEST_LINE - 1, 513, 512, LONGEST_LINE)]
        m.content = self.header(m) + b"\r\n" + b"\r\n".join(lines) + b"\r\n"

    def make_odd_header(self, m):
        """Folds of many sorts, fields of 10 KB, without blank, empty, repeated; trace fields of former hops."""
        m.content = self.header(
            m, b"X-Folded: a\r\n b\r\n\tc\r\n   d", b"X-Long: " + b"\r\n ".join(b"word%d" % i * 10 for i in range(120)), b"X-Tight:value",
            b"X-Empty:", b"X-Spaces:   three before, two after  ", b"x-lower: x", b"X-Twice: 1", b"X-Twice: 2",
            b"Received: from a.test by b.test; Thu, 26 Nov 2026 10:00:00 +0000", b"Resent-From: r@sender.test", b"X-Line: " + b"y" * 900,
            b"Cc: \"Quoted, Name\" <q@one.test>, group: a@one.test, b@two.test;") + b"\r\n" + self.text(3)

    def make_dropped_fields(self, m):
        """Fields that belong to submission or to final delivery: some servers take them out on the way."""
        m.content = self.header(m, b"Return-Path: <old@sender.test>", b"Bcc: d@one.test,\r\n e@two.test", b"Content-Length: 10", b"Delivery-Date: x",
                                b"Envelope-To: y", b"Resent-Bcc: f@one.test", b"X-Last: kept") + b"\r\n" + self.text(3)

    def make_blank_lines(self, m):
        m.content = self.header(m) + b"\r\n" + b"\r\n" * 5 + b" \r\n\t\r\n  trailing  \r\n" + b"\r\n" * self.random.randrange(1, 9)

    def make_from_lines(self, m):
        m.content = self.header(m) + b"\r\nFrom someone Thu Nov 26\r\n>From someone\r\nFrom: x\r\n\r\nFrom y\r\n"

    def make_base64(self, m):
        data = self.random.randbytes(self.random.randrange(1, 60000))
        m.content = self.multipart(m, "base64", base64.encodebytes(data).replace(b"\n", b"\r\n"))

    def multipart(self, m, encoding, data, text=None):
        return (self.header(m, b"MIME-Version: 1.0", b"Content-Type: multipart/mixed; boundary=\"=_x\"") + b"\r\npreamble\r\n--=_x\r\n"
                b"Content-Type: text/plain; charset=utf-8\r\n" + (b"Content-Transfer-Encoding: binary\r\n" if text else b"") + b"\r\n" +
                (text or b"Some text.\r\n") + b"\r\n--=_x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: " +
                encoding.encode() + b"\r\n\r\n" + data + b"\r\n--=_x--\r\n")

    def make_binary(self, m):
        """BINARYMIME, which next hops need not know: then it is converted, and compared part for part."""
        r = self.random
        data = r.randbytes(r.randrange(1, 40000)) + b"\0\r\n\n\r.\r\n..\r" + b"z" * 100000
        text = self.text(4, eightbit=True)
        m.body, m.parts = "BINARYMIME", [text, data]
        m.content = self.multipart(m, "binary", data, text)
        self.make_chunks(m)

    def make_chunks(self, m):
        """BDAT in pieces of odd sizes."""
        if not m.content:
            self.make_plain(m)
        left, m.bdat = len(m.content), []
        while left > 0:
            n = min(left, self.random.choice((1, 7, 1000, 1000, 65536)))
            m.bdat.append(n)
            left -= n

    def make_no_final_newline(self, m):
        m.content = self.header(m) + b"\r\n" + self.text(4) + b"the end"
        self.make_chunks(m)

    def make_medium(self, m):
        m.content = self.header(m) + b"\r\n" + self.text(self.random.randrange(200, 3000), 120)

    def large(self, m, size):
        line = self.text(1, 70)
        m.content = self.header(m) + b"\r\n" + (line * 1000 + b".%d\r\n" % m.number) * (size // (1000 * len(line)) + 1)

    def make_megabytes(self, m):
        self.large(m, self.random.randrange(1000000, 4000000))
        m.rcpt()

    def make_20_megabytes(self, m):
        self.large(m, 20 * 1024 * 1024)
        m.rcpt()

    # kinds of envelopes

    def make_null_sender(self, m):
        self.make_plain(m)
        m.sender = ""

    def make_few(self, m):
        self.make_plain(m)
        for _ in range(self.random.randrange(5, 20)):
            m.rcpt(domain=self.random.choice(DOMAINS))

    def make_hundred(self, m):
        self.make_plain(m)
        for i in range(100):
            m.rcpt(domain=DOMAINS[i % len(DOMAINS)])

    def make_long_addresses(self, m):
        self.make_plain(m)
        local = "%s" + "x" * (LONG_LOCAL - len("m%dr0" % m.number))
        label = "d" * 60
        domain = ".".join([label, label, label])[:LONG_PATH - LONG_LOCAL - 1 - len(".test")].rstrip(".") + ".test"
        m.rcpt(local, domain)
        m.rcpt("%s-long-" + "l" * 40, domain)
        m.sender = "s" * LONG_LOCAL + "@" + domain

    QUOTED = ('"%s with blanks"', '"%s\\"quoted\\""', '"%s..dots."', '"%s,comma;and:<angle>"', '"%s\\\\back"', '".%s"', '"%s(paren)"', '"%s%%x!y"')

    def make_quoted(self, m):
        self.make_plain(m)
        for q in self.QUOTED:
            m.rcpt(q, self.random.choice(DOMAINS))
        m.sender = '"quoted sender"@sender.test'

    def make_special(self, m):
        self.make_plain(m)
        for q in ("%s+tag", "%s+two+tags", "x=%s", "%s/slash", "!%s", "%s#a$b&c'd*e^f_g`h{i|j}k~l?", "UPPER-%s-Case"):
            m.rcpt(q, self.random.choice(DOMAINS))
        m.sender = "bounces+%d=one.test@sender.test" % m.number

    def make_utf8(self, m):
        m.smtputf8, m.body = True, "8BITMIME"
        m.content = self.header(m, "X-Name: Jürgen 漢字".encode()) + b"\r\n" + self.text(10, eightbit=True)
        m.rcpt("jürgen-%s", "one.test")
        m.rcpt("用户%s", "two.test")
        m.rcpt("%s", "bücher.test")
        m.rcpt("%s-ascii", "one.test")
        m.sender = "absender-ü@sender.test"


# How many of each in a hundred.
KINDS = {"plain": 12, "eightbit": 7, "eightbit_header": 2, "dots": 7, "empty": 2, "empty_header": 3, "one_line": 3, "no_body": 4, "long_lines": 5,
         "odd_header": 3, "dropped_fields": 1, "blank_lines": 4, "from_lines": 3, "base64": 5, "binary": 5, "chunks": 4, "no_final_newline": 3, "medium": 5,
         "null_sender": 3, "few": 5, "hundred": 1, "long_addresses": 3, "quoted": 4, "special": 3, "utf8": 3}


def mails(count, seed, megabytes=0, twenty=0, only=None):
    """So many, of them some large ones, in random order."""
    maker = Maker(seed)
    kinds = [k for k, n in KINDS.items() if only is None or k in only for _ in range(n)]
    small = count - twenty - megabytes
    wanted = ["20_megabytes"] * twenty + ["megabytes"] * megabytes + kinds * (small // len(kinds)) + maker.random.sample(kinds, small % len(kinds))
    maker.random.shuffle(wanted)
    return [maker.mail(n, kind) for n, kind in enumerate(wanted)]
