"""AUTH as a server does it, for the fake MTA: each mechanism asks say(), a challenge in octets to the answer in octets."""

import base64
import hashlib
import hmac
import os


class Refused(Exception):
    pass


def _plain(ask, first, users):
    parts = (ask(b"") if first is None else first).split(b"\0")
    if len(parts) != 3:
        raise Refused("not PLAIN")
    return parts[1].decode(), hmac.compare_digest(users.get(parts[1].decode(), os.urandom(8).hex()).encode(), parts[2])


def _login(ask, first, users):
    name = (ask(b"Username:") if first is None else first).decode()
    return name, hmac.compare_digest(users.get(name, os.urandom(8).hex()).encode(), ask(b"Password:"))


def _cram_md5(ask, first, users):
    challenge = b"<%s@fake>" % os.urandom(8).hex().encode()
    name, _, digest = ask(challenge).decode().rpartition(" ")
    expected = hmac.new(users.get(name, os.urandom(8).hex()).encode(), challenge, "md5").hexdigest()
    return name, hmac.compare_digest(expected, digest)


def _scram_sha_256(ask, first, users):
    first = (ask(b"") if first is None else first).decode()
    header, _, bare = first.partition(",,")
    if header not in ("n", "y"):
        raise Refused("no channel is bound here")
    fields = dict(f.split("=", 1) for f in bare.split(","))
    name = fields["n"].replace("=2C", ",").replace("=3D", "=")
    salt, nonce = os.urandom(16), fields["r"] + os.urandom(12).hex()
    challenge = "r=%s,s=%s,i=4096" % (nonce, base64.b64encode(salt).decode())
    final = ask(challenge.encode()).decode()
    without, _, proof = final.rpartition(",p=")
    said = dict(f.split("=", 1) for f in without.split(","))
    if said.get("r") != nonce or base64.b64decode(said.get("c", "")) != (header + ",,").encode():
        raise Refused("another nonce or header")
    salted = hashlib.pbkdf2_hmac("sha256", users.get(name, os.urandom(8).hex()).encode(), salt, 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    message = ",".join((bare, challenge, without)).encode()
    signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
    good = hmac.compare_digest(bytes(a ^ b for a, b in zip(client, signature)), base64.b64decode(proof))
    if good:
        ask(b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")))
    return name, good


MECHANISMS = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5, "SCRAM-SHA-256": _scram_sha_256}


def authenticate(mechanism, first, users, ask):
    """(user, whether the password was right). first: the initial response in base64, or None; ask: base64 to base64."""
    def ask_octets(challenge):
        answer = ask(base64.b64encode(challenge).decode())
        if answer == "*":
            raise Refused("cancelled")
        return base64.b64decode(answer, validate=True)

    try:
        initial = None if first is None else b"" if first == "=" else base64.b64decode(first, validate=True)
        return MECHANISMS[mechanism](ask_octets, initial, users)
    except (ValueError, KeyError) as e:
        raise Refused("cannot be understood: %s" % e) from None
