"""Runs docs/exports.md: what it tells a user to type, in a folder of its own.

usage: exports_page.py [SECTION...]

Of each section named (default: all but llama.cpp, which is not installed by scripts/setup) the `sh`
blocks are run by bash and the `python` blocks by this Python, in the page's order. Exits with 1 at
the first that fails or prints nothing.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEPARATE = {"llama.cpp"}


def sections(page):
    """Title -> [(language, code)], in order."""
    found = {}
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, body = part.split("\n", 1)
        found[title] = re.findall(
            r"^```(sh|python)\n(.*?)^```$", body, re.MULTILINE | re.DOTALL
        )
    return found


def run(place, title, language, code):
    command = ["bash", "-euc"] if language == "sh" else [sys.executable, "-c"]
    environment = {
        **os.environ,
        "PATH": f"{ROOT}/build/release/bin:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(place / "modules"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*command, code],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"--- {title}: {language}\n{code}{done.stdout}", flush=True)
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit(f"{title}: exit {done.returncode}, and said: {done.stderr}")


def main():
    page = sections((ROOT / "docs/exports.md").read_text())
    chosen = sys.argv[1:] or [title for title in page if title not in SEPARATE]
    unknown = [title for title in chosen if not page.get(title)]
    if unknown:
        sys.exit(
            f"docs/exports.md has nothing to run in {unknown}; it has {list(page)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("data", "scripts", ".venv"):
            (place / name).symlink_to(ROOT / name)
        for title in chosen:
            for language, code in page[title]:
                run(place, title, language, code)


if __name__ == "__main__":
    main()
