"""What the whole-program tests share: a daemon of their own in a directory of its own, its log, its Maildirs.

Nothing here waits for time to pass: every wait is for a line of the daemon's log, which arrives through a pipe, or
for an answer on a socket. The deadlines only end a test that hangs.
"""

import base64
import glob
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from fake import DEADLINE, Hang

BARID = os.path.abspath(os.environ.get("BARID", os.path.dirname(__file__) + "/../build/src/cli/barid"))


def sanitized():
    """A sanitizer keeps freed memory and puts zones around blocks: bounds of memory say nothing there."""
    with open(BARID, "rb") as f:
        program = f.read()
    return b"__asan_init" in program or b"__tsan_init" in program


REPORTS = []  # what sanitizers said in any daemon's log: a test program with some fails, whoever killed the daemon
REPORT = re.compile(r"ThreadSanitizer|AddressSanitizer|LeakSanitizer|: runtime error: ")

PASSWORDS = {"alice": "wonder land", "bob": "correct-horse", "carol": "p\u00e4ssword"}


# --- certificates and users


_certificate = None


def certificate():
    """(certificate, key) for 127.0.0.1, ::1 and localhost: made once for a test program."""
    global _certificate
    if _certificate is None:
        folder = tempfile.mkdtemp(prefix="barid-cert-")
        cert, key = folder + "/cert.pem", folder + "/key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert,
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"],
            check=True, capture_output=True)
        _certificate = (cert, key)
    return _certificate


def forget_certificate():
    if _certificate is not None:
        shutil.rmtree(os.path.dirname(_certificate[0]), ignore_errors=True)


def verifier(password, mechanism="SCRAM-SHA-256", iterations=4096, salt=b"0123456789abcdef"):
    """RFC 5803, computed here and not by the program under test."""
    name = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", name).digest()
    stored = hashlib.new(name, client).digest()
    server = hmac.new(salted, b"Server Key", name).digest()
    text = [base64.b64encode(x).decode() for x in (salt, stored, server)]
    return "%s$%d:%s$%s:%s" % (mechanism, iterations, text[0], text[1], text[2])


def write_users(path, plain=True):
    """alice has a password that any mechanism can use; bob and carol have verifiers."""
    lines = ["bob:" + verifier(PASSWORDS["bob"]), "carol:" + verifier(PASSWORDS["carol"], "SCRAM-SHA-1")]
    if plain:
        lines.append("alice:{PLAIN}" + PASSWORDS["alice"])
    with open(path, "w", encoding="utf-8") as f:
        f.write("# users of a test\n" + "\n".join(lines) + "\n")
    os.chmod(path, 0o600)


# --- ports


class Ports:
    """Free ports below those that the kernel gives to outgoing connections: nobody takes one by chance while the daemon is
    down between two starts."""

    LOW, HIGH = 10000, 32000

    def __init__(self):
        self.taken = set()

    def take(self, host="127.0.0.1"):
        while True:
            port = random.randrange(self.LOW, self.HIGH)
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as s:
                try:
                    s.bind((host, port))
                except OSError:
                    continue
            if port not in self.taken:
                self.taken.add(port)
                return port


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


# --- the daemon


HEAD = """
hostname "mx.example.com"
domains { "example.com", "example.org" }
spool { dir = "spool" }
maildir { root = "mail" }
archive { root = "archive" }
control { listen = "unix:control" }
log { format = "json", level = "debug" }
workers(2)
"""

# A start reads every segment: where a daemon is started again and again they are small, and more of them come and go.
# Nobody outside of the machine is ever asked: a mail that no policy routes waits.
NO_DNS = '\ndns { servers = { "127.0.0.1:9" } }\n'
SMALL_SEGMENTS = HEAD.replace('dir = "spool"', 'dir = "spool", segment = 4194304')

STORE = """
function on.message(session, mail)
  mail:store("%{domain}/%{user}")
end
"""


class Barid:
    """A daemon with its files. In a policy, @NAME@ is a free port of 127.0.0.1, @NAME6@ one of ::1, @dir@ the
    directory, @cert@ and @key@ a certificate."""

    def __init__(self, policy=STORE, head=HEAD, clock=False, plain_users=True, program=BARID):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="barid-test-")
        self.ports = Ports()
        self.port = {}
        self.process = None
        self.lines = []
        self.records = []
        self.changed = threading.Condition()
        self.reader = None
        self.clock = self.dir + "/clock" if clock else None
        if clock:
            self.shift_clock(0)
        for name in ("mail", "archive"):
            os.mkdir(self.dir + "/" + name)
        write_users(self.dir + "/users", plain_users)
        self.write_policy(policy, head)

    # files

    def _fill(self, match):
        name = match.group(1)
        if name == "dir":
            return self.dir
        if name == "cert":
            return certificate()[0]
        if name == "key":
            return certificate()[1]
        if name not in self.port:
            self.port[name] = self.ports.take("::1" if name.endswith("6") else "127.0.0.1")
        return str(self.port[name])

    def write_policy(self, policy, head=HEAD):
        text = re.sub(r"@([a-z0-9_]+)@", self._fill, head + policy)
        if not re.search(r"^\s*dns\b", text, re.M):
            text += NO_DNS
        with open(self.dir + "/policy.lua", "w", encoding="utf-8") as f:
            f.write(text)

    def line_of(self, text):
        """The line of the policy that contains text."""
        with open(self.dir + "/policy.lua", encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                if text in line:
                    return number
        raise AssertionError("not in the policy: " + text)

    # life

    def start(self):
        ready_r, ready_w = os.pipe()
        log_r, log_w = os.pipe()
        command = [self.program, "serve", "-c", self.dir + "/policy.lua", "--ready-fd", str(ready_w)]
        if self.clock:
            command += ["--clock", self.clock]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log_w, stderr=log_w,
                                        pass_fds=[ready_w], cwd=self.dir, start_new_session=True)
        os.close(ready_w)
        os.close(log_w)
        self.reader = threading.Thread(target=self._read_log, args=(log_r,), daemon=True)
        self.reader.start()
        readable, _, _ = select.select([ready_r], [], [], DEADLINE)
        ready = os.read(ready_r, 65536) if readable else b""
        os.close(ready_r)
        if not ready.startswith(b"ready"):
            self.kill()
            raise AssertionError("barid did not get ready:\n" + self.log())
        return self

    def _read_log(self, fd):
        with os.fdopen(fd, encoding="utf-8", errors="replace") as f:
            for line in f:
                record = None
                if line.startswith("{"):
                    try:
                        record = json.loads(line)
                    except ValueError:
                        pass
                if record is None and (REPORTS or REPORT.search(line)):
                    REPORTS.append(line)
                with self.changed:
                    self.lines.append(line)
                    if record is not None:
                        self.records.append(record)
                    self.changed.notify_all()

    def stop(self):
        """Ends it in the orderly way; an exit status other than 0 is an error."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        self._reap(DEADLINE)
        status, self.process = self.process.returncode, None
        if status != 0:
            raise AssertionError("barid ended with status %s:\n%s" % (status, self.log()))

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self._reap(DEADLINE)
            self.process = None

    def _reap(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Hang("barid did not stop:\n" + self.log())
        self.reader.join(DEADLINE)

    def close(self):
        try:
            self.stop()
        finally:
            self.kill()
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        if exc[0] is not None:
            sys.stderr.write("--- the daemon's log\n" + self.log() + "---\n")
            try:
                self.close()
            except AssertionError as e:
                sys.stderr.write(str(e) + "\n")
        else:
            self.close()

    def reload(self):
        before = len(self.records)
        self.process.send_signal(signal.SIGHUP)
        return self.wait_log(lambda r: "reload" in r["what"] or "configuration" in r["what"] and "no longer" not in r["what"], start=before)

    def shift_clock(self, seconds):
        """The daemon has the file mapped: it is written in place."""
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as f:
            f.write(struct.pack("=q", int(seconds * 1000)))

    # log

    def log(self):
        with self.changed:
            return "".join(self.lines[-200:])

    def wait(self, condition, what):
        """Until condition() holds; asked again after each line of the log."""
        end = time.monotonic() + DEADLINE
        with self.changed:
            while True:
                value = condition()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise Hang("never happened: %s; the log ends:\n%s" % (what, "".join(self.lines[-40:])))
                self.changed.wait(left)

    def wait_log(self, match, start=0):
        """The first record that matches: a function, or fields that it must have."""
        if isinstance(match, dict):
            fields = match
            match = lambda r: all(r.get(k) == v for k, v in fields.items())
        return self.wait(lambda: next((r for r in self.records[start:] if match(r)), None), "a line of the log")

    # mail

    def box(self, name):
        """Contents of the messages in a Maildir, oldest name first."""
        found = []
        for part in ("new", "cur"):
            folder = "%s/mail/%s/%s" % (self.dir, name, part)
            if os.path.isdir(folder):
                for file in os.listdir(folder):
                    with open(folder + "/" + file, "rb") as f:
                        found.append((file, f.read()))
        return [content for _, content in sorted(found)]

    def wait_box(self, name, count=1):
        """Waits for the log to say that the messages were delivered, then gives the contents."""
        self.wait(lambda: len(self.box(name)) >= count, "%d messages in %s" % (count, name))
        found = self.box(name)
        if len(found) != count:
            raise AssertionError("%d messages in %s, expected %d" % (len(found), name, count))
        return found

    def wait_idle(self):
        """Until nothing is left to deliver: what is in the spool is held, quarantined or removed."""
        self.wait(lambda: all(m["state"] != "active" or m["units"]["pending"] == 0 for m in self.queue()), "an idle queue")

    # control

    def get(self, path, method="GET"):
        connection = UnixHttp(self.dir + "/control")
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def count(self):
        return self.get("/v1/queue/count")[1]

    def queue(self):
        return self.get("/v1/queue")[1]["messages"]

    def run(self, *arguments, stdin=b""):
        return subprocess.run([BARID, *arguments], input=stdin, capture_output=True, cwd=self.dir, timeout=DEADLINE)

    # clients

    def connect(self, name="smtp", source=None):
        """source: the address that the client comes from, any of 127.0.0.0/8."""
        c = Raw(("::1" if name.endswith("6") else "127.0.0.1", self.port[name]), source=source)
        c.pid = self.process.pid
        return c


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(self.path)


# --- a client that says exactly what it is told


class Raw:
    pid = None  # of the daemon that was connected to

    def __init__(self, address, tls=None, source=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if family != socket.AF_UNIX:  # what is sent goes now, not when the last piece was acknowledged
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def start_tls(self, context):
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def line(self):
        """One line without its CRLF; None at the end."""
        while b"\r\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def reply(self):
        """A whole reply as a list of lines; [] at the end."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                return lines
            lines.append(line)
            if line[3:4] != "-":
                return lines

    def code(self):
        lines = self.reply()
        return int(lines[-1][:3]) if lines else 0

    def text(self):
        return "\n".join(self.reply())

    def do(self, command):
        """Sends a line, gives the last line of the reply."""
        self.send(command + "\r\n" if isinstance(command, str) else command + b"\r\n")
        lines = self.reply()
        return lines[-1] if lines else ""

    def hello(self, name="client.test", verb="EHLO"):
        self.reply()
        self.send("%s %s\r\n" % (verb, name))
        return self.reply()

    def envelope(self, sender="a@sender.test", rcpts=("user@example.com",)):
        replies = [self.do("MAIL FROM:<%s>" % sender)]
        return replies + [self.do("RCPT TO:<%s>" % r) for r in rcpts]

    def message(self, content):
        """DATA and the content (dots are stuffed here); the last line of the final reply, or the refusal of DATA."""
        go = self.do("DATA")
        if not go.startswith("354"):
            return go
        self.send(stuffed(content) + b".\r\n")
        lines = self.reply()
        return lines[-1] if lines else ""

    def at_rest(self):
        """What a thread has read it works on until it sleeps again."""
        for name in glob.glob("/proc/%d/task/*/stat" % self.pid) if self.pid else ():
            try:
                with open(name, encoding="ascii", errors="replace") as f:
                    if f.read().rpartition(")")[2].split()[0] != "S":
                        return False
            except OSError:
                pass  # a thread that ended
        return True

    def settled(self):
        """Until the daemon has read all that was sent and is at rest: so a cut is a cut, and the clock may go on. Watches the
        receive queue of its socket, then its threads; only over 127.0.0.1."""
        key, peer = "0100007F:%04X" % self.socket.getpeername()[1], ":%04X" % self.socket.getsockname()[1]
        end, missing = time.monotonic() + DEADLINE, 0
        while time.monotonic() < end:
            with open("/proc/net/tcp", encoding="ascii") as f:
                for line in f:
                    word = line.split()
                    if word[1] == key and word[2].endswith(peer):
                        if word[4].endswith(":00000000") and self.at_rest():
                            return
                        break
                else:
                    # Closed by the daemon; but a list that is read while others come and go has gaps.
                    missing += 1
                    if missing == 50:
                        return
            os.sched_yield()
        raise Hang("the daemon does not read")

    def rest(self):
        """Everything until the server closes."""
        data = self.buffer
        while True:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                self.buffer = b""
                return data
            data += more

    def end(self):
        """No more from us; everything the server still says."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.rest()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def stuffed(content):
    data = content.encode() if isinstance(content, str) else content
    assert data.endswith(b"\r\n") or data == b""
    return re.sub(rb"(?m)^\.", b"..", data)


# --- content


TRACE = (b"return-path", b"delivered-to", b"received", b"x-original-to")


def without_trace(content):
    """A stored message without the fields that were put on top of it."""
    while True:
        match = re.match(rb"([!-9;-~]+):.*\n(?:[ \t].*\n)*", content)
        if not match or match.group(1).lower() not in TRACE:
            return content
        content = content[match.end():]


def flat(content):
    """The header of a stored message as text, each field on one line with single blanks."""
    header = content.split(b"\n\n", 1)[0].decode("utf-8", "replace")
    return re.sub(r"[ \t]+", " ", re.sub(r"\n[ \t]+", " ", header)) + "\n"


def lf(content):
    data = content.encode() if isinstance(content, str) else content
    return data.replace(b"\r\n", b"\n")


def mail(subject="test", body="Hello.\r\n"):
    return "From: A <a@sender.test>\r\nTo: <user@example.com>\r\nSubject: %s\r\n\r\n%s" % (subject, body)


def tls_context():
    return ssl.create_default_context(cafile=certificate()[0])


# --- running


class Tests(unittest.TestCase):
    """One daemon for all tests of a class. HEAD and POLICY are its configuration."""

    HEAD, POLICY, CLOCK = HEAD, STORE, False

    @classmethod
    def setUpClass(cls):
        cls.daemon = Barid(cls.POLICY, head=cls.HEAD, clock=cls.CLOCK)
        try:
            cls.daemon.start()
        except BaseException:
            cls.daemon.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def said(self, reply, start):
        """The reply begins so."""
        self.assertTrue(reply is not None and reply.startswith(start), "%r, expected %r" % (reply, start))

    def sends(self, rcpts, content=None, sender="a@sender.test", name="smtp", verb="EHLO"):
        """One message; (last lines of the replies to the envelope, last line of the final reply)."""
        with self.daemon.connect(name) as c:
            c.hello(verb=verb)
            envelope = c.envelope(sender, [rcpts] if isinstance(rcpts, str) else rcpts)
            final = c.message(mail() if content is None else content)
            c.do("QUIT")
            return envelope, final


class TapResult(unittest.TestResult):
    """One line per test, for meson and for people."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def _say(self, test, good, note="", detail=""):
        self.n += 1
        print("%s %d - %s%s" % ("ok" if good else "not ok", self.n, test.id().replace("__main__.", ""), note), flush=True)
        for line in detail.splitlines():
            print("# " + line, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.failed_subtests = []

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.failed_subtests.append(subtest)
            self._say(subtest, False, detail=self._exc_info_to_string(err, test))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._say(test, True)

    def addError(self, test, err):
        super().addError(test, err)
        self._say(test, False, detail=self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say(test, False, detail=self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say(test, True, " # SKIP " + reason)


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    loader = unittest.TestLoader()
    module = sys.modules["__main__"]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = TapResult()
    sys.stderr = sys.stdout if "-v" in sys.argv else sys.stderr
    try:
        suite.run(result)
    finally:
        forget_certificate()
    if REPORTS:
        result.n += 1
        print("not ok %d - a sanitizer reports" % result.n)
        print("".join("# " + line for line in REPORTS[:200]))
    print("1..%d" % result.n)
    sys.exit(0 if result.wasSuccessful() and not REPORTS else 1)
