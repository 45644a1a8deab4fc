"""Run a campaign, and write its numbers into ``docs/results/reliability.json``.

python -m tests.campaigns mutated_files --count 10000
python -m tests.campaigns killed_training --count 100
python -m tests.campaigns killed_upscale --count 100
python -m tests.campaigns lost_nodes --count 64
"""

import argparse
import importlib
import json
import tempfile
import time
from pathlib import Path

from hyperfunc.files import save_json

CAMPAIGNS = ("mutated_files", "killed_training", "killed_upscale", "lost_nodes")
RESULTS = Path(__file__).parents[2] / "docs" / "results" / "reliability.json"


def main() -> None:
    """Parse the command line and run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns")
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--count", type=int, required=True, help="files, or kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps what failed; a temporary one if absent")
    parser.add_argument("--results", type=Path, default=RESULTS)
    words = parser.parse_args()
    campaign = importlib.import_module(f"tests.campaigns.test_{words.campaign}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        result = campaign.run(words.count, words.seed, folder)
    about = {"count": words.count, "seed": words.seed, "seconds": round(time.monotonic() - began)}
    before = json.loads(words.results.read_text()) if words.results.exists() else {}
    save_json(words.results, {**before, words.campaign: {**about, **result}})
    print(json.dumps({**about, **result}, indent=1))


if __name__ == "__main__":
    main()
