"""`winback --help` stays quick: it loads next to nothing. Modules are counted, time is not."""

from __future__ import annotations

import subprocess
import sys

# pydantic is not among them: typer imports it itself where it is installed.
HEAVY = {
    "alembic", "duckdb", "flask", "hubspot", "numpy", "pandas", "pyarrow", "requests", "sqlalchemy",
    "sqlglot", "tenacity", "urllib3", "yaml",
}  # fmt: skip
MOST_MODULES = 480


def modules_loaded_by(*arguments: str) -> set[str]:
    code = (
        "import sys; sys.argv = ['winback', *sys.argv[1:]]\n"
        "from connector.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_loads_no_heavy_library():
    loaded = modules_loaded_by("--help")
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert len(loaded) < MOST_MODULES


def test_a_command_s_help_loads_no_heavy_library():
    assert not {name.split(".")[0] for name in modules_loaded_by("plan", "--help")} & HEAVY


def test_the_version_loads_no_heavy_library():
    assert not {name.split(".")[0] for name in modules_loaded_by("--version")} & HEAVY
