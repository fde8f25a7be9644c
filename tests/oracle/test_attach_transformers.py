"""The usage patterns of fast tokenizers of `transformers`, attached and not, give equal results."""

import copy
import functools
import json
import pickle
import threading
from pathlib import Path

import pytest
import tokenizers as peer
import transformers
from tokenloom import errors
from tokenloom.compat.transformers import Backend, attach, detach
from trained_files import CORPUS, trained
from transformers import PreTrainedTokenizerFast

DATA = Path(__file__).parents[1] / "data"
FAILING = {"wrong input", "second sequence missing"}
KINDS = ["wordpiece", "unigram", "roberta", "llama3", "sentencepiece", "tiny.tokenizer.json"]
TEMPLATE = "{% for m in messages %}[CLS]{{ m['role'] }}: {{ m['content'] }}[SEP]{% endfor %}"
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
TEXTS = [*CORPUS[:6], "", "Hello [MASK] world [SEP]", "naïve"]
PAIRS = (TEXTS, TEXTS[::-1])


def make(kind):
    text = trained()[kind] if kind in trained() else (DATA / kind).read_text()
    tokens = SPECIAL if kind in trained() else {"pad_token": "!", "mask_token": '"', "eos_token": "#"}
    made = PreTrainedTokenizerFast(tokenizer_object=peer.Tokenizer.from_str(text), **tokens)
    made.chat_template = TEMPLATE
    made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return made


@functools.cache
def pair(kind):
    return make(kind), attach(make(kind))


def seen(encoding):
    """The arrays of a BatchEncoding, and what it says of words and characters."""
    found = dict(encoding)
    if encoding.is_fast:
        found["parts"] = [(e.tokens, e.word_ids, e.sequence_ids, e.offsets) for e in encoding.encodings]
        if isinstance(encoding["input_ids"][0], list):
            n_rows = len(encoding["input_ids"])
            found["maps"] = [
                (encoding.char_to_token(row, 1), encoding.word_to_tokens(row, 1), encoding.token_to_chars(row, 0))
                for row in range(n_rows)
                if encoding["input_ids"][row]
            ]
    return found


def answer(call, tokenizer):
    try:
        found = call(tokenizer)
    except Exception:
        return "fails"
    return seen(found) if isinstance(found, transformers.BatchEncoding) else found


CALLS = {
    "one text": lambda t: t(TEXTS[0]),
    "a batch": lambda t: t(TEXTS),
    "a pair": lambda t: t(TEXTS[0], TEXTS[2]),
    "a batch of pairs": lambda t: t(*PAIRS),
    "pairs as tuples": lambda t: t(list(zip(*PAIRS, strict=True))),
    "words": lambda t: t([text.split() for text in CORPUS[:5]], is_split_into_words=True, return_offsets_mapping=True),
    "pairs of words": lambda t: t(
        [text.split() for text in CORPUS[:5]], [text.split() for text in CORPUS[1:6]], is_split_into_words=True
    ),
    "offsets and masks": lambda t: t(
        *PAIRS, return_offsets_mapping=True, return_special_tokens_mask=True, return_length=True
    ),
    "overflow": lambda t: t(
        TEXTS, truncation=True, max_length=6, stride=2, return_overflowing_tokens=True, return_offsets_mapping=True
    ),
    "overflow of pairs, padded": lambda t: t(
        *PAIRS,
        truncation="only_second",
        max_length=70,
        stride=1,
        return_overflowing_tokens=True,
        padding="max_length",
    ),
    "no special tokens": lambda t: t(TEXTS, add_special_tokens=False),
    "padded to a multiple": lambda t: t(TEXTS, padding=True, pad_to_multiple_of=8),
    "padded on the left": lambda t: t(TEXTS, padding="max_length", max_length=24, padding_side="left", truncation=True),
    "tensors": lambda t: t(TEXTS, padding=True, return_tensors="np")["input_ids"].tolist(),
    "special tokens as text": lambda t: t(TEXTS, split_special_tokens=True),
    "encode": lambda t: [t.encode(text) for text in TEXTS],
    "tokenize": lambda t: [t.tokenize(text) for text in TEXTS],
    "decode": lambda t: t.batch_decode([t.encode(text) for text in TEXTS]),
    "decode without special": lambda t: t.batch_decode([t.encode(text) for text in TEXTS], skip_special_tokens=True),
    "conversions": lambda t: (
        t.convert_tokens_to_ids(["a", "[SEP]", "none"]),
        t.convert_ids_to_tokens(list(range(40))),
        t.convert_tokens_to_string(["a", "##b", "Ġc", "▁d"]),
    ),
    "vocabulary": lambda t: (t.get_vocab(), len(t), t.vocab_size, t.added_tokens_encoder, t.all_special_ids),
    "added tokens": lambda t: {id: repr(token) for id, token in t.added_tokens_decoder.items()},
    "counts": lambda t: (t.num_special_tokens_to_add(), t.num_special_tokens_to_add(pair=True)),
    "chat": lambda t: t.apply_chat_template([{"role": "user", "content": "Hello world"}], tokenize=False),
    "chat ids": lambda t: t.apply_chat_template([{"role": "user", "content": "Hello world"}], return_dict=True),
    "pad": lambda t: t.pad([t(text) for text in TEXTS], padding=True),
    "wrong input": lambda t: t([3]),
    "second sequence missing": lambda t: t("a b c d e f", truncation="only_second", max_length=5),
} | {
    f"truncation {strategy} {side} {length}": functools.partial(
        lambda t, **options: t(TEXTS[:6], ["the fox"] * 6, padding="longest", return_offsets_mapping=True, **options),
        truncation=strategy,
        max_length=length,
    )
    for strategy in (True, "longest_first", "only_first")
    for side in ("left", "right")
    for length in (18, 24, 60)
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_calls_give_the_same(kind, name):
    plain, attached = pair(kind)
    assert isinstance(attached._tokenizer, Backend)
    for tokenizer in (plain, attached):
        tokenizer.truncation_side = "left" if " left " in name else "right"
    expected = answer(CALLS[name], plain)
    assert answer(CALLS[name], attached) == expected
    assert (expected == "fails") == (name in FAILING)


def labelled(tokenizer, texts):
    return [tokenizer(text) | {"labels": list(range(len(tokenizer(text)["input_ids"])))} for text in texts]


COLLATORS = {
    "padding": lambda t: transformers.DataCollatorWithPadding(t),
    "padding to a multiple": lambda t: transformers.DataCollatorWithPadding(t, pad_to_multiple_of=8),
    "padding to a length": lambda t: transformers.DataCollatorWithPadding(t, padding="max_length", max_length=70),
    "masked": lambda t: transformers.DataCollatorForLanguageModeling(t, mlm_probability=0.3),
    "causal": lambda t: transformers.DataCollatorForLanguageModeling(t, mlm=False),
    "whole words": lambda t: transformers.DataCollatorForLanguageModeling(
        t, whole_word_mask=True, mask_replace_prob=1, random_replace_prob=0
    ),
    "labels of tokens": lambda t: transformers.DataCollatorForTokenClassification(t),
    "sequences": lambda t: transformers.DataCollatorForSeq2Seq(t),
    "one row": lambda t: transformers.DataCollatorWithFlattening(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_collators_see_no_difference(kind):
    torch = pytest.importorskip("torch")
    found = []
    for tokenizer in pair(kind):
        batches = {}
        for name, make_collator in COLLATORS.items():
            torch.manual_seed(5)
            texts = [text for text in TEXTS if text]
            has_labels = name in ("labels of tokens", "sequences")
            options = {"return_offsets_mapping": True} if name == "whole words" else {}
            features = labelled(tokenizer, texts) if has_labels else [tokenizer(text, **options) for text in texts]
            collator = make_collator(tokenizer)
            batch = answer(lambda _, call=collator, f=features: call(f), tokenizer)
            batches[name] = batch if batch == "fails" else {key: value.tolist() for key, value in batch.items()}
        found.append(batches)
    assert found[1] == found[0]
    assert {name for name, batch in found[0].items() if batch == "fails"} <= {"whole words"}


def test_what_was_special_once_stays_so():
    found = []
    for is_attached in (False, True):
        tokenizer = make("wordpiece")
        tokenizer._tokenizer.add_special_tokens(["<once>"])
        tokenizer._tokenizer.add_tokens([peer.AddedToken("<once>", normalized=False)])
        assert not json.loads(tokenizer._tokenizer.to_str())["added_tokens"][-1]["special"]
        tokenizer = attach(tokenizer) if is_attached else tokenizer
        ids = tokenizer("the <once>[SEP]")["input_ids"]
        split = tokenizer("the <once>[SEP]", split_special_tokens=True)["input_ids"]
        found.append(
            (ids, split, tokenizer.decode(ids, skip_special_tokens=True), repr(tokenizer.added_tokens_decoder))
        )
    assert found[1] == found[0]


def test_a_backend_that_is_not_what_its_file_says_is_refused():
    backend = peer.Tokenizer(peer.models.WordLevel({"a": 0, "b": 1, "pad": 3}, unk_token="a"))
    backend.add_tokens(["<x>"])
    backend.add_tokens(["pad"])
    assert (backend.token_to_id("<x>"), backend.id_to_token(3)) == (3, "pad")
    tokenizer = make("wordpiece")
    tokenizer._tokenizer = backend
    with pytest.raises(errors.UnsupportedFeatureError, match="write it and read it again"):
        attach(tokenizer)
    assert isinstance(tokenizer._tokenizer, peer.Tokenizer)


def test_a_model_grows_with_its_tokenizer():
    torch = pytest.importorskip("torch")
    found = []
    for tokenizer in (make("roberta"), attach(make("roberta"))):
        torch.manual_seed(3)
        config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=8, n_layer=1, n_head=1)
        model = transformers.GPT2LMHeadModel(config).eval()
        sizes = [len(tokenizer)]
        for change in (
            lambda t: t.add_tokens(["zebra", "<a>", "zebra"]),
            lambda t: t.add_special_tokens({"additional_special_tokens": ["<tool>", "<end>"]}),
            lambda t: t.add_tokens([transformers.AddedToken(" b", lstrip=True)]),
        ):
            change(tokenizer)
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            sizes.append(model.get_input_embeddings().num_embeddings)
        batch = tokenizer(["a zebra <tool> b", "<a><end>"], padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        found.append((sizes, batch["input_ids"].tolist(), logits.tolist()))
    assert found[1] == found[0]
    assert found[0][0] == [sizes[0], sizes[0] + 2, sizes[0] + 4, sizes[0] + 5]
    assert max(map(max, found[0][1])) >= sizes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_copies_pickles_and_saved_folders(kind, tmp_path):
    plain, attached = make(kind), attach(make(kind))
    for tokenizer in (plain, attached):
        tokenizer.add_tokens(["zebra", transformers.AddedToken("<x>", rstrip=True)])
        tokenizer.add_special_tokens({"additional_special_tokens": ["<tool>"]})
    expected = seen(plain("a zebra <x>  <tool> x", return_offsets_mapping=True))
    for copied in (attached, copy.deepcopy(attached), pickle.loads(pickle.dumps(attached))):
        assert isinstance(copied._tokenizer, Backend)
        assert seen(copied("a zebra <x>  <tool> x", return_offsets_mapping=True)) == expected
    for name, tokenizer in (("plain", plain), ("attached", attached)):
        tokenizer.save_pretrained(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "plain").iterdir())
    assert sorted(path.name for path in (tmp_path / "attached").iterdir()) == files
    for file in files:
        assert (tmp_path / "attached" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
    loaded = attach(PreTrainedTokenizerFast.from_pretrained(tmp_path / "attached"))
    assert loaded("a zebra <x>  <tool> x")["input_ids"] == plain("a zebra <x>  <tool> x")["input_ids"]
    back = detach(copy.deepcopy(attached))
    assert isinstance(back._tokenizer, peer.Tokenizer)
    assert seen(back("a zebra <x>  <tool> x", return_offsets_mapping=True)) == expected
    assert back.backend_tokenizer.to_str() == plain.backend_tokenizer.to_str()


def test_parts_of_the_peer_are_taken():
    plain, attached = make("roberta"), attach(make("roberta"))
    assert attach(attached) is attached
    for tokenizer in (plain, attached):
        backend = tokenizer.backend_tokenizer
        state = backend.pre_tokenizer.__getstate__()
        assert b'"add_prefix_space":true' in state
        backend.pre_tokenizer = peer.pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.normalizer = peer.normalizers.NFKC()
        backend.post_processor = peer.processors.TemplateProcessing("$A [SEP]", "$A $B", [("[SEP]", 3)])
    assert seen(attached(TEXTS)) == seen(plain(TEXTS))
    assert type(attached.backend_tokenizer.model).__name__ == "BPE"
    again = PreTrainedTokenizerFast(tokenizer_object=attached.backend_tokenizer)
    assert again(TEXTS)["input_ids"] == plain(TEXTS)["input_ids"]


def test_a_new_vocabulary_is_trained_from_an_attached_tokenizer():
    plain, attached = pair("roberta")
    new = [tokenizer.train_new_from_iterator(CORPUS, 300) for tokenizer in (plain, attached)]
    assert new[1].get_vocab() == new[0].get_vocab()


def test_threads_with_different_settings_get_their_own_results():
    _, attached = pair("roberta")
    options = [
        {},
        {"padding": True},
        {"truncation": True, "max_length": 5},
        {"padding": "max_length", "max_length": 40},
    ]
    expected = [attached(TEXTS, **option)["input_ids"] for option in options]
    failures = []

    def work(number):
        option = number % len(options)
        try:
            for _ in range(25):
                assert attached(TEXTS, **options[option])["input_ids"] == expected[option]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_cannot_run_is_refused_and_left_as_it_was():
    class Cut:
        def pre_tokenize(self, pieces):
            pass

    tokenizer = make("roberta")
    tokenizer.backend_tokenizer.pre_tokenizer = peer.pre_tokenizers.PreTokenizer.custom(Cut())
    with pytest.raises(errors.UnsupportedFeatureError):
        attach(tokenizer)
    assert isinstance(tokenizer._tokenizer, peer.Tokenizer)
    with pytest.raises(TypeError, match="fast tokenizer"):
        attach(object())
    assert detach(tokenizer) is tokenizer


CLASSES = {
    "BertTokenizer": "wordpiece",
    "ElectraTokenizer": "wordpiece",
    "RobertaTokenizer": "roberta",
    "GPT2Tokenizer": "bytelevel",
    "Qwen2Tokenizer": "bytelevel",
    "WhisperTokenizer": "bytelevel",
    "LlamaTokenizer": "llama2",
    "GemmaTokenizer": "gemma",
    "T5Tokenizer": "unigram",
    "XLMRobertaTokenizer": "unigram",
    "AlbertTokenizer": "unigram",
    "XLNetTokenizer": "unigram",
    "DebertaV2Tokenizer": "unigram",
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_models(name):
    model = json.loads(trained()[CLASSES[name]])["model"]
    vocab = model["vocab"] if isinstance(model["vocab"], dict) else [tuple(entry) for entry in model["vocab"]]
    merges = {"merges": [tuple(pair) for pair in model["merges"]]} if "merges" in model else {}
    plain, attached = (getattr(transformers, name)(vocab=vocab, **merges) for _ in range(2))
    attach(attached)
    texts = [*TEXTS, "a <mask> <s>x</s> [MASK]", "ﬁ ½ É"]
    calls = (
        lambda t: t(texts, texts[::-1], return_offsets_mapping=True),
        lambda t: t(texts, truncation=True, max_length=9, stride=1, return_overflowing_tokens=True, padding=True),
        lambda t: t([text.split() for text in CORPUS[:5]], is_split_into_words=True),
        lambda t: [t.decode(t.encode(text), skip_special_tokens=skip) for text in texts for skip in (True, False)],
        lambda t: t.add_tokens(["zebra", transformers.AddedToken("<z>", special=True)]),
        lambda t: t("a zebra <z> x"),
        lambda t: t.get_vocab(),
        lambda t: t.backend_tokenizer.to_str(),
        lambda t: pickle.loads(pickle.dumps(t))(texts),
    )
    for number, call in enumerate(calls):
        expected = answer(call, plain)
        assert answer(call, attached) == expected, number
        assert expected != "fails" or number in (1, 2), number
