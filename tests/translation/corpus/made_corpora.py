"""Made-up corpora: parallel text and small IWSLT14 archives."""

import gzip
import io
import tarfile
from pathlib import Path

from fairseq_dlf.translation.corpus.iwslt14 import TEST_SETS

PAIRS = [("Der kleine Hund schläft, nicht wahr?", "The little dog sleeps, doesn't it?")] * 4 + [
    (f"Das ist das Buch Nummer {number}.", f"This is book number {number}.") for number in range(46)
]


def write_text(folder, splits=("train", "valid", "test"), pairs=PAIRS, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        for side, language in enumerate(("de", "en")):
            content = "".join(f"{pair[side]}\n" for pair in pairs).encode()
            path = folder / f"{split}.{language}"
            if zipped:
                Path(f"{path}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return folder


def iwslt14_files(pairs=PAIRS):
    """The files of a small IWSLT14 archive by name."""
    files = {}
    for side, language in enumerate(("de", "en")):
        head = ["<url>http://x</url>", "<keywords>talks, books</keywords>", "<speaker>A B</speaker>"]
        head += ["<talkid>1</talkid>", "<title>Bücher</title>", "<description>A B: Books</description>"]
        translators = ['<translator href="x">C D</translator>'] if language == "de" else []
        train = head + translators + [f" {pair[side]} " for pair in pairs]
        files[f"de-en/train.tags.de-en.{language}"] = "\n".join(train) + "\n"
        for name in TEST_SETS:
            segments = [f'<seg id="{number}"> {name} It’s {language} {number} </seg>' for number in (1, 2)]
            text = "\n".join(['<?xml version="1.0"?>', "<doc>", *segments, "</doc>"])
            files[f"de-en/IWSLT14.{name}.de-en.{language}.xml"] = text
    return files


def write_archive(path, files, sparse=None):
    """Write an archive; the member `sparse` claims a terabyte without holding it."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            content = b"0\n" if name == sparse else text.encode()
            member.size = len(content)
            if name == sparse:
                member.pax_headers = {
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.realsize": "2" + "0" * 12,
                }
                member.size, content = 512, content.ljust(512, b"\0")
            tar.addfile(member, io.BytesIO(content))
    return path


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def snapshot(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
