"""The servers: start on a free port, say how many messages are kept, stop. Each start is a fresh one."""

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time

from harness import UnixHttp


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    process = None
    port = None
    cpu = None  # set once, before the first start

    def spawn(self, command, **options):
        self.process = subprocess.Popen(command, preexec_fn=self.cpu.join, **options)

    def wait_port(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        raise RuntimeError("%s does not answer on port %d" % (type(self).__name__, self.port))

    def seconds(self):
        """CPU time so far."""
        return self.cpu.seconds(self.process.pid)

    def kept(self):
        """How many messages it has, None = it keeps none."""
        return None

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()


class Canned(Server):
    def __init__(self, programs):
        self.binary = programs.compile("canned")

    def start(self):
        self.port = free_port()
        self.spawn([self.binary, "127.0.0.1", str(self.port)])
        self.wait_port()


class Sink(Server):
    def __init__(self, postfix):
        self.postfix = postfix

    def start(self):
        self.port = free_port()
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self.spawn([self.postfix.tool("smtp-sink"), *user, "127.0.0.1:%d" % self.port, "4096"],
                   env=self.postfix.env(), stdout=subprocess.DEVNULL)
        self.wait_port()


class PostfixServer(Server):
    def __init__(self, postfix):
        self.postfix = postfix

    def start(self):
        self.postfix.clean()
        self.resume()

    def resume(self, relay=None, connections=0):
        """Start on the files that are there; relay: the port that mail goes on to, None = it is put on hold."""
        self.port = free_port()
        self.postfix.configure(self.port, relay, connections)
        self.spawn(self.postfix.command(), **self.postfix.options())
        self.wait_port()

    def kept(self):
        return self.postfix.held()

    def halt(self):
        """Ends it, and keeps the files."""
        Server.stop(self)

    def stop(self):
        super().stop()
        self.postfix.clean()


class Aiosmtpd(Server):
    """The module's own command line with its Mailbox handler: a Maildir, each message in a file of its own, with fsync."""

    def __init__(self, root, folder):
        self.packages, self.folder, self.dir = root + "/usr/lib/python3/dist-packages", folder, None

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="aiosmtpd-", dir=self.folder)
        self.port = free_port()
        for name in ("cur", "new", "tmp"):
            os.makedirs("%s/mail/%s" % (self.dir, name))
        self.spawn(["/usr/bin/python3", "-m", "aiosmtpd", "-n", "-s", "50000000", "-l", "127.0.0.1:%d" % self.port,
                    "-c", "aiosmtpd.handlers.Mailbox", self.dir + "/mail"],
                   env=dict(os.environ, PYTHONWARNINGS="ignore", PYTHONPATH=self.packages), cwd=self.dir,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_port()

    def kept(self):
        return len(os.listdir(self.dir + "/mail/new"))

    def stop(self):
        super().stop()
        if self.dir is not None:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None


HEAD = """
hostname "bench.test"
domains { "rcpt.test" }
listen { "127.0.0.1:@PORT@" }
spool { dir = "spool" }
maildir { root = "mail" }
control { listen = "unix:control" }
log { file = "log" }
limits { transactions = 0, commands = 100000000 }
"""

HOLD = """
function on.message(session, mail)
  return hold("bench")
end
"""


class Barid(Server):
    """policy: what follows HEAD. @PORT@ and @TLS_PORT@ are free ports."""

    def __init__(self, binary, folder, policy=HOLD):
        self.binary, self.folder, self.policy = os.path.abspath(binary), folder, policy
        self.dir = self.tls_port = None

    def make(self):
        self.dir = tempfile.mkdtemp(prefix="barid-", dir=self.folder)
        os.mkdir(self.dir + "/mail")

    def start(self):
        self.make()
        self.resume()

    def resume(self, policy=None):
        """Start on the files that are there."""
        self.port, self.tls_port = free_port(), free_port()
        text = (HEAD + (policy or self.policy)).replace("@PORT@", str(self.port)).replace("@TLS_PORT@", str(self.tls_port))
        with open(self.config(), "w", encoding="utf-8") as f:
            f.write(text)
        ready_r, ready_w = os.pipe()
        self.spawn([self.binary, "serve", "-c", self.config(), "--ready-fd", str(ready_w)], pass_fds=[ready_w])
        os.close(ready_w)
        ready = select.select([ready_r], [], [], 20)[0] and os.read(ready_r, 4096)
        os.close(ready_r)
        if not ready:
            raise RuntimeError("barid did not get ready")

    def config(self):
        return self.dir + "/policy.lua"

    def run(self, *arguments):
        """One of barid's own commands on this configuration."""
        return subprocess.run([self.binary, *arguments, "-c", self.config()], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=True).stdout.decode()

    def count(self):
        connection = UnixHttp(self.dir + "/control")
        connection.request("GET", "/v1/queue/count")
        count = json.loads(connection.getresponse().read())
        connection.close()
        return count

    def kept(self):
        return self.count()["held"]

    def kill(self):
        """kill -9; the files stay until stop."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        super().stop()
        if self.dir is not None:
            shutil.rmtree(self.dir, ignore_errors=True)
            self.dir = None
