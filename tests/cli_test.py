#!/usr/bin/env python3
"""The command line as a user meets it: bad input, reload, stop, passwd, verify, queue, send and sink.

Each test has a directory of its own. Nothing waits for time to pass: daemons say when they are ready, logs and sinks are
read from pipes. A deadline only ends a test that hangs.
"""

import hashlib
import json
import os
import select
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import unittest

BARID = os.path.abspath(os.environ.get("BARID", os.path.dirname(__file__) + "/../build/src/cli/barid"))
DEADLINE = 30

HEAD = """
hostname = "mx.example.com"
domains { "example.com" }
spool   { dir = "spool" }
maildir { root = "mail" }
control { listen = "unix:control" }
workers = 2
pool_threads = 2
"""
STORE = """
function on.message(session, mail)
  mail:store("%{domain}/%{user}")
end
"""


def snapshot(folder):
    """Everything below folder that a program could have changed."""
    found = {}
    for root, dirs, files in os.walk(folder):
        for name in dirs + files:
            path = os.path.join(root, name)
            st = os.lstat(path)
            found[os.path.relpath(path, folder)] = (st.st_mode, st.st_size, st.st_mtime_ns)
    return found


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="barid-cli-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.running = []
        self.addCleanup(self.kill_all)

    def kill_all(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def barid(self, *arguments, stdin=""):
        return subprocess.run([BARID, *arguments], input=stdin, capture_output=True, text=True, cwd=self.dir,
                              timeout=DEADLINE)

    def good(self, *arguments, stdin=""):
        done = self.barid(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    def serve(self, text, name="policy.lua"):
        """A daemon; (process, addresses that it listens on)."""
        self.write(name, text)
        ready_r, ready_w = os.pipe()
        with open(self.path("log"), "ab") as log:
            process = subprocess.Popen([BARID, "serve", "-c", name, "--ready-fd", str(ready_w)], cwd=self.dir,
                                       pass_fds=[ready_w], stderr=log, stdin=subprocess.DEVNULL)
        self.running.append(process)
        os.close(ready_w)
        readable, _, _ = select.select([ready_r], [], [], DEADLINE)
        line = os.read(ready_r, 65536).decode() if readable else ""
        os.close(ready_r)
        self.assertTrue(line.startswith("ready "), self.log())
        return process, line.split()[1:]

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def ended(self, process):
        process.wait(DEADLINE)
        return process.returncode

    def sink(self, *arguments):
        """(process, port): a sink on a free port, its envelopes in the file sink.json."""
        process = subprocess.Popen([BARID, "sink", "--out", "sink.json", *arguments], cwd=self.dir, stderr=subprocess.PIPE)
        self.running.append(process)
        line = process.stderr.readline().decode()
        self.assertTrue(line.startswith("listening on "), line)
        return process, line.split()[-1]

    def envelopes(self):
        with open(self.path("sink.json"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]


LISTEN = 'listen { "127.0.0.1:0" }\n'


class BadInput(Case):
    """One clear line that says what and where, an exit code of sysexits(3), nothing changed on disk."""

    def refused(self, code, *words, command=("serve", "-c", "policy.lua"), lines=1):
        before = snapshot(self.dir)
        done = self.barid(*command)
        self.assertEqual(done.returncode, code, done.stderr)
        said = done.stderr.splitlines()
        self.assertEqual(len(said), lines, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(snapshot(self.dir), before)

    def configuration(self, text, code, *words, lines=1):
        self.write("policy.lua", text)
        self.refused(code, *words, lines=lines)

    def test_configurations(self):
        good = HEAD + LISTEN
        number = good.count("\n") + 1
        table = [
            ("syntax", good + "domains {", 78, ["policy.lua:"]),
            ("unknown hook", good + "function on.rcptt(session) end\n", 78, ["policy.lua:%d" % number, "rcptt"]),
            ("unknown declaration", good + "listen { \"127.0.0.1:0\" }\n", 78, ["policy.lua:%d" % number, "listen"]),
            ("wrong type", good + "workers = \"many\"\n", 78, ["policy.lua:", "workers"]),
            ("unknown key", good + "limits { messages = 5 }\n", 78, ["policy.lua:%d" % number, "messages"]),
            ("hook assigned twice", good + STORE + STORE, 78, ["policy.lua:", "message"]),
            ("no listener", HEAD, 78, ["nothing to listen on"]),
            ("no spool", 'domains { "example.com" }\n' + LISTEN, 78, ["no spool"]),
            ("bad address", HEAD + 'listen { "127.0.0.1" }\n', 78, ["127.0.0.1"]),
            ("control on the network", good + 'control { listen = "0.0.0.0:8025" }\n', 78, []),
            ("no such user", good + 'user = "no-such-user-here"\n', 67, ["no-such-user-here"]),
            ("certificate missing", good + 'tls { certificate = "c.pem", key = "k.pem" }\n'
             + 'listen { "127.0.0.2:0", tls = "implicit" }\n', 78, ["policy.lua:%d" % number, "c.pem"]),
            ("users file missing", good + 'auth { users = "users" }\n', 78, ["policy.lua:%d" % number, "users"]),
        ]
        for name, text, code, words in table:
            with self.subTest(name):
                self.write("policy.lua", text)
                before = snapshot(self.dir)
                done = self.barid("serve", "-c", "policy.lua")
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertGreater(len(done.stderr.splitlines()), 0)
                for line in done.stderr.splitlines():
                    self.assertRegex(line, r"policy\.lua|users|barid: ")
                for word in words:
                    self.assertIn(word, done.stderr)
                self.assertEqual(snapshot(self.dir), before)

    def test_every_mistake_is_reported(self):
        self.write("policy.lua", HEAD + LISTEN + "workers = \"x\"\nfunction on.nothing() end\nlimits { line = -1 }\n")
        done = self.barid("check", "policy.lua")
        self.assertEqual(done.returncode, 78)
        self.assertGreaterEqual(len(done.stderr.splitlines()), 3)

    def test_no_such_file(self):
        self.refused(66, "policy.lua")

    def test_no_configuration_anywhere(self):
        if os.path.exists("/etc/barid/barid.lua"):
            self.skipTest("this machine has /etc/barid/barid.lua")
        self.refused(66, "barid.lua", command=("serve",))

    def test_certificate_is_none(self):
        for name in ("c.pem", "k.pem"):
            self.write(name, "this is not a certificate\n")
        self.configuration(HEAD + 'tls { certificate = "c.pem", key = "k.pem" }\nlisten { "127.0.0.1:0", tls = "implicit" }\n',
                           78, "c.pem")

    def test_key_of_another_certificate(self):
        for name in ("a", "b"):
            self.good("certificate", "localhost", "--cert", name + ".pem", "--key", name + ".key")
        self.configuration(HEAD + 'tls { certificate = "a.pem", key = "b.key" }\nlisten { "127.0.0.1:0", tls = "implicit" }\n',
                           78, "b.key")

    def test_users_file_is_broken(self):
        self.write("users", "alice:secret\n")
        os.chmod(self.path("users"), 0o600)
        self.configuration(HEAD + LISTEN + 'auth { users = "users" }\n', 78, "users:1")

    def test_port_in_use(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            address = "127.0.0.1:%d" % s.getsockname()[1]
            self.configuration(HEAD + 'listen { "unix:lmtp", protocol = "lmtp" }\nlisten { "%s" }\n' % address, 69, address)

    def test_port_of_another_daemon(self):
        """SO_REUSEPORT must not let two daemons share a port."""
        _, addresses = self.serve(HEAD + LISTEN + STORE, "first.lua")
        self.write("policy.lua", HEAD.replace('"spool"', '"spool2"').replace("unix:control", "unix:control2")
                   + 'listen { "%s" }\n' % addresses[0])
        done = self.barid("serve", "-c", "policy.lua")
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn(addresses[0], done.stderr)
        self.assertFalse(os.path.exists(self.path("spool2")))

    def test_socket_path_is_a_file(self):
        self.write("lmtp", "mine")
        self.configuration(HEAD + 'listen { "unix:lmtp", protocol = "lmtp" }\n', 69, "lmtp")

    def test_spool_of_another_process(self):
        self.serve(HEAD + LISTEN + STORE, "first.lua")
        self.write("policy.lua", HEAD.replace("unix:control", "unix:control2") + LISTEN)
        done = self.barid("serve", "-c", "policy.lua")
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("spool", done.stderr)
        self.assertFalse(os.path.exists(self.path("control2")))

    def test_spool_of_a_newer_version(self):
        process, _ = self.serve(HEAD + LISTEN + STORE, "policy.lua")
        process.terminate()
        self.assertEqual(self.ended(process), 0)
        with open(self.path("spool/FORMAT"), encoding="ascii") as f:
            text = f.read()
        self.assertTrue(text.startswith("barid-spool 1\n"), text)
        self.write("spool/FORMAT", text.replace("barid-spool 1", "barid-spool 99"))
        self.refused(65, "spool")

    def test_spool_directory_is_something_else(self):
        os.mkdir(self.path("spool"))
        self.write("spool/precious", "not a spool")
        self.configuration(HEAD + LISTEN, 78, "spool")

    def test_command_lines(self):
        table = [
            ([], 64), (["nonsense"], 64), (["queue"], 64), (["queue", "nonsense"], 64), (["serve", "--nonsense"], 64),
            (["serve", "-c"], 64), (["serve", "extra"], 64), (["serve", "--ready-fd", "x"], 64), (["send"], 64),
            (["send", "--from", "a@b", "--to", "c@d", "--tls", "maybe"], 64),
            (["send", "--from", "a@b", "--to", "c@d", "--mechanism", "GSSAPI"], 64),
            (["send", "--from", "a@b", "--to", "c@d", "--user", "u"], 64),
            (["send", "--from", "a@b", "--to", "c@d", "--header", "no colon"], 64),
            (["sink", "--reply", "rcpt=999"], 64), (["sink", "--reply", "nothing=550"], 64), (["sink", "--port", "70000"], 64),
            (["passwd"], 64), (["passwd", "-f", "users", "add"], 64), (["queue", "show"], 64), (["queue", "show", "zz"], 64),
            (["queue", "list", "--state", "lost"], 64), (["queue", "list", "--older", "soon"], 64), (["verify", "address"], 64),
            (["stop", "--json"], 64), (["help", "nonsense"], 64),
            (["status", "--control", "unix:/nonexistent"], 69), (["check", "missing.lua"], 66),
        ]
        for arguments, code in table:
            with self.subTest(" ".join(arguments)):
                done = self.barid(*arguments)
                self.assertEqual(done.returncode, code, done.stderr)
                if arguments:
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertTrue(done.stderr.startswith("barid"), done.stderr)
        self.assertEqual(snapshot(self.dir), {})


class Life(Case):
    def test_stop_by_signal_leaves_no_socket(self):
        process, _ = self.serve(HEAD + LISTEN + 'listen { "unix:lmtp", protocol = "lmtp" }\n' + STORE)
        for name in ("lmtp", "control"):
            self.assertTrue(os.path.exists(self.path(name)))
        self.assertEqual(os.stat(self.path("control")).st_mode & 0o777, 0o600)
        process.terminate()
        self.assertEqual(self.ended(process), 0, self.log())
        for name in ("lmtp", "control"):
            self.assertFalse(os.path.exists(self.path(name)))

    def test_stop_by_command(self):
        process, _ = self.serve(HEAD + LISTEN + STORE)
        self.good("stop", "-c", "policy.lua")
        self.assertEqual(self.ended(process), 0, self.log())
        self.assertEqual(self.barid("stop", "-c", "policy.lua").returncode, 69)

    def test_stop_waits_for_a_transaction(self):
        process, addresses = self.serve(HEAD + LISTEN + STORE)
        host, port = addresses[0].split(":")
        with socket.create_connection((host, int(port)), DEADLINE) as s, s.makefile("rwb") as f:
            def say(text, expected):
                f.write(text.encode() + b"\r\n")
                f.flush()
                while True:
                    line = f.readline().decode()
                    if line[3:4] != "-":
                        break
                self.assertEqual(line[:3], expected, line)

            self.assertEqual(f.readline()[:3], b"220")
            say("EHLO c.test", "250")
            say("MAIL FROM:<a@sender.test>", "250")
            say("RCPT TO:<user@example.com>", "250")
            process.terminate()
            self.wait_for_log("stopping")
            say("DATA", "354")
            say("Subject: last\r\n\r\nbody\r\n.", "250")
            self.assertEqual(f.readline()[:3], b"421")
        self.assertEqual(self.ended(process), 0, self.log())

    def wait_for_log(self, text):
        """The log is a file: asked again through the control socket, which answers in turn with the log's writer."""
        for _ in range(100000):
            if text in self.log():
                return
            self.barid("status", "-c", "policy.lua")
        self.fail(self.log())

    def test_second_signal_ends_at_once(self):
        process, addresses = self.serve(HEAD + LISTEN + STORE)
        host, port = addresses[0].split(":")
        with socket.create_connection((host, int(port)), DEADLINE) as s, s.makefile("rwb") as f:
            f.readline()
            f.write(b"EHLO c.test\r\nMAIL FROM:<a@sender.test>\r\n")
            f.flush()
            while not f.readline().startswith(b"250 2.1.0"):
                pass
            process.terminate()
            self.wait_for_log("stopping")
            process.terminate()
            self.assertEqual(self.ended(process), 75)

    def test_reload(self):
        refuse = 'function on.rcpt(session, mail, rcpt) return reject(550, "5.7.1", "%s") end\n'
        process, addresses = self.serve(HEAD + LISTEN + refuse % "first")
        self.assertIn("first", self.barid("send", "--server", addresses[0], "--from", "a@x.test", "--to", "u@example.com").stdout)
        self.write("policy.lua", HEAD + LISTEN + refuse % "second" + 'listen { "unix:more", protocol = "lmtp" }\n')
        self.good("reload", "-c", "policy.lua")
        self.wait_for_log("serving the new configuration")
        done = self.barid("send", "--server", addresses[0], "--from", "a@x.test", "--to", "u@example.com")
        self.assertIn("second", done.stdout)
        self.assertTrue(os.path.exists(self.path("more")))
        # What does not load changes nothing, and says where.
        self.write("policy.lua", HEAD + LISTEN + "function on.nothing() end\n")
        done = self.barid("reload", "--control", "unix:control")
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("policy.lua:", done.stderr)
        done = self.barid("send", "--server", "unix:more", "--lmtp", "--from", "a@x.test", "--to", "u@example.com")
        self.assertIn("second", done.stdout)
        # A listener that is not declared any more closes.
        self.write("policy.lua", HEAD + LISTEN + refuse % "third")
        process.send_signal(signal.SIGHUP)
        self.wait_until(lambda: not os.path.exists(self.path("more")))
        self.assertEqual(json.loads(self.good("status", "--json", "-c", "policy.lua"))["listen"], addresses)
        process.terminate()
        self.assertEqual(self.ended(process), 0, self.log())

    def wait_until(self, condition):
        for _ in range(100000):
            if condition():
                return
            self.barid("status", "-c", "policy.lua")
        self.fail(self.log())

    def test_status_and_queue(self):
        process, addresses = self.serve(HEAD + LISTEN + """
function on.message(session, mail)
  mail:store("%{domain}/%{user}")
  if mail:header("Subject") == "keep" then return hold("to be looked at") end
end
""")
        send = ("send", "--server", addresses[0], "--to", "u@example.com")
        self.good(*send, "--from", "a@one.test", "--subject", "keep")
        self.good(*send, "--from", "b@two.test", "--subject", "keep")
        self.assertIn("2 so far; messages 2", self.good("status", "-c", "policy.lua"))
        for online in (True, False):
            with self.subTest("daemon" if online else "spool"):
                if not online:
                    process.terminate()
                    self.assertEqual(self.ended(process), 0, self.log())
                    before = snapshot(self.dir)
                self.assertEqual(len(self.good("queue", "list", "-c", "policy.lua").splitlines()[::2]), 2)
                lines = self.good("queue", "list", "--json", "--sender", "@one.test", "-c", "policy.lua").splitlines()
                self.assertEqual(len(lines), 1)
                message = json.loads(lines[0])
                self.assertEqual((message["sender"], message["state"]), ("a@one.test", "held"))
                self.assertEqual(self.good("queue", "count", "--sender", "b@two.test", "-c", "policy.lua"), "1\n")
                self.assertEqual(json.loads(self.good("queue", "count", "--json", "-c", "policy.lua"))["held"], 2)
                self.assertEqual(self.good("queue", "list", "--state", "active", "-c", "policy.lua"), "")
                shown = json.loads(self.good("queue", "show", "--json", message["id"], "-c", "policy.lua"))
                self.assertEqual(shown["units"][0]["target"], "example.com/u")
                self.assertIn("Subject: keep", shown["header"])
                missing = self.barid("queue", "show", "0000000000001", "-c", "policy.lua")
                self.assertEqual(missing.returncode, 66, missing.stderr)
                if not online:
                    self.assertEqual(snapshot(self.dir), before)


class Users(Case):
    def test_add_replace_list_remove(self):
        self.good("passwd", "-f", "users", "--stdin", "add", "alice", stdin="wonder land\n")
        self.assertEqual(os.stat(self.path("users")).st_mode & 0o777, 0o600)
        self.good("passwd", "-f", "users", "--stdin", "--plain", "add", "bob", stdin="correct-horse\n")
        self.assertEqual(self.good("passwd", "-f", "users", "list"), "alice scram\nbob plain\n")
        with open(self.path("users"), encoding="utf-8") as f:
            first = f.read()
        self.assertRegex(first, r"(?m)^alice:SCRAM-SHA-256\$4096:")
        self.assertNotIn("wonder", first)
        self.good("passwd", "-f", "users", "--stdin", "--iterations", "5000", "add", "alice", stdin="other\n")
        with open(self.path("users"), encoding="utf-8") as f:
            self.assertRegex(f.read(), r"(?m)^alice:SCRAM-SHA-256\$5000:")
        self.good("passwd", "-f", "users", "remove", "alice")
        self.assertEqual(self.good("passwd", "-f", "users", "list"), "bob plain\n")
        self.assertEqual(self.barid("passwd", "-f", "users", "remove", "alice").returncode, 67)

    def test_refusals_change_nothing(self):
        self.good("passwd", "-f", "users", "--stdin", "add", "alice", stdin="x\n")
        before = snapshot(self.dir)
        for arguments, stdin, code in [
            (["add", "alice"], "\n", 65),
            (["add", "alice"], "a\x07b\n", 65),
            (["add", "bad:name"], "x\n", None),
            (["--iterations", "100", "add", "alice"], "x\n", 64),
        ]:
            done = self.barid("passwd", "-f", "users", "--stdin", *arguments, stdin=stdin)
            self.assertNotEqual(done.returncode, 0)
            if code is not None:
                self.assertEqual(done.returncode, code, done.stderr)
            self.assertEqual(snapshot(self.dir), before)

    def test_without_a_terminal(self):
        done = subprocess.run([BARID, "passwd", "-f", "users", "add", "a"], cwd=self.dir, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, start_new_session=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("--stdin", done.stderr)


class Verify(Case):
    def test_address(self):
        table = [
            (["a.b@example.com"], True), (["a..b@example.com"], False), (['"a b"@example.com'], True),
            (["user@[192.0.2.1]"], True), (["user@[999.0.2.1]"], False), (["\u00fc@ex\u00e4mple.com"], True),
            (["--ascii", "\u00fc@example.com"], False), (["--path", "<>"], True), (["--path", "<postmaster>"], True),
            (["--path", "<a@b> "], False), (["--lenient", "Mr X <a@example.com>"], True), (["Mr X <a@example.com>"], False),
        ]
        for arguments, valid in table:
            with self.subTest(arguments):
                done = self.barid("verify", "address", *arguments)
                self.assertEqual(done.returncode, 0 if valid else 65)
                self.assertEqual(json.loads(done.stdout)["valid"], valid)
        self.assertEqual(json.loads(self.barid("verify", "address", '"a\\ b"@x.test').stdout)["unquoted"], "a b")

    def test_mime(self):
        text = ("Subject: =?utf-8?q?caf=C3=A9?=\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
                "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9\n--b\n"
                "Content-Type: application/octet-stream; name=x.bin\nContent-Transfer-Encoding: base64\n\nAAEC\n--b--\n")
        tree = json.loads(self.good("verify", "mime", "--data", stdin=text.replace("\n", "\r\n")))
        self.assertEqual(tree["type"], "multipart/mixed")
        self.assertIn(["Subject", "caf\u00e9"], tree["headers"])
        self.assertEqual(tree["parts"][0]["text"].strip(), "caf\u00e9")
        self.assertEqual(tree["parts"][1]["file_name"], "x.bin")
        self.assertEqual(tree["parts"][1]["base64"], "AAEC")


MESSAGE = "From: a\nTo: b\n\n.dot\nline\n..two\n.\nlast\n"
WIRE = MESSAGE.replace("\n", "\r\n").encode()


class SendAndSink(Case):
    def send(self, server, *arguments, code=0):
        self.write("m.eml", MESSAGE)
        done = self.barid("send", "--server", server, "--data", "m.eml", *arguments)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return done

    def test_modes(self):
        modes = [[], ["--bdat"], ["--prdr"], ["--bdat", "--prdr"], ["--no-pipelining"], ["--tls", "none"],
                 ["--tls", "starttls"], ["--tls", "starttls", "--bdat"]]
        self.good("certificate", "localhost", "--cert", "c.pem", "--key", "k.pem")
        process, port = self.sink("--port", "0", "--cert", "c.pem", "--key", "k.pem", "--data", "kept")
        for mode in modes:
            self.send("127.0.0.1:" + port, "--from", "a@x.test", "--to", "u@y.test,v@y.test", *mode)
        process.terminate()
        self.assertEqual(self.ended(process), 0)
        found = self.envelopes()
        self.assertEqual(len(found), len(modes))
        for mode, envelope in zip(modes, found):
            with self.subTest(mode):
                self.assertEqual(envelope["sender"], "a@x.test")
                self.assertEqual(envelope["recipients"], ["u@y.test", "v@y.test"])
                self.assertEqual(envelope["size"], len(WIRE))
                self.assertEqual(envelope["sha256"], hashlib.sha256(WIRE).hexdigest())
                self.assertEqual(envelope["tls"], mode != ["--tls", "none"])
                with open(self.path(envelope["file"]), "rb") as f:
                    self.assertEqual(f.read(), WIRE)

    def test_verify_by_name_and_by_address(self):
        self.good("certificate", "mx.example.com", "--cert", "c.pem", "--key", "k.pem")
        self.good("certificate", "mx.example.com", "--cert", "other.pem", "--key", "other.key")
        os.mkdir(self.path("authorities"))
        digest = subprocess.run(["openssl", "x509", "-subject_hash", "-noout", "-in", self.path("c.pem")], check=True,
                                capture_output=True, text=True).stdout.strip()
        os.symlink(self.path("c.pem"), self.path("authorities/%s.0" % digest))
        process, port = self.sink("--port", "0", "--cert", "c.pem", "--key", "k.pem")
        tls = ["--from", "a@x.test", "--to", "u@y.test", "--tls", "starttls", "--verify", "--ca"]
        for host in ("127.0.0.1", "localhost"):
            for authority in ("c.pem", "authorities"):
                with self.subTest(host + " " + authority):
                    self.send(host + ":" + port, *tls, authority)
        done = self.send("127.0.0.1:" + port, *tls, "other.pem", code=75)
        self.assertIn("certificate verify failed", done.stderr)
        process.terminate()
        self.assertEqual(self.ended(process), 0)
        self.assertEqual(len(self.envelopes()), 4)
        # a certificate that names neither 127.0.0.2 nor its name
        self.sink("--listen", "127.0.0.2:" + port, "--cert", "c.pem", "--key", "k.pem")
        done = self.send("127.0.0.2:" + port, *tls, "c.pem", code=75)
        self.assertIn("IP address mismatch", done.stderr)

    def test_binary_keeps_every_octet(self):
        process, port = self.sink("--port", "0")
        octets = b"Subject: x\r\n\r\n" + bytes(range(256)) + b"\n\r.\n.\r\n"
        with open(self.path("b.eml"), "wb") as f:
            f.write(octets)
        self.good("send", "--server", "127.0.0.1:" + port, "--from", "a@x.test", "--to", "u@y.test", "--binary", "--data", "b.eml")
        process.terminate()
        self.assertEqual(self.ended(process), 0)
        self.assertEqual(self.envelopes()[0]["sha256"], hashlib.sha256(octets).hexdigest())
        self.assertEqual(self.envelopes()[0]["body"], "BINARYMIME")

    def test_lmtp_answers_for_each_recipient(self):
        self.sink("--lmtp", "--listen", "unix:sink", "--reply", "recipient:full@y.test=452 4.2.2 full")
        done = self.send("unix:sink", "--lmtp", "--from", "<>", "--to", "u@y.test,full@y.test,u@y.test", code=75)
        self.assertEqual([line.split()[:3] for line in done.stdout.splitlines()],
                         [["u@y.test:", "250", "2.0.0"], ["full@y.test:", "452", "4.2.2"], ["u@y.test:", "250", "2.0.0"]])
        self.assertEqual(self.envelopes()[0]["recipients"], ["u@y.test", "u@y.test"])
        self.assertEqual(self.envelopes()[0]["sender"], "")

    def test_exit_codes(self):
        process, port = self.sink("--port", "0", "--reply", "rcpt:no@y.test=550 5.1.1 no", "--reply", "rcpt:later@y.test=450 later")
        server = "127.0.0.1:" + port
        sender = ["--from", "a@x.test", "--to"]
        self.send(server, *sender, "u@y.test,no@y.test", code=69)
        self.send(server, *sender, "u@y.test,later@y.test", code=75)
        self.send(server, *sender, "no@y.test", code=69)
        self.send(server, *sender, "u@y.test", "--tls", "starttls", code=76)
        process.terminate()
        self.assertEqual(self.ended(process), 0)
        self.assertEqual([e["recipients"] for e in self.envelopes()], [["u@y.test"], ["u@y.test"]])
        self.send(server, *sender, "u@y.test", code=75)

    def test_files_of_sessions_at_once(self):
        """Two messages are half there when both files are open."""
        process, port = self.sink("--port", "0", "--data", "kept")
        with smtplib.SMTP("127.0.0.1", int(port)) as one, smtplib.SMTP("127.0.0.1", int(port)) as two:
            for c in (one, two):
                c.ehlo()
                for words in ("MAIL FROM:<a@x.test>\r\n", "RCPT TO:<u@y.test>\r\n", "BDAT 14\r\nSubject: x\r\n\r\n"):
                    c.send(words)
                    self.assertEqual(c.getreply()[0], 250)
            for c, text in ((one, "one\r\n"), (two, "two\r\n")):
                c.send("BDAT 5 LAST\r\n" + text)
                self.assertEqual(c.getreply()[0], 250)
        contents = []
        for envelope in self.envelopes():
            with open(self.path(envelope["file"]), "rb") as f:
                contents.append(f.read())
        self.assertEqual(contents, [b"Subject: x\r\n\r\n" + text + b"\r\n" for text in (b"one", b"two")])

    def test_repeat_and_count(self):
        process, port = self.sink("--port", "0", "--count", "25")
        self.send("127.0.0.1:" + port, "--from", "a@x.test", "--to", "u@y.test", "--repeat", "25")
        self.assertEqual(self.ended(process), 0)
        self.assertEqual(len(self.envelopes()), 25)

    def test_password_and_dialogue(self):
        self.good("certificate", "localhost", "--cert", "c.pem", "--key", "k.pem")
        self.good("passwd", "-f", "users", "--stdin", "add", "alice@example.com", stdin="wonder land\n")
        _, addresses = self.serve(HEAD + """
tls { certificate = "c.pem", key = "k.pem" }
auth { users = "users" }
listen { "127.0.0.1:0", protocol = "submission" }
listen { "127.0.0.2:0", protocol = "submission", tls = "implicit" }
""" + STORE)
        self.write("good", "wonder land\n")
        self.write("bad", "wonder\n")
        for server, tls in zip(addresses, ("starttls", "implicit")):
            for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
                with self.subTest(tls + " " + mechanism):
                    user = ["--tls", tls, "--user", "alice@example.com", "--mechanism", mechanism, "-v",
                            "--from", "alice@example.com", "--to", "u@example.com"]
                    done = self.send(server, *user, "--password-file", "good")
                    self.assertNotIn("wonder", done.stderr)
                    self.assertIn("> AUTH " + mechanism, done.stderr)
                    self.send(server, *user, "--password-file", "bad", code=77)


if __name__ == "__main__":
    unittest.main(verbosity=2)
