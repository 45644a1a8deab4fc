"""Fetch more photographs to train on: pictures that packages of Debian, Ubuntu and npm ship.

python benchmarks/photographs.py --out=/data/train

Desktop backgrounds and the pictures of page templates: 293 of them with 102 megapixels in the
folder packages, 384 with 484 megapixels in the folder wallpapers. Nearly all are made smaller by a
factor of 2 or 3, which removes the traces of their JPEG compression. The list beside this file,
photographs.csv, names package, file, hash and factor of each. They were chosen by their detail (a
mean gradient of at least 2.5), by eye, and by comparison with all test images (thumbnails and SIFT,
also mirrored: no match). They belong to their authors and are for research: none is in this
repository. --out should be where the folders of other training images are.

Needs npm, apt-get and dpkg-deb, and 2.5 GB of downloads. What can no longer be had is named and
left out.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import tyro
from PIL import Image
from tqdm import tqdm

LIST = Path(__file__).with_suffix(".csv")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Where to write.

    Attributes:
        out: folder for the two folders, made if need be.
    """

    out: Path


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


def main() -> None:
    """Fetch every package once."""
    out = tyro.cli(Arguments).out
    Image.MAX_IMAGE_PIXELS = None
    packages = collections.defaultdict(list)
    with LIST.open(newline="") as lines:
        for row in csv.DictReader(lines):
            packages[row["kind"], row["package"], row["version"]].append(row)
    missing = 0
    for (kind, package, version), rows in tqdm(packages.items(), unit="package"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                fetch(kind, package, version, Path(folder))
            except (OSError, subprocess.CalledProcessError) as error:
                tqdm.write(f"left out {len(rows)} of {kind} {package} {version}: {error}")
                missing += len(rows)
                continue
            for row in rows:
                path = Path(folder) / row["member"]
                try:
                    picture = convert(path, row["sha256"], float(row["factor"]))
                except (OSError, ValueError) as error:
                    tqdm.write(f"left out {row['name']}, {row['member']}: {error}")
                    missing += 1
                    continue
                destination = out / row["folder"] / f"{row['name']}.webp"
                destination.parent.mkdir(parents=True, exist_ok=True)
                picture.save(destination, lossless=True)
    print(f"{sum(map(len, packages.values())) - missing} photographs in {out}, {missing} left out")


if __name__ == "__main__":
    main()
