"""What a user of the studio does too early, at once, or in between."""

import io

import pytest
from PIL import Image

pytestmark = pytest.mark.browser


@pytest.fixture
def page(studio_page):
    return studio_page


def test_keys_wait_for_a_picture(page) -> None:
    for key in "?s":
        page.run("dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0] }))", key)
    assert not page.find("help").is_displayed() and not page.find("save-dialog").is_displayed()


def test_of_files_dropped_together_one_picture_is_opened(page, draw) -> None:
    file = io.BytesIO()
    Image.fromarray(draw(2, (20, 24))).save(file, "PNG")
    page.drop_file(file.getvalue(), "notes.txt", "photo.png", "other.png")
    page.wait_until_open()
    page.wait_until(lambda: "one of 3 files" in page.find("cells").text)
    assert page.find("legend").text.startswith("photo.png")
    page.drop(draw(2, (20, 24)), "next.png")
    page.wait_until(lambda: page.find("legend").text.startswith("next.png"))
    page.wait_until(lambda: "24 × 20" in page.find("cells").text)
    assert "files" not in page.find("cells").text


def test_the_picture_that_is_opened_last_is_shown(page, draw) -> None:
    page.run(
        "const make = createImageBitmap, told = window.told = []; let count = 0;"
        "window.createImageBitmap = async (blob) => { const isFirst = count++ === 0;"
        "if (isFirst) await new Promise((done) => setTimeout(done, 1500));"
        "const bitmap = await make(blob); setTimeout(() => told.push(isFirst)); return bitmap; }"
    )
    page.drop(draw(2, (20, 24)), "slow.png")
    page.drop(draw(2, (30, 40)), "quick.png")
    page.wait_until(lambda: len(page.run("return told")) == 2)
    page.wait_until_open()
    assert page.run("return told") == [False, True]
    assert page.find("legend").text.startswith("quick.png")
