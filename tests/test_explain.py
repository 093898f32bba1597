"""Explanations: they are of what is really predicted, add up, find the words that decide, and name learned answers."""

import numpy as np
import pytest
import torch
import transformers

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.transformer import find
from discover.errors import DiscoverError
from discover.evaluate.explained import LEVELS, pieces, shown
from discover.learn.activations import ActivationCache
from discover.learn.attribution import TOLERANCE
from discover.learn.classifier import TextClassifier
from discover.learn.config import LearnConfig
from discover.learn.explain import Explainer
from discover.learn.samples import column

CLASSES = {"sport": "", "food": ""}
DECIDING = ("goalkeeper", "soup")
FILLING = ("we heard about it {} from him", "she said that the {} was there", "nobody knew the {} before noon")
TEXTS = [f"{text.format(word)} {n}" for word in DECIDING for n in range(2) for text in FILLING]
TRUTH = np.repeat([0, 1], 2 * len(FILLING))
ASKED = ["the old town had its goalkeeper again", "a soup, as good as ever", "Goalkeepers!"]
ROWS = column(range(len(TEXTS), len(TEXTS) + len(ASKED)))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(max_tokens=32, dtype="float32"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory) -> Encoder:
    """A small RoBERTa with random weights: positions that begin elsewhere, and a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    folder = tmp_path_factory.mktemp("roberta")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "mask_token": "<mask>", "cls_token": "<s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2}
    config = transformers.RobertaConfig(vocab_size=len(tokenizer.get_vocab()), initializer_range=0.2, **size)
    torch.manual_seed(0)
    transformers.RobertaModel(config).save_pretrained(folder)
    return Encoder(EncoderConfig(model=str(folder), max_tokens=32, dtype="float32"))


def taught(encoder: Encoder, method: str = "head") -> TextClassifier:
    texts = TEXTS + ASKED
    config = LearnConfig(method=method, epochs=1, steps=3)
    classifier = TextClassifier(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, ActivationCache(0))
    classifier.fit(column(range(len(TEXTS))), TRUTH)
    classifier.temperature = 6.0  # probabilities stay far enough from 1 for their log-odds to be exact
    return classifier


@pytest.fixture(scope="module")
def frozen(encoder) -> TextClassifier:
    return taught(encoder)


@pytest.mark.parametrize("method", ["head", "top", "lora", "full"])
def test_words_add_up_to_what_is_predicted(roberta, method):
    classifier = taught(roberta, method)
    explainer = Explainer(classifier)
    found = explainer.explain(ROWS)
    for text, one, likely in zip(ASKED, found, classifier.predict_proba(ROWS), strict=True):
        assert (one.predicted, one.probability) == (likely.argmax(), likely.max())
        tokens, of, spans = roberta.words(text)
        assert "".join(text[start:stop] for start, stop in spans) == text.replace(" ", "")
        silent = torch.where(torch.from_numpy(of >= 0), roberta.blank, tokens.long())[None]
        gained = np.log(one.probability / (1 - one.probability)) - float(
            explainer.attribution.log_odds(silent, one.predicted)
        )
        assert sum(word.weight for word in one.words) == pytest.approx(gained + one.error, abs=2e-3)
        assert abs(one.error) <= TOLERANCE * max(1, abs(gained) + abs(one.error))


def test_the_word_that_decides_carries_the_prediction(frozen):
    found = Explainer(frozen).explain(ROWS)
    assert [one.predicted for one in found] == [0, 1, 0]
    strongest = [max(one.words, key=lambda word: word.weight) for one in found]
    said = [text[word.start : word.stop] for text, word in zip(ASKED, strongest, strict=True)]
    assert said == ["goalkeeper", "soup", "Goalkeepers"]


def test_heads_are_explained_by_their_shares(roberta):
    classifier = taught(roberta)
    weights, bias = classifier._heads.plain
    classifier._heads.propagated = (-weights, -bias)
    mean = Explainer(classifier).attribution.words(ASKED[0], 0)[0]
    classifier._heads.share = 1e-6
    alone = Explainer(classifier).attribution.words(ASKED[0], 0)[0]
    classifier._heads.share = 1 - 1e-6
    other = Explainer(classifier).attribution.words(ASKED[0], 0)[0]
    assert np.allclose([word.weight for word in alone], [-word.weight for word in other], atol=1e-3)
    assert not np.allclose([word.weight for word in alone], [word.weight for word in mean], atol=1e-2)


def test_neighbours_are_learned_answers_the_nearest_first(frozen):
    explainer = Explainer(frozen)
    for one in explainer.explain(ROWS[:2], neighbours=5):
        assert {near.row for near in one.neighbours} <= set(frozen.taught) and len(one.neighbours) == 5
        assert all(near.answer == frozen.taught[near.row] for near in one.neighbours)
        similar = [near.similarity for near in one.neighbours]
        assert similar == sorted(similar, reverse=True)
        assert one.neighbours[0].answer == one.predicted
    (itself,) = explainer.explain(column([4]), neighbours=1)
    assert itself.neighbours[0].row == 4 and itself.neighbours[0].similarity == pytest.approx(1, abs=1e-3)


def test_before_any_answer_words_are_explained_by_the_descriptions(roberta):
    classifier = TextClassifier(roberta, lambda ids: [ASKED[i] for i in ids], CLASSES, LearnConfig(), 7)
    (one,) = Explainer(classifier).explain(column([0]))
    assert one.neighbours == [] and any(word.weight for word in one.words)


def test_words_are_those_of_the_text(encoder):
    text = "  Café-prices ROSE, unbelievably\n\nso!"
    tokens, of, spans = encoder.words(text)
    assert [text[start:stop] for start, stop in spans] == [
        "Café",
        "-",
        "prices",
        "ROSE",
        ",",
        "unbelievably",
        "so",
        "!",
    ]
    assert torch.equal(tokens, encoder.tokenize([text])[0]) and len(of) == len(tokens)
    assert of[0] == of[-1] == -1 and (np.diff(of[1:-1]) >= 0).all() and of.max() == len(spans) - 1
    assert len(encoder.words("bread " * 100).spans) == encoder.limit - 2, "what is cut has no weight"
    assert encoder.words("").spans == []


def test_a_text_without_words(frozen):
    assert Explainer(frozen).attribution.words("", 0) == ([], 0.0)


def test_a_tokenizer_that_knows_no_places_is_refused(encoder, monkeypatch):
    slow = transformers.BertTokenizer(str(find("all-MiniLM-L6-v2") / "vocab.txt"))
    monkeypatch.setattr(type(slow), "is_fast", False)
    monkeypatch.setattr(encoder, "tokenizer", slow)
    with pytest.raises(DiscoverError, match=r"tokenizer\.json"):
        encoder.words("bread")


def test_a_transformer_that_does_not_name_its_embeddings_is_refused(roberta, monkeypatch):
    def unknown(self):
        raise NotImplementedError

    monkeypatch.setattr(transformers.RobertaModel, "get_input_embeddings", unknown)
    classifier = TextClassifier(roberta, lambda ids: [ASKED[i] for i in ids], CLASSES, LearnConfig(), 7)
    with pytest.raises(DiscoverError, match="RobertaModel does not"):
        Explainer(classifier)


def test_pieces_make_up_the_text():
    text = "the soup was not <b>good</b>, alas"
    words = [[0, 3, 0.01], [4, 8, 4.0], [13, 16, -2.0], [20, 24, 1.0], [30, 34, 0.5]]
    found = pieces(text, words, 1000)
    assert "".join(piece for piece, *_ in found) == text and not any(held for *_, held in found)
    levels = {piece: level for piece, level, _ in found if level}
    assert levels == {"soup": LEVELS, "not": -3, "good": 2}, "what is faint is not marked"
    dots = ("…", 0, False)
    assert pieces(text, words, 10) == [("the ", 0, False), ("soup", LEVELS, False), (" w", 0, False), dots]
    assert pieces(text, [], 4) == [("the ", 0, False), dots] and pieces("", [], 4) == []


def test_of_several_labels_an_explanation_says_how_likely_its_own_is():
    unlikely = {"label": "timer", "probability": 0.021, "text": "hello", "words": [], "neighbours": []}
    assert [shown(unlikely, 10, several)[0]["label"] for several in (True, False)] == ["timer (2%)", "timer"]
