"""The zone of the fake DNS: lines "NAME [TTL] TYPE VALUE", names with wildcards and with numbers, and octets of DNS (RFC 1035).

    example.test        MX    10 mx1.example.test
    null.test           MX    0 .
    *.wild.test         A     127.0.0.1
    d%d.test            MX    10 mx%d.test       the number that %d matched stands for %d in the value, too
    text.test           TXT   v=spf1 -all
    odd.test            TYPE52 03010155          any other type: its data in hex
"""

import ipaddress
import re
import struct

from fake import Mistake, lines_of

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41, "TLSA": 52, "ANY": 255}
NAMES = {number: name for name, number in TYPES.items()}
TTL = 60
CHAIN_MAX = 16  # CNAMEs that an answer follows


def type_name(number):
    return NAMES.get(number, "TYPE%d" % number)


def type_number(name):
    if name.upper() in TYPES:
        return TYPES[name.upper()]
    if re.fullmatch(r"TYPE\d{1,5}", name.upper()):
        return int(name[4:])
    raise Mistake("no type of record: %s" % name)


def plain(name):
    return name.rstrip(".").lower()


def encode_name(name):
    name = name.rstrip(".")
    if name == "":
        return b"\0"
    labels = [label.encode("utf-8") for label in name.split(".")]
    if any(not 1 <= len(label) <= 63 for label in labels):
        raise Mistake("no name of DNS: %s" % name)
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(data, at):
    """(name, where it ends); without compression, as in a question."""
    labels = []
    while True:
        n = data[at]
        if n == 0:
            return ".".join(labels), at + 1
        if n > 63:
            raise Mistake("a compressed name")
        labels.append(data[at + 1:at + 1 + n].decode("utf-8", "surrogateescape"))
        at += 1 + n


def encode_data(kind, value):
    try:
        if kind in ("A", "AAAA"):
            return ipaddress.ip_address(value).packed
        if kind in ("NS", "CNAME", "PTR"):
            return encode_name(value)
        if kind == "MX":
            preference, name = value.split()
            return struct.pack("!H", int(preference)) + encode_name(name)
        if kind == "SRV":
            priority, weight, port, name = value.split()
            return struct.pack("!3H", int(priority), int(weight), int(port)) + encode_name(name)
        if kind == "TXT":
            octets = value.encode("utf-8", "surrogateescape")
            return b"".join(bytes([len(octets[i:i + 255])]) + octets[i:i + 255] for i in range(0, len(octets) or 1, 255))
        if kind == "SOA":
            server, person, *numbers = value.split()
            return encode_name(server) + encode_name(person) + struct.pack("!5I", *map(int, numbers))
        if kind == "TLSA":
            usage, selector, matching, digest = value.split()
            return bytes([int(usage), int(selector), int(matching)]) + bytes.fromhex(digest)
        return bytes.fromhex(value)
    except (ValueError, struct.error) as e:
        raise Mistake("no value of %s: %s (%s)" % (kind, value, e)) from None


class Zone:
    def __init__(self, text=""):
        self.names = {}      # name: {type: [(ttl, value)]}
        self.patterns = []   # (compiled pattern, depth, its records): * and %d
        self.add(text)

    def add(self, text):
        """Lines of text, or {name: {type: value or values}}."""
        if isinstance(text, dict):
            for name, types in text.items():
                for kind, values in types.items():
                    for value in [values] if isinstance(values, str) else values:
                        self._record(name, TTL, kind, value)
            return
        for line in lines_of(text):
            words = line.split(None, 3)
            if len(words) > 2 and words[1].isdigit():
                name, ttl, kind, value = words[0], int(words[1]), words[2], words[3] if len(words) > 3 else ""
            else:
                words = line.split(None, 2)
                if len(words) < 3:
                    raise Mistake("a record is NAME [TTL] TYPE VALUE: %s" % line)
                (name, kind, value), ttl = words, TTL
            self._record(name, ttl, kind, value)

    def _record(self, name, ttl, kind, value):
        name, kind = plain(name), kind.upper()
        type_number(kind)
        encode_data(kind, value.replace("%d", "1"))
        if "*" in name or "%d" in name:
            records = next((r for n, _, r in self.patterns if n == name), None)
            if records is None:
                records = {}
                pattern = re.escape(name).replace("%d", r"(\d+)").replace(r"\*", r".+")
                self.patterns.append((name, re.compile(pattern), records))
                self.patterns.sort(key=lambda p: (p[0].count("*"), -len(p[0])))
        else:
            records = self.names.setdefault(name, {})
        records.setdefault(kind, []).append((ttl, value))

    def remove(self, name, kind=None):
        """Forgets a name, or its records of one type."""
        name = plain(name)
        found = self.names.get(name) or next((r for n, _, r in self.patterns if n == name), {})
        if kind is not None:
            found.pop(kind.upper(), None)
        if kind is None or not found:
            self.names.pop(name, None)
            self.patterns = [p for p in self.patterns if p[0] != name]

    def find(self, name):
        """{type: [(ttl, value)]} of a name; None where there is no such name. A name above another exists, empty."""
        name = plain(name)
        if name in self.names:
            return self.names[name]
        for _, pattern, records in self.patterns:
            match = pattern.fullmatch(name)
            if match is not None:
                number = match.group(1) if match.groups() else ""
                return {k: [(ttl, v.replace("%d", number)) for ttl, v in values] for k, values in records.items()}
        below = "." + name
        return {} if any(n.endswith(below) for n in [p[0] for p in self.patterns] + list(self.names)) else None

    def answer(self, name, kind):
        """(rcode, [(name, type, ttl, value)]) as a resolver answers: along CNAMEs, for as long as they lead to something new."""
        chain, seen = [], set()
        while True:
            found = self.find(name)
            if found is None:
                return 3, chain
            if "CNAME" in found and kind not in ("CNAME", "ANY"):
                ttl, target = found["CNAME"][0]
                chain.append((name, "CNAME", ttl, target))
                seen.add(plain(name))
                if plain(target) in seen or len(chain) > CHAIN_MAX:
                    return 0, chain
                name = target
                continue
            kinds = list(found) if kind == "ANY" else [kind]
            return 0, chain + [(name, k, ttl, value) for k in kinds for ttl, value in found.get(k, [])]
