"""The commands that README.md and data/README.md tell a reader to type.

Every `mixnmatch ...` in them is asked for its help: a command or an option that does not exist is
refused before help is printed. Every script and file of the repository that they name is there.

Usage: readme_commands.py MIXNMATCH
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "data/README.md", "docs/measurements.md", "CONTRIBUTING.md"]
EXAMPLE = "tests/room/"  # stands for any room in CONTRIBUTING.md
FOLDERS = "bench|scripts|data|docs|tests"


def commands(text):
    """Code in backticks and lines of code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    lines = [
        line for block in blocks for line in block.replace("\\\n", " ").split("\n")
    ]
    return spans + [line.split("#")[0].strip() for line in lines]


def refused(mixnmatch, command):
    """What is wrong with a command, or None."""
    words = shlex.split(command)
    words = words[1 : words.index("|")] if "|" in words else words[1:]
    done = subprocess.run(
        [mixnmatch, *[word for word in words if word != "..."], "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip()


def main():
    mixnmatch = sys.argv[1]
    wrong, asked, named = [], 0, 0
    for page in PAGES:
        text = (ROOT / page).read_text()
        for command in commands(text):
            if re.match(r"(build/release/bin/)?mixnmatch [a-z]", command):
                asked += 1
                if reason := refused(mixnmatch, command):
                    wrong.append(f"{page}: `{command}`: {reason}")
            for path in re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./-]*\w", command):
                if path.startswith(EXAMPLE):
                    continue
                named += 1
                base = (ROOT / page).parent
                if not (ROOT / path).exists() and not (base / path).exists():
                    wrong.append(f"{page}: `{command}`: there is no {path}")
    if asked < 10 or named < 10:
        wrong.append(f"only {asked} commands and {named} paths were found in {PAGES}")
    page = subprocess.run(
        [sys.executable, ROOT / "scripts/commands-page", mixnmatch, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if page.returncode != 0:
        wrong.append(page.stderr.strip())
    print(f"{asked} commands and {named} paths of {', '.join(PAGES)}")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
