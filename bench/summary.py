"""The block in the end that can be pasted: the machine, and each bar."""

import datetime
import os
import subprocess

from programs import TOP, run_json
from table import note, print_bars


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=TOP, check=False)
    except OSError:
        return ""
    return done.stdout.decode("utf-8", "replace").split("\n")[0].strip() if done.returncode == 0 else ""


def version(bench):
    commit = first_line(["git", "describe", "--always", "--dirty"])
    return first_line([bench.barid, "--version"]) + (", commit " + commit if commit else "")


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")


def file_system(path):
    """Of the spools that are measured."""
    return first_line(["findmnt", "-n", "-o", "FSTYPE", "-T", path]) or "unknown"


def disk(bench):
    """How long one durable write takes: 4 KiB over a written file, then fdatasync."""
    try:
        tool = bench.programs.built("src/spool/bench_spool")
        r = run_json([tool, bench.folder + "/facts", "raw", 4096, 1, 0.5])
    except RuntimeError:
        return "unknown"
    return "p50 %.3f ms, p99 %.3f ms" % (r["p50_us"] / 1000, r["p99_us"] / 1000)


def print_summary(bench, bars):
    note("\n--- summary ---------------------------------------------------------------")
    note("%s, %s" % (version(bench), datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    note("%d CPUs (%s), Linux %s" % (os.cpu_count(), cpu_model(), os.uname().release))
    note("spools on %s; fdatasync of 4 KiB over a written file: %s" % (file_system(bench.folder), disk(bench)))
    note("%d round(s); median [least-most] of the rounds; canned, postfix: see the head of bench/run" % bench.options.rounds)
    if bench.quick:
        note("a quick run: short, few messages; not the figures to compare")
    print_bars(bars)
    missed = [bar for bar in bars if bar.verdict() == "MISSED"]
    absent = [bar for bar in bars if not bar.values]
    note("%d bars: %d met, %d missed%s" % (len(bars), len(bars) - len(missed) - len(absent), len(missed),
                                          ", %d not measured" % len(absent) if absent else ""))
