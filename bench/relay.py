"""What the measurements of mail on its way to other servers share: the sink that it goes to, Barid and Postfix as relays."""

import os
import subprocess
import time

from servers import Barid, PostfixServer, free_port

CONNECTIONS = 50  # out, at once: the same for both
MESSAGES = 1000  # what Barid has by default
POLL_SECONDS = 0.02
STALLED_SECONDS = 600  # Postfix drains some hundred a second on a busy machine

POLICY = """
networks { trusted = { "127.0.0.1" } }
relay { tls = "off", max_connections = %d, max_mails = 1000, max_messages = %d }
"""


class CountingSink:
    """smtp-sink of Postfix, which says how much mail it took. Not a Server: its CPU is nobody's figure."""

    def __init__(self, postfix, folder):
        self.postfix, self.port, self.process = postfix, free_port(), None
        self.out = "%s/sink-%d" % (folder, self.port)

    def __enter__(self):
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen([self.postfix.tool("smtp-sink"), *user, "-c", "-m", "2000",
                                             "127.0.0.1:%d" % self.port, "4096"], env=self.postfix.env(), stdout=out)
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def taken(self):
        """Messages so far."""
        with open(self.out, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 200))
            said = f.read().split(b"mesg=")
        return int(said[-1].split()[0]) if len(said) > 1 else 0


class Relaying(Barid):
    """Barid with mail that goes on; policy follows POLICY. messages: under way at once, for whatever destination."""

    def __init__(self, binary, folder, policy="", messages=MESSAGES):
        super().__init__(binary, folder, POLICY % (CONNECTIONS, messages) + policy)

    def waiting(self):
        return self.count()["messages"]

    def fill(self, filler, count, octets, target, destinations=1):
        """Without the daemon: so many messages in its spool, all due."""
        self.make()
        subprocess.run([filler, self.dir + "/spool", str(count), str(octets), str(destinations), target], check=True)


class RelayingPostfix(PostfixServer):
    def __init__(self, postfix, sink):
        super().__init__(postfix)
        self.sink = sink

    def start(self):
        self.postfix.clean()
        self.resume(self.sink.port, CONNECTIONS)

    def waiting(self):
        return self.postfix.queued()


def until(condition, what, seconds=STALLED_SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("not in %d s: %s" % (seconds, what))
        time.sleep(POLL_SECONDS)

