"""Our pages in a real browser: readable by everybody, by keyboard alone, without scripts, in both schemes and sizes."""

from __future__ import annotations

import re

import pytest

from tests.fakes.browsing import chromium, looking, served, sign_in
from tests.fakes.hearing import ANN, HELD, QUIET
from tests.fakes.pages import PASSWORDS, link

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    '<a href="java\tscript:alert(1)">x</a>',
    "<input onfocus=alert(1) autofocus>",
    "<select onfocus=alert(1) autofocus>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/>",
    "<style>@import '//evil.example/x.css';</style>",
    "<style>*{background:url(//evil.example/x)}</style>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<xss id=x tabindex=1 onfocus=alert(1)></xss>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><script>alert(1)</script-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<template><script>alert(1)</script></template>",
    "{{7*7}}{{config}}",
    "{% for x in ().__class__.__mro__ %}{% endfor %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "` onmouseover=alert(1) `",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    '<img src="//evil.example/x.gif">',
    "<img srcset=//evil.example/x.gif>",
    "<picture><source srcset=//evil.example/x.gif></picture>",
    "<table background=//evil.example/x.gif>",
    "<div style=background:url(//evil.example/x.gif)>x</div>",
    "<div style=width:expression(alert(1))>x</div>",
    "=cmd|' /C calc'!A0",
    "\u202eevil\u202c \ufdfd \u200b",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    with served(tmp_path_factory.mktemp("pages")) as at:
        yield at


def accessible(page):
    """No violation of any rule that axe-core has."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def fits(page):
    """Nothing has to be pushed sideways, but inside tables."""
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible_in_both_schemes_and_sizes(browser, at, width, scheme):
    with looking(browser, width=width, scheme=scheme) as seen:
        page = seen.page
        for action in ("unsubscribe", "snooze", "preferences", "return"):
            page.goto(at.url + link(action))
            accessible(page)
            fits(page)
        page.goto(at.url + link("preferences"))
        page.check("input[value=keep]")
        page.click("button")
        accessible(page)
        page.goto(f"{at.url}/login")
        accessible(page)
        fits(page)
        sign_in(page, at.url)
        for path in ("/", "/inbox", "/inbox?did=replayed&state=ignored", f"/contacts/{ANN}", f"/contacts/{HELD}"):
            page.goto(at.url + path)
            accessible(page)
            fits(page)
        assert seen.errors == []
        for path, status in (("/l/nothing", 404), ("/contacts/nobody", 404)):
            assert page.goto(at.url + path).status == status
            accessible(page)
            fits(page)
        assert seen.elsewhere(at.url) == []
        assert {url.partition("?")[0] for url in seen.requests if "style" in url} == {f"{at.url}/style.css"}


def test_the_stylesheet_is_let_in_by_our_own_rules(browser, at):
    with looking(browser, scheme="dark") as seen:
        seen.page.goto(at.url + link("unsubscribe"))
        [paper, radius] = seen.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('button')).borderRadius]"
        )
        assert (paper, radius) == ("rgb(20, 23, 26)", "8px")
        assert seen.errors == []


# --- by keyboard --------------------------------------------------------------------------------------------------


def tab_to(page, selector: str) -> None:
    """Press Tab until this has the focus, and see that one can tell."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            seen = page.evaluate(
                """() => {
                    const at = document.activeElement;
                    return [at, at.closest('label')].some(one => one && getComputedStyle(one).outlineStyle !== 'none');
                }"""
            )
            assert seen, f"the focus on {selector} cannot be seen"
            return
    raise AssertionError(f"{selector} cannot be reached by keyboard on {page.url}")


def test_an_operator_needs_no_mouse(browser, at):
    with looking(browser) as seen:
        page = seen.page
        page.goto(f"{at.url}/inbox")
        tab_to(page, "#name")
        page.keyboard.type("ada")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORDS["ada"])
        page.keyboard.press("Enter")
        page.wait_for_url(f"{at.url}/inbox")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        tab_to(page, "#state")
        page.keyboard.type("done")
        tab_to(page, ".filter button")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/inbox\?source=&state=done"))
        tab_to(page, "td a")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{at.url}/contacts/{ANN}")
        tab_to(page, "details:not([open]) summary")
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == 2
        page.keyboard.press("Control+Home")
        page.goto(f"{at.url}/")
        tab_to(page, "#who")
        page.keyboard.type(HELD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{at.url}/contacts/{HELD}")
        tab_to(page, ".me button")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{at.url}/login")
        assert seen.errors == []


def test_unsubscribing_needs_no_mouse(browser, at):
    with looking(browser, width=360, locale="de-DE") as seen:
        page = seen.page
        page.goto(at.url + link("unsubscribe", QUIET))
        assert page.get_attribute("html", "lang") == "de"
        tab_to(page, "button")
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Sie sind abgemeldet')")
        accessible(page)
        assert at.site.journal.consent.state(QUIET).opted_out_at is not None
        page.goto(at.url + link("snooze", QUIET))
        tab_to(page, "input[type=radio]")
        page.keyboard.press("ArrowDown")
        tab_to(page, "button")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=bleiben es")
        assert seen.errors == []
        assert page.context.cookies() == []


def test_coming_back_leads_to_another_site_although_our_rules_are_strict(browser, at):
    with looking(browser) as seen:
        page = seen.page
        page.goto(f"{at.url}{link('return', QUIET)}?dest=pricing")
        page.click("button")
        page.wait_for_url(re.compile(r"^http://localhost:\d+/healthz\?utm_source=winback&"))
        assert seen.errors == []


# --- without scripts ----------------------------------------------------------------------------------------------


def test_everything_works_without_scripts(browser, at):
    with looking(browser, java_script_enabled=False) as seen:
        page = seen.page
        page.goto(at.url + link("preferences", HELD))
        page.check("input[value='60']")
        page.click("button")
        assert page.inner_text("h1") == "Mails are paused"
        sign_in(page, at.url)
        page.click("nav a:has-text('Inbox')")
        page.select_option("#state", "set_aside")
        page.click(".filter button")
        page.click("td button:has-text('Repeat')")
        assert "waits again" in page.inner_text(".note")
        page.fill("#who", ANN)
        page.click(".search button")
        assert page.inner_text("h1") == ANN
        page.click("details:not([open]) summary")
        page.click(".me button")
        assert page.inner_text("h1") == "Sign in"


# --- what strangers write -----------------------------------------------------------------------------------------


def test_whatever_strangers_write_is_text(browser, tmp_path):
    # Once where text stands, and once as if it had to break out of an attribute first.
    hostile = " ".join([*HOSTILE, *(f"\"'>{one}" for one in HOSTILE)])
    with served(tmp_path, text=hostile) as at, looking(browser) as seen:
        page = seen.page
        sign_in(page, at.url)
        for path, times in (("/", 1), ("/inbox", 6), (f"/contacts/{ANN}", 8)):
            page.goto(at.url + path)
            shown = page.evaluate("document.body.textContent")
            assert shown.count(hostile) >= times, path
            assert page.evaluate("document.scripts.length") == 0
            assert page.locator("img, iframe, object, embed, svg, video, audio, math, base, style").count() == 0
            assert page.locator("[onerror], [onload], [onfocus], [onmouseover], [ontoggle]").count() == 0
        assert (seen.dialogs, seen.errors, seen.elsewhere(at.url)) == ([], [], [])
