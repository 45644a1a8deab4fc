"""The list of photographs names licences, and free photographs don't mix with others."""

import csv
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import photographs

with photographs.LIST.open(newline="") as lines:
    ROWS = list(csv.DictReader(lines))
OTHER = {
    "unclear",
    "Unsplash",
    "GPL-1.0-or-later",
    "GPL-2.0-or-later",
    "GPL-3.0-or-later",
    "LGPL-3.0-only",
}


def test_every_photograph_has_a_licence_and_a_free_one_an_author() -> None:
    assert {row["licence"] for row in ROWS} <= photographs.LICENCES.keys() | OTHER
    for row in ROWS:
        if row["licence"] in photographs.LICENCES:
            assert row["author"] and row["statement"], row


def test_no_photograph_is_named_or_listed_twice() -> None:
    assert len({(row["folder"], row["name"]) for row in ROWS}) == len(ROWS)
    assert len({row["sha256"] for row in ROWS}) == len(ROWS)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A list of three photographs in a package, under CC BY, CC BY-SA and an unclear licence."""
    rows = []
    for name, licence in (("1", "CC-BY-4.0"), ("2", "CC-BY-SA-3.0"), ("3", "unclear")):
        picture = tmp_path / f"{name}.png"
        Image.new("RGB", (8, 6), (int(name), 0, 0)).save(picture)
        sha256 = photographs.hashlib.sha256(picture.read_bytes()).hexdigest()[:16]
        rows.append(
            {"folder": "wallpapers", "name": name, "kind": "url", "package": "http://a/b.deb"}
            | {"version": "1.0", "member": picture.name, "sha256": sha256, "factor": "2.0"}
            | {"licence": licence, "author": f"Author {name}", "statement": "doc/copyright"}
        )
    with (tmp_path / "list.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(photographs, "LIST", tmp_path / "list.csv")

    def fetch(kind: str, package: str, version: str, folder: Path) -> None:
        for row in rows:
            (folder / row["member"]).write_bytes((tmp_path / row["member"]).read_bytes())

    monkeypatch.setattr(photographs, "fetch", fetch)
    return tmp_path / "out"


def run(monkeypatch, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["photographs.py", *flags])
    photographs.main()


@pytest.mark.parametrize(
    "flags, names",
    [
        ([], ["1", "2", "3"]),
        (["--free=True"], ["1"]),
        (["--free=True", "--share_alike=True"], ["1", "2"]),
    ],
)
def test_free_fetches_and_names_only_what_is_free(package, monkeypatch, flags, names) -> None:
    run(monkeypatch, f"--out={package}", *flags)
    assert sorted(path.stem for path in package.glob("wallpapers/*")) == names
    with Image.open(package / "wallpapers" / "1.webp") as picture:
        assert picture.size == (4, 3) and picture.convert("RGB").getpixel((0, 0)) == (1, 0, 0)
    if flags:
        text = (package / "ATTRIBUTION.md").read_text()
        assert [f"Author {name}" in text for name in "123"] == [name in names for name in "123"]
        assert "https://creativecommons.org/licenses/by/4.0/" in text


def test_free_refuses_a_folder_with_other_photographs(package, monkeypatch) -> None:
    run(monkeypatch, f"--out={package}")
    with pytest.raises(SystemExit, match=r"2\.webp is not free"):
        run(monkeypatch, f"--out={package}", "--free=True")
    with pytest.raises(SystemExit, match="give both"):
        run(monkeypatch, f"--out={package}", "--share_alike=True")
