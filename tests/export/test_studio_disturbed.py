"""What a user of the studio does too early, at once, or in between."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.export.studio_pictures import enlarge

pytestmark = pytest.mark.browser

LOSE = (
    "window.loss ??= document.getElementById('canvas').getContext('webgl2')"
    ".getExtension('WEBGL_lose_context'); loss.loseContext()"
)


@pytest.fixture
def page(studio_page):
    return studio_page


def start_saving(page, scale: float) -> None:
    page.find("save").click()
    page.type_into("scale", scale)
    page.find("save-start").click()


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


def test_a_model_chosen_just_before_is_what_saves(page, draw, tmp_path: Path) -> None:
    pixels = draw(1, (31, 50))
    page.drop(pixels)
    page.wait_until_open()
    page.choose_model(2)
    saved = page.save(1, tmp_path)
    assert np.abs(saved - enlarge(pixels, 1, "restore")).max() <= 1


def test_a_save_that_was_cancelled_disturbs_nothing(page, draw, tmp_path: Path) -> None:
    page.drop(draw(1, (300, 300)))
    page.wait_until_open()
    start_saving(page, 2)
    assert page.find("save-time").text == "0 %, estimating the time"
    page.find("save-cancel").click()
    page.find("save").click()
    page.wait_until(page.find("save-start").is_enabled)
    assert page.find("save-dialog").is_displayed()
    page.find("save-start").click()
    page.find("save-cancel").click()
    page.choose_model(1)  # It takes the workers from the save.
    pixels = draw(2, (40, 50))
    page.drop(pixels)
    page.wait_until(lambda: "50 × 40" in page.find("cells").text)
    saved = page.save(1, tmp_path)
    assert np.abs(saved - enlarge(pixels, 1, "sr_jpeg")).max() <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo_x1.png"]


def test_a_picture_is_not_replaced_while_it_is_saved(page, draw, tmp_path: Path) -> None:
    pixels = draw(1, (30, 40))
    page.drop(pixels)
    page.wait_until_open()
    page.find("save").click()
    page.type_into("scale", 2)
    page.drop(draw(2, (20, 24)), "other.png")
    assert "before you open another one" in page.find("result-size").text
    saved = page.finish_saving(tmp_path / "photo_x2.png")
    assert saved.shape == (60, 80, 3)
    assert page.find("status").get_property("textContent") == "Saved"


def test_a_save_that_loses_the_graphics_card_is_no_file(page, draw, tmp_path: Path) -> None:
    page.drop(draw(1, (150, 300)))
    page.wait_until_open()
    start_saving(page, 4)
    page.run(LOSE)
    page.wait_until(lambda: not page.find("save-dialog").is_displayed())
    assert "save again when the picture is back" in page.find("warning").text
    page.run("dispatchEvent(new KeyboardEvent('keydown', { key: 's' }))")
    assert not page.find("save-dialog").is_displayed()
    page.run("loss.restoreContext()")
    page.wait_until(lambda: not page.find("message").is_displayed())
    page.settle()
    assert not list(tmp_path.iterdir())
    assert page.save(0.5, tmp_path).shape == (75, 150, 3)
