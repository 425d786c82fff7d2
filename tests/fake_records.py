"""What the fake MTA remembers of each connection and each mail."""

import base64
import hashlib
import time


class Connection:
    def __init__(self, number, peer, local):
        self.number = number
        self.peer = peer
        self.local = local
        self.at = time.time()
        self.began = time.monotonic()
        self.seconds = None
        self.helo = None
        self.offered = []            # keywords of the last EHLO
        self.tls = None              # {"version", "cipher", "name": what the client asked for by SNI}
        self.handshake_error = None
        self.user = self.mechanism = None
        self.commands = []           # [line, [codes of its replies; None: none was sent]]
        self.mails = 0
        self.quit = False
        self.end = None              # "quit", "eof", "reset" of the client; "closed", "we reset", "421" of ours; "tls: ..."
        self.violations = []

    def verbs(self):
        return [line.partition(" ")[0].upper() for line, _ in self.commands]

    def as_record(self):
        return {"event": "connection", **{k: v for k, v in self.__dict__.items() if k != "began"}}


class Recipient:
    def __init__(self, address, params, code):
        self.address = address
        self.params = params
        self.code = code             # of the reply to RCPT
        self.final = None            # LMTP: of the reply after the dot
        self.is_accepted = code is not None and code // 100 == 2


class Mail:
    def __init__(self, connection, sender, params, tls, user):
        self.connection = connection.number
        self.number = connection.mails     # in the connection, from 1
        self.at = time.time()
        self.sender = sender
        self.params = params               # of MAIL: {"SIZE": "100", "SMTPUTF8": ""}
        self.recipients = []
        self.tls = tls
        self.user = user
        self.helo = connection.helo
        self.local = connection.local
        self.how = None                    # "DATA", "BDAT"; None: neither came
        self.content = b""                 # dots undone where the end was seen, as sent where not
        self.dot = False                   # whether the end was seen
        self.final = None                  # code of the reply that was sent after it (LMTP: see the recipients)

    def add(self, address, params, code):
        self.recipients.append(Recipient(address, params, code))

    @property
    def to(self):
        """Recipients that were accepted at RCPT."""
        return [r.address for r in self.recipients if r.is_accepted]

    @property
    def delivered(self):
        """Recipients for whom a 2xx was sent after the end: the client may forget them. With PRDR the last reply has to come, too."""
        asked_each = any(r.final is not None for r in self.recipients)
        if "PRDR" in self.params and asked_each and self.final is None:
            return []
        return [r.address for r in self.recipients if r.is_accepted and ((r.final if asked_each else self.final) or 0) // 100 == 2]

    def as_record(self, octets=True):
        found = {"event": "mail", **{k: v for k, v in self.__dict__.items() if k not in ("content", "recipients")}}
        found["recipients"] = [dict(r.__dict__) for r in self.recipients]
        found["delivered"] = self.delivered
        found["size"] = len(self.content)
        found["sha256"] = hashlib.sha256(self.content).hexdigest()
        if octets:
            found["octets"] = base64.b64encode(self.content).decode()
        return found
