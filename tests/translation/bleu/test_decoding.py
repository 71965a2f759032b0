"""Words of a dictionary, fixed samples, greedy decoding: of which parameters, how long, in which mode."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.bleu import decoding
from fairseq_dlf.translation.bleu.decoding import (
    LengthLimit,
    WordJoiner,
    batches_of,
    build_generator,
    evaluating,
    fixed_sample,
    greedy_bleu,
    greedy_translations,
    module_at,
    on_device,
    unwrapped,
)
from fairseq_dlf.translation.bleu.scores import corpus_bleu


def test_an_unknown_word_of_a_reference_matches_no_unknown_of_a_hypothesis(tiny):
    dictionary = tiny("lstm").task.target_dictionary
    words = WordJoiner(dictionary)
    row = torch.tensor([dictionary.unk(), dictionary.nspecial, dictionary.eos(), dictionary.pad()])
    assert words.reference(row).split() == ["UNKNOWNTOKENINREF", "w0"]
    hypothesis = words.hypothesis(row[:3]).split()
    assert hypothesis[1:] == ["w0"] and hypothesis[0] not in words.reference(row).split()


def test_subwords_are_joined(tiny):
    dictionary = tiny("lstm").task.target_dictionary
    first, last = dictionary.add_symbol("ha@@"), dictionary.add_symbol("us")
    assert WordJoiner(dictionary).hypothesis(torch.tensor([first, last, dictionary.eos()])) == "haus"


@pytest.mark.parametrize(
    ("symbols", "wanted"),
    [
        (["ab", "c"], ["ab ", "c ", "", ""]),
        (["a@@", "b"], ["a", "b ", "", ""]),
        (["\u2581a", "b\u2581c"], [" a", "b c", "", ""]),
    ],
)
def test_pieces_are_what_each_token_adds(tiny, symbols, wanted):
    dictionary = tiny("lstm").task.target_dictionary
    tokens = torch.tensor([*map(dictionary.add_symbol, symbols), dictionary.bos(), dictionary.eos()])
    words = WordJoiner(dictionary)
    assert words.pieces(tokens) == wanted
    assert "".join(wanted).strip() == words.hypothesis(tokens)


def test_translations_are_at_most_half_as_long_again_and_ten(tiny):
    made = tiny("lstm")
    generator = build_generator(made.task, made.model, beam=1)
    assert (generator.max_len_a, generator.max_len_b, generator.beam_size) == (1.5, 10, 1)


def test_a_limit_gives_the_options_of_a_generator(tiny):
    made = tiny("lstm")
    generator = build_generator(made.task, made.model, beam=1, **LengthLimit(0.5, 3).options(shortest=2))
    assert (generator.min_len, generator.max_len_a, generator.max_len_b) == (2, 0.5, 3)


def test_a_degenerate_student_stops_there(tiny):
    """One that never ends a sentence."""
    made = tiny("lstm")
    eos = made.task.target_dictionary.eos()
    with torch.no_grad():
        for parameter in made.model.decoder.fc_out.parameters() if hasattr(made.model.decoder, "fc_out") else ():
            parameter[eos] = 0.0
        made.model.decoder.fc_out.bias[eos] = -50.0
    pairs = made.task.pairs(1, longest=4)
    batch = pairs.collater([pairs[0]])
    length = batch["net_input"]["src_tokens"].size(1)
    with evaluating(made.model), torch.no_grad():
        found = build_generator(made.task, made.model, beam=1).generate([made.model], batch)[0][0]["tokens"]
    assert len(found) == int(1.5 * length + 10) + 1


@pytest.mark.parametrize(("positions", "words"), [(64, 1.5 * 6 + 10), (8, 7)])
def test_the_longest_translation_is_that_of_the_generator(tiny, monkeypatch, positions, words):
    """Also where the student has fewer positions, of which the end takes one."""
    made = tiny("lstm")
    monkeypatch.setattr(made.model.decoder, "max_target_positions", positions)
    assert made.model.max_decoder_positions() == positions
    with torch.no_grad():
        made.model.decoder.fc_out.bias[made.task.target_dictionary.eos()] = -50.0
    pairs = made.task.paired([torch.tensor([4, 5, 6, 7, 8, 2])], [torch.tensor([4, 2])])
    generator = build_generator(made.task, made.model, beam=1)
    (((best,),),) = (generator.generate([made.model], pairs.collater([pairs[0]])),)
    assert LengthLimit().longest(made.model, 6) == words == len(best["tokens"]) - 1


def test_decoding_is_of_the_parameters_that_are_given(tiny, monkeypatch):
    made = tiny("lstm")
    student = Student(made.model, None)
    params, seen = student.flat_params(), []
    monkeypatch.setattr(
        decoding,
        "build_generator",
        lambda task, model, **more: SimpleNamespace(
            generate=lambda models, batch: (
                seen.append((student.flat_params().clone(), models[0].training)),
                [[{"tokens": row}] for row in batch["target"]],
            )[1]
        ),
    )
    pairs = made.task.pairs(3)
    for other in (params + 1, params - 1):
        greedy_bleu(made.task, module_at(student, other), pairs, [0, 1, 2])
    assert torch.equal(seen[0][0], params + 1) and torch.equal(seen[1][0], params - 1)
    assert not any(training for _, training in seen) and made.model.training


def test_batches_are_of_like_length_and_of_bounded_size(tiny):
    pairs = tiny("lstm").task.pairs(9)
    batches = list(batches_of(pairs, range(9), torch.device("cpu"), sentences=4))
    assert [len(batch["id"]) for batch in batches] == [4, 4, 1]
    lengths = [pairs.num_tokens(int(i)) for batch in batches for i in sorted(batch["id"].tolist())]
    assert max(lengths[:4]) <= min(lengths[4:8]) <= max(lengths[4:8]) <= lengths[8]
    assert on_device(batches[0], torch.device("cpu")) is batches[0]


@pytest.mark.parametrize("sentences", [-1, 9])
def test_samples_of_more_than_there_is_are_refused(tiny, sentences):
    with pytest.raises(InputError, match=f"{sentences} sentences were asked for, the data set has 8"):
        fixed_sample(tiny("lstm").task.pairs(8), sentences, 1)


def test_a_model_is_found_inside_its_wrappers(tiny):
    model = tiny("lstm").model
    assert unwrapped(nn.ModuleDict({"module": model})["module"]) is model
    wrapper = nn.Module()
    wrapper.module = nn.Module()
    wrapper.module.module = model
    assert unwrapped(wrapper) is model


def test_evaluation_leaves_modes_and_random_numbers_alone(tiny):
    model = tiny("lstm").model
    model.train()
    model.encoder.eval()
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(KeyError), evaluating(model):
        assert not model.training
        torch.rand(5)
        raise KeyError
    assert torch.equal(torch.rand(2), wanted)
    assert model.training and model.decoder.training and not model.encoder.training


def test_greedy_translations_stand_beside_their_references(tiny):
    made = tiny("lstm", dropout=0.0)
    pairs, words = made.task.pairs(5), WordJoiner(made.task.target_dictionary)
    found = greedy_translations(made.task, made.model, pairs, [0, 2, 4])
    assert sorted(found.references) == sorted(words.reference(pairs[index]["target"]) for index in (0, 2, 4))
    assert len(found.hypotheses) == 3
    wanted = corpus_bleu(found.hypotheses, found.references)
    assert greedy_bleu(made.task, made.model, pairs, [0, 2, 4]) == wanted
