"""Whether an address can be mailed at all: well formed, a person's, and one that is kept."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

_DESKS = """
abuse accounting accounts accountspayable accounts-payable admin administration administrator billing bookings
bugs careers compliance contact contactus contact-us customercare customer-service customerservice customersupport
dataprotection dev developers devnull devops domains donotreply do-not-reply do.not.reply do_not_reply dpo
enquiries enquiry events everyone feedback finance ftp general hello help helpdesk help-desk hostmaster hr
humanresources info inquiries inquiry investors invoice invoices invoicing it itsupport jobs legal list
list-request listserv mailer-daemon mailerdaemon mailbox majordomo marketing media news newsletter nobody
noc noreply no-reply no.reply no_reply notifications notification office ops operations orders order partners
payables payments payroll postbox postmaster press privacy procurement purchasing receivables reception
recruiting recruitment registrar request returns root sales security service services shop spam staff
subscribe support sysadmin system team tech technical techsupport test training undisclosed-recipients unsubscribe
usenet uucp web webadmin webmaster webmail welcome www
administracion atencion atencionalcliente buchhaltung bureau buero compras comptabilite contabilidad contacto
contato datenschutz direction einkauf empfang facturacion facturatie factures faktura fatturazione
financeiro gerencia informacion informatica kantoor karriere klantenservice kontakt kundenservice presse
rechnung rechnungen rechnungswesen rrhh secretaria secretariat segreteria sekretariat servicedesk soporte
suporte support-client support-technique vendas vendite ventas vertrieb verwaltung zentrale
"""
ROLES = frozenset(_DESKS.split())
"""Local parts that are a desk, not a person: nobody behind them gave a permission of their own."""

ADDRESS_LONGEST = 254
LOCAL_LONGEST = 64
PLAIN_LOCAL = r"[a-z0-9_'+&/=~-]+(?:\.[a-z0-9_'+&/=~-]+)*"
"""How nearly every local part looks, as a regular expression for all of it; nothing is wrong with such a one."""
_is_plain = re.compile(PLAIN_LOCAL).fullmatch

INVALID = "invalid_email"
ROLE = "role_address"
DISPOSABLE = "disposable_address"


def normalised(email: str) -> str:
    """One spelling of an address: no blanks around, lower case, composed letters, its domain as the net knows it.

    Tags (`ann+news@`) and dots stay: they are other addresses at most providers.
    """
    text = email.strip().lower()
    if text.isascii():
        return text.removesuffix(".")
    local, at, domain = unicodedata.normalize("NFKC", text).lower().rpartition("@")
    return f"{local}{at}{_ascii_domain(domain)}"


def address_problem(email: str, *, hygiene: bool = True) -> str | None:
    """The code of EXCLUSIONS that speaks against the address; None: nothing does.

    No name server is asked. Without `hygiene` only what cannot be an address is found.
    """
    local, at, domain = normalised(email).rpartition("@")
    if not at or _local_problem(local) or len(local) + len(domain) >= ADDRESS_LONGEST:
        return INVALID
    problem = _domain_problem(domain)
    if problem == INVALID or not hygiene:
        return problem if problem == INVALID else None
    return ROLE if is_role(local) else problem


def is_role(local: str) -> bool:
    """Whether this part before the @ names a desk; a tag behind a plus sign does not hide it."""
    return local in ROLES or ("+" in local and local.partition("+")[0] in ROLES)


def _local_problem(local: str) -> bool:
    """Nearly all are plain; what is not goes to the library, which knows the rest of the standard."""
    if len(local) > LOCAL_LONGEST:
        return True
    return _is_plain(local) is None and not _valid(f"{local}@example.com")


@lru_cache(maxsize=65536)
def _domain_problem(domain: str) -> str | None:
    """What is wrong with a domain: asked once for each, as a customer base has far fewer domains than people."""
    if not _valid(f"a@{domain}"):
        return INVALID
    labels = domain.split(".")
    listed, kept = _throw_away()
    parents = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    return None if listed.isdisjoint(parents) or not kept.isdisjoint(parents) else DISPOSABLE


@cache
def _throw_away() -> tuple[frozenset[str], frozenset[str]]:
    """Domains of throw-away mailboxes, and those that look like one and are not."""
    from disposable_email_domains import allowlist, blocklist

    return frozenset(blocklist), frozenset(allowlist)


def _valid(address: str) -> bool:
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


@lru_cache(maxsize=8192)
def _ascii_domain(domain: str) -> str:
    """`münchen.example` as name servers know it; unchanged where it has no such form."""
    import idna

    try:
        return idna.encode(domain.removesuffix("."), uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain
