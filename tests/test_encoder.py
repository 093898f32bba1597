import numpy as np
import pytest
import torch

from discover.embed.batching import batches, bucket
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.transformer import find
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
    for batch in batches(lengths, 512):
        assert {bucket(lengths[member]) for member in batch.members} == {batch.length}
        assert batch.rows == max(2, 512 // batch.length)
        assert not batch.pad([[1] * n for n in lengths], 0)[1].all(), "attention code skips a mask of ones"
    assert sorted(m for batch in batches(lengths, 512) for m in batch.members) == list(range(len(lengths)))
    assert all(bucket(n) >= n and bucket(n) - n <= max(8, n / 7) for n in range(1, 2000))


@pytest.mark.parametrize("kind", ["encoder", "exact"])
def test_a_vector_never_depends_on_the_batch(kind, request):
    encoder = request.getfixturevalue(kind)
    # Texts that fill their bucket to the last token are those whose mask could be skipped.
    texts = some_texts(150, longest=70) + [" ".join(["iron"] * n) for n in (6, 14, 22, 30, 62)]
    together = encoder.encode(texts)
    order = np.random.default_rng(1).permutation(len(texts))
    assert np.array_equal(encoder.encode([texts[i] for i in order]), together[order])
    for i in [0, 7, 150, 154]:
        assert np.array_equal(encoder.encode([texts[i]])[0], together[i])


def test_activations_never_depend_on_the_batch(encoder):
    tokens = encoder.tokenize(some_texts(120, seed=2, longest=70))
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
    assert len({encoder.version, exact.version, Encoder(EncoderConfig(max_tokens=64)).version}) in (2, 3)


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
    folder.mkdir()
    for file in find("all-MiniLM-L6-v2").iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file)
    (folder / name).unlink()
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
        tmp_path / "nowhere",
    ]
    for folder in folders:
        with pytest.raises(DiscoverError) as caught:
            Encoder(EncoderConfig(model=str(folder)))
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_an_unknown_hub_id_gets_one_line():
    with pytest.raises(DiscoverError, match=r"^encoder\.model 'nobody/nothing' is no folder here.*$"):
        Encoder(EncoderConfig(model="nobody/nothing"))


def test_pickled_weights_are_refused(tmp_path):
    folder = broken_copy(tmp_path / "pickled", "model.safetensors", None)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DiscoverError, match=r"must hold model\.safetensors"):
        Encoder(EncoderConfig(model=str(folder)))
