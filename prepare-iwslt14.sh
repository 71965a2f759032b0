#!/usr/bin/env bash
# Prepare IWSLT14 German-English, from the archive to fairseq's binary data. See --help.
set -euo pipefail

URL=http://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz

usage() {
    cat <<EOF
usage: bash prepare-iwslt14.sh [--archive FILE] [--out DIR] [--bpe NAME] [--bpe-tokens N]
                               [--sha256 HEX] [--python EXE] [-- MORE OPTIONS OF dlf-prepare]

Prepares IWSLT14 German-English like fairseq's recipe of the same name, with Python packages
instead of cloned Perl scripts. Safe to run twice: finished steps are skipped.

  --archive FILE   de-en.tgz (default: download it to orig/de-en.tgz, about 19 MB, resumable), from
                   $URL
  --out DIR        folder of the result (default: iwslt14.tokenized.de-en); train on DIR/bin
  --bpe NAME       subword_nmt (default) or sentencepiece
  --bpe-tokens N   size of the joint BPE (default: 25000, as in the paper)
  --sha256 HEX     refuse an archive with another checksum
  --python EXE     Python that has fairseq_dlf (default: python3)

This script does not pin the checksum of the official archive, which was not known when it was
written. Without --sha256 the archive's layout is checked, and the line counts are compared with
those of the original recipe (160,239 train, 7,283 valid, 6,750 test); differences are reported.
EOF
}

fail() {
    echo "prepare-iwslt14.sh: error: $1" >&2
    exit 1
}

archive=
out=iwslt14.tokenized.de-en
python=python3
options=()

while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --) shift; options+=("$@"); break ;;
        --archive | --out | --bpe | --bpe-tokens | --sha256 | --python)
            [ $# -ge 2 ] || fail "$1 needs a value: see --help" ;;
        *) fail "unknown option $1: see --help" ;;
    esac
    case "$1" in
        --archive) archive=$2 ;;
        --out) out=$2 ;;
        --python) python=$2 ;;
        *) options+=("$1" "$2") ;;
    esac
    shift 2
done

command -v "$python" > /dev/null || fail "there is no $python: pass --python a Python that has fairseq_dlf"

if [ -z "$archive" ]; then
    archive=orig/de-en.tgz
    if [ ! -f "$archive" ]; then
        command -v curl > /dev/null || fail "curl is missing: install it, or fetch $URL yourself and pass --archive"
        mkdir -p orig
        curl -fL --retry 3 -C - -o "$archive.part" "$URL" ||
            fail "the download of $URL failed: run this again to resume, or delete $archive.part to start over"
        mv "$archive.part" "$archive"
    fi
fi

exec "$python" -m fairseq_dlf.translation.corpus.prepare iwslt14 --archive "$archive" --out "$out" ${options[@]+"${options[@]}"}
