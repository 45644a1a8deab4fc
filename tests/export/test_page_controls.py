"""Keys, buttons and the slider of the page."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.browser


def test_keys_change_the_view(page) -> None:
    from selenium.webdriver.common.keys import Keys

    start = page.view
    page.press("+", "+")
    assert page.view["zoom"] == pytest.approx(start["zoom"] * 1.25**2)
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.view["x"] > start["x"] and page.view["y"] > start["y"]
    page.press("]", "]", "[")
    assert page.view["rotation"] == pytest.approx(np.pi / 36)
    page.press("g", "c")
    assert page.view["gradient"] and not page.view["compare"]
    assert page.run("return document.getElementById('gradient').ariaPressed") == "true"
    page.press("-", "0")
    assert page.view == start


def test_a_bracket_may_be_typed_with_alt(page) -> None:
    """AltGr or Option types brackets on some keyboards; other shortcuts are the browser's."""
    script = (
        "const event = new KeyboardEvent('keydown', {key: arguments[0], ...arguments[1]});"
        "dispatchEvent(event); return event.defaultPrevented"
    )
    for modifiers in ({"altKey": True}, {"altKey": True, "ctrlKey": True}):
        before = page.view["rotation"]
        page.run(script, "]", modifiers)
        page.settle()
        assert page.view["rotation"] == pytest.approx(before + np.pi / 36)
    for key, modifiers in (("]", {"ctrlKey": True}), ("+", {"altKey": True})):
        before = page.view
        page.run(script, key, modifiers)
        page.settle()
        assert page.view == before


def test_buttons_and_the_slider_change_the_view(page) -> None:
    start = page.view

    def click(name: str) -> dict[str, Any]:
        page.find(name).click()
        page.settle()
        return page.view

    assert click("zoom-in")["zoom"] > start["zoom"]
    assert click("zoom-out")["zoom"] == pytest.approx(start["zoom"])
    assert click("gradient")["gradient"]
    assert not click("compare")["compare"]
    assert not page.find("split").is_displayed()
    page.run(
        "const a = document.getElementById('angle'); a.value = 30;"
        "a.dispatchEvent(new Event('input'))"
    )
    page.settle()
    assert page.view["rotation"] == pytest.approx(np.pi / 6)
    assert click("reset") == start


def test_the_help_opens_and_closes(page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.press("?")
    assert page.find("help").is_displayed()
    page.press(Keys.ESCAPE)
    assert not page.find("help").is_displayed()


def test_the_image_fits_a_rotated_phone_unless_its_user_zoomed(page) -> None:
    page.open(400, 300)
    page.press("c", "g")  # Neither moves the image.
    page.resize(300, 500)
    fitted = page.view["zoom"]
    page.press("0")
    assert fitted == pytest.approx(page.view["zoom"])
    page.press("+")
    zoomed = page.view["zoom"]
    page.resize(400, 300)
    assert page.view["zoom"] == pytest.approx(zoomed) != pytest.approx(fitted)
