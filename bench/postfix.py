"""Postfix out of its package, in a private root: nothing of it is installed. Its smtp-source and smtp-sink run anywhere; the
server needs root (it changes users) and runs within its root by chroot(2)."""

import glob
import os
import shutil
import stat
import subprocess

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

PASSWD = """root:x:0:0::/:/bin/false
nobody:x:65534:65534::/:/bin/false
postfix:x:%d:%d::/:/bin/false
"""
GROUP = "root:x:0:\nnogroup:x:65534:\npostfix:x:%d:\npostdrop:x:%d:\n"
OWNER, DROP = 64990, 64991  # numbers that nobody else on a Debian machine has by default

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")


class Postfix:
    def __init__(self, top):
        self.root = subprocess.run([top + "/tools/unpack-peer", "postfix"], check=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL).stdout.decode().strip()

    def tool(self, name):
        return "%s/usr/sbin/%s" % (self.root, name)

    def env(self):
        places = [self.root + "/usr/lib/postfix"] + glob.glob(self.root + "/usr/lib/*-linux-*") + glob.glob(self.root + "/lib/*-linux-*")
        return dict(os.environ, LD_LIBRARY_PATH=":".join(places), MAIL_CONFIG=self.config_for_tools())

    def config_for_tools(self):
        """The tools read main.cf, if only to know their name."""
        folder = self.root + "/etc/tools"
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(folder + "/main.cf"):
            self.write("/etc/tools/main.cf", "compatibility_level = 3.6\nmyhostname = client.test\ninet_protocols = ipv4\n")
        return folder

    def write(self, path, text):
        with open(self.root + path, "w", encoding="utf-8") as f:
            f.write(text)

    # the private root

    def prepare(self):
        self.copy_libraries()
        self.write("/etc/passwd", PASSWD % (OWNER, OWNER))
        self.write("/etc/group", GROUP % (OWNER, DROP))
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for name, minor in (("null", 3), ("urandom", 9), ("random", 8)):
            node = "%s/dev/%s" % (self.root, name)
            os.makedirs(self.root + "/dev", exist_ok=True)
            if not os.path.exists(node):
                os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, minor))
                os.chmod(node, 0o666)
        self.make_queues()

    def copy_libraries(self):
        """What the programs need and the package does not bring: the machine's own."""
        programs = glob.glob(self.root + "/usr/lib/postfix/sbin/*") + glob.glob(self.root + "/usr/lib/postfix/*.so")
        listing = subprocess.run(["ldd", *programs], env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        for word in set(listing.split()):
            if word.startswith("/") and not word.startswith(self.root) and os.path.isfile(word):
                target = self.root + word
                if not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(os.path.realpath(word), target)

    def folder(self, path, owner, group, mode):
        os.makedirs(self.root + path, exist_ok=True)
        os.chown(self.root + path, owner, group)
        os.chmod(self.root + path, mode)

    def make_queues(self):
        spool = "/var/spool/postfix"
        for path in ("/", "/var", "/var/spool", "/var/lib", "/var/log", "/etc", "/usr"):
            self.folder(path, 0, 0, 0o755)
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
