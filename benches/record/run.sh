#!/usr/bin/env bash
# Records what this machine can do, and what the layers reach on one thread and on all: one JSON object a line, in a
# file named after the day and the processor.
set -euo pipefail
cd "$(dirname "$0")/../.."

processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
file="benches/record/$(date +%F)-$(tr -cs '[:alnum:]' '-' <<<"${processor:-unnamed}" | sed 's/-*$//').jsonl"

cargo build --release --quiet -p overlay-benches --bins
run() { cargo run --release --quiet -p overlay-benches --bin "$@"; }
{
    printf '{"what":"record","command":"%s","commit":"%s","date":"%s","processor":"%s","rustc":"%s"}\n' \
        "benches/record/run.sh${*:+ $*}" "$(git describe --always --dirty)" "$(date +%F)" "$processor" "$(rustc --version)"
    run roofline -- --json
    for threads in $(printf '1\n%s\n' "$(nproc)" | sort -nu); do
        run layers -- --json --threads "$threads" "$@"
    done
} >"$file"
echo "$file"
