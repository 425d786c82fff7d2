"""Results by round, medians with their range, and the bars."""

import statistics


def note(text=""):
    print(text, flush=True)


def spread(values, digits):
    """median [least-most]"""
    text = "%.*f" % (digits, statistics.median(values))
    return text if len(values) == 1 else "%s [%.*f-%.*f]" % (text, digits, min(values), digits, max(values))


class Results:
    """What was measured of a server in a row of a round: a dictionary of figures. One that failed is not there."""

    def __init__(self):
        self.number = 0   # of the round
        self.figures = {}  # (row, server) -> number -> figures

    def add(self, row, server, figures):
        self.figures.setdefault((row, server), {})[self.number] = figures

    def has(self, row, server):
        return (row, server) in self.figures

    def values(self, row, server, key):
        return [f[key] for f in self.figures.get((row, server), {}).values() if f.get(key) is not None]

    def ratios(self, row, server, reference, key):
        """Within each round that has both."""
        ours, theirs = self.figures.get((row, server), {}), self.figures.get((row, reference), {})
        return [ours[n][key] / theirs[n][key] for n in ours
                if n in theirs and ours[n].get(key) is not None and theirs[n].get(key)]

    def text(self, row, server, key, digits):
        values = self.values(row, server, key)
        return spread(values, digits) if values else "-"

    def ratio_text(self, row, server, reference, key):
        values = self.ratios(row, server, reference, key)
        return spread(values, 2) if values else "-"


def print_table(title, head, rows):
    """The first column to the left, the others to the right; columns as wide as they need."""
    cells = [[str(cell) for cell in row] for row in [head] + rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    note("\n" + title)
    for row in cells:
        note("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))


class Bar:
    """One figure that is wanted. values: one per round; limit: a number, or one per round where it was measured, too."""

    def __init__(self, text, sign, limit, values, digits=2, unit=""):
        self.text, self.sign, self.values, self.digits, self.unit = text, sign, values, digits, unit
        self.limits = limit if isinstance(limit, list) else [limit] * len(values)
        self.limit = 0 if isinstance(limit, list) else limit

    def verdict(self):
        if not self.values:
            return "not measured"
        # A limit that was itself measured is compared within its round.
        slack = statistics.median(v - l for v, l in zip(self.values, self.limits))
        return "met" if (slack >= 0 if self.sign == ">=" else slack <= 0) else "MISSED"

    def row(self):
        limits = self.limits or [self.limit]
        limit = "%g" % limits[0] if min(limits) == max(limits) else spread(limits, self.digits)
        got = spread(self.values, self.digits) + self.unit if self.values else "-"
        return [self.text, "%s %s%s" % (self.sign, limit, self.unit), got, self.verdict()]


def print_bars(bars):
    rows = [["bar", "wanted", "got", ""]] + [bar.row() for bar in bars]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        note(" | ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())
