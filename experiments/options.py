"""Options that the tables of Multi30k share."""

from experiments.table import Options, Setting, at


def words(text: str) -> Options:
    """Split options at spaces."""
    return tuple(text.split())


def rates(*values: float) -> tuple[Setting, ...]:
    """Return a setting for each learning rate."""
    return tuple(at(lr=value) for value in values)


TRAINING = words(
    "--no-epoch-checkpoints --num-workers 0 --log-format json --log-interval 100 "
    "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric"
)
VALIDATION = (
    "--eval-bleu",
    "--eval-bleu-args",
    '{"beam": 1}',
    "--eval-bleu-remove-bpe",
    "--eval-tokenized-bleu",
)
# With its default multiple of 8, fairseq leaves out up to seven sentences.
DECODING = words("--remove-bpe --max-tokens 4000 --required-batch-size-multiple 1 --num-workers 0")
