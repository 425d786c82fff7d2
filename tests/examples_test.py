#!/usr/bin/env python3
"""The examples do what their first lines say, driven by real clients."""
import pathlib
import smtplib
import subprocess
import sys
import tempfile

stdio, callback = sys.argv[1:3]

dialogue = b"EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx: y\r\n\r\nz\r\n.\r\nQUIT\r\n"
r = subprocess.run([stdio], input=dialogue, capture_output=True, timeout=20)
assert r.returncode == 0, r
codes = [line[:3] for line in r.stdout.decode().splitlines() if line[3:4] == " "]
assert codes == ["220", "250", "250", "250", "354", "451", "221"], r.stdout
assert r.stderr == b"recipient c@d.example\n", r.stderr

with tempfile.TemporaryDirectory() as inbox:
    server = subprocess.Popen([callback, "127.0.0.1:0", inbox], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline().rsplit(" ", 1)[1])
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as s:
            s.sendmail("a@b.example", ["c@d.example"], "Subject: one\r\n\r\nhello\r\n")
            s.sendmail("a@b.example", ["c@d.example"], "Subject: two\r\n\r\n" + "x" * 70 + "\r\n")
        files = sorted(pathlib.Path(inbox).iterdir())
        texts = sorted(f.read_bytes() for f in files)
        assert texts == [b"Subject: one\r\n\r\nhello\r\n", b"Subject: two\r\n\r\n" + b"x" * 70 + b"\r\n"], texts
    finally:
        server.terminate()
        server.wait()
    assert subprocess.run([callback, "256.0.0.1:0"], capture_output=True).returncode == 69
print("examples: stdio and callback answered as documented")
