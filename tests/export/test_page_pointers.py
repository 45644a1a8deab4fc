"""Mouse and touch move, zoom and rotate the image of the page."""

import numpy as np
import pytest

pytestmark = pytest.mark.browser


def test_dragging_moves_the_image_with_the_mouse(page) -> None:
    before = page.view
    canvas = page.find("canvas")
    page.actions().move_to_element_with_offset(canvas, -150, 20).click_and_hold().move_by_offset(
        47, -30
    ).release().perform()
    page.settle()
    after = page.view
    assert after["x"] == pytest.approx(before["x"] - 47 / before["zoom"], abs=0.01)
    assert after["y"] == pytest.approx(before["y"] + 30 / before["zoom"], abs=0.01)
    assert after["zoom"] == before["zoom"]


def test_the_wheel_zooms_about_the_mouse(page) -> None:
    before = page.view
    page.scroll("canvas", 100, 50, -200)
    after = page.view
    assert after["zoom"] > 1.2 * before["zoom"]
    for axis, offset in (("x", 100), ("y", 50)):  # The point under the mouse stays there.
        assert after[axis] + offset / after["zoom"] == pytest.approx(
            before[axis] + offset / before["zoom"], abs=0.02
        )


def test_dragging_with_shift_rotates(page) -> None:
    from selenium.webdriver.common.keys import Keys

    canvas = page.find("canvas")
    page.actions().key_down(Keys.SHIFT).move_to_element_with_offset(
        canvas, 120, 0
    ).click_and_hold().move_by_offset(0, 100).release().key_up(Keys.SHIFT).perform()
    page.settle()
    assert page.view["rotation"] == pytest.approx(np.arctan2(100, 120), abs=0.03)


def test_one_finger_moves_and_two_pinch_and_turn(page) -> None:
    page.open(360, 420, 2.0, mobile=True)
    start = page.view
    page.touch([(100, 200), (120, 220), (140, 240)])
    moved = page.view
    assert moved["x"] == pytest.approx(start["x"] - 2 * 40 / start["zoom"], abs=0.1)
    page.touch([(140, 200), (120, 200), (100, 200)], [(220, 200), (240, 200), (260, 200)])
    pinched = page.view
    assert pinched["zoom"] == pytest.approx(2 * moved["zoom"], rel=0.02)
    assert pinched["rotation"] == 0
    turned = [(180 + 80 * np.cos(a), 200 + 80 * np.sin(a)) for a in np.linspace(0, 1, 9)]
    page.touch(
        [(round(360 - x), round(400 - y)) for x, y in turned],
        [(round(x), round(y)) for x, y in turned],
    )
    assert page.view["rotation"] == pytest.approx(1, abs=0.2)
    assert page.view["zoom"] == pytest.approx(pinched["zoom"], rel=0.05)


def test_the_line_follows_the_mouse_and_its_keys(page) -> None:
    from selenium.webdriver.common.keys import Keys

    line = page.find("split")
    before = page.view
    page.actions().click_and_hold(line).move_by_offset(-96, 0).release().perform()
    page.settle()
    assert page.view["split"] == pytest.approx(0.3, abs=0.01)
    page.press(Keys.ARROW_RIGHT)
    assert page.view["split"] == pytest.approx(0.32, abs=0.01)
    assert line.get_attribute("aria-valuenow") == "32"
    assert {**page.view, "split": 0.5} == before


def test_wheel_and_double_click_work_on_the_line(page) -> None:
    before = page.view
    page.scroll("split", 0, 60, -200)
    scrolled = page.view
    assert scrolled["zoom"] > 1.2 * before["zoom"]
    page.actions().move_to_element_with_offset(page.find("split"), 0, 60).double_click().perform()
    page.settle()
    assert page.view["zoom"] == pytest.approx(2 * scrolled["zoom"], rel=0.01)


def test_two_fingers_on_the_line_pinch_and_one_moves_it(page) -> None:
    page.open(360, 420, 2.0, mobile=True)
    before = page.view
    page.touch([(180, 170), (180, 150), (180, 130)], [(180, 250), (180, 270), (180, 290)])
    assert page.view["zoom"] == pytest.approx(2 * before["zoom"], rel=0.02)
    assert page.view["split"] == before["split"]
    page.touch([(180, 200), (160, 200), (150, 200)])
    assert page.view["split"] < before["split"] - 0.05
