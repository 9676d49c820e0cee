"""`winback check`: what is wrong, and how to fix it."""

from __future__ import annotations

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

CONFIGURATION, CREDENTIALS = 2, 6


def command(*, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Check the playbook, credentials, scopes, limits and mapped fields: one line per finding with its fix."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json
    from connector.doctor import examine
    from connector.model import Severity
    from connector.redact import redact

    signs = {Severity.OK: "ok  ", Severity.WARNING: "warn", Severity.ERROR: "FAIL"}
    findings = []
    with open_workspace(config, now=now) as workspace:
        for finding in examine(workspace):
            findings.append(finding)
            if not as_json:
                out(f"{signs[finding.severity]}  {finding.subject}: {redact(finding.message)}")
                if finding.fix and finding.severity is not Severity.OK:
                    out(f"      → {redact(finding.fix)}")
    if as_json:
        body = [
            {"subject": f.subject, "severity": f.severity.value, "message": redact(f.message), "fix": f.fix}
            for f in findings
        ]
        out_json({"schema_version": 1, "findings": body})
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise typer.Exit(code=CREDENTIALS if any(f.credentials for f in errors) else CONFIGURATION)
