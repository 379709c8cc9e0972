"""Files of measurements: JSON lines, the first of which says how the others came about."""

import datetime
import json
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# where something lies on this machine: it says nothing about the measurements
PLACES = ("--save", "--python")
# the instruction sets that the libraries may use
SETS = ("CONV_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def write(file, threads, lines):
    """Measurements of this program, on so many threads."""
    file.write_text("".join(json.dumps(line) + "\n" for line in [record(threads), *lines]))


def read(file):
    """The measurements of a file: those that `write` wrote, and any others with a peer's name."""
    lines = (json.loads(text) for text in file.read_text().splitlines() if text.strip())
    return [line for line in lines if "peer" in line]


def record(threads):
    return {
        "what": "record", "command": command(sys.argv), "commit": commit(),
        "date": datetime.date.today().isoformat(), "processor": processor(), "threads": threads,
    }


def command(argv):
    """The command as one would type it in the root of the repository, without the places of files elsewhere."""
    words, rest = [f"benches/peers/{pathlib.Path(argv[0]).name}"], iter(argv[1:])
    sets = [f"{name}={os.environ[name]}" for name in SETS if name in os.environ]
    for word in rest:
        option, is_joined, _ = word.partition("=")
        if option in PLACES:
            if not is_joined:
                next(rest, None)
        else:
            words.append(portable(word))
    return shlex.join(sets + words)


def portable(word):
    """A path within the repository from its root, one outside as the name alone; any other word as it is."""
    option, joined, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    path = pathlib.Path(value)
    if "/" not in value and not path.is_file():
        return word
    path = path.resolve()
    return option + joined + (str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name)


def commit():
    git = ["git", "-C", HERE, "describe", "--always", "--dirty"]
    try:
        return subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    except OSError:
        return ""


def processor():
    """What Linux calls it; nothing elsewhere."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "")
