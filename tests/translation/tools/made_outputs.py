"""References and outputs of `fairseq-generate` that tests compare."""

import random

REFERENCES = [
    "the little dog doesn't run after the red ball.",
    "two men, both old, stand in front of a shop.",
    "a woman in a blue coat is reading her book.",
    "some children play near the water of a lake.",
    "a man is selling fresh fruit at the market.",
    "three people wait for the bus in the rain.",
    "the girl with long hair looks out of a window.",
    "people are walking down a street in the city.",
]
# Moses tokens: what dlf-prepare makes of the references.
TOKENS = [line.replace("doesn't", "doesn &apos;t").replace(".", " .").replace(",", " ,") for line in REFERENCES]


def spoil(lines, every):
    """Replace the third word of every so-many-th line."""
    return [
        " ".join(line.split()[:2] + ["house"] + line.split()[3:]) if i % every == 0 else line
        for i, line in enumerate(lines)
    ]


def generated_text(hypotheses, targets=TOKENS, seed=0, bpe=False, kinds="STHDP"):
    """The lines of fairseq-generate in a random order of ids, as it prints them."""
    ids = list(range(len(hypotheses)))
    random.Random(seed).shuffle(ids)
    lines = []
    for i in ids:
        split = hypotheses[i].replace("the ", "th@@ e ") if bpe else hypotheses[i]
        entries = {
            "S": f"S-{i}\tein satz",
            "T": f"T-{i}\t{targets[i]}",
            "H": f"H-{i}\t-0.25\t{split}\nH-{i}\t-0.5\tsecond of the n-best list",
            "D": f"D-{i}\t-0.25\t{hypotheses[i]}\nD-{i}\t-0.5\tsecond of the n-best list",
            "P": f"P-{i}\t-0.1 -0.2",
        }
        lines += [entries[kind] for kind in kinds]
    return "\n".join([*lines, "Generate test with beam=5: BLEU4 = 30.00"]) + "\n"


GOOD = generated_text(TOKENS)
