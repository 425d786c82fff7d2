"""Messages converted for a server without 8BITMIME or BINARYMIME, read by Python's email package before and after.

The messages: random ones, and those of Python's own tests where it brings them, as they are and with octets above 127.
"""

import email
import glob
import os
import random
import re
import subprocess
import unittest

CONVERT = os.environ["BARID_DOWNGRADE"]


def convert(message, target):
    p = subprocess.run([CONVERT, target], input=message, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if p.returncode != 0:
        raise AssertionError("%d: %s" % (p.returncode, p.stderr.decode()))
    return p.stdout


def leaves(message):
    """(type, octets) of every leaf; embedded messages are read into."""
    return [(part.get_content_type(), part.get_payload(decode=True))
            for part in email.message_from_bytes(message).walk() if not part.is_multipart()]


def is_odd(message):
    """Parsers disagree about it; or it has the one type that this parser reads into and we do not."""
    return any(part.defects or part.get_content_type() == "message/external-body" for part in email.message_from_bytes(message).walk())


def fits(body, target):
    bare = re.sub(rb"\r\n", b"", body)
    return (not re.search(rb"[\r\n\0]", bare) and max(map(len, body.split(b"\r\n"))) <= 998
            and (target == "8bit" or not re.search(rb"[\x80-\xff]", body)))


class Generator:
    TYPES = [b"text/plain; charset=utf-8", b"text/html", b"image/png", b"application/octet-stream"]
    LABELS = [b"", b"8bit", b"binary", b"7bit"]
    WORDS = [b"hello", b" ", b"\t", b"=", b"=C3", b"--", b".", b"\r\n", b" \r\n", b"\r\n\r\n", "w\u00e4rld".encode(), b"\xff"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def head(self, kind):
        label = self.random.choice(self.LABELS)
        label = b"Content-Transfer-Encoding: " + label + b"\r\n" if label else b""
        return b"Content-Type: " + kind + b"\r\n" + label + b"\r\n"

    def part(self, depth):
        choice = self.random.randrange(8) if depth < 6 else 7
        if choice == 0:
            return self.head(b"message/rfc822") + b"MIME-Version: 1.0\r\n" + self.part(depth + 1)
        if choice < 4:
            boundary = b"x%d" % self.random.randrange(10**9)
            parts = [b"--" + boundary + b"\r\n" + self.part(depth + 1) + b"\r\n" for _ in range(self.random.randrange(1, 4))]
            return (self.head(b"multipart/mixed; boundary=\"" + boundary + b"\"") + b"preamble\r\n" + b"".join(parts) +
                    b"--" + boundary + b"--\r\nepilogue\r\n")
        kind = self.random.choice(self.TYPES)
        words = [self.random.choice(self.WORDS) for _ in range(self.random.randrange(50))]
        if not kind.startswith(b"text"):
            words += [self.random.randbytes(3000)] if self.random.randrange(2) else []
        return self.head(kind) + b"".join(words) + b"x"


class Downgrade(unittest.TestCase):
    def check(self, message, target):
        result = convert(message, target)
        header, body = result.split(b"\r\n\r\n", 1)
        self.assertTrue(fits(body, target), message)
        original = message.split(b"\r\n\r\n", 1)[1]
        if fits(original, target):
            self.assertEqual(message, result)
        self.assertEqual(leaves(message), leaves(result), message)
        return message != result

    def test_random(self):
        changed = 0
        for seed in range(200):
            message = b"MIME-Version: 1.0\r\n" + Generator(seed).part(0)
            changed += self.check(message, "8bit" if seed % 3 == 0 else "7bit")
        self.assertGreater(changed, 100)
        print("# proof: downgrade: 200 random messages, %d converted, the same leaves in Python's email package" % changed)

    def test_published(self):
        try:
            import test.test_email as tests
        except ImportError:
            print("# no messages of Python's own tests: skipped")
            return
        total = changed = odd = 0
        for path in sorted(glob.glob(os.path.dirname(tests.__file__) + "/data/*.txt")):
            with open(path, "rb") as f:
                lines = f.read().replace(b"\r\n", b"\n").split(b"\n")
            if b"" not in lines[1:]:
                continue
            header = lines.index(b"")
            # Words of bodies only: a line of a header has a colon or begins with white space, a delimiter with "-".
            high = lines[:header] + [line if re.match(rb"[ \t-]|.*[:=]", line) else line.replace(b"e", b"\xe9")
                                     for line in lines[header:]]
            for message in (b"\r\n".join(lines), b"\r\n".join(high)):
                if is_odd(message):
                    odd += 1
                    continue
                with self.subTest(path=path):
                    changed += self.check(message, "7bit")
                total += 1
        self.assertGreater(changed, 10)
        print("# proof: downgrade: %d messages of Python's tests, %d converted; %d that parsers read differently left out"
              % (total, changed, odd))


if __name__ == "__main__":
    unittest.main(verbosity=2)
