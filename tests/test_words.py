"""Where words end and how many there are, by their script, whatever the tokenizer of an encoder makes of them."""

import copy
from pathlib import Path

import pytest
import torch
from sqlalchemy import insert
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from discover import tables
from discover.db import Database
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.label.queue import Queue
from discover.learn.tags import spans_of, tags_of
from discover.pool.document import Document
from discover.pool.words import count_words, parts
from tests.encoders import write_encoder

HELD = {  # an entity, or several, between bars
    "beside signs": "He saw (|London|), |Paris|. And the |U.S.|-based |Ada|'s “|Dune|”!",
    "between blanks": "|Ada Lovelace| met #|Rio| 5€ 😀|Zoë|",
    "Chinese": "|北京大学|的|张伟|在|上海|。",
    "Japanese": "|ジョン|は|東京|に行った。",
    "Thai": "เขาไป|กรุงเทพ|",
    "Hindi, vowel signs at the end": "|नमस्ते| |दिल्ली|",
    "accents that no letter has": "|Z\u0301o\u0301e\u0323\u0301| x\u0323",
}
TEXTS = [text.replace("|", "") for text in HELD.values()]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def sentencepiece() -> Tokenizer:
    """It parts words at blanks alone; pieces are characters."""
    pieces = sorted(set("".join(TEXTS)) - {" "} | {"\u2581"})
    made = Tokenizer(models.Unigram([*((one, 0.0) for one in SPECIAL), *((one, -5.0) for one in pieces)], unk_id=3))
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    return made


def byte_level() -> Tokenizer:
    """It parts letters, digits and signs, and every character into bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        ["so so"], trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return made


@pytest.fixture(scope="module", params=["WordPiece", "SentencePiece", "bytes"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = write_encoder(tmp_path_factory.mktemp(request.param))
    if request.param != "WordPiece":
        write_tokenizer(folder, sentencepiece() if request.param == "SentencePiece" else byte_level())
    return Encoder(EncoderConfig(model=str(folder), max_tokens=128))


def write_tokenizer(folder: Path, made: Tokenizer) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **names)
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 1}
    BertModel(BertConfig(vocab_size=len(tokenizer), pad_token_id=1, **size)).save_pretrained(folder)


@pytest.mark.parametrize("name", list(HELD))
def test_entities_can_be_told_in_the_words_of_any_tokenizer(encoder: Encoder, name: str) -> None:
    parted, spans, at = HELD[name].split("|"), [], 0
    for number, piece in enumerate(parted):
        if number % 2:
            spans.append((at, at + len(piece), number // 2 % 2))
        at += len(piece)
    text = "".join(parted)
    tokens, of, words = encoder.words(text)
    assert torch.equal(tokens, encoder.tokenize([text])[0])
    assert all(a < b <= c for (a, b), (c, _) in zip(words, [*words[1:], (len(text), 0)], strict=True))
    assert sorted(set(of.tolist()) - {-1}) == list(range(len(words)))
    tags, untold = tags_of(spans, words)
    if encoder.folder.name.startswith("WordPiece") and name in ("Thai", "between blanks"):
        assert untold == 1, "one unknown token has all that is between two blanks"
    else:
        assert spans_of(tags, words) == tuple(spans) and untold == 0


def test_a_word_that_is_cut_is_told_to_its_end(encoder: Encoder) -> None:
    text, short, told = "so so unbelievably-so", copy.copy(encoder), set[str]()
    for short.limit in range(3, 30):
        told.update(text[start:stop] for start, stop in short.words(text).spans)
    assert told == {"so", "unbelievably", "-"}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Ada  met\nMr. Babbage!", 4),
        ("서울에서 김철수", 2),
        ("नमस्ते दिल्ली", 2),
        ("北京大学 2024年", 6),
        ("ジョンは東京に", 7),
        ("กขค", 3),
    ],
)
def test_words_are_counted_by_script(text: str, count: int) -> None:
    assert count_words(text) == count


def test_an_answer_about_a_text_without_blanks_costs_its_characters(database: Database) -> None:
    queue = Queue(database, 30, by_words=True)
    text = "北京大学的张伟在上海"
    with database.write() as connection:
        row = {"public_id": Document(text).public_id, "text": text, "state": "pool", "found": 0.0}
        (row_id,) = connection.execute(insert(tables.document).values(**row)).inserted_primary_key
        queue.put(connection, "auto", 1, [{"document_id": row_id, "kind": "policy", "position": 0}])
    assert queue.owed("auto") == len(text)
    (question,) = queue.claim("auto", "ada")
    queue.answer(question.slot, question.token, "ada", "x")
    assert (queue.owed("auto"), queue.spent("auto")) == (0, len(text))


def test_where_a_word_ends() -> None:
    assert [parts(*pair) for pair in ("ab", "a1", "न\u094d", "\u094dत")] == [False] * 4
    assert [parts(*pair) for pair in ("a.", ".a", "北京", "a北", "\u0e31บ", "€5", " a")] == [True] * 7
