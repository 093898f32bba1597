import copy
import json

import numpy as np
import pytest
import torch
import transformers

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.frozen import freeze
from discover.embed.padded import PaddedTransformer, batches, bucket, stack
from discover.embed.transformer import find
from discover.embed.unpadded import UnpaddedBert, can_run, plan
from discover.errors import DiscoverError

WORDS = "the model reads a page about iron ships and sells bread in Lisbon while prices rise again today".split()


def some_texts(n: int, seed: int = 0, longest: int = 150) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig())


@pytest.fixture(scope="module")
def exact() -> Encoder:
    return Encoder(EncoderConfig(dtype="float32"))


def test_shapes_follow_from_the_document_alone():
    lengths = [3, 128, 17, 3, 40, 500, 3, 128, 128, 128, 128]
    for batch in batches(lengths, 512, 512):
        assert {bucket(lengths[member]) for member in batch.members} == {batch.length}
        assert batch.rows == max(2, 512 // batch.length)
        _, mask = stack([torch.ones(n) for n in lengths], batch, torch.float32, 0)
        assert not mask.all(), "attention code skips a mask of ones"
    assert sorted(m for batch in batches(lengths, 512, 512) for m in batch.members) == list(range(len(lengths)))
    assert all(bucket(n) >= n and bucket(n) - n <= max(8, n / 7) for n in range(1, 2000))


def test_matrices_are_filled_with_each_document_once():
    lengths = [3, 128, 17, 3, 40, 500, 3, *[128] * 9, 1, 1000, 1024]
    matrices = plan(lengths, 1024)
    assert sorted(m for matrix in matrices for s in matrix for m in s.members) == list(range(len(lengths)))
    assert len(matrices) == 4, "one for the longest, one for 1,000 and small ones, two for the rest"
    for matrix in matrices:
        assert [s.start for s in matrix] == [0, *(s.stop for s in matrix[:-1])] and matrix[-1].stop <= 1024
        for stretch in matrix:
            assert {lengths[m] for m in stretch.members} == {stretch.length}
            assert stretch.stop - stretch.start == len(stretch.members) * stretch.length
    assert plan([], 1024) == []


def bert(heads: int, size: int, dtype: torch.dtype) -> torch.nn.Module:
    """A random BERT of two layers with heads of this size."""
    torch.manual_seed(0)
    width = heads * size
    config = transformers.BertConfig(
        hidden_size=width, num_attention_heads=heads, intermediate_size=2 * width, num_hidden_layers=2
    )
    return transformers.AutoModel.from_config(config).to(dtype).eval()


def minilm(dtype: torch.dtype) -> torch.nn.Module:
    """The packaged encoder's first two layers: the others meet the same shapes."""
    return transformers.AutoModel.from_pretrained(find("all-MiniLM-L6-v2"), dtype=dtype, num_hidden_layers=2).eval()


COMPANY = {
    "unpadded": lambda: UnpaddedBert(minilm(torch.bfloat16), 512),
    "padded": lambda: PaddedTransformer(minilm(torch.bfloat16), 512),
    "padded float32": lambda: PaddedTransformer(minilm(torch.float32), 512),
    "chosen, 12 heads of 26": lambda: freeze(bert(12, 26, torch.float32), 512),
    "chosen, 12 heads of 26, bfloat16": lambda: freeze(bert(12, 26, torch.bfloat16), 512),
    "chosen, 2 heads of 64": lambda: freeze(bert(2, 64, torch.bfloat16), 512),
    "chosen, 4 heads of 16": lambda: freeze(bert(4, 16, torch.bfloat16), 512),
    "chosen, 12 heads of 64": lambda: freeze(bert(12, 64, torch.bfloat16), 512),
}


@pytest.mark.parametrize("how", COMPANY)
def test_a_result_never_depends_on_the_company(how):
    frozen = COMPANY[how]()
    rng = np.random.default_rng(0)
    # Texts of few tokens meet other kernels; those that fill a bucket of eight are those whose mask could be skipped.
    lengths = [*rng.integers(1, 12, 40), *rng.integers(1, 129, 60), *[8] * 30, *[2] * 20, *[3] * 90, 512]
    inputs = [torch.from_numpy(rng.integers(1000, 29000, n)) for n in lengths]

    def found(chosen: list[int]) -> list[torch.Tensor]:
        computed = {}
        for members, hidden, mask in frozen.run([inputs[i] for i in chosen]):
            computed |= {m: one[: int(row.sum())] for m, one, row in zip(members, hidden, mask, strict=True)}
        return [computed[m] for m in range(len(chosen))]

    together = found(list(range(len(inputs))))
    for subset in (rng.permutation(len(inputs)), rng.permutation(len(inputs))[:70], [0], [5, 100], [200], [130]):
        for at, one in zip(subset, found([int(i) for i in subset]), strict=True):
            assert torch.equal(one, together[at]), f"a document of {lengths[at]} tokens among {len(subset)}"


ARCHITECTURES = {
    "bert": transformers.BertConfig(type_vocab_size=2),
    "roberta": transformers.RobertaConfig(type_vocab_size=1, max_position_embeddings=130),
    "xlm-roberta": transformers.XLMRobertaConfig(type_vocab_size=1, max_position_embeddings=130),
    "camembert": transformers.CamembertConfig(type_vocab_size=1, max_position_embeddings=130),
    "longer than BERT": transformers.BertConfig(max_position_embeddings=800),
    "distilbert": transformers.DistilBertConfig(n_layers=2, n_heads=4, dim=64, hidden_dim=128),
    "relu": transformers.BertConfig(hidden_act="relu"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hidden_states_are_those_of_transformers(name):
    config = ARCHITECTURES[name]
    config.update({"vocab_size": 99, "num_hidden_layers": 2, "initializer_range": 0.2})
    if name != "distilbert":
        config.update({"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128})
    torch.manual_seed(0)
    exact = transformers.AutoModel.from_config(config).eval()
    lengths = (1, 2, 3, 17, 17, 60, 128, *([700, 700] if "longer" in name else []))
    inputs = [torch.randint(5, 99, (n,)) for n in lengths]
    with torch.no_grad():
        expected = [exact(input_ids=one[None]).last_hidden_state[0] for one in inputs]
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.15)):
        model = copy.deepcopy(exact).to(dtype)
        assert can_run(model) == (dtype == torch.bfloat16 and name not in ("distilbert", "relu"))
        for members, hidden, mask in freeze(model, max(lengths)).run(inputs):
            for member, one, row in zip(members, hidden, mask, strict=True):
                assert torch.allclose(one[: int(row.sum())].float(), expected[member], atol=tolerance)


def test_vectors_and_activations_never_depend_on_the_company(encoder):
    texts = some_texts(120, seed=2, longest=70)
    vectors = encoder.encode(texts)
    for subset in (np.random.default_rng(1).permutation(len(texts)), [7], [3, 90]):
        assert np.array_equal(encoder.encode([texts[i] for i in subset]), vectors[subset])
    tokens = encoder.tokenize(texts)
    together = encoder.lower(tokens, 4)
    order = np.random.default_rng(1).permutation(len(tokens))
    for at, found in zip(order, encoder.lower([tokens[i] for i in order], 4), strict=True):
        assert torch.equal(found, together[at]) and found.shape == (len(tokens[at]), encoder.dimension)
    assert torch.equal(encoder.lower([tokens[5]], 4)[0], together[5])


def test_vectors_are_unit_and_close_to_float32(encoder, exact):
    texts = some_texts(100, seed=3, longest=70)
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (100, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * exact.encode(texts)).sum(1).min() >= 0.999
    assert encoder.version == Encoder(EncoderConfig()).version
    assert encoder.version != Encoder(EncoderConfig(max_tokens=64)).version
    assert (encoder.version == exact.version) == (encoder.dtype == exact.dtype)


def test_lower_and_upper_part_make_the_whole(exact):
    texts = some_texts(12, seed=4, longest=20)
    hidden = exact.lower(exact.tokenize(texts), 4)
    upper = exact.trainable(4)
    for text, one in zip(texts, hidden, strict=True):
        with torch.no_grad():
            mask = torch.ones(1, len(one), dtype=torch.int64)
            last = upper(inputs_embeds=one[None].float(), attention_mask=mask).last_hidden_state.mean(1)
        assert torch.cosine_similarity(last, torch.from_numpy(exact.encode([text]))).item() > 0.9999


def test_odd_texts(encoder):
    texts = ["", " ", "a" * 100_000, "word " * 50_000, "日本語", "\x00", "😀"]
    assert np.isfinite(encoder.encode(texts)).all()
    assert all(1 < len(ids) <= 128 for ids in encoder.tokenize(texts))
    assert encoder.encode([]).shape == (0, 384)


def broken_copy(folder, name: str, content: bytes | None):
    (folder / name).parent.mkdir(parents=True)
    for file in find("all-MiniLM-L6-v2").iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    return folder


def test_a_broken_folder_gets_one_line(tmp_path):
    weights = (find("all-MiniLM-L6-v2") / "model.safetensors").read_bytes()
    folders = [
        broken_copy(tmp_path / "cut", "model.safetensors", weights[:1_000_000]),
        broken_copy(tmp_path / "garbage", "model.safetensors", b"garbage"),
        broken_copy(tmp_path / "weightless", "model.safetensors", None),
        broken_copy(tmp_path / "unconfigured", "config.json", None),
        broken_copy(tmp_path / "unreadable", "config.json", b"{"),
        broken_copy(tmp_path / "listless", "model.safetensors.index.json", b"{}"),
        broken_copy(tmp_path / "indexless", "model.safetensors.index.json", b"{"),
        broken_copy(tmp_path / "unpooled", "1_Pooling/config.json", b"[]"),
        tmp_path / "nowhere",
    ]
    for folder in folders:
        with pytest.raises(DiscoverError) as caught:
            Encoder(EncoderConfig(model=str(folder)))
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_tokenizer_that_does_not_fit_its_weights_gets_one_line(tmp_path):
    tokenizer = json.loads((find("all-MiniLM-L6-v2") / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    for name, vocabulary in (
        ("small", {word: at for word, at in words.items() if at < 20_000}),
        ("large", words | {f"word{at}": at for at in range(len(words), len(words) + 3)}),
    ):
        tokenizer["model"]["vocab"] = vocabulary
        folder = broken_copy(tmp_path / name, "tokenizer.json", json.dumps(tokenizer).encode())
        found = (
            rf"^the tokenizer in \S+{name} does not fit the weights there: it has {len(vocabulary):,} entries, they "
        )
        with pytest.raises(DiscoverError, match=found + r"have 30,522 word embeddings; fetch the model folder again"):
            Encoder(EncoderConfig(model=str(folder)))


def test_an_unknown_hub_id_gets_one_line():
    with pytest.raises(DiscoverError, match=r"^encoder\.model 'nobody/nothing' is no folder here.*$"):
        Encoder(EncoderConfig(model="nobody/nothing"))


def test_pickled_weights_are_refused(tmp_path):
    folder = broken_copy(tmp_path / "pickled", "model.safetensors", None)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DiscoverError, match=r"must hold model\.safetensors"):
        Encoder(EncoderConfig(model=str(folder)))
