"""Teaches the loss of a Hugging Face model, then trains one with it by `Seq2SeqTrainer(compute_loss_func=…)`.

The model is a tiny BART with new weights, its task to write a word backwards; nothing is downloaded. The teacher
chooses the share of a uniform target (label smoothing) at the beginning and at the end of a training; its gradient
is that of the dev likelihood, carried back through 60 updates, after which a student has hardly begun: the example
shows how the parts fit, not a gain. Needs `pip install 'fairseq_dlf[transformers]'`.
"""

import tempfile

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import BartConfig, BartForConditionalGeneration, Seq2SeqTrainer, Seq2SeqTrainingArguments

from fairseq_dlf.core import (
    Adam,
    DynamicLoss,
    EpisodePlan,
    FunctionMeasure,
    ScheduleTeacher,
    Step,
    Student,
    run_episode,
    twice_differentiable,
)
from fairseq_dlf.core.teaching.forms import Shares

PAD, BEGIN, END, LETTERS, LONGEST = 0, 1, 2, 20, 6
TYPES = 3 + LETTERS
IGNORED = -100  # how Trainer marks targets that do not count
TAUGHT, TRAINED, BATCH, RATE = 60, 300, 32, 3e-3
FORM = Shares(linear=True, start=0.1)


def dynamic_loss(logits: Tensor, labels: Tensor, phi: Tensor) -> Tensor:
    """Return the sum of the loss over the targets that count."""
    counted = labels != IGNORED
    return DynamicLoss(FORM)(logits[counted], labels[counted], phi).loss


def tiny_bart() -> BartForConditionalGeneration:
    """Return a model with new weights."""
    sizes = {"layers": 1, "attention_heads": 2, "ffn_dim": 64}
    config = BartConfig(
        **{f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()},
        vocab_size=TYPES,
        d_model=32,
        max_position_embeddings=16,
        dropout=0.0,
        pad_token_id=PAD,
        bos_token_id=BEGIN,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config)


class Backwards(Dataset):
    """Words of three to six random letters, and the same words backwards."""

    def __init__(self, words: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.full((words, LONGEST + 1), PAD)
        self.labels = torch.full((words, LONGEST + 1), IGNORED)
        for row in range(words):
            length = int(torch.randint(3, LONGEST + 1, (), generator=generator))
            word = torch.randint(3, TYPES, (length,), generator=generator)
            self.inputs[row, : length + 1] = torch.cat([word, torch.tensor([END])])
            self.labels[row, : length + 1] = torch.cat([word.flip(0), torch.tensor([END])])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: int | Tensor | slice) -> dict[str, Tensor]:
        inputs = self.inputs[rows]
        return {"input_ids": inputs, "attention_mask": (inputs != PAD).long(), "labels": self.labels[rows]}


def teach(train: Backwards, dev: Backwards, episodes: int) -> ScheduleTeacher:
    """Return a teacher, taught by students with new weights."""

    def objective(forward, phi, rows):
        batch = train[rows]
        return dynamic_loss(forward(**batch).logits, batch["labels"], phi) / (batch["labels"] != IGNORED).sum()

    def likelihood(forward):
        return -forward(**dev[:]).loss

    teacher = ScheduleTeacher.untaught(FORM.neutral(TYPES), features=1, knots=2)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.05)
    progress = torch.arange(TAUGHT).unsqueeze(1) / TAUGHT
    for episode in range(episodes):
        student, rule = Student(tiny_bart(), objective, twice_differentiable), Adam(epsilon_root=1e-8)
        phi, _ = teacher(progress)
        batches = torch.randint(len(train), (TAUGHT, BATCH))
        steps = [Step(*row, RATE) for row in zip(phi.detach(), batches, range(TAUGHT), strict=True)]
        start = rule.initial(student.flat_params())
        measure = FunctionMeasure.of(student, likelihood)
        done = run_episode(student, rule, steps.__getitem__, start, measure, EpisodePlan(TAUGHT))
        shares = " → ".join(f"{share:.2f}" for share in teacher.knots[0].tolist())
        print(f"episode {episode}: uniform share {shares}, dev log-likelihood of a token {done.measure_after:.3f}")
        optimizer.zero_grad()
        if done.hypergradient is None:
            raise SystemExit(done.collapse)
        phi.backward(-done.hypergradient.coefficients)  # Adam minimises
        optimizer.step()
        teacher.bound(*(torch.full((1,), bound) for bound in FORM.bounds(TYPES)))
    return teacher


def train_student(teacher: ScheduleTeacher, train: Backwards, test: Backwards) -> float:
    """Train a model by the teacher's loss; return the share of test words that it writes backwards."""

    def taught_loss(outputs, labels, num_items_in_batch):
        with torch.no_grad():
            phi, _ = teacher(torch.tensor([[trainer.state.global_step / TRAINED]]))
        return dynamic_loss(outputs.logits, labels, phi[0]) / num_items_in_batch

    with tempfile.TemporaryDirectory() as folder:
        options = Seq2SeqTrainingArguments(
            folder,
            max_steps=TRAINED,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Seq2SeqTrainer(tiny_bart(), options, train_dataset=train, compute_loss_func=taught_loss)
        trainer.train()
    batch = test[:]
    wanted = batch.pop("labels")
    written = trainer.model.eval().generate(**batch, max_new_tokens=LONGEST + 1, num_beams=1, do_sample=False)[:, 1:]
    right = (written == wanted) | (wanted == IGNORED)
    return float(right.all(dim=1).float().mean())


def main(episodes: int = 6) -> float:
    torch.manual_seed(0)
    train, dev, test = (Backwards(words, seed) for seed, words in enumerate((2000, 200, 500)))
    teacher = teach(train, dev, episodes)
    right = train_student(teacher, train, test)
    print(f"words of test written backwards without a mistake: {right:.1%}")
    return right


if __name__ == "__main__":
    main()
