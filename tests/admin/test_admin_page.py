"""The live page in a real browser: what it shows of a cluster, also of one that lacks members or is gone."""

import re

import pytest

from tests.helpers.admin import TOKEN, Group
from tests.helpers.browser import open_browser, why_none
from tests.helpers.waiting import WAIT, eventually

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_none()), reason=why_none() or "there is a browser")]


@pytest.fixture(scope="module")
def browser():
    with open_browser() as made:
        yield made


@pytest.fixture
def group(impl):
    made = Group(impl, tick_ms=100)  # leaders stay, however busy the machine is
    made.leader().propose_many([b"x"] * 200).result(timeout=WAIT)
    yield made
    made.close()


def opened(browser, url, *size, theme="light"):
    page = browser.page(url, *size, theme=theme)
    page.wait_for_selector("#members-table tbody tr")
    return page


def text(page, selector):
    return page.inner_text(selector)


def watched(page):
    """Errors of the page, and what it asked for, from now on."""
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    return errors, asked


def test_it_shows_the_cluster_and_keeps_itself_new(browser, group):
    leader = group.leader()
    page = opened(browser, group.nodes[1].admin_url)
    errors, asked = watched(page)
    page.reload()
    page.wait_for_selector("#members-table tbody tr")
    eventually(lambda: text(page, "#headline") == "All is well")
    assert f"Member {leader.id} leads in term {leader.term}" in text(page, "#subline")
    rows = page.locator("#members-table tbody tr").all_inner_texts()
    assert len(rows) == 3 and ["leader" in row for row in rows] == [id == leader.id for id in (1, 2, 3)]
    assert text(page, "#seen-text") == "Live"
    assert page.locator("#latency-chart svg").count() == page.locator("#rate-chart svg").count() == 1
    assert re.search("leads in term", text(page, "#events-list"), re.IGNORECASE)
    # What happens meanwhile is there within moments.
    group.leader().propose_many([b"x"] * 300).result(timeout=WAIT)
    commit = group.leader().commit_index
    eventually(lambda: f"{commit:,}" in text(page, "#figures"))
    to = next(id for id in group.nodes if id != leader.id)
    group.leader().transfer_leadership(to).result(timeout=WAIT)
    eventually(lambda: f"Member {to} leads" in text(page, "#subline"))
    # Nothing comes from elsewhere, and nothing was refused.
    assert errors == [] and asked
    assert {re.sub(r"^(\w+://[^/]+)/.*", r"\1", url) for url in asked if not url.startswith("data:")} == {
        group.nodes[1].admin_url
    }
    page.close()


def test_it_shows_who_does_not_answer(browser, group):
    leader = group.leader()
    shows, away = [id for id in group.nodes if id != leader.id]
    page = opened(browser, group.nodes[shows].admin_url)
    errors, _ = watched(page)
    group.nodes[away].close()
    eventually(lambda: text(page, "#headline") == f"Member {away} does not answer")
    assert "It stops if another voter fails" in text(page, "#subline")
    row = page.locator("#members-table tbody tr").nth(away - 1).inner_text()
    assert "no answer" in row and "last heard" in row
    group.nodes[leader.id].close()
    eventually(lambda: text(page, "#headline") == "No leader")
    assert "1 voter answers, and 2 of 3 are needed" in text(page, "#subline")
    assert errors == []
    # The member itself goes: the page says so, and keeps what it knew.
    group.nodes[shows].close()
    eventually(lambda: text(page, "#seen-text").startswith("Connection lost: not reached; last seen"))
    assert page.locator("#members-table tbody tr").count() == 3
    assert "lost" in page.get_attribute("body", "class")
    page.close()


def test_it_asks_for_the_token(browser, impl, group):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from tests.helpers.serving import served

    app = group.nodes[1].admin(TOKEN, protect_reads=True)
    with served(Starlette(routes=[Mount("/raft", app)])) as url:
        page = browser.page(f"{url}/raft/")
        page.wait_for_selector("#ask:not([hidden])")
        page.fill("#token", "not the one")
        page.keyboard.press("Enter")
        page.wait_for_selector("#ask:not([hidden])")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#members-table tbody tr")
        eventually(lambda: text(page, "#headline") == "All is well")
        assert TOKEN not in page.content()
        page.close()


def luminance(rgb):
    parts = [int(each) / 255 for each in re.findall(r"\d+", rgb)[:3]]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# The page draws itself anew every second: an element is found and looked at in one step.
COLOUR = "selector => getComputedStyle(document.querySelector(selector)).color"
GROUND = """selector => {
  let element = document.querySelector(selector);
  const of = each => getComputedStyle(each).backgroundColor;
  while (element.parentElement && /rgba\\(0, 0, 0, 0\\)|transparent/.test(of(element))) element = element.parentElement;
  return of(element.parentElement ? element : document.body);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_follow_the_system_and_the_switch_and_can_be_read(browser, group, theme):
    page = opened(browser, group.nodes[1].admin_url, theme=theme)
    eventually(lambda: text(page, "#headline") == "All is well")
    body = page.evaluate(GROUND, "body")
    assert (luminance(body) < 0.1) == (theme == "dark")
    selectors = (
        "h1",
        "#subline",
        "h2",
        "h2 small",
        "dt",
        "dd",
        "thead th",
        "tbody th",
        "tbody td",
        ".addr",
        ".tag",
        ".tag.leader",
        "#seen",
        "#theme",
        "footer a",
    )
    for selector in selectors:
        colour, ground = page.evaluate(COLOUR, selector), page.evaluate(GROUND, selector)
        assert contrast(colour, ground) >= 4.5, (selector, colour, ground)
    # The switch, by the keyboard: light, dark, and as the system has it.
    page.focus("#theme")
    seen = []
    for _ in range(3):
        page.keyboard.press("Enter")
        seen.append((text(page, "#theme"), luminance(page.evaluate(GROUND, "body")) < 0.1))
    assert seen == [("Light", False), ("Dark", True), ("Auto", theme == "dark")]
    page.close()


def test_it_can_be_read_without_eyes_and_on_a_phone(browser, group):
    page = opened(browser, group.nodes[1].admin_url, 375, 800)
    eventually(lambda: text(page, "#headline") == "All is well")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.locator("main table").count() == 3
    for at in range(3):
        table = page.locator("main table").nth(at)
        assert table.get_attribute("aria-label") and table.get_attribute("role") == "table"
        assert table.locator("thead th[scope=col]").count() > 1
        assert table.locator("tbody th[scope=row]").count() == 3
    assert page.locator("h1").count() == 1 and page.get_attribute("html", "lang") == "en"
    assert all(page.locator("main svg[role=img]").nth(at).get_attribute("aria-label") for at in range(2))
    # The first stop of the keyboard leads past what repeats itself.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.close()
