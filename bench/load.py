"""The clients: smtp-source of Postfix for rates, bench/smtpload.c where each message's time is wanted."""

import subprocess
import time
from collections import namedtuple

from programs import run_json

COUNT_MAX = 60000  # messages of one run: what Postfix's hold folder, one file a message, still takes

Load = namedtuple("Load", "sessions octets recipients many")  # many = many messages per connection


def send(postfix, port, load, count):
    """Sends count messages; seconds."""
    command = [postfix.tool("smtp-source"), "-s", str(min(load.sessions, count)), "-m", str(count), "-l", str(load.octets),
               "-r", str(load.recipients), "-M", "client.test", "-f", "bench@sender.test", "-t", "user@rcpt.test"]
    command += ["-d"] if load.many else []
    start = time.monotonic()
    done = subprocess.run(command + ["inet:127.0.0.1:%d" % port], env=postfix.env(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300, check=False)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise RuntimeError("smtp-source: " + done.stdout.decode("utf-8", "replace").strip()[-300:])
    return seconds


def warm_up(postfix, server, load, seconds):
    """(messages sent, how many to send so that it takes about so many seconds)."""
    warm = max(load.sessions * 4, 100)
    taken = send(postfix, server.port, load, warm)
    return warm, int(min(max(warm / taken * seconds, warm), COUNT_MAX))


def measure(postfix, server, load, seconds):
    """Starts the server, which is a fresh one each time: messages a second, and CPU milliseconds per message."""
    with server:
        warm, count = warm_up(postfix, server, load, seconds)
        before = server.seconds()
        taken = send(postfix, server.port, load, count)
        cpu = server.seconds() - before
        kept = server.kept()
        if kept is not None and kept != warm + count:
            raise RuntimeError("%d messages were sent, %d are kept" % (warm + count, kept))
        return {"rate": count / taken, "cpu": cpu * 1000 / count}


def times(programs, port, load, count):
    """Of count messages: rate, p50 and p99 in milliseconds."""
    return run_json([programs.compile("smtpload"), "127.0.0.1", port, load.sessions, count, load.octets, load.recipients,
                     1000000 if load.many else 1])
