"""Certificates for fake servers: good, and wrong in every way that a client should notice. openssl makes them, once each.

    good         of a test CA (ca()), for the names asked for
    wrong-name   of the CA, for other.invalid
    expired      of the CA, two days old, valid for one
    self-signed  for the names, of nobody
"""

import atexit
import datetime
import os
import shutil
import ssl
import subprocess
import tempfile

from fake import Mistake

KINDS = ("good", "wrong-name", "expired", "self-signed")
NAMES = ("localhost", "127.0.0.1", "::1")

_folder = None
_made = {}


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _home():
    global _folder
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="fake-tls-")
        atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    return _folder


def ca():
    """The file with the CA that signed what is good: a client is told to trust it."""
    home = _home()
    cert, key = home + "/ca.pem", home + "/ca.key"
    if not os.path.exists(cert):
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=fake CA", "-keyout", key, "-out", cert)
        with open(home + "/ca.conf", "w", encoding="ascii") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=%s\ndatabase=%s/index\nserial=%s/serial\ndefault_md=sha256\n"
                    "policy=p\nunique_subject=no\ncopy_extensions=copy\n[p]\ncommonName=supplied\n" % (home, home, home))
        with open(home + "/index", "w", encoding="ascii"):
            pass
        with open(home + "/serial", "w", encoding="ascii") as f:
            f.write("01\n")
    return cert


def _alternative(names):
    return "subjectAltName=" + ",".join(
        ("IP:" if ":" in n or n.replace(".", "").isdigit() else "DNS:") + n for n in names)


def certificate(kind="good", names=NAMES):
    """(certificate, key): files of PEM, made when first asked for."""
    if kind not in KINDS:
        raise Mistake("no kind of certificate: %s; there are: %s" % (kind, ", ".join(KINDS)))
    if kind == "wrong-name":
        names = ("other.invalid",)
    asked = (kind, tuple(names))
    if asked in _made:
        return _made[asked]
    home = _home()
    base = "%s/%d" % (home, len(_made))
    request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + names[0],
               "-addext", _alternative(names), "-keyout", base + ".key"]
    if kind == "self-signed":
        _openssl(*request, "-x509", "-days", "2", "-out", base + ".pem")
    else:
        ca()
        _openssl(*request, "-out", base + ".csr")
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = (-2, -1) if kind == "expired" else (-1, 2)
        stamp = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (begin, end)]
        _openssl("ca", "-batch", "-notext", "-config", home + "/ca.conf", "-cert", home + "/ca.pem", "-keyfile",
                 home + "/ca.key", "-in", base + ".csr", "-out", base + ".pem", "-startdate", stamp[0], "-enddate", stamp[1])
    _made[asked] = (base + ".pem", base + ".key")
    return _made[asked]


def context(kind="good", names=NAMES):
    """An ssl context of a server with such a certificate; kind may also be (certificate, key)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*(kind if isinstance(kind, tuple) else certificate(kind, names)))
    return made
