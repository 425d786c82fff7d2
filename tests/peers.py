"""Other people's mail servers as peers of a daemon under test: Postfix, Exim, Dovecot, each a private instance in a root of its own
(peer_root.py), on ports of loopback, started and stopped by process id. All need root."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from fake import Hang
from peer_root import Missing, PeerRoot

TIMEOUT = 60  # seconds until a peer that makes no progress counts as hanging


def until(condition, what, seconds=TIMEOUT):
    """Other people's servers do not tell when they are done: they are asked."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Hang("never happened: " + (what() if callable(what) else what))
        time.sleep(0.02)


def files_below(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


class Peer(PeerRoot):
    """What they share: a temporary folder, a process in the foreground, a log."""

    LOG = None
    ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def __init__(self, ports):
        if os.getuid() != 0:
            raise Missing("chroot(2) needs root")
        self.top = tempfile.mkdtemp(prefix="peer-")
        os.chmod(self.top, 0o755)
        self.process, self.port = None, ports.take()
        try:
            super().__init__(self.top + "/root")
            self.prepare()
        except BaseException:
            self.close()
            raise

    def start(self):
        with open(self.top + "/said", "wb") as said:
            self.process = subprocess.Popen(["chroot", self.root, *self.command()], env=self.ENV, stdin=subprocess.DEVNULL,
                                            stdout=said, stderr=said, start_new_session=True)
        until(self.answers, lambda: "%s answers on port %d; its log:\n%s" % (type(self).__name__, self.port, self.log()), 20)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise Missing("%s ended by itself: %s" % (type(self).__name__, self.log()))
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                return s.recv(3) == b"220"
        except OSError:
            return False

    def log(self):
        found = []
        for name in (self.top + "/said", self.root + self.LOG):
            if os.path.exists(name):
                with open(name, encoding="utf-8", errors="replace") as f:
                    found += f.readlines()[-60:]
        return "".join(found)

    def run(self, *command):
        """A tool of the peer, in its root."""
        return subprocess.run(["chroot", self.root, *command], env=self.ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=TIMEOUT).stdout.decode(errors="replace")

    def queued(self):
        """Files in its queue."""
        raise NotImplementedError

    def wait_empty(self):
        until(lambda: self.queued() == 0, lambda: "an empty queue of %s; its log:\n%s" % (type(self).__name__, self.log()))

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
            # What it started is in its session; it may have ended before them.
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.top, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()


# --- Postfix


class Postfix(Peer):
    """Relays everything to 127.0.0.1:next_port. restrictions: further rows of smtpd_recipient_restrictions."""

    PACKAGE, LOG = "postfix", "/var/log/postfix.log"
    ENV = {**Peer.ENV, "LD_LIBRARY_PATH": "/usr/lib/postfix", "MAIL_CONFIG": "/etc/postfix"}
    OWNER, DROP = 64990, 64991  # numbers that nobody else on a Debian machine has by default
    QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
    MAIN = """
compatibility_level = 3.6
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
default_privs = nobody
maillog_file = /var/log/postfix.log
# Nothing is looked up: no names of clients, no aliases, no users.
smtpd_peername_lookup = no
disable_dns_lookups = yes
alias_maps =
alias_database =
local_recipient_maps =
smtpd_tls_security_level = none
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
queue_minfree = 0
# Nothing is too large; addresses are what they are.
message_size_limit = 60000000
header_size_limit = 1000000
smtputf8_enable = yes
allow_percent_hack = no
swap_bangpath = no
resolve_dequoted_address = no
# No field is added or completed: by default a client in mynetworks is a user whose mail has holes to be filled.
local_header_rewrite_clients =
relayhost = [127.0.0.1]:%d
smtp_tls_security_level = none
smtpd_recipient_restrictions = %s permit_mynetworks, reject
"""
    MASTER = """
127.0.0.1:%d inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n -  0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n -  - trivial-rewrite
bounce    unix  - - n -  0 bounce
defer     unix  - - n -  0 bounce
trace     unix  - - n -  0 bounce
proxymap  unix  - - n -  - proxymap
anvil     unix  - - n -  1 anvil
smtp      unix  - - n -  - smtp
relay     unix  - - n -  - smtp
error     unix  - - n -  - error
retry     unix  - - n -  - error
postlog   unix-dgram n - n - 1 postlogd
"""

    def __init__(self, ports, next_port, restrictions="", more=""):
        self.main = self.MAIN % (next_port, restrictions) + more
        super().__init__(ports)

    def prepare(self):
        self.furnish(["/usr/lib/postfix/sbin/*", "/usr/lib/postfix/*.so", "/usr/sbin/post*"], ["/usr/lib/postfix"],
                     [("postfix", self.OWNER), ("postdrop", self.DROP)])
        spool = "/var/spool/postfix"
        shutil.rmtree(self.root + spool, ignore_errors=True)  # the bench may have left something in what was copied
        for path in (spool, spool + "/pid"):
            self.folder(path, 0, 0, 0o755)
        self.folder("/var/lib/postfix", self.OWNER, self.OWNER, 0o755)
        for name in self.QUEUES:
            self.folder(spool + "/" + name, self.OWNER, 0, 0o700)
        self.folder(spool + "/maildrop", self.OWNER, self.DROP, 0o730)
        self.folder(spool + "/public", self.OWNER, self.DROP, 0o710)
        self.write("/etc/postfix/main.cf", self.main)
        self.write("/etc/postfix/master.cf", self.MASTER % self.port)

    def command(self):
        return ["/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d"]

    def queued(self):
        return sum(files_below("%s/var/spool/postfix/%s" % (self.root, n))
                   for n in ("active", "deferred", "hold", "incoming", "maildrop", "corrupt", "bounce", "defer"))


# --- Exim


class Exim(Peer):
    """Relays everything to 127.0.0.1:next_port. rcpt_acl: statements in front of those of the ACL for RCPT."""

    PACKAGE, LOG = "exim4-daemon-light", "/var/log/exim4/mainlog"
    USER = 64992
    CONFIG = """
primary_hostname = exim.test
domainlist local_domains =
hostlist relay_from_hosts = 127.0.0.1
keep_environment =
daemon_smtp_ports = %d
local_interfaces = 127.0.0.1
disable_ipv6
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
log_file_path = /var/log/exim4/%%slog
# Nothing slows it down on purpose; nothing is too large.
smtp_accept_max = 100
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
remote_max_parallel = 20
recipients_max = 0
message_size_limit = 60M
header_maxsize = 4M
check_spool_space = 0
check_spool_inodes = 0
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
# Local parts are what they are.
strict_acl_vars = false
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept
acl_smtp_mail = accept
never_users =

begin acl
acl_rcpt:
%s
  accept hosts = 127.0.0.1
  deny

begin routers
known:
  driver = manualroute
%s
  domains = *
  route_data = 127.0.0.1
  self = send
  transport = next
  no_more

begin transports
next:
  driver = smtp
  port = %d
  allow_localhost
  hosts_try_fastopen =
  hosts_avoid_tls = *
  hosts_try_prdr =

begin retry
* * F,1h,1s
"""

    def __init__(self, ports, next_port, rcpt_acl="", router=""):
        self.pieces = (rcpt_acl, router, next_port)
        super().__init__(ports)

    def prepare(self):
        self.furnish(["/usr/sbin/exim4"], [], [("Debian-exim", self.USER), ("mail", 8)])
        self.write("/etc/exim4/exim4.conf", self.CONFIG % (self.port, *self.pieces))
        for path in ("/var/spool/exim4", "/var/log/exim4"):
            self.folder(path, self.USER, self.USER, 0o750)
        self.folder("/tmp", 0, 0, 0o1777)

    def command(self):
        return ["/usr/sbin/exim4", "-bdf"]

    def queued(self):
        return files_below(self.root + "/var/spool/exim4/input")


# --- Dovecot


class Dovecot(Peer):
    """LMTP on a port and on a unix socket, for the users that are named; Maildirs below root/mail/USER."""

    PACKAGE, LOG = "dovecot-lmtpd", "/var/log/dovecot.log"
    OWNERS = (("dovecot", 64993), ("dovenull", 64994), ("vmail", 64995))
    CONFIG = """
protocols = lmtp
listen = 127.0.0.1
base_dir = /run/dovecot
state_dir = /run/dovecot-state
log_path = /var/log/dovecot.log
ssl = no
mail_location = maildir:/mail/%%u
mail_uid = vmail
mail_gid = vmail
hostname = dovecot.test
auth_username_format = %%n
lmtp_save_to_detail_mailbox = no
recipient_delimiter =
passdb {
  driver = passwd-file
  args = username_format=%%n /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = username_format=%%n /etc/dovecot/users
}
service lmtp {
  chroot =
  inet_listener lmtp {
    address = 127.0.0.1
    port = %d
  }
  unix_listener lmtp {
    mode = 0666
  }
}
service anvil {
  chroot =
}
"""

    def __init__(self, ports, users):
        self.users = users
        super().__init__(ports)

    @property
    def socket(self):
        return self.root + "/run/dovecot/lmtp"

    def prepare(self):
        self.furnish(["/usr/sbin/dovecot", "/usr/lib/dovecot/*", "/usr/lib/dovecot/modules/*.so"], ["/usr/lib/dovecot"], self.OWNERS)
        owner = self.OWNERS[2][1]
        self.write("/etc/dovecot/dovecot.conf", self.CONFIG % self.port)
        self.write("/etc/dovecot/users", "".join("%s:{PLAIN}x:%d:%d::/mail/%s::\n" % (u, owner, owner, u) for u in self.users))
        for path, who, mode in (("/run", 0, 0o755), ("/run/dovecot-state", 0, 0o755), ("/mail", owner, 0o755), ("/tmp", 0, 0o1777)):
            self.folder(path, who, who, mode)

    def command(self):
        return ["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"]

    def box(self, user):
        """Contents of the messages of a user."""
        found = []
        for part in ("new", "cur"):
            folder = "%s/mail/%s/%s" % (self.root, user, part)
            if os.path.isdir(folder):
                for name in os.listdir(folder):
                    with open(folder + "/" + name, "rb") as f:
                        found.append(f.read())
        return found

    def queued(self):
        return 0
