"""Postfix out of its package, in a private root: nothing of it is installed. Its smtp-source and smtp-sink run anywhere; the
server needs root (it changes users) and runs within its root by chroot(2)."""

import os
import subprocess

from peer_root import PeerRoot

MAIN_CF = """
compatibility_level = 3.6
myhostname = bench.test
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
# Nothing slows it down on purpose.
default_process_limit = 250
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
queue_minfree = 0
"""

HELD = "smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks, reject\n"

# On to one next hop, as fast as Postfix can: connections are kept, all of them from the start, no message waits for the active queue.
RELAYED = """
smtpd_recipient_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:%d
default_destination_concurrency_limit = %d
initial_destination_concurrency = %d
smtp_destination_concurrency_limit = %d
smtp_connection_cache_destinations = 127.0.0.1
smtp_connection_reuse_time_limit = 300s
smtp_host_lookup = native
smtp_tls_security_level = none
qmgr_message_active_limit = 40000
qmgr_message_recipient_limit = 40000
"""

MASTER_CF = """
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
scache    unix  - - n -  1 scache
error     unix  - - n -  - error
retry     unix  - - n -  - error
postlog   unix-dgram n - n - 1 postlogd
"""

OWNER, DROP = 64990, 64991  # numbers that nobody else on a Debian machine has by default

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")


class Postfix(PeerRoot):
    PACKAGE = "postfix"

    def env(self):
        return dict(os.environ, LD_LIBRARY_PATH=self.library_path("/usr/lib/postfix"), MAIL_CONFIG=self.config_for_tools())

    def config_for_tools(self):
        """The tools read main.cf, if only to know their name."""
        folder = self.root + "/etc/tools"
        if not os.path.exists(folder + "/main.cf"):
            self.write("/etc/tools/main.cf", "compatibility_level = 3.6\nmyhostname = client.test\ninet_protocols = ipv4\n")
        return folder

    # the private root

    def prepare(self):
        self.furnish(["/usr/lib/postfix/sbin/*", "/usr/lib/postfix/*.so"], ["/usr/lib/postfix"], [("postfix", OWNER), ("postdrop", DROP)])
        self.make_queues()

    def make_queues(self):
        spool = "/var/spool/postfix"
        self.folder(spool, 0, 0, 0o755)
        self.folder(spool + "/pid", 0, 0, 0o755)
        self.folder("/var/lib/postfix", OWNER, OWNER, 0o755)
        for name in QUEUES:
            self.folder(spool + "/" + name, OWNER, 0, 0o700)
        self.folder(spool + "/maildrop", OWNER, DROP, 0o730)
        self.folder(spool + "/public", OWNER, DROP, 0o710)

    # the server

    def configure(self, port, relay=None, connections=0):
        """relay: the port that all mail goes on to, by so many connections; None: every message is put on hold."""
        self.write("/etc/postfix/main.cf", MAIN_CF + (RELAYED % (relay, connections, connections, connections) if relay else HELD))
        self.write("/etc/postfix/master.cf", MASTER_CF % port)

    def command(self):
        return ["chroot", self.root, "/usr/lib/postfix/sbin/master", "-c", "/etc/postfix", "-d"]

    def options(self):
        """How it is started: for subprocess.Popen."""
        return {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
                "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": "/usr/lib/postfix",
                        "MAIL_CONFIG": "/etc/postfix"}}

    def held(self):
        return sum(len(files) for _, _, files in os.walk(self.root + "/var/spool/postfix/hold"))

    def queued(self):
        """Is anything left to send? Looks no further than to the first file."""
        for name in ("incoming", "active", "deferred"):
            for _, _, files in os.walk("%s/var/spool/postfix/%s" % (self.root, name)):
                if files:
                    return True
        return False

    def release(self):
        """What is held is in the incoming queue, as if it had just come: without the server."""
        spool = self.root + "/var/spool/postfix"
        for name in os.listdir(spool + "/hold"):
            os.rename("%s/hold/%s" % (spool, name), "%s/incoming/%s" % (spool, name))

    def clean(self):
        for name in QUEUES + ("maildrop",):
            if name == "private":
                continue
            for folder, _, files in os.walk("%s/var/spool/postfix/%s" % (self.root, name)):
                for file in files:
                    os.unlink(folder + "/" + file)
        log = self.root + "/var/log/postfix.log"
        if os.path.exists(log):
            os.truncate(log, 0)
