#!/usr/bin/env bash
# Trains recipes and appends what came out to a file, one JSON object a run:
#
#   bash benches/record/accuracy.sh FILE "SEEDS" RECIPE [RECIPE ...]
#
# OPTIONS are further options of `mnist train`, MNIST the program (one that was built before, say).
# docs/src/results.md has the calls behind its tables.
set -euo pipefail
file=$1 seeds=$2
shift 2
program=${MNIST:-cargo run --release --quiet --bin mnist --}
commit=${COMMIT:-$(git -C "$(dirname "$0")" describe --always --dirty)}
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)

for recipe; do
    for seed in $seeds; do
        # shellcheck disable=SC2206 # several words each
        command=(train --recipe "$recipe" --seed "$seed" ${OPTIONS:-})
        begin=$(date +%s.%N)
        # shellcheck disable=SC2086
        log=$($program "${command[@]}" 2>&1) || { echo "$log" >&2 && exit 1; }
        end=$(date +%s.%N)
        awk -v command="mnist ${command[*]}" -v recipe="$recipe" -v seed="$seed" -v wall="$begin $end" \
            -v commit="$commit" -v processor="$processor" -v date="$(date +%F)" '
            # epoch 3/30  0.1 s  347423 images/s  cost 0.0619  train 92.53 %  held out 92.98 %  lr 3
            /^epoch / {
                epochs++
                training += $3
                for (i = 4; i < NF; i++) if ($i == "out") held_out = $(i + 1) + 0
                if (epochs == 1) first = held_out
                if (held_out > best) { best = held_out; best_epoch = epochs }
            }
            /^test accuracy / { test = $3; errors = substr($5, 2); of = $8 + 0 }
            END {
                split(wall, t, " ")
                printf "{\"recipe\":\"%s\",\"seed\":%d,\"test\":%s,\"errors\":%d,\"of\":%d,", recipe, seed, test, errors, of
                printf "\"epochs\":%d,\"held_out\":{\"first\":%s,\"last\":%s,\"best\":%s,\"best_epoch\":%d},", \
                    epochs, first, held_out, best, best_epoch
                printf "\"training_s\":%.1f,\"wall_s\":%.1f,\"command\":\"%s\",", training, t[2] - t[1], command
                printf "\"commit\":\"%s\",\"date\":\"%s\",\"processor\":\"%s\"}\n", commit, date, processor
            }' <<<"$log" | tee -a "$file"
    done
done
