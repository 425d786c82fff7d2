"""A connection of the fake MTA: octets in and out, and the actions that a rule may name.

    CODE [X.Y.Z] TEXT     that reply; \\n in it makes more lines; 421 also closes, unless "stay" follows
    ok                    the ordinary reply, also after a pause: "delay 1 ; ok"; what an empty rest means
    raw OCTETS            those, with \\r \\n \\0 \\xHH, and nothing else: it stands for the reply
    close                 the end, with close_notify within TLS
    eof                   the end of TCP alone, whatever TLS says
    reset                 a reset
    silence               nothing until release() or the peer goes; then the rest of the rule
    delay SECONDS         a pause
    dribble SECONDS [REPLY]   octet by octet, with a pause after each
    ehlo WORDS, COMMAS    the ordinary reply to EHLO with these keywords
    flood keywords|lines|octets N   N keywords of EHLO; N continuation lines; N octets of one line; without N no end
    garbage N             N octets that are no line
    stay                  no close after 421
"""

import codecs
import os
import random
import re
import select
import socket
import ssl
import struct
import time

REPLY = re.compile(r"([2-5]\d\d)(?: |$)(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?(.*)", re.S)
LINGER = 2.0  # seconds that a peer has to close after we did: what it sends within them is looked at
SECONDS = r"\d+(?:\.\d+)?"
# What each word takes.
WORDS = {"ok": "", "close": "", "eof": "", "reset": "", "silence": "", "stay": "", "raw": ".+", "delay": SECONDS,
         "dribble": SECONDS + "(?: .+)?", "ehlo": ".+", "flood": r"(?:keywords|lines|octets)(?: \d+)?", "garbage": r"\d+"}


class Ended(Exception):
    """The connection is over: why."""


def reply(text):
    """The octets of "250 2.0.0 first\\nsecond" and its code."""
    code, enhanced, words = REPLY.fullmatch(text).groups()
    lines = [(enhanced + " " if enhanced else "") + line for line in words.split("\n")]
    made = ["%s%s%s" % (code, "-" if i + 1 < len(lines) else " ", line) for i, line in enumerate(lines)]
    return ("\r\n".join(made) + "\r\n").encode("utf-8", "surrogateescape"), int(code)


def is_good_action(action):
    word, _, rest = action.partition(" ")
    if word in WORDS:
        return re.fullmatch(WORDS[word], rest, re.S) is not None
    return REPLY.fullmatch(action) is not None


def octets_of(text):
    return codecs.escape_decode(text.encode("utf-8"))[0]


class Wire:
    def __init__(self, mta, sock):
        self.mta = mta
        self.sock = sock
        self.buffer = b""
        self.said = None                  # code of the reply that was sent last, by the rule that acts
        self.checked_before_reply = None  # the command after which nothing may come before our reply

    # in

    def more(self):
        self.buffer += self.recv()

    def recv(self):
        """What there is, waiting for something; raises Ended."""
        try:
            data = self.sock.recv(262144)
        except ssl.SSLEOFError:
            raise Ended("eof") from None
        except ssl.SSLError as e:
            raise Ended("tls: %s" % e.reason) from None
        except OSError as e:
            raise Ended("reset" if isinstance(e, ConnectionError) else "error: %s" % e) from None
        if not data:
            raise Ended("eof")
        return data

    def peek(self):
        """Reads what has arrived without waiting; gives what is not yet taken."""
        self.sock.setblocking(False)
        try:
            data = self.sock.recv(65536)
            self.buffer += data
        except OSError:  # nothing there, or the end: the next read says which
            pass
        finally:
            self.sock.setblocking(True)
        return self.buffer

    def line(self):
        """One command line without its end; what is wrong with its end is a violation."""
        while b"\n" not in self.buffer:
            if len(self.buffer) > 1 << 20:
                raise Ended("a line of more than 1 MiB")
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r"):
            self.violation("a command line that ends in LF alone: %r" % line[:80])
        else:
            line = line[:-1]
        if b"\r" in line or b"\0" in line:
            self.violation("CR or NUL within a command line: %r" % line[:80])
        return line

    def take(self, n):
        """n octets; where the end comes first, they are in the buffer."""
        taken, self.buffer = bytearray(self.buffer), b""
        try:
            while len(taken) < n:
                taken += self.recv()
        except Ended:
            self.buffer = bytes(taken)
            raise
        self.buffer = bytes(taken[n:])
        return bytes(taken[:n])

    # out

    def send(self, data):
        if self.checked_before_reply is not None:
            early = self.peek()
            if early:
                self.violation("more octets before the reply to %s: %r" % (self.checked_before_reply, early[:80]))
            self.checked_before_reply = None
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Ended("reset" if isinstance(e, ConnectionError) else "error: %s" % e) from None

    def act(self, actions, ordinary):
        """Carries out a rule; the code that was sent, or None. ordinary: text of a reply, or None where there is none."""
        actions = list(actions)
        if not any(self._speaks(a) for a in actions):
            actions.append("ok")
        self.said = None
        for i, action in enumerate(actions):
            word, _, rest = action.partition(" ")
            if word in WORDS:
                getattr(self, "_do_" + word)(rest, ordinary)
            else:
                self.send_reply(action)
                if self.said == 421 and "stay" not in actions[i + 1:]:
                    self.close(said="421")
        return self.said

    def send_reply(self, text):
        said, code = reply(text)
        self.send(said)
        self.said = code

    def _do_ok(self, rest, ordinary):
        if ordinary is not None:
            self.send_reply(ordinary)

    @staticmethod
    def _speaks(action):
        return action.partition(" ")[0] not in ("delay", "silence", "stay")

    def _do_raw(self, rest, ordinary):
        data = octets_of(rest)
        self.send(data)
        self.said = int(data[:3]) if re.match(rb"[2-5]\d\d[ \r].*\n", data, re.S) else None

    def _do_delay(self, rest, ordinary):
        self.mta.closing.wait(float(rest))

    def _do_stay(self, rest, ordinary):
        pass

    def _do_dribble(self, rest, ordinary):
        seconds, _, text = rest.partition(" ")
        said, code = reply(text or ordinary)
        for i in range(len(said)):
            self.send(said[i:i + 1])
            if self.mta.closing.wait(float(seconds)):
                break
        self.said = code

    def _do_ehlo(self, rest, ordinary):
        words = [w.strip() for w in rest.split(",") if w.strip() != "-"]
        self.offer(words)
        self.send_reply("250 " + "\n".join([self.mta.hostname] + words))

    def offer(self, words):
        """What EHLO offers now."""

    def _do_flood(self, rest, ordinary):
        kind, _, n = rest.partition(" ")
        n = int(n) if n else float("inf")
        code = (ordinary or "250").partition(" ")[0]
        sent = 0
        while sent < n and not self.mta.closing.is_set():
            some = int(min(n - sent, 1000 if kind != "octets" else 65536))
            if kind == "octets":
                self.send((code.encode() + b" " if sent == 0 else b"") + b"x" * some)
            elif kind == "keywords":
                self.send(b"".join(b"%s-X-WORD-%d\r\n" % (code.encode(), sent + i) for i in range(some)))
            else:
                self.send((code.encode() + b"-more to come\r\n") * some)
            sent += some
        self.send(b"\r\n" if kind == "octets" else code.encode() + b" the end\r\n")
        self.said = int(code)

    def _do_garbage(self, rest, ordinary):
        self.send(random.Random(1).randbytes(int(rest)))

    def _do_silence(self, rest, ordinary):
        """Not read, not answered: the peer's end is seen all the same."""
        with self.mta.changed:
            ours, theirs = socket.socketpair()
            self.mta.silent.append(theirs)
            self.mta.seen["silence"] = self.mta.seen.get("silence", 0) + 1
            self.mta.changed.notify_all()
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        poll.register(self.sock, select.POLLRDHUP)
        found = {fd for fd, _ in poll.poll()}
        with self.mta.changed:
            if theirs in self.mta.silent:
                self.mta.silent.remove(theirs)
        released = ours.fileno() in found
        ours.close()
        theirs.close()
        if not released:
            raise Ended("eof")

    # the end

    def _do_close(self, rest, ordinary):
        self.close()

    def close(self, said="closed"):
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.setblocking(False)
            try:
                self.sock.unwrap()
            except (OSError, ValueError):  # close_notify is sent; the peer's need not come
                pass
        raise Ended(said)

    def _do_eof(self, rest, ordinary):
        raise Ended("closed")

    def _do_reset(self, rest, ordinary):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.sock.detach())
        raise Ended("we reset")

    def finish(self):
        """Ends our half, waits a little for the peer's: what it still sends comes back, as far as it can be read."""
        if self.sock.fileno() < 0:
            return b""
        late, end = self.buffer, time.monotonic() + LINGER
        fd = socket.socket(fileno=self.sock.detach())
        with fd:
            try:
                fd.shutdown(socket.SHUT_WR)
                while time.monotonic() < end and not self.mta.closing.is_set():
                    fd.settimeout(max(end - time.monotonic(), 0.001))
                    data = fd.recv(65536)
                    if not data:
                        break
                    late += data[:1000]
            except OSError:
                pass
        return late

    def violation(self, text):
        self.record.violations.append(text)
        self.mta.happened()
