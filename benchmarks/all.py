"""Every benchmark in one go; `--write` puts the tables into docs/benchmarks.md, `--small` runs a tenth of the size."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured -->", "<!-- end: measured -->"

SIZES = {
    False: {
        "features.py": ["--contacts", "1000000", "--events", "50000000"],
        "program.py": ["--contacts", "1000000", "--events", "50000000", "--episodes", "200000"],
        "crm.py": ["--contacts", "100000"],
        "salesforce.py": ["--contacts", "1000000", "--rows", "200000"],
        "live.py": ["--contacts", "1000", "--people", "100"],
        "webhooks.py": ["--rounds", "3"],
    },
    True: {
        "features.py": ["--contacts", "100000", "--events", "5000000"],
        "program.py": ["--contacts", "100000", "--events", "5000000", "--episodes", "20000"],
        "crm.py": ["--contacts", "10000"],
        "salesforce.py": ["--contacts", "100000", "--rows", "20000"],
        "live.py": ["--contacts", "600", "--people", "40"],
        "webhooks.py": ["--rounds", "1", "--requests", "2000"],
    },
}
TITLES = {
    "features.py": "Features, twelve segments and the difference",
    "program.py": "The daily step of a program, beside the segments of the same run",
    "live.py": "From a delivery to the CRM (HubSpot sandbox with its limits)",
    "crm.py": "Reading from and writing to the CRM (HubSpot sandbox, over HTTP)",
    "salesforce.py": "The same with Salesforce (its sandbox, over HTTP): calls beside the fewest possible",
    "webhooks.py": "Webhooks kept on disk before they are acknowledged, beside bare Flask on the same servers",
}


def measured(script: str, arguments: list[str]) -> str:
    """The table that a benchmark prints, with the command that printed it."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    print(f"running benchmarks/{script} {' '.join(arguments)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"benchmarks/{script} failed with {done.returncode}")
    shown = f"python benchmarks/{script} {' '.join(arguments)}"
    return f"### {TITLES[script]}\n\n`{shown}`\n\n{done.stdout.strip()}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--small", action="store_true", help="a tenth of the size")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    chosen = parser.parse_args()
    tables = [measured(script, arguments) for script, arguments in SIZES[chosen.small].items()]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {gigabytes:.0f} GiB of memory."
    text = "\n".join([machine, "", *tables])
    print(text)
    if chosen.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
