#!/usr/bin/env bash
# Fuzz every target of rust/fuzz for a while each. Needs the nightly toolchain (`rustup toolchain install nightly`), not
# cargo-fuzz: the flags below are what that tool would pass. Crashes land in rust/fuzz/artifacts.
#
#     scripts/fuzz.sh [seconds per target, 60] [targets, all]
set -euo pipefail
cd "$(dirname "$0")/../rust/fuzz"
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(basename -s .rs fuzz_targets/*.rs))

host=$(rustc +nightly -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo +nightly build --release --target "$host"
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" artifacts
    case $target in
        parse_tokenizer_json) cp ../../tests/data/tiny*.tokenizer.json "corpus/$target/" ;;
        parse_definition) cp ../../tests/data/tiny*.tokenizer.json "corpus/$target/" ;;
        parse_sentencepiece) printf '\n\016\n\005<unk>\025\000\000\000\000\030\002\n\010\n\001a\025\000\000\200\277' >"corpus/$target/small" ;;
        parse_tekken)
            printf '{"config":{"pattern":".","default_vocab_size":2,"default_num_special_tokens":1},"vocab":[{"rank":0,"token_bytes":"YQ=="}]}' \
                >"corpus/$target/small"
            ;;
        parse_gguf) cp ../../tests/data/tiny.gguf "corpus/$target/" ;;
        scanner_agree) cp ../../tests/data/multilingual.txt "corpus/$target/" ;;
        parse_tiktoken) printf 'YQ== 0\nYg== 1\nYWI= 2\nYWFi 3\n' >"corpus/$target/small" ;;
    esac
    "${CARGO_TARGET_DIR:-target}/$host/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target-" \
        -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=20000
done
