#!/usr/bin/env python3
"""The libraries export the functions declared in include/barid, all of them and nothing else."""
import pathlib
import re
import subprocess
import sys

libraries, headers = sys.argv[1:-1], pathlib.Path(sys.argv[-1])
declared = set()
for header in headers.glob("*.h"):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    declared |= set(re.findall(r"BARID_API\b[^;]*?\b(barid_\w+)\s*\(", text))
exported = set()
for library in libraries:
    for line in subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout.splitlines():
        name = line.split()[-1]
        if not name.startswith("_"):
            exported.add(name)
problems = [f"exported but not declared: {n}" for n in sorted(exported - declared)]
problems += [f"declared but not exported: {n}" for n in sorted(declared - exported)]
print("\n".join(problems) or f"{len(declared)} functions, declared and exported")
sys.exit(bool(problems))
