//! Which split steps does a name in `tokenizer.ggml.pre` stand for?
//!
//! GGUF files carry a name where a `tokenizer.json` has the steps themselves. The names are those that llama.cpp's
//! converter writes; the steps are the ones the models were published with. Where llama.cpp itself approximates such a
//! pattern (it reads `\p{Lu}` as "a letter that is not a-z" and folds the case of ASCII only), the published one holds. A name
//! that is not in this table is refused.

use tokenloom_tokenize::spec::{Pretokenizer, SplitBehavior, SplitPattern};

/// The meaning of a name.
pub(crate) struct Pre {
    pub(crate) steps: Vec<Pretokenizer>,
    pub(crate) ignore_merges: bool,
    /// Whether the beginning-of-sequence id is put before the text where the file does not say.
    pub(crate) adds_bos: bool,
    /// Whether the separator id follows the text.
    pub(crate) adds_sep: bool,
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const SPARK: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+";
const YOUTU_SCRIPTS: &str = "[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+|[\u{FF01}\u{2026}\u{201C}\u{201D}\u{2018}\u{2019}\u{2014}\u{FF1A}\u{FF1B}\u{FF0C}\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+|[\u{3105}-\u{312F}]+|[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";
const YOUTU_WORDS: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BLOOM: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{964}\u{6D4}\u{60C})]+";
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const KIMI: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT2_NO_LAST_SPACE: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const RIGHT_TO_LEFT_TRIPLES: &str = r"\d{1,3}(?=(?:\d{3})*\b)";
const THREES_FROM_RIGHT: &str = r"(?=(\d{3})+(?!\d))";
const DIGIT_TRIPLES: &str = r"\p{N}{1,3}";
const CJK_RUNS: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
const DEEPSEEK3_WORDS: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const HAN_OR_HANGUL_RUNS: &str = "[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+";
const LETTER_RUNS: &str = concat!(
    "\\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}",
    "\u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}",
    "\u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}",
    "\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}",
    "\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}",
    "\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}",
    "\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}",
    "\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}",
    "\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}",
    "\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}",
    "\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}",
    "\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}",
    "\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}",
    "\u{1E900}-\u{1E943}]+",
);

fn isolated(pattern: &str) -> Pretokenizer {
    Pretokenizer::Split {
        pattern: SplitPattern::Regex(pattern.to_owned()),
        behavior: SplitBehavior::Isolated,
        invert: false,
    }
}

const BYTES: Pretokenizer = Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: false };
const GPT2_WORDS: Pretokenizer = Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: true };

fn splits(patterns: &[&str]) -> Vec<Pretokenizer> {
    patterns.iter().map(|pattern| isolated(pattern)).chain([BYTES]).collect()
}

/// The steps of the name, if it is known.
pub(crate) fn pretokenizer_named(name: &str) -> Option<Pre> {
    let plain = |steps| Some(Pre { steps, ignore_merges: false, adds_bos: false, adds_sep: false });
    match name {
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "gigachat" | "a.x-4.0"
        | "mellum" | "modern-bert" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" | "exaone4" => {
            plain(vec![GPT2_WORDS])
        }
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => plain(vec![Pretokenizer::Digits { individual: true }, GPT2_WORDS]),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
        | "jina-v5-nano" => {
            Some(Pre { steps: splits(&[LLAMA3]), ignore_merges: true, adds_bos: true, adds_sep: false })
        }
        "glm4" | "glm5" => {
            Some(Pre { steps: splits(&[LLAMA3]), ignore_merges: true, adds_bos: false, adds_sep: false })
        }
        "dbrx" | "smaug-bpe" | "chatglm-bpe" => plain(splits(&[LLAMA3])),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan"
        | "solar-open" | "grok-2" => plain(splits(&[QWEN2])),
        "qwen35" => plain(splits(&[QWEN35])),
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => plain(splits(&[O200K])),
        "tekken" => {
            Some(Pre { steps: splits(&[TEKKEN]), ignore_merges: true, adds_bos: true, adds_sep: false })
        }
        "seed-coder" => plain(splits(&[SEED_CODER])),
        "bailingmoe" | "bailingmoe2" | "llada-moe" => plain(splits(&[BAILING])),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
            plain(splits(&[DIGIT_TRIPLES, CJK_RUNS, DEEPSEEK3_WORDS]))
        }
        "deepseek-llm" => plain(splits(&[
            "[\r\n]",
            LETTER_RUNS,
            "\\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+",
            r"\s+\z",
            HAN_OR_HANGUL_RUNS,
            r"\p{N}+",
        ])),
        "deepseek-coder" => {
            plain(splits(&["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_OR_HANGUL_RUNS, r"\p{N}"]))
        }
        "default" => {
            plain(splits(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2_NO_LAST_SPACE, r"\p{N}+", "[0-9][0-9][0-9]"]))
        }
        "minicpm5" => Some(Pre {
            steps: splits(&[DIGIT_TRIPLES, MINICPM5]),
            ignore_merges: true,
            adds_bos: false,
            adds_sep: false,
        }),
        "spark2_5" => plain(splits(&[DIGIT_TRIPLES, CJK_RUNS, SPARK, r"\p{N}"])),
        "youtu" => Some(Pre {
            steps: splits(&[YOUTU_SCRIPTS, YOUTU_WORDS]),
            ignore_merges: true,
            adds_bos: false,
            adds_sep: false,
        }),
        "jais-2" => plain(splits(&[JAIS2])),
        "jina-v1-en" | "jina-v2-code" | "roberta-bpe" => {
            Some(Pre { steps: vec![GPT2_WORDS], ignore_merges: false, adds_bos: false, adds_sep: true })
        }
        "poro-chat" | "bloom" | "gpt3-finnish" => plain(splits(&[BLOOM])),
        "viking" => plain(splits(&[BLOOM, r"\p{N}"])),
        "chameleon" => Some(Pre {
            steps: splits(&[
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                r"([\t\n]|    |  )",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
                GPT2_NO_LAST_SPACE,
            ]),
            ignore_merges: false,
            adds_bos: true,
            adds_sep: false,
        }),
        "granite-embed-multi-97m" => {
            Some(Pre { steps: splits(&[O200K]), ignore_merges: true, adds_bos: false, adds_sep: false })
        }
        "tiny_aya" | "cohere2moe" => plain(splits(&[RIGHT_TO_LEFT_TRIPLES, O200K])),
        "superbpe" => plain(splits(&[r"\p{N}+", THREES_FROM_RIGHT])),
        "kimi-k2" => plain(splits(&[KIMI])),
        "ufakzeka" => plain(splits(&[UFAKZEKA])),
        "laguna" => plain(splits(&[r"[^\n]+|[\n]+", QWEN2])),
        "exaone-moe" => plain(splits(&[EXAONE_MOE])),
        "falcon" => plain(splits(&[
            r"[\p{P}\$\+<=>\^~\|`]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            "[0-9][0-9][0-9]",
        ])),
        _ => None,
    }
}
