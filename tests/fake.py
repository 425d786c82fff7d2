"""What the fake servers share: rules that say what to do when, waiting with a deadline, records as JSON lines.

A rule is a stage, what narrows it, and a list of actions. In a script it is a line, in Python the call on():

    rcpt:*@full.test nth=1-2 -> 452 4.2.2 full         mta.on("rcpt", "452 4.2.2 full", match="*@full.test", nth="1-2")
    dot connection=1 -> delay 0.5 ; reset               mta.on("dot", ["delay 0.5", "reset"], connection=1)

What narrows it: match, a pattern (fnmatch) of what the stage is about; nth, of the times it matched: 2, "1-3" or "4-"; each=True
counts nth for every argument by itself; any other word is compared with what the server knows (connection, tls, local, over).
The rule that was added last and matches wins.
"""

import fnmatch
import json
import threading
import time

DEADLINE = 30.0  # seconds until a wait counts as a hang; nothing takes as long


class Hang(AssertionError):
    pass


class Mistake(ValueError):
    """A rule, an option or a zone that cannot be understood."""


def span(value):
    """(lowest, highest) of 2, "2", "1-3", "4-"."""
    low, dash, high = str(value).partition("-")
    try:
        return int(low), int(high) if high else float("inf") if dash else int(low)
    except ValueError:
        raise Mistake("neither a number nor a range: %s" % value) from None


class Rule:
    def __init__(self, stage, actions, match=None, nth=None, each=False, after=0, **facts):
        self.stage = stage
        self.actions = [actions] if isinstance(actions, str) or callable(actions) else list(actions)
        self.match = match.lower() if match is not None else None
        self.nth = span(nth) if nth is not None else None
        self.each = bool(each)
        self.after = int(after)
        self.facts = {name: span(value) if name == "connection" else str(value).lower() for name, value in facts.items()}
        self.times = {}  # argument, or None for all: how often it matched

    def _about(self, stage, arguments, facts):
        if self.stage not in (stage, "any"):
            return False
        if self.match is not None and not any(fnmatch.fnmatchcase(a.lower(), self.match) for a in arguments):
            return False
        for name, wanted in self.facts.items():
            value = facts.get(name)
            if name == "connection":
                if not wanted[0] <= value <= wanted[1]:
                    return False
            elif not fnmatch.fnmatchcase(str(value).lower(), wanted):
                return False
        return True

    def applies(self, stage, arguments, facts):
        """Also counts: to be called once for each time that something happens."""
        if not self._about(stage, arguments, facts):
            return False
        key = arguments[0].lower() if self.each and arguments else None
        self.times[key] = self.times.get(key, 0) + 1
        return self.nth is None or self.nth[0] <= self.times[key] <= self.nth[1]


def parse_rule(line):
    """A Rule of "STAGE[:PATTERN] [WORD=VALUE]... -> ACTION [; ACTION]..."."""
    when, arrow, do = line.partition("->")
    words = when.split()
    if not arrow or not words or not do.strip():
        raise Mistake("a rule is STAGE[:PATTERN] [WORD=VALUE]... -> ACTION [; ACTION]...: %s" % line.strip())
    stage, colon, pattern = words[0].partition(":")
    options = {"match": pattern} if colon else {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        options[name] = value if equals else True
    return Rule(stage, [part.strip() for part in do.strip().split(" ; ")], **options)


def lines_of(text):
    """The lines of a script that say something."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


class Fake:
    """A server that follows rules and is watched."""

    STAGES = ()

    def __init__(self, rules=(), out=None, changed=None):
        self.changed = changed or threading.Condition()  # several servers may share it, and be waited for together
        self.seen = {}    # stage: how often it was reached
        self.rules = []
        self.out = out    # a file for JSON lines, or None
        for rule in rules:
            self.add(parse_rule(rule) if isinstance(rule, str) else rule)

    # rules

    def on(self, stage, actions, **narrowed):
        return self.add(Rule(stage, actions, **narrowed))

    def add(self, rule):
        if rule.stage != "any" and rule.stage not in self.STAGES:
            raise Mistake("there is no stage %s; there are: %s" % (rule.stage, ", ".join(self.STAGES)))
        for action in rule.actions:
            if not callable(action):
                self.check_action(action)
        with self.changed:
            self.rules.insert(0, rule)
        return rule

    def off(self, rule=None):
        """Forgets a rule, or all."""
        with self.changed:
            self.rules = [r for r in self.rules if rule is not None and r is not rule]

    def script(self, text):
        for line in lines_of(text):
            self.add(parse_rule(line))

    def check_action(self, action):
        """Raises Mistake where the server cannot do that."""

    def rule_for(self, stage, arguments, facts, count=True):
        """The rule that decides now, or None; the stage counts as reached."""
        with self.changed:
            if count:
                self.seen[stage] = self.seen.get(stage, 0) + 1
                self.changed.notify_all()
            found = None
            for rule in self.rules:
                if rule.applies(stage, arguments, facts) and found is None:
                    found = rule
            return found

    # waiting and recording

    def wait_until(self, condition, what="what the test waits for", deadline=DEADLINE):
        """The first true value of condition(), asked again whenever something happened here."""
        end = time.monotonic() + deadline
        with self.changed:
            while True:
                value = condition()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise Hang("never happened: %s; so far: %s" % (what, self.summary()))
                self.changed.wait(min(left, threading.TIMEOUT_MAX))

    def reached(self, name):
        return self.seen.get(name, 0)

    def wait(self, deadline=DEADLINE, **counts):
        """Until every NAME=COUNT was reached: a stage, or what reached() of the server counts."""
        self.wait_until(lambda: all(self.reached(name) >= n for name, n in counts.items()),
                        " and ".join("%d %s" % (n, name) for name, n in counts.items()), deadline)

    def summary(self):
        return ", ".join("%s %d" % item for item in sorted(self.seen.items())) or "nothing"

    def happened(self, record=None):
        """Wakes who waits; writes the record."""
        with self.changed:
            if record is not None and self.out is not None:
                self.out.write(json.dumps(record) + "\n")
                self.out.flush()
            self.changed.notify_all()
