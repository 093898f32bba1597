import copy
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from discover.embed.config import EncoderConfig
from discover.errors import DiscoverError
from discover.learn import halves
from discover.learn.pretrain import pretraining, training
from discover.learn.pretrain.config import PretrainConfig
from discover.learn.pretrain.corpus import Corpus, load, tokenise
from discover.learn.pretrain.masking import Masking, mask, masking_of
from discover.learn.pretrain.network import MaskedLanguageModel, small_transformer
from discover.learn.pretrain.publishing import publish_encoder
from discover.learn.pretrain.tokenizer import train_tokenizer
from discover.learn.pretrain.words import word_vectors
from discover.run import RunFolder

TOPICS = [
    "gate horse stable saddle rider bridle".split(),
    "oven flour butter sugar recipe pastry".split(),
    "股 票 市 场 上 涨 下 跌".split(),
]
SMALL = PretrainConfig(
    start="scratch", width=64, layers=1, vocabulary=200, passes=2, batch_tokens=256, learning_rate=3e-3, checkpoint=0
)
CPU = torch.device("cpu")


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(TOPICS[rng.integers(3)], rng.integers(4, 14))) for _ in range(n)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(some_texts(300), 200)


@pytest.fixture(scope="module")
def corpus(tokenizer) -> Corpus:
    return tokenise(tokenizer, some_texts(300), 32)


@pytest.fixture
def make(tokenizer, corpus):
    def made(dropout: float = 0.0, words: bool = True) -> tuple[MaskedLanguageModel, Masking]:
        masking = masking_of(tokenizer, 0.15, len(tokenizer))
        vectors = word_vectors(corpus, masking.usual, SMALL.width, 0) if words else None
        return MaskedLanguageModel(small_transformer(SMALL, vectors, tokenizer, 32, 0), dropout, 0), masking

    return made


def test_the_same_texts_give_the_same_tokenizer():
    texts = [f"{text} {number % 90} straße 今天ab" for number, text in enumerate(some_texts(300))]
    found = [train_tokenizer(texts, 160) for _ in range(3)]
    vocabulary = found[0].get_vocab()
    assert all(one.get_vocab() == vocabulary for one in found) and len(vocabulary) == 160
    assert sorted(vocabulary.values()) == list(range(160))
    assert found[0].tokenize("今天 butter") == ["今", "天", "butter"]
    assert found[0].convert_ids_to_tokens(found[0]("今🦉")["input_ids"]) == ["[CLS]", "今", "[UNK]", "[SEP]"]


def test_rare_letters_are_unknown_where_the_vocabulary_is_full():
    letters = [chr(0x4E00 + at) for at in range(200)]
    found = train_tokenizer([" ".join(letters[: at + 1]) for at in range(200)], 100)
    assert len(found) == 95 and found.tokenize(letters[0]) == [letters[0]] and found.tokenize(letters[150]) == ["[UNK]"]


@pytest.mark.parametrize("words", ["कुल कूल कल केल कैल", "ma má mà mã mạ mả", "שָׁלוֹם שלום", "กิน กัน กน"])
def test_words_that_differ_in_a_mark_are_different_ones(words: str):
    found = train_tokenizer([words] * 50, 200)
    tokens = [tuple(found.tokenize(word)) for word in words.split()]
    assert len(set(tokens)) == len(tokens) and not any("[UNK]" in one for one in tokens)
    assert found.tokenize(unicodedata.normalize("NFD", words)) == found.tokenize(words)


def test_scripts_without_blanks_are_parted_by_character_and_its_marks():
    sentence = "เขาไปกินข้าวที่กรุงเทพ" * 20
    found = train_tokenizer([sentence, "ジョンはbutterと🦉"] * 2, 100)
    tokens = found.tokenize(sentence)
    assert tokens[:6] == ["เ", "ข", "า", "ไ", "ป", "กิ"] and "".join(tokens) == sentence
    assert found.tokenize("ジョンはbutterと🦉") == ["ジ", "ョ", "ン", "は", "butter", "と", "🦉"]


def test_what_is_unknown_is_told_by_characters(tokenizer, corpus, tmp_path, capsys):
    found = tokenise(tokenizer, ["butter " + "🦉" * 30, "", "oven"], 16)
    found.save(tmp_path / "tokens")
    assert found.characters == load(tmp_path / "tokens").characters == (40, 30) and corpus.characters[1] == 0
    pretraining._announce(replace(corpus, characters=(100, 5)), SMALL)
    assert (said := capsys.readouterr().out).endswith("steps a pass\n") and "5.0% of the characters unknown" in said
    pretraining._announce(found, SMALL)
    assert "of 200 entries does not know much of this text: a higher pretrain.vocabulary" in capsys.readouterr().out
    pretraining._announce(found, PretrainConfig())
    assert "all-MiniLM-L6-v2 does not know much of this text: pretrain.start: scratch" in capsys.readouterr().out


def test_long_texts_are_cut_into_pieces(tokenizer):
    texts = ["butter sugar " * 20, "", "horse", "flour"]
    found = tokenise(tokenizer, texts, 16)
    assert found.documents == 4 and found.lengths.max() == 16 and found.lengths.sum() == len(found.ids)
    pieces = [found.ids[found.rows(np.array([one]))].tolist() for one in range(len(found.lengths))]
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert all(piece[0] == first and piece[-1] == last and first not in piece[1:] for piece in pieces)
    whole = [token for piece in pieces[: len(pieces) - 2] for token in piece[1:-1]]
    assert whole == tokenizer(texts[0], add_special_tokens=False)["input_ids"]


def test_a_pass_meets_every_piece_once_but_those_held_out(corpus):
    plans = [np.concatenate(corpus.plan(256, np.random.default_rng(seed))) for seed in (0, 1)]
    assert all(sorted(plan.tolist()) == corpus.learned.tolist() for plan in plans) and not np.array_equal(*plans)
    assert not set(corpus.held_out) & set(corpus.learned) and len(corpus.held_out) == 6
    groups = corpus.plan(256, np.random.default_rng(0))
    assert len(groups) == corpus.steps(256)
    assert all(abs(corpus.lengths[group].sum() - 256) < 40 for group in groups)
    assert all(len(group) for group in corpus.plan(1, np.random.default_rng(0))), "never less than the longest piece"
    even = replace(corpus, lengths=np.full(200, 18))
    assert [len(group) for group in even.plan(16, np.random.default_rng(0))] == [1] * len(even.learned)


def test_a_corpus_is_read_as_it_was_written(corpus, tmp_path):
    corpus.save(tmp_path / "tokens")
    found = load(tmp_path / "tokens")
    assert np.array_equal(found.ids, corpus.ids) and np.array_equal(found.begins, corpus.begins)
    assert np.array_equal(found.lengths, corpus.lengths) and found.documents == 300
    (tmp_path / "tokens").write_bytes((tmp_path / "tokens").read_bytes()[:-9])
    with pytest.raises(DiscoverError, match=r"must hold the pool's tokens.*begin anew"):
        load(tmp_path / "tokens")


def test_whole_words_are_masked():
    texts = ["horseshoe bread"] * 3000
    tokenizer = train_tokenizer(texts, 16)  # letters, and two entries of several
    corpus = tokenise(tokenizer, texts, 32)
    masking = masking_of(tokenizer, 0.3, len(tokenizer))
    found = mask(corpus, np.arange(3000), masking, np.random.default_rng(0), CPU)
    length = int(corpus.lengths[0])
    hidden = np.zeros(corpus.ids.size, bool)
    hidden[found.rows] = True
    hidden = hidden.reshape(-1, length)
    begins = np.flatnonzero(corpus.begins[:length])
    assert len(begins) == 4 and not hidden[:, [0, -1]].any(), "two words between the special tokens, never masked"
    for start, stop in ((begins[1], begins[2]), (begins[2], begins[3])):
        word = hidden[:, start:stop]
        assert stop - start > 1 and (word.all(1) == word.any(1)).all() and 0.27 < word[:, 0].mean() < 0.33
    seen = found.tokens.values[found.rows].numpy()
    assert np.array_equal(found.wanted.numpy(), corpus.ids[found.rows])
    assert 0.78 < (seen == masking.mask).mean() < 0.82
    assert 0.09 < (seen == found.wanted.numpy()).mean() < 0.12, "a tenth stays, and a few are replaced by themselves"
    assert masking.usual[np.setdiff1d(seen, [masking.mask])].all()


def test_words_of_a_topic_begin_near_one_another(tokenizer, corpus):
    usual = masking_of(tokenizer, 0.15, len(tokenizer)).usual
    vectors = word_vectors(corpus, usual, 64, 0)
    assert np.array_equal(vectors, word_vectors(corpus, usual, 64, 0)) and vectors.shape == (len(tokenizer), 64)
    horse, saddle, oven = (vectors[tokenizer.convert_tokens_to_ids(word)] for word in ("horse", "saddle", "oven"))
    assert horse @ saddle > horse @ oven


def trained(make, corpus, folder: Path, dropout: float = 0.1, config: PretrainConfig = SMALL) -> MaskedLanguageModel:
    model, masking = make(dropout)
    (folder / "pretraining").mkdir(parents=True, exist_ok=True)
    training.train(model, corpus, masking, config, 7, RunFolder(folder), torch.float32)
    return model


def test_words_are_guessed_better_with_training(make, corpus, tmp_path):
    model, masking = make(words=False)
    config = SMALL.model_copy(update={"passes": 6, "batch_tokens": 600})
    before = training.held_out_loss(model, corpus, masking, 600, 7, torch.float32)
    (tmp_path / "pretraining").mkdir()
    curve = training.train(model, corpus, masking, config, 7, RunFolder(tmp_path), torch.float32)
    steps = corpus.steps(600)
    assert len(curve.losses) == 6 * steps and len(curve.held_out) == 6
    assert np.mean(curve.losses[-steps:]) < 0.7 * before and curve.held_out[-1] < 0.7 * before
    assert curve.held_out[-1] == training.held_out_loss(model, corpus, masking, 600, 7, torch.float32)
    shown = EventAccumulator(str(tmp_path / "tensorboard" / "pretraining")).Reload()
    assert [one.value for one in shown.Scalars("loss")] == pytest.approx(curve.losses, rel=1e-6)
    assert [one.step + 1 for one in shown.Scalars("held_out_loss")] == [steps * done for done in range(1, 7)]


def test_stopped_after_any_step_it_ends_with_the_same_weights(make, corpus, tmp_path, monkeypatch):
    expected = trained(make, corpus, tmp_path / "whole").state_dict()
    whole = load_file(tmp_path / "whole" / "pretraining" / training.CHECKPOINT)
    total = SMALL.passes * corpus.steps(SMALL.batch_tokens)
    assert total >= 20

    def stop(name: str) -> None:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr(training, "crashpoint", stop)
    for step in range(total):  # each call goes on for one step
        with pytest.raises(KeyboardInterrupt, match=f"pretrain_{step + 1}"):
            trained(make, corpus, tmp_path / "stopped")
    monkeypatch.undo()
    found = trained(make, corpus, tmp_path / "stopped").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    kept = load_file(tmp_path / "stopped" / "pretraining" / training.CHECKPOINT)
    assert kept.keys() == whole.keys() and all(torch.equal(kept[name], whole[name]) for name in whole)


def test_a_checkpoint_that_cannot_be_read_is_none(make, corpus, tmp_path):
    expected = trained(make, corpus, tmp_path / "whole").state_dict()
    (tmp_path / "damaged" / "pretraining").mkdir(parents=True)
    (tmp_path / "damaged" / "pretraining" / training.CHECKPOINT).write_bytes(b"garbage")
    found = trained(make, corpus, tmp_path / "damaged").state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_halves_give_the_gradient_of_the_whole_and_the_same_bits_each_time(make, corpus, monkeypatch):
    members, found = corpus.learned[:40], []
    fixed = mask(corpus, members, make()[1], np.random.default_rng(0), CPU)

    def masked(_corpus, part, _masking, _rng, _device):  # the same words, whatever the parts
        at = int(part[0] - members[0])
        rows = corpus.rows(part)
        start = int(corpus.lengths[members[:at]].sum())
        inside = (fixed.rows >= start) & (fixed.rows < start + len(rows))
        values = fixed.tokens.values[start : start + len(rows)]
        tokens = training.Masked(
            fixed.tokens._replace(values=values, lengths=torch.from_numpy(corpus.lengths[part])),
            fixed.rows[inside] - start,
            fixed.wanted[inside],
        )
        return tokens

    monkeypatch.setattr(training, "mask", masked)
    for threads, dropout in ((1, 0.0), (2, 0.0), (2, 0.1), (2, 0.1)):
        monkeypatch.setattr(halves.torch, "get_num_threads", lambda threads=threads: threads)
        model, masking = make(dropout)
        loss = training.Gradient(model.train(), corpus, masking, 7, torch.float32).set(members, 3)
        found.append((loss, [one.grad for one in model.parameters() if one.grad is not None]))
    (whole, one), (parts, two), (_, three), (_, four) = found
    assert parts == pytest.approx(whole, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one, two, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(three, four, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(two, three, strict=True))


def test_weights_without_bound_get_one_line(make, corpus, tmp_path):
    with pytest.raises(DiscoverError, match=r"^the loss must stay finite.*pretrain\.learning_rate lower"):
        trained(make, corpus, tmp_path, config=SMALL.model_copy(update={"learning_rate": 1e30}))


@pytest.mark.parametrize("lacking", ["mask_token", "wide"])
def test_an_encoder_that_cannot_guess_is_refused(tmp_path, tokenizer, lacking):
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 64}
    config = transformers.AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=64 if lacking == "mask_token" else 32,
        max_position_embeddings=32,
        **small,
    )
    whole = copy.deepcopy(tokenizer)
    if lacking == "mask_token":
        whole.mask_token = None
    publish_encoder(tmp_path / "albert", transformers.AlbertModel(config), whole, "cls", {})
    start = PretrainConfig(start=str(tmp_path / "albert"), batch_tokens=64)
    with pytest.raises(
        DiscoverError, match=r"must have a fast tokenizer with a mask token, and word embeddings as wide"
    ):
        pretraining.pretrain(lambda: some_texts(300), EncoderConfig(), start, 0, RunFolder(tmp_path))
