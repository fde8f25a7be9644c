"""Tokenizers in one piece give what those of `tokenizers.implementations` give, trained, read and used."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import Any

import pytest
import tokenizers.implementations as peer
import tokenizers.tools as peer_tools
from tokenizers import AddedToken
from tokenloom.compat import tokenizers as compat
from tokenloom.compat.tokenizers import implementations as ours
from tokenloom.compat.tokenizers import tools
from tokenloom.errors import TokenloomError

CORPUS = [
    "The quick brown fox jumps over the lazy dog, twice.",
    "Été: l'été où il pleut   beaucoup!",
    "low lower lowest",
] * 9
TEXTS = ["The lower fox", "", "  ÉTÉ ﬁne\n", "中文 ok?", "<unk> [UNK] low", "😀"]
BERT = {
    token: id
    for id, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "##er", "the", ",", "fox"])
}
BPE = ({"l": 0, "o": 1, "w": 2, "lo": 3, "<unk>": 4, "w</w>": 5, "▁": 6}, [("l", "o")])

MAKES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ByteLevelBPETokenizer", (), {}),
    ("ByteLevelBPETokenizer", BPE, {"add_prefix_space": True, "lowercase": True, "trim_offsets": True}),
    ("ByteLevelBPETokenizer", (), {"unicode_normalizer": "nfkc", "lowercase": True, "dropout": 0.5}),
    ("ByteLevelBPETokenizer", (), {"unicode_normalizer": "nope"}),
    ("CharBPETokenizer", (), {}),
    ("CharBPETokenizer", BPE, {"split_on_whitespace_only": True, "bert_normalizer": False}),
    ("CharBPETokenizer", BPE, {"lowercase": True, "unicode_normalizer": "nfd", "unk_token": AddedToken("<unk>")}),
    ("SentencePieceBPETokenizer", (), {}),
    ("SentencePieceBPETokenizer", BPE, {"add_prefix_space": False, "fuse_unk": True}),
    ("SentencePieceBPETokenizer", BPE, {"replacement": "_"}),
    ("SentencePieceUnigramTokenizer", (), {}),
    ("SentencePieceUnigramTokenizer", ([("<unk>", 0.0), ("▁low", -1.0)],), {"add_prefix_space": False}),
    ("BertWordPieceTokenizer", (), {}),
    ("BertWordPieceTokenizer", (BERT,), {}),
    ("BertWordPieceTokenizer", (BERT,), {"lowercase": False, "strip_accents": True, "wordpieces_prefix": "@@"}),
    ("BertWordPieceTokenizer", ({"[UNK]": 0},), {}),
    ("BertWordPieceTokenizer", (3,), {}),
]


def outcome(call: Any) -> Any:
    try:
        return call()
    except (TypeError, OverflowError) as error:
        return type(error)
    except Exception:
        return Exception


def used(tokenizer: Any) -> list[Any]:
    """What a tokenizer is and does."""
    encodings = [outcome(lambda: tokenizer.encode(text, "low")) for text in TEXTS]  # noqa: B023
    seen = [(e.ids, e.tokens, e.offsets, e.type_ids, e.word_ids) if hasattr(e, "ids") else e for e in encodings]
    texts = [outcome(lambda: tokenizer.decode(e.ids)) for e in encodings if hasattr(e, "ids")]  # noqa: B023
    settings = [tokenizer.get_vocab(), tokenizer.num_special_tokens_to_add(True), tokenizer.get_vocab_size(False)]
    return [json.loads(tokenizer.to_str()), repr(tokenizer).partition(", unk")[0], seen, texts, *settings]


@pytest.mark.parametrize(("name", "args", "options"), MAKES)
def test_they_are_put_together_of_the_same_parts(name, args, options):
    made = [outcome(lambda: used(getattr(module, name)(*args, **options))) for module in (peer, ours)]  # noqa: B023
    assert made[1] == made[0]


@pytest.mark.parametrize(
    "name", ["ByteLevelBPETokenizer", "CharBPETokenizer", "SentencePieceBPETokenizer", "BertWordPieceTokenizer"]
)
def test_they_learn_and_are_saved_and_read(name, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS))
    found = []
    for module in (peer, ours):
        cls = getattr(module, name)
        first, second = cls(), cls()
        # A line's end is part of a piece, which no merges.txt can hold.
        files = str(path) if name != "SentencePieceBPETokenizer" else [str(path)]
        first.train(files, vocab_size=290, show_progress=False)
        if name == "SentencePieceBPETokenizer":
            first.train_from_iterator(CORPUS, 290, show_progress=False)
        second.train_from_iterator(iter(CORPUS), vocab_size=290, min_frequency=3, show_progress=False, length=3)
        folder = tmp_path / module.__name__
        folder.mkdir()
        files = first.save_model(str(folder), "x")
        read = cls.from_file(*files)
        texts = [
            (folder / f"x-{kind}").read_text()
            for kind in ("vocab.json", "merges.txt", "vocab.txt")
            if (folder / f"x-{kind}").exists()
        ]
        found.append((used(first), used(second), used(read), texts))
    if name == "ByteLevelBPETokenizer":
        assert found[1] == found[0]
    elif name != "BertWordPieceTokenizer":
        # Ids of characters with an affix follow a hash table in the peer, and merges of equal counts follow ids.
        for theirs, mine in zip(found[0][:2], found[1][:2], strict=True):
            assert set(mine[4]) == set(theirs[4])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # The peer leaves the file open.
def test_pieces_of_a_model_file(tmp_path, monkeypatch):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    monkeypatch.setitem(sys.modules, "sentencepiece_model_pb2", sentencepiece_model_pb2)
    for kind, rule in (("unigram", "nmt_nfkc"), ("unigram", "identity"), ("bpe", "identity")):
        file = io.BytesIO()
        options = {"model_writer": file, "vocab_size": 45, "model_type": kind, "normalization_rule_name": rule}
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), minloglevel=2, **options)
        path = tmp_path / f"{kind}_{rule}.model"
        path.write_bytes(file.getvalue())
        if kind == "bpe":
            with pytest.raises(TokenloomError, match="model_type"):
                ours.SentencePieceUnigramTokenizer.from_spm(str(path))
        else:
            theirs, mine = (m.SentencePieceUnigramTokenizer.from_spm(str(path)) for m in (peer, ours))
            assert used(mine) == used(theirs)


def test_settings_and_calls():
    found = []
    for module in (peer, ours):
        tokenizer = module.BertWordPieceTokenizer(BERT)
        tokenizer.enable_padding("left", 4, 0)
        tokenizer.enable_truncation(6, 1)
        seen: list[Any] = [tokenizer.padding, {**tokenizer.truncation}, tokenizer.normalize("LOWÉ")]
        seen += [e.ids for e in tokenizer.encode_batch(["low the fox lower low", "fox"])]
        seen += [e.ids for e in asyncio.run(tokenizer.async_encode_batch(["low"]))]
        seen += [e.ids for e in asyncio.run(tokenizer.async_encode_batch_fast(["low"]))]
        tokenizer.no_padding()
        tokenizer.no_truncation()
        one, two = (tokenizer.encode(text, add_special_tokens=False) for text in ("low", "fox"))
        seen += [tokenizer.post_process(one, two).ids, tokenizer.decode_batch([[5, 6], [9]])]
        seen += [tokenizer.add_tokens(["new"]), tokenizer.add_special_tokens(["[N]"]), tokenizer.id_to_token(10)]
        seen += [tokenizer.token_to_id("[N]"), asyncio.run(tokenizer.async_decode_batch([[5]]))]
        for call in (tokenizer.encode, tokenizer.encode_batch, tokenizer.decode, tokenizer.decode_batch):
            with pytest.raises(ValueError, match="None"):
                call(None)
        found.append(seen)
    assert found[1] == found[0]


def test_a_page_shows_every_character_and_label():
    tokenizer = compat.BertWordPieceTokenizer(BERT)
    draw = tools.EncodingVisualizer(
        tokenizer, default_to_notebook=False, annotation_converter=lambda a: tools.Annotation(*a)
    )
    page = draw("low <b> the?", [(0, 5, "A&B"), (4, 7, "tag"), (-1, 0, "no"), (90, 99, "no")])
    assert page is not None
    assert page.count("<span") == page.count("</span>")
    assert "&lt;b&gt;" in page or "&lt;</span>" in page
    assert 'data-label="A&amp;B"' in page
    assert 'class="non-token"' in page
    assert 'data-stok="[UNK]"' in page
    assert draw("") is not None
    labels = [tools.Annotation(0, 1, name) for name in "cabab"]
    theirs = peer_tools.EncodingVisualizer.calculate_label_colors(
        [peer_tools.Annotation(0, 1, name) for name in "cabab"]
    )
    assert draw.calculate_label_colors(labels) == theirs
