"""The studio on screens of several sizes, and by keyboard alone."""

import pytest

pytestmark = pytest.mark.browser

CONTROLS = "button, input, select, a, [tabindex]"

IS_MARKED = (
    "const e = document.activeElement, style = getComputedStyle(e);"
    "const grip = e.querySelector('.grip'), mark = grip ? getComputedStyle(grip) : style;"
    "const ring = getComputedStyle(document.getElementById('ring')).opacity === '1';"
    "return e.id === 'canvas' ? ring : mark.outlineStyle === 'solid'"
)


@pytest.fixture
def page(studio_page):
    return studio_page


def box(page, selector: str) -> list[float]:
    """Left, top, right and bottom of an element."""
    return page.run(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left, b.top, b.right, b.bottom]",
        selector,
    )


@pytest.mark.parametrize(("width", "height"), [(844, 390), (667, 350)])
def test_on_a_phone_on_its_side_nothing_hides_the_picture(page, draw, width, height) -> None:
    page.open_studio(width, height, mobile=True)
    text = page.run("return document.querySelector('#welcome > div').scrollHeight")
    assert text <= height
    page.drop(draw(2, (24, 32)))
    page.wait_until_open()
    page.wait_until_sharp()
    view = page.view
    left = width / 2 - view["x"] * view["zoom"]
    right = left + 32 * view["zoom"]
    assert box(page, "#legend")[2] <= left and right <= width
    assert view["split"] * width == pytest.approx((left + right) / 2, abs=1)

    page.find("help-button").click()
    assert box(page, "#help-title")[1] >= 0 and box(page, "#help button")[3] <= height
    page.find("help").find_element("tag name", "button").click()

    page.set_screen(390, 844, mobile=True)
    page.wait_until(lambda: page.view["split"] == pytest.approx(0.5))


def test_the_help_opens_at_its_beginning(page, draw) -> None:
    page.open_studio(320, 300, mobile=True)
    page.drop(draw(2, (20, 24)))
    page.wait_until_open()
    page.find("help-button").click()
    assert box(page, "#help-title")[1] >= box(page, "#help")[1]


def test_tab_reaches_all_controls_and_shows_where_it_is(page, draw) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open_studio(1000, 700)
    for picture in (None, draw(2, (200, 240))):
        if picture is not None:
            page.drop(picture)
            page.wait_until_open()
        expected = page.run(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => e.checkVisibility()).map((e) => e.outerHTML)",
            CONTROLS,
        )
        reached = set()
        for _ in range(2 * len(expected)):
            page.driver.switch_to.active_element.send_keys(Keys.TAB)
            active = page.run("return document.activeElement")
            if active.tag_name == "body":
                continue
            assert page.run(IS_MARKED), active.get_attribute("outerHTML")
            reached.add(active.get_attribute("outerHTML"))
        assert len(expected) >= 5 and set(expected) <= reached


def test_escape_ends_a_save_and_the_focus_returns(page, draw) -> None:
    from selenium.webdriver.common.keys import Keys

    def focus() -> str:
        return page.driver.switch_to.active_element.get_attribute("id")

    page.drop(draw(1, (300, 300)))
    page.wait_until_open()
    page.run("document.getElementById('save').focus()")
    dialog = page.find("save-dialog")
    for keys in ((), (Keys.ENTER,)):
        page.driver.switch_to.active_element.send_keys(Keys.ENTER)
        assert dialog.is_displayed() and focus() == "scale"
        for key in keys:
            page.driver.switch_to.active_element.send_keys(key)
            assert page.find("save-time").is_displayed() and focus() == "save-cancel"
        page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert not dialog.is_displayed() and focus() == "save"
