"""Every method of `tokenloom.compat.tokenizers` against `tokenizers`, on files of every kind."""

import asyncio
import copy
import functools
import json
import pickle
import threading
from pathlib import Path

import pytest
import tokenizers as peer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenloom import errors
from tokenloom.compat import tokenizers as ours
from trained_files import CORPUS, SPECIAL, trained

DATA = Path(__file__).parents[1] / "data"
KINDS = [*trained(), "tiny.tokenizer.json", "tiny_2019.tokenizer.json"]
FIELDS = (
    "ids",
    "type_ids",
    "tokens",
    "word_ids",
    "sequence_ids",
    "offsets",
    "special_tokens_mask",
    "attention_mask",
    "n_sequences",
)
TEXTS = [
    "Hello world",
    "",
    " ",
    "  lots   of space  ",
    "naïve café [CLS] New  <m> x",
    "日本語 👩‍👩‍👧 ok é",
    "12345 67\n\n",
    "def f(x):\n    return x",
    "[MASK]",
    "a" * 30,
    *CORPUS[:6],
]


def file_of(kind):
    return trained()[kind] if kind in trained() else (DATA / kind).read_text()


@functools.cache
def both(kind):
    text = file_of(kind)
    return peer.Tokenizer.from_str(text), ours.Tokenizer.from_str(text)


def fresh(kind):
    text = file_of(kind)
    return peer.Tokenizer.from_str(text), ours.Tokenizer.from_str(text)


def seen(encoding):
    """Everything that can be asked of an encoding."""
    maps = []
    for sequence in range(3):
        maps += [(encoding.word_to_tokens(n, sequence), encoding.word_to_chars(n, sequence)) for n in range(5)]
        maps += [(encoding.char_to_token(n, sequence), encoding.char_to_word(n, sequence)) for n in range(20)]
    for n in range(len(encoding) + 2):
        maps.append((encoding.token_to_sequence(n), encoding.token_to_chars(n), encoding.token_to_word(n)))
    fields = {name: getattr(encoding, name) for name in FIELDS}
    return fields | {"maps": maps, "overflowing": [seen(part) for part in encoding.overflowing]}


def answer(call):
    """What a call gives; that it fails is an answer too. A panic of the peer is a failure."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "fails"


def same(call, *tokenizers):
    expected, found = (answer(functools.partial(call, tokenizer)) for tokenizer in tokenizers)
    assert found == expected
    return found


texts = st.sampled_from(TEXTS) | st.text(max_size=12)
truncations = st.none() | st.fixed_dictionaries(
    {
        "max_length": st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 12]),
        "stride": st.sampled_from([0, 0, 1, 2, 3]),
        "strategy": st.sampled_from(["longest_first", "only_first", "only_second"]),
        "direction": st.sampled_from(["left", "right"]),
    }
)
paddings = st.none() | st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["left", "right"]),
        "pad_id": st.sampled_from([0, 3]),
        "pad_type_id": st.sampled_from([0, 2]),
        "pad_token": st.just("[PAD]"),
        "length": st.sampled_from([None, None, 5, 16]),
        "pad_to_multiple_of": st.sampled_from([None, None, 4, 8]),
    }
)


@st.composite
def batches(draw):
    is_split = draw(st.booleans())
    one = texts.map(lambda text: text.split(" ")) if is_split else texts
    return draw(st.lists(one | st.tuples(one, one), min_size=1, max_size=3)), is_split


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=batches(), truncation=truncations, padding=paddings, add=st.booleans(), as_text=st.sampled_from([0, 0, 1]))
def test_batches_are_cut_finished_and_filled_alike(kind, batch, truncation, padding, add, as_text):
    pair = both(kind)
    items, is_split = batch
    for tokenizer in pair:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = bool(as_text)
        if padding:
            tokenizer.enable_padding(**padding)
    if truncation:
        same(lambda tokenizer: tokenizer.enable_truncation(**truncation), *pair)
    assert pair[1].truncation == pair[0].truncation
    assert pair[1].padding == pair[0].padding
    same(lambda tokenizer: [seen(one) for one in tokenizer.encode_batch(items, is_split, add)], *pair)
    same(lambda tokenizer: [seen(one) for one in tokenizer.encode_batch_fast(items, is_split, add)], *pair)
    arguments = items[0] if isinstance(items[0], tuple) else (items[0],)
    same(lambda tokenizer: seen(tokenizer.encode(*arguments, is_pretokenized=is_split, add_special_tokens=add)), *pair)


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_files_and_decoding(kind):
    pair = fresh(kind)
    same(lambda tokenizer: tokenizer.to_str(), *pair)
    same(lambda tokenizer: tokenizer.to_str(pretty=True), *pair)
    same(lambda tokenizer: (tokenizer.get_vocab(), tokenizer.get_vocab(False)), *pair)
    same(lambda tokenizer: (tokenizer.get_vocab_size(), tokenizer.get_vocab_size(False)), *pair)
    same(lambda tokenizer: [tokenizer.id_to_token(id) for id in range(600)], *pair)
    same(lambda tokenizer: [tokenizer.token_to_id(token) for token in [*SPECIAL, "a", "Ġ", "none"]], *pair)
    same(lambda tokenizer: [tokenizer.num_special_tokens_to_add(two) for two in (True, False)], *pair)
    same(lambda tokenizer: {id: str(t) for id, t in tokenizer.get_added_tokens_decoder().items()}, *pair)
    ids = [[*range(start, start + 9)] for start in range(0, 420, 7)] + [[], [10_000, 1, 3]]
    for skip in (True, False):
        same(lambda tokenizer, skip=skip: tokenizer.decode_batch(ids, skip), *pair)
        same(lambda tokenizer, skip=skip: [tokenizer.decode(one, skip_special_tokens=skip) for one in ids], *pair)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_added_later(kind):
    pair = fresh(kind)
    for library, tokenizer in zip((peer, ours), pair, strict=True):
        added = [
            tokenizer.add_tokens(["<new>", "zebra", "", "a"]),
            tokenizer.add_special_tokens(["<end>", library.AddedToken("<pad>", rstrip=True)]),
            tokenizer.add_tokens([library.AddedToken("zebra", single_word=True, lstrip=True), "<new>"]),
        ]
        tokenizer.added = added
    assert pair[1].added == pair[0].added
    same(lambda tokenizer: [repr(token) for token in tokenizer.get_added_tokens_decoder().values()], *pair)
    same(lambda tokenizer: tokenizer.get_vocab(), *pair)
    same(lambda tokenizer: tokenizer.to_str(), *pair)
    for text in ["a zebra<new> zebras <end><pad>  x", "<end>", "Zebra ZEBRA"]:
        same(lambda tokenizer, text=text: seen(tokenizer.encode(text)), *pair)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_objects_that_change_the_tokenizer(kind):
    pair = fresh(kind)
    for role in ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model"):
        expected, found = (getattr(tokenizer, role) for tokenizer in pair)
        assert type(found).__name__ == type(expected).__name__
        if expected is not None:
            assert json.loads(found.__getstate__()) == json.loads(expected.__getstate__())
    for text in TEXTS[:9]:
        if pair[0].normalizer:
            same(lambda tokenizer, text=text: tokenizer.normalizer.normalize_str(text), *pair)
        if pair[0].pre_tokenizer:
            same(lambda tokenizer, text=text: tokenizer.pre_tokenizer.pre_tokenize_str(text), *pair)
        word = text.split(" ")[0]
        same(lambda t, word=word: [one.as_tuple() for one in t.model.tokenize(word)], *pair)
    if pair[0].decoder:
        same(lambda tokenizer: tokenizer.decoder.decode(["Ġa", "▁b", "##c", "d</w>"]), *pair)
    for library, tokenizer in zip((peer, ours), pair, strict=True):
        tokenizer.normalizer = library.normalizers.Sequence([library.normalizers.NFD(), library.normalizers.Strip()])
        tokenizer.normalizer[1].left = False
        tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.pre_tokenizer.replacement = "_"
        tokenizer.decoder = None
        tokenizer.post_processor = None
    same(lambda tokenizer: tokenizer.to_str(), *pair)
    for text in TEXTS:
        same(lambda tokenizer, text=text: seen(tokenizer.encode(text, "x y")), *pair)
    same(lambda tokenizer: tokenizer.decode([5, 6, 7]), *pair)


def parts_of(library):
    n, p, d, q = library.normalizers, library.pre_tokenizers, library.decoders, library.processors
    return [
        n.BertNormalizer(strip_accents=False), n.Strip(right=False), n.StripAccents(), n.NFKC(), n.NFKD(), n.Nmt(),
        n.Replace("a", "b"), n.Replace(library.Regex("a+"), "b"), n.Prepend("x"), n.ByteLevel(), n.Sequence([]),
        p.BertPreTokenizer(), p.ByteLevel(use_regex=False), p.CharDelimiterSplit("x"), p.Metaspace(split=False),
        p.Whitespace(), p.Split(library.Regex("a|b"), "merged_with_next", invert=True), p.Punctuation(),
        p.WhitespaceSplit(), p.Digits(True), p.UnicodeScripts(), p.FixedLength(3), p.Sequence([p.Digits()]),
        d.BPEDecoder(), d.ByteLevel(), d.WordPiece(cleanup=False), d.Metaspace(), d.CTC(), d.Fuse(),
        d.Sequence([d.ByteFallback()]), d.Replace("a", "b"), d.Strip("x", 1, 2),
        q.RobertaProcessing(("a", 1), ("b", 2)), q.BertProcessing(("a", 1), ("b", 2)), q.ByteLevel(trim_offsets=False),
        q.TemplateProcessing("[C]:1 $A", ["$A", "$B:2", "y"], [("[C]", 3), {"id": "y", "ids": [1], "tokens": ["z"]}]),
        q.TemplateProcessing("$3 x", "$a $b:7 x:1", [(9, "x")]), q.Sequence([q.ByteLevel()]),
    ]  # fmt: skip


def test_parts_have_the_arguments_attributes_and_state_of_the_peer():
    for expected, found in zip(parts_of(peer), parts_of(ours), strict=True):
        assert json.loads(found.__getstate__()) == json.loads(expected.__getstate__())
        assert repr(found) == repr(expected) or "=" in repr(found)
        names = [name for name in dir(expected) if not name.startswith("_")]
        for name in names:
            if name != "pattern" and not callable(getattr(expected, name)):
                assert getattr(found, name) == getattr(expected, name), (found, name)
        again = pickle.loads(pickle.dumps(found))
        assert again.__getstate__() == found.__getstate__() == copy.deepcopy(found).__getstate__()
        if hasattr(expected, "num_special_tokens_to_add"):
            counts = [found.num_special_tokens_to_add(two) for two in (True, False)]
            assert counts == [expected.num_special_tokens_to_add(two) for two in (True, False)]


def models_of(library, folder):
    ids, merges = {"a": 0, "b": 1, "ab": 2, "[UNK]": 3}, [("a", "b")]
    models = library.models
    bpe = models.BPE(ids, merges, unk_token="[UNK]", fuse_unk=True)
    bpe.fuse_unk = False
    bpe.dropout = None
    found = [bpe, models.WordPiece(ids), models.WordLevel(ids, "[UNK]"), models.Unigram([("a", -1.0), ("b", -2.5)], 0)]
    folder.mkdir()
    files = [model.save(str(folder), type(model).__name__) for model in found]
    names = [[Path(path).name for path in saved] for saved in files]
    return [*found, models.BPE.from_file(*files[0]), models.WordPiece.from_file(*files[1])], names


def test_models_have_the_arguments_and_attributes_of_the_peer(tmp_path):
    (expected_models, expected_names), (models, names) = (
        models_of(library, tmp_path / str(number)) for number, library in enumerate((peer, ours))
    )
    assert names == expected_names
    for expected, found in zip(expected_models, models, strict=True):
        assert json.loads(found.__getstate__()) == json.loads(expected.__getstate__())
        for name in ("unk_token", "fuse_unk", "dropout", "max_input_chars_per_word", "alpha"):
            assert getattr(found, name, "none") == getattr(expected, name, "none")
        assert [found.token_to_id("ab"), found.id_to_token(1)] == [expected.token_to_id("ab"), expected.id_to_token(1)]
        tokenizer = ours.Tokenizer(found)
        assert tokenizer.encode("abab").ids == peer.Tokenizer(expected).encode("abab").ids
        assert type(tokenizer.model).__name__ == type(expected).__name__


def test_encodings_are_cut_filled_merged_and_copied_alike():
    pair = both("wordpiece")
    for tokenizer in pair:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = False
    results = []
    for library, tokenizer in zip((peer, ours), pair, strict=True):
        first, second = tokenizer.encode("hello world today"), tokenizer.encode("the quick", "brown fox")
        first.truncate(4, stride=1, direction="left")
        second.pad(12, direction="left", pad_id=7, pad_type_id=1, pad_token="<p>")
        joined = library.Encoding.merge([first, second], growing_offsets=True)
        third = tokenizer.encode("lazy dog", add_special_tokens=False)
        third.set_sequence_id(0)
        raw = [tokenizer.encode(text, add_special_tokens=False) for text in ("fox", "dog")]
        done = tokenizer.post_process(*raw)
        part = tokenizer.post_processor.process(raw[0], None, True)
        found = [first, second, joined, third, done, part, library.Encoding()]
        results.append([seen(one) for one in found])
        assert [seen(pickle.loads(pickle.dumps(one))) for one in found] == results[-1]
        assert repr(first).startswith("Encoding(num_tokens=4")
    assert results[1] == results[0]


@pytest.mark.parametrize("kind", ["bytelevel", "unigram", "wordpiece"])
def test_copies_pickles_and_asynchronous_calls(kind):
    _, tokenizer = fresh(kind)
    tokenizer.enable_truncation(6)
    tokenizer.add_tokens(["<x>"])
    expected = seen(tokenizer.encode("hello <x> world"))
    copies = [copy.deepcopy(tokenizer), copy.copy(tokenizer), pickle.loads(pickle.dumps(tokenizer))]
    tokenizer.add_tokens(["hello"])
    tokenizer.no_truncation()
    assert [seen(one.encode("hello <x> world")) for one in copies] == [expected] * 3
    batch = asyncio.run(copies[0].async_encode_batch(["hello <x> world"]))
    assert seen(batch[0]) == expected == seen(asyncio.run(copies[0].async_encode("hello <x> world")))
    assert asyncio.run(copies[0].async_decode_batch([batch[0].ids])) == [copies[0].decode(batch[0].ids)]


def test_an_encoding_keeps_what_it_was_made_with():
    _, tokenizer = fresh("bytelevel")
    words = ["hello", "wörld"]
    late = tokenizer.encode(words, is_pretokenized=True)
    expected = seen(tokenizer.encode(["hello", "wörld"], is_pretokenized=True))
    words[0] = "changed"
    tokenizer.add_tokens(["hello"])
    tokenizer.pre_tokenizer = None
    tokenizer.post_processor = None
    assert seen(late) == expected


def test_settings_change_while_threads_encode():
    _, tokenizer = fresh("roberta")
    failures = []
    lengths = set()

    def work(number):
        try:
            for turn in range(30):
                if number % 4 == 0:
                    tokenizer.enable_truncation(4 + turn % 3)
                    tokenizer.add_tokens([f"<{number}-{turn}>"])
                for encoding in tokenizer.encode_batch(["hello world " * 5] * 3):
                    lengths.add(len(encoding.tokens))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(tokenizer.get_added_tokens_decoder()) == 7 + 8 * 30


def test_files_with_added_tokens_that_cannot_be_normalized_are_refused():
    steps = [{"type": "Replace", "pattern": {"Regex": "^"}, "content": "x"}, {"type": "Lowercase"}]
    token = {"id": 1, "content": "A", "normalized": True, "special": False}
    token |= dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    file = {"version": "1.0", "normalizer": {"type": "Sequence", "normalizers": steps}, "added_tokens": [token]}
    file["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    with pytest.raises(BaseException, match="index out of bounds"):
        peer.Tokenizer.from_str(json.dumps(file))
    with pytest.raises(errors.TokenloomError, match="added token"):
        ours.Tokenizer.from_str(json.dumps(file))


def test_what_is_not_supported_says_so():
    with pytest.raises(errors.UnsupportedFeatureError, match="expected a BPE model for BpeTrainer, found WordPiece"):
        ours.Tokenizer(ours.models.WordPiece()).train_from_iterator(["a"], ours.trainers.BpeTrainer())
    with pytest.raises(errors.UnsupportedFeatureError, match="alpha"):
        ours.models.Unigram([("a", -1.0)], 0, alpha=0.1)
    with pytest.raises(AttributeError, match="NoSuchTokenizer"):
        ours.NoSuchTokenizer  # noqa: B018


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda t: t.encode(3), TypeError),
        (lambda t: t.encode(["a", "b"]), TypeError),
        (lambda t: t.encode("a", is_pretokenized=True), TypeError),
        (lambda t: t.encode("\ud800"), TypeError),
        (lambda t: t.encode_batch([3]), TypeError),
        (lambda t: t.encode_batch("text"), TypeError),
        (lambda t: t.add_tokens("x"), TypeError),
        (lambda t: t.add_tokens([3]), TypeError),
        (lambda t: t.decode([-1]), OverflowError),
        (lambda t: t.id_to_token(-1), OverflowError),
        (lambda t: t.enable_truncation(-1), OverflowError),
        (lambda t: t.enable_truncation(3, strategy="x"), ValueError),
        (lambda t: t.enable_truncation(3, direction="x"), ValueError),
        (lambda t: t.enable_truncation(3, stride=4), ValueError),
        (lambda t: t.enable_padding(direction="x"), ValueError),
        (lambda t: setattr(t, "model", 3), TypeError),
        (lambda t: setattr(t, "normalizer", ours.pre_tokenizers.Digits()), TypeError),
        (lambda t: ours.Tokenizer.from_str("{"), ValueError),
        (lambda t: ours.Tokenizer.from_buffer(b"x"), ValueError),
        (lambda t: ours.Tokenizer.from_file("/nowhere"), OSError),
        (lambda t: ours.processors.TemplateProcessing("[X] $A", "$A $B"), ValueError),
        (lambda t: ours.processors.TemplateProcessing("$A", "$A"), ValueError),
        (lambda t: ours.models.BPE({"a": 0}), ValueError),
        (lambda t: ours.models.BPE({"a": 0}, [("a", "b")]), ValueError),
        (lambda t: ours.pre_tokenizers.Split("a", "x"), ValueError),
        (lambda t: ours.pre_tokenizers.Metaspace("xx"), ValueError),
        (lambda t: ours.Regex("("), ValueError),
    ],
)
def test_errors_are_of_both_trees(call, error):
    with pytest.raises(error):
        call(both("tiny.tokenizer.json")[1])


@pytest.mark.parametrize("kind", KINDS)
def test_streams_give_the_pieces_of_the_peer(kind):
    pair = fresh(kind)
    for text in [*TEXTS, "naïve 日本語 👩‍👩‍👧"]:
        ids = pair[0].encode(text).ids
        for skip in (True, False):
            streams = [library.decoders.DecodeStream(skip_special_tokens=skip) for library in (peer, ours)]
            pieces = [[stream.step(one, id) for id in ids] for stream, one in zip(streams, pair, strict=True)]
            assert pieces[1] == pieces[0], text


ODD_TOKENS = [
    [("a", {"special": True}), ("a", {"rstrip": True})],
    [("é", {"special": True, "normalized": False}), ("Ġ", {})],
    [(" ", {"rstrip": True, "single_word": True}), ("new", {"rstrip": True})],
    [("e\u0301", {"special": True, "normalized": True}), ("zebra", {"lstrip": True, "normalized": True})],
    [("<s>x", {}), ("<s>", {"special": True}), ("s>", {})],
]


@pytest.mark.parametrize("kind", ["bytelevel", "roberta", "llama2", "gemma", "unigram"])
@pytest.mark.parametrize("number", range(len(ODD_TOKENS)))
def test_odd_added_tokens(kind, number):
    pair = fresh(kind)
    for library, tokenizer in zip((peer, ours), pair, strict=True):
        for content, flags in ODD_TOKENS[number]:
            tokenizer.add_tokens([library.AddedToken(content, **flags)])
    for text in ["a  new é e\u0301 zebra <s>x <s> s>", "   é zebra\n new  a", "<s>xs>Ġ a"]:
        for as_text in (False, True):
            for tokenizer in pair:
                tokenizer.encode_special_tokens = as_text
            same(lambda tokenizer, text=text: seen(tokenizer.encode(text)), *pair)
            ids = pair[0].encode(text).ids
            same(lambda tokenizer, ids=ids: [tokenizer.decode(ids, skip) for skip in (True, False)], *pair)
