"""Which country a CRM means: codes and names, as people write them, to ISO 3166 alpha-2."""

from __future__ import annotations

import unicodedata
from functools import cache, lru_cache
from importlib import resources

_ALSO = {
    "AE": "UAE",
    "BA": "Bosnia and Herzegovina, Bosnia",
    "CD": "Democratic Republic of the Congo",
    "CG": "Republic of the Congo, Congo",
    "CZ": "Czechia",
    "DE": "Deutschland, Federal Republic of Germany",
    "ES": "España",
    "GB": "UK, Great Britain, United Kingdom, Britain, England, Scotland, Wales, Northern Ireland, "
    "United Kingdom of Great Britain and Northern Ireland",
    "IR": "Islamic Republic of Iran",
    "KR": "South Korea, Republic of Korea, Korea",
    "KP": "North Korea",
    "GR": "EL, Hellas",
    "MD": "Republic of Moldova",
    "MM": "Myanmar, Burma",
    "NL": "The Netherlands, Holland, Nederland",
    "PS": "Palestinian Territory",
    "RU": "Russian Federation",
    "SY": "Syrian Arab Republic",
    "SZ": "Eswatini, Swaziland",
    "TR": "Türkiye",
    "TZ": "United Republic of Tanzania",
    "US": "USA, U.S., U.S.A., United States of America, America",
    "VN": "Viet Nam",
}
"""Other names in use, beside those of the table that comes with the time zones."""

_ALPHA_3 = (
    "ARE:AE ARG:AR AUS:AU AUT:AT BEL:BE BGR:BG BRA:BR CAN:CA CHE:CH CHL:CL CHN:CN COL:CO CYP:CY CZE:CZ DEU:DE DNK:DK "
    "ESP:ES EST:EE FIN:FI FRA:FR GBR:GB GRC:GR HKG:HK HRV:HR HUN:HU IDN:ID IND:IN IRL:IE ISL:IS ISR:IL ITA:IT JPN:JP "
    "KOR:KR LIE:LI LTU:LT LUX:LU LVA:LV MEX:MX MLT:MT MYS:MY NLD:NL NOR:NO NZL:NZ PHL:PH POL:PL PRT:PT ROU:RO RUS:RU "
    "SAU:SA SGP:SG SRB:RS SVK:SK SVN:SI SWE:SE THA:TH TUR:TR TWN:TW UKR:UA USA:US VNM:VN ZAF:ZA"
)
"""Three-letter codes of the countries that keep most of the world's mailboxes; others are unknown."""

_CODE_LETTERS = 2


@lru_cache(maxsize=8192)
def country_code(text: str | None) -> str | None:
    """The ISO code of a country written as code or English name; None when nobody can tell."""
    if text is None:
        return None
    return _table().get(_plain(text))


@cache
def _table() -> dict[str, str]:
    """Plain name or code → code. The names come with the time zones' data, which are always installed."""
    names: dict[str, str] = {}
    listed = resources.files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8")
    for line in listed.splitlines():
        code, tab, name = line.partition("\t")
        if tab and len(code) == _CODE_LETTERS:
            names[_plain(code)] = names[_plain(name)] = code
    for code, others in _ALSO.items():
        names.update((_plain(name), code) for name in others.split(","))
    names.update((_plain(three), code) for three, _, code in (pair.partition(":") for pair in _ALPHA_3.split()))
    return names


def _plain(text: str) -> str:
    """Without case, accents, dots and the article's blanks: "The Netherlands " is `the netherlands`."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(" " if c.isspace() or c in "-_" else c for c in letters if not unicodedata.combining(c) and c != ".")
    return " ".join(kept.replace("&", " and ").replace("\u2019", "'").split())
