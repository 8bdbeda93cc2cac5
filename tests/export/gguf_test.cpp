#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <variant>

#include "base/json.h"
#include "export/gguf_pre_tokenizers.h"
#include "export/gguf_tokenizer.h"
#include "export/gguf_writer.h"
#include "export/huggingface.h"
#include "export/q8_0.h"
#include "families/open_model.h"
#include "tests/export/exported.h"
#include "tests/support/error_of.h"
#include "tests/support/python.h"
#include "tests/support/tiny_llama.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::files_in;
using test::slurp;
using test::spew;
using test::TempDir;
using test::TinyLlama;
using test::usage_error_of;

constexpr GgufType kTypes[] = {GgufType::kF32, GgufType::kF16, GgufType::kBF16, GgufType::kQ8_0};

std::unique_ptr<PlannedExport> planned(const OpenedModel& opened, const Widths& widths,
                                       GgufType type) {
  return plan_gguf(
      opened.model, opened.checkpoint, widths,
      std::get<GgufModel>(opened.family->in_format("gguf", opened.model, widths, Dtype::kF32)),
      opened.family->huggingface_config(opened.model, widths, Dtype::kF32),
      {type, {{"mixnmatch.widths", to_string(widths)}}});
}

// The variants that llama.cpp computes, with rows of whole blocks, so that every type holds them.
std::vector<TinyLlama> carried() {
  std::vector<TinyLlama> all;
  for (TinyLlama llama : test::tiny_llamas()) {
    if (llama.act_of_product) {
      if (llama.name != "everything") continue;
      llama.act_of_product = false;
      llama.hidden_act = "silu";
    }
    if (llama.hidden_act != "silu") continue;
    llama.hidden = 32;
    llama.heads = 8;
    llama.kv_heads = std::min<std::int64_t>(llama.kv_heads, 4);
    if (llama.head_dim) llama.head_dim = 12;
    llama.full = 96;
    if (!llama.granularities.empty()) llama.granularities = {32, 64, 96};
    if (llama.name == "plain") llama.vocab = 256;
    all.push_back(llama);
  }
  return all;
}

// What is decoded from anywhere on is that part of the whole, in blocks and in pairs of rows.
void expect_parts(const Checkpoint& checkpoint, const StoredTensor& tensor) {
  std::vector<std::byte> whole(tensor.bytes());
  checkpoint.read(tensor, 0, whole);
  for (const std::uint64_t begin : {1u, 4u, 131u, 1000u}) {
    if (begin >= whole.size()) break;
    for (const std::uint64_t most : {1u, 4u, 777u}) {
      std::vector<std::byte> part(std::min(most, whole.size() - begin));
      checkpoint.read(tensor, begin, part);
      EXPECT_TRUE(std::ranges::equal(part, std::span(whole).subspan(begin, part.size())))
          << tensor.name << " from " << begin;
    }
  }
}

TEST(Gguf, HoldsEverySliceOfEveryVariantAndTheGgufPackageReadsIt) {
  const TempDir dir;
  std::size_t cases = 0;
  for (const TinyLlama& llama : carried()) {
    const OpenedModel opened = open_model(llama.write(dir / "models" / llama.name));
    std::vector<Widths> choices = {Widths(static_cast<std::size_t>(llama.layers), 96)};
    if (llama.layers == 3 && !llama.granularities.empty()) choices.push_back({32, 96, 64});
    for (const Widths& widths : choices) {
      for (const GgufType type : kTypes) {
        SCOPED_TRACE(fmt::format("{} {} {}", llama.name, to_string(widths), to_string(type)));
        const fs::path place = dir / "cases" / fmt::format("{}-{}", llama.name, ++cases);
        fs::create_directories(place / "gguf");
        const auto plan = planned(opened, widths, type);
        std::uint64_t progress = 0;
        plan->write(opened.checkpoint, place / "gguf", [&](const Progress& now) {
          return progress = static_cast<std::uint64_t>(now.done), true;
        });
        EXPECT_EQ(progress, plan->bytes());
        const auto files = files_in(place / "gguf");
        ASSERT_EQ(files.size(), plan->files().size());
        for (const auto& [name, bytes] : plan->files()) EXPECT_EQ(files.at(name).size(), bytes);

        const OpenedModel written = open_model(plan->reopen(place / "gguf"));
        EXPECT_EQ(written.model.space.full(), widths);
        for (const TensorSlice& slice : plan->slices().tensors) {
          std::vector<float> expected = extract_f32(opened.checkpoint, slice);
          plan->round(slice, expected);
          const StoredTensor& tensor = written.checkpoint.at(slice.spec->name);
          EXPECT_EQ(test::values_of(written.checkpoint, tensor), expected) << slice.spec->name;
          expect_parts(written.checkpoint, tensor);
        }
        fs::create_directories(dir / "again");
        planned(opened, widths, type)->write(opened.checkpoint, dir / "again");
        EXPECT_TRUE(files_in(dir / "again") == files) << "other bytes the second time";

        fs::create_directories(place / "full");
        const auto config = opened.family->huggingface_config(opened.model, widths, Dtype::kF32);
        write_huggingface(plan_huggingface(opened.model, opened.checkpoint, widths,
                                           {{"config.json", config.dump()}},
                                           {.dtype = Dtype::kF32, .metadata = {}}),
                          opened.checkpoint, place / "full");
      }
    }
  }
  ASSERT_GT(cases, 40u);
  if (!test::python_has("gguf-dump")) GTEST_SKIP() << test::kNoPython;
  EXPECT_EQ(test::python_failure("export/gguf_check.py", {dir / "cases"}, dir), "");
}

TEST(Gguf, RefusesWhatTheFormatOrItsRuntimeCannotHold) {
  const TempDir dir;
  const auto refusal = [&](TinyLlama llama, const Widths& widths, GgufType type) {
    static int number = 0;
    const OpenedModel opened = open_model(llama.write(dir / std::to_string(++number)));
    return error_of([&] { planned(opened, widths, type); });
  };
  TinyLlama llama;
  EXPECT_EQ(refusal(llama, {8, 8, 8}, GgufType::kF16), "");
  EXPECT_TRUE(contains(refusal(llama, {8, 8, 8}, GgufType::kQ8_0), "blocks have 32"));
  EXPECT_TRUE(contains(refusal(llama, {8, 8}, GgufType::kF16), "3"));
  llama.act_of_product = true;
  EXPECT_TRUE(contains(refusal(llama, {8, 8, 8}, GgufType::kF16), "act(gate*up)"));
  llama.act_of_product = false;
  for (const char* other : {"gelu", "relu"}) {
    llama.hidden_act = other;
    EXPECT_TRUE(contains(refusal(llama, {8, 8, 8}, GgufType::kF16), "silu only")) << other;
  }
  EXPECT_TRUE(contains(usage_error_of([] { parse_gguf_type("q4_0"); }), "q8_0"));
}

TEST(Gguf, NamesThatCollideAreRefused) {
  const auto head_of = [](const GgufFields& fields, const std::vector<std::string>& names) {
    std::vector<GgufEntry> entries(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      entries[i].name = names[i];
      entries[i].shape = {1};
    }
    return error_of([&] { gguf_head(fields, entries); });
  };
  const GgufFields fields = {{"a", true}, {"b", true}};
  EXPECT_EQ(head_of(fields, {"a", "b"}), "");
  EXPECT_TRUE(contains(head_of(fields, {"a", "b", "a"}), "two of its tensors are called 'a'"));
  EXPECT_TRUE(contains(head_of({{"a", true}, {"a", false}}, {}), "two of its fields are called"));

  // A family that gives two tensors one name, and one that names a tensor twice.
  const TempDir dir;
  TinyLlama llama;
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  const Widths widths = {32, 32, 32};
  const GgufModel sound =
      std::get<GgufModel>(opened.family->in_format("gguf", opened.model, widths, Dtype::kF32));
  const auto plan_with = [&](const std::function<void(GgufModel&)>& change) {
    GgufModel gguf = sound;
    change(gguf);
    return error_of([&] {
      plan_gguf(opened.model, opened.checkpoint, widths, gguf,
                opened.family->huggingface_config(opened.model, widths, Dtype::kF32), {});
    });
  };
  EXPECT_EQ(plan_with([](GgufModel&) {}), "");
  EXPECT_TRUE(
      contains(plan_with([](GgufModel& gguf) { gguf.tensors[3].name = gguf.tensors[4].name; }),
               "two of its tensors are called"));
  EXPECT_TRUE(contains(plan_with([](GgufModel& gguf) {
                         gguf.tensors.push_back(gguf.tensors[3]);
                         gguf.tensors.back().name = "again";
                       }),
                       "has 2 names in gguf"));
  EXPECT_TRUE(contains(
      plan_with([](GgufModel& gguf) { gguf.fields.emplace_back("general.alignment", true); }),
      "two of its fields are called 'general.alignment'"));
}

TEST(Gguf, DamagedFilesAreRefused) {
  const TempDir dir;
  TinyLlama llama;
  llama.layers = 1;
  const OpenedModel opened = open_model(llama.write(dir / "model"));
  const auto plan = planned(opened, {8}, GgufType::kF16);
  fs::create_directory(dir / "out");
  plan->write(opened.checkpoint, dir / "out");
  const std::string sound = slurp(dir / "out/model.gguf");
  const auto error = [](const std::string& bytes) {
    return error_of([&] { parse_gguf(std::as_bytes(std::span(bytes)), "file"); });
  };
  EXPECT_EQ(error(sound), "");
  for (std::size_t size = 0; size < sound.size(); size += size < 2000 ? 1 : 97) {
    EXPECT_NE(error(sound.substr(0, size)), "") << size;
  }
  EXPECT_TRUE(contains(error(sound + "x"), "left over"));
  // Each byte of the head, turned over: read as something else or refused, never a crash.
  const std::size_t head = parse_gguf(std::as_bytes(std::span(sound)), "sound").data_offset;
  for (std::size_t i = 0; i < head; ++i) {
    std::string damaged = sound;
    damaged[i] = static_cast<char>(~damaged[i]);
    error(damaged);
  }
  std::string renamed = sound;
  renamed[sound.find("attn_q.weight")] = 'x';
  spew(dir / "out/model.gguf", renamed);
  EXPECT_TRUE(contains(error_of([&] { plan->reopen(dir / "out"); }), "attn_q"));
}

TEST(Gguf, Q8KeepsWhatItsBlocksHold) {
  std::vector<float> values(64);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 20.0f;
  std::fill(values.begin() + 32, values.end(), 0.0f);
  std::vector<std::byte> bytes(2 * kQ8Bytes);
  ASSERT_TRUE(quantize_q8(values, bytes));
  std::vector<float> back(64);
  dequantize_q8(bytes, back);
  // Half a step of the scale, and the rounding of the scale itself to f16.
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(back[i], values[i], 20.0f / 254 + 20.0f * 0x1p-11f);
  }
  for (const float bad : {HUGE_VALF, -HUGE_VALF, std::nanf(""), 1e38f}) {
    values[3] = bad;
    EXPECT_FALSE(quantize_q8(values, bytes)) << bad;
  }
}

const GgufValue& field(const GgufFields& fields, const std::string& key) {
  static const GgufValue none = std::string("none");
  for (const auto& [name, value] : fields) {
    if (name == key) return value;
  }
  return none;
}

TEST(GgufTokenizer, BytesAreTokens) {
  const TempDir dir;
  const GgufFields fields = gguf_tokenizer(dir.path(), {}, 256);
  const auto& tokens = std::get<std::vector<std::string>>(field(fields, "tokenizer.ggml.tokens"));
  ASSERT_EQ(tokens.size(), 256u);
  EXPECT_EQ(tokens['A'], "A");
  EXPECT_EQ(tokens[' '], "\u0120");
  EXPECT_EQ(tokens['\n'], "\u010a");
  EXPECT_EQ(tokens[0xad], "\u0143");
  EXPECT_EQ(std::get<std::uint32_t>(field(fields, "tokenizer.ggml.eos_token_id")), 0u);
}

TEST(GgufTokenizer, TheBundledTokenizersAreThatOfBytes) {
  const TempDir none;
  for (const char* bundled : {MNM_SOURCE_DIR "/data/reference", MNM_SOURCE_DIR "/data/matmamba"}) {
    EXPECT_TRUE(fs::exists(fs::path(bundled) / "tokenizer.json")) << bundled;
    EXPECT_EQ(gguf_tokenizer(bundled, {}, 256), gguf_tokenizer(none.path(), {}, 256));
    if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
    EXPECT_EQ(test::python_failure("export/tokenizer_check.py", {bundled}, none), "");
  }
}

TEST(GgufTokenizer, EveryWayToSplitHasLlamaCppsName) {
  const std::string contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  const std::string end = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const std::string words = contractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  const std::string signs = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)" + end;
  const std::string first = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])";
  const std::string then = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string slashes = R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)" + end;
  const std::string han = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
  const nlohmann::json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const nlohmann::json own = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  struct Case {
    const char* name;
    nlohmann::json steps;  // a string: split by this expression; before a ByteLevel without its own
    bool ignores_merges;
  };
  const Case cases[] = {
      {"gpt-2", {own}, false},
      {"smollm", {digits, own}, false},
      {"llama-bpe", {words + R"(\p{N}{1,3})" + signs}, true},
      {"dbrx", {words + R"(\p{N}{1,3})" + signs}, false},
      {"dbrx",
       {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
        R"(|\s*[\r\n]|\s+(?!\S)|\s+)"},
       false},
      {"seed-coder", {words + R"(\p{N}{1}| ?[^\s\p{L}\p{N})" + "\r\n" + "]+" + end}, false},
      {"qwen2", {words + R"(\p{N})" + signs}, false},
      {"gpt-4o",
       {first + "*" + then + "+" + contractions + "?|" + first + "+" + then + "*" + contractions +
        R"(?|\p{N}{1,3})" + slashes},
       false},
      {"tekken", {first + "*" + then + "+|" + first + "+" + then + R"(*|\p{N})" + slashes}, true},
      {"deepseek-coder", {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", han, digits}, false},
      {"deepseek-llm",
       {"[\r\n]",
        "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\U000118a0-\U000118df\U0001e900-"
        "\U0001e943]+",
        "\\s?[!-/:-~\uff01\u3000-\u3002]+", "\\s+$", han, digits},
       false},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
        "\r\n"
        R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
        "\r\n]*" +
            end},
       false},
      {"", {R"(\p{L}+)"}, false},
      {"", {words + R"(\p{N})" + signs}, true},
  };
  for (const Case& c : cases) {
    nlohmann::json steps = nlohmann::json::array();
    for (const nlohmann::json& step : c.steps) {
      steps.push_back(step.is_string() ? nlohmann::json{{"type", "Split"},
                                                        {"pattern", {{"Regex", step}}},
                                                        {"behavior", "Isolated"},
                                                        {"invert", false}}
                                       : step);
    }
    if (steps.back()["type"] != "ByteLevel") {
      steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
    }
    TokenizerJson tokenizer = byte_tokenizer();
    tokenizer.merges.emplace_back("a", "b");
    tokenizer.ignores_merges = c.ignores_merges;
    tokenizer.pre_tokenizer = parse_pre_tokenizer({{"type", "Sequence"}, {"pretokenizers", steps}});
    EXPECT_EQ(gguf_pre_tokenizer(tokenizer).value_or(""), c.name) << steps;
  }
}

// A vocabulary of characters: "a", "b", the space's sign, and what their merges make.
TEST(GgufTokenizer, SentencePieceIsCarriedByItsScores) {
  nlohmann::json sound = nlohmann::json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true},
                     {"id": 1, "content": "<s>", "special": true},
                     {"id": 264, "content": "<tool>", "normalized": false}],
    "normalizer": {"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    "pre_tokenizer": null,
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "fuse_unk": true,
              "vocab": {"<unk>": 0, "<s>": 1, "a": 260, "b": 261, "\u2581": 262, "ab": 265,
                        "\u2581ab": 266},
              "merges": ["a b", "\u2581 ab"]}})");
  for (int byte = 0; byte < 256; ++byte) {
    sound["model"]["vocab"][fmt::format("<0x{:02X}>", byte)] = byte + 2;
  }
  const TempDir dir;
  const auto read = [&](const nlohmann::json& tokenizer) {
    spew(dir / "tokenizer.json", tokenizer.dump());
    return gguf_tokenizer(dir.path(), {{"bos_token_id", 1}, {"eos_token_id", 1}}, 268);
  };
  const GgufFields fields = read(sound);
  EXPECT_EQ(field(fields, "tokenizer.ggml.model"), GgufValue(std::string("llama")));
  EXPECT_EQ(field(fields, "tokenizer.ggml.pre"), GgufValue(std::string("default")));
  EXPECT_EQ(field(fields, "tokenizer.ggml.add_space_prefix"), GgufValue(true));
  const auto& scores = std::get<std::vector<float>>(field(fields, "tokenizer.ggml.scores"));
  ASSERT_EQ(scores.size(), 268u);
  EXPECT_GT(scores[265], scores[266]);
  const auto& types =
      std::get<std::vector<std::int32_t>>(field(fields, "tokenizer.ggml.token_type"));
  EXPECT_EQ(types[0], 2);
  EXPECT_EQ(types[1], 3);
  EXPECT_EQ(types[2], 6);
  EXPECT_EQ(types[257], 6);
  EXPECT_EQ(types[260], 1);
  EXPECT_EQ(types[264], 4);
  EXPECT_EQ(types[267], 5);

  nlohmann::json metaspace = sound;
  metaspace["normalizer"] = nullptr;
  for (const auto& [scheme, space] : {std::pair("never", false), {"always", true}}) {
    metaspace["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}};
    EXPECT_EQ(field(read(metaspace), "tokenizer.ggml.add_space_prefix"), GgufValue(space));
  }
  // llama.cpp knows by the model's name which tokens take up white space: those that Phi-3's do.
  nlohmann::json phi = sound;
  phi["added_tokens"].push_back({{"id", 267}, {"content", "<|endoftext|>"}, {"special", true}});
  phi["model"]["vocab"]["</s>"] = 259;
  const auto named = [&](std::size_t token, bool strips) {
    nlohmann::json other = phi;
    other["added_tokens"][2]["rstrip"] = true;
    other["added_tokens"][token]["rstrip"] = strips;
    return std::ranges::count(read(other), "general.name", &GgufFields::value_type::first);
  };
  EXPECT_EQ(named(1, false), 1);
  EXPECT_EQ(named(2, false), 0);
  EXPECT_TRUE(contains(error_of([&] { named(1, true); }), "after it (rstrip)"));
  phi["added_tokens"].erase(3);
  EXPECT_TRUE(contains(error_of([&] { named(1, false); }), "'<tool>' takes up the white space"));
  const auto refused = [&](const char* at, const nlohmann::json& value, const char* phrase) {
    nlohmann::json broken = sound;
    broken[nlohmann::json::json_pointer(at)] = value;
    const std::string error = error_of([&] { read(broken); });
    EXPECT_TRUE(contains(error, phrase)) << at << ": " << error;
    EXPECT_TRUE(contains(error, "--no-tokenizer")) << error;
  };
  refused("/model/byte_fallback", false, "without bytes");
  refused("/model/merges", {"a b"}, "no merge makes");
  refused("/added_tokens/2/content", "\u2581\u2581", "'\u2581' and '\u2581' make one");
  refused("/added_tokens/2/content", std::string("a\0", 2), "holds the byte 0");
  // Put before a text, the space's sign is a part of a token that is found in normalized text.
  refused("/added_tokens/2/normalized", true, "looked for in normalized text");
  refused("/normalizer", nullptr, "keeps spaces");
  refused("/normalizer", {{"type", "NFKC"}}, "normalizes text");
  refused("/pre_tokenizer", {{"type", "Digits"}, {"individual_digits", true}}, "splits text");
  const GgufFields none = gguf_tokenizer(dir.path(), {{"eos_token_id", 1}}, 268, false);
  EXPECT_EQ(field(none, "tokenizer.ggml.model"), GgufValue(std::string("no_vocab")));
  EXPECT_EQ(none.size(), 2u);
}

TEST(GgufTokenizer, MergingBySentencePiecesScoresGivesTheSameTokens) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir dir, scratch;
  const auto failure = [&](const std::vector<fs::path>& arguments) {
    return test::python_failure("export/sentence_piece_check.py", arguments, scratch);
  };
  ASSERT_EQ(failure({"make", dir.path(), MNM_SOURCE_DIR "/data/reference/held_out.txt"}), "");
  const nlohmann::json vocabulary = read_json(dir / "tokenizer.json")["model"]["vocab"];
  const GgufFields fields =
      gguf_tokenizer(dir.path(), {}, static_cast<std::int64_t>(vocabulary.size()));
  const nlohmann::json written = {
      {"tokens", std::get<std::vector<std::string>>(field(fields, "tokenizer.ggml.tokens"))},
      {"scores", std::get<std::vector<float>>(field(fields, "tokenizer.ggml.scores"))},
      {"space", std::get<bool>(field(fields, "tokenizer.ggml.add_space_prefix"))}};
  spew(dir / "fields.json", written.dump());
  EXPECT_EQ(failure({"judge", dir.path(), dir / "fields.json"}), "");
}

TEST(GgufTokenizer, ByteLevelBpeIsCarriedAndOthersAreRefused) {
  const nlohmann::json sound = nlohmann::json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": {"type": "NFC"}, "decoder": {"type": "ByteLevel"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})");
  const TempDir dir;
  const auto read = [&](const nlohmann::json& tokenizer, std::int64_t size = 5) {
    spew(dir / "tokenizer.json", tokenizer.dump());
    return gguf_tokenizer(dir.path(), {{"eos_token_id", {3, 1}}}, size);
  };
  const GgufFields fields = read(sound);
  EXPECT_EQ(field(fields, "tokenizer.ggml.tokens"),
            GgufValue(std::vector<std::string>{"a", "b", "ab", "<s>", "[PAD4]"}));
  EXPECT_EQ(field(fields, "tokenizer.ggml.token_type"),
            GgufValue(std::vector<std::int32_t>{1, 1, 1, 3, 5}));
  EXPECT_EQ(field(fields, "tokenizer.ggml.merges"), GgufValue(std::vector<std::string>{"a b"}));
  EXPECT_EQ(field(fields, "tokenizer.ggml.pre"), GgufValue(std::string("gpt-2")));
  EXPECT_EQ(field(fields, "tokenizer.ggml.add_bos_token"), GgufValue(true));
  EXPECT_EQ(field(fields, "tokenizer.ggml.add_eos_token"), GgufValue(false));
  EXPECT_EQ(field(fields, "tokenizer.ggml.eos_token_id"), GgufValue(std::uint32_t{3}));

  struct Case {
    const char* at;
    nlohmann::json value;
    const char* phrase;
  };
  const Case cases[] = {
      {"/model/type", "Unigram", "Unigram"},
      {"/model/byte_fallback", true, "byte_fallback"},
      {"/model/vocab/ab", 9, "outside"},
      {"/model/vocab/<s>", 2, "two tokens"},
      {"/model/vocab/<s>", 4, "two ids"},
      {"/model/merges/0", "a b c", "space"},
      {"/model/merges", nlohmann::json::parse(R"([["a", "b c"]])"), "space"},
      {"/model/merges", nlohmann::json::parse(R"({"a": "b c"})"), "merges"},
      {"/normalizer", {{"type", "Lowercase"}}, "normalizes"},
      {"/pre_tokenizer/type", "Metaspace", "replacement"},
      {"/pre_tokenizer/add_prefix_space", true, "splits"},
      {"/pre_tokenizer/use_regex", false, "splits"},
      {"/model/ignore_merges", true, "splits"},
      {"/model/unk_token", "a", "no token for the byte 0"},
  };
  for (const Case& c : cases) {
    nlohmann::json broken = sound;
    broken[nlohmann::json::json_pointer(c.at)] = c.value;
    EXPECT_TRUE(contains(error_of([&] { read(broken); }), c.phrase))
        << c.at << ": " << error_of([&] { read(broken); });
  }
  fs::remove(dir / "tokenizer.json");
  spew(dir / "tokenizer.model", "");
  EXPECT_TRUE(contains(error_of([&] { gguf_tokenizer(dir.path(), {}, 5); }), "tokenizer.model"));
}

// tests/export/llama_cpp_architectures.py asks llama.cpp itself about the kinds that are carried.
TEST(GgufTokenizer, FlagsOfAddedTokensThatLlamaCppLacksAreRefused) {
  using Flags = std::map<std::string, bool>;
  struct Case {
    const char* token;  // added after "<s>", which is looked for in the text as it stands
    Flags flags;
    const char* phrase;  // nullptr: it is carried
  };
  const Case cases[] = {
      {"<e>", {{"special", true}, {"normalized", false}}, nullptr},
      {"<e>", {{"special", true}, {"normalized", true}}, nullptr},
      {"<e>", {{"normalized", true}}, nullptr},
      {"\u00e9", {{"normalized", true}}, nullptr},
      {"e\u0301", {{"normalized", false}}, nullptr},
      {"<s>>", {{"normalized", false}}, nullptr},
      {"<e>", {{"lstrip", true}}, "'<e>' takes up the white space before it (lstrip)"},
      {"<e>", {{"rstrip", true}}, "'<e>' takes up the white space after it (rstrip)"},
      {"<e>", {{"single_word", true}}, "'<e>' is found only if no letter touches it"},
      {"e\u0301", {{"normalized", true}}, "'e\u0301' is looked for in normalized text"},
      {"<s>>", {{"normalized", true}}, "'<s>>' is looked for after '<s>'"},
  };
  for (const Case& c : cases) {
    nlohmann::json tokenizer = nlohmann::json::parse(R"({
      "added_tokens": [{"id": 1, "content": "<s>", "special": true}],
      "normalizer": {"type": "NFC"}, "decoder": {"type": "ByteLevel"},
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
      "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})");
    nlohmann::json added = c.flags;
    added["id"] = 2;
    added["content"] = c.token;
    tokenizer["added_tokens"].push_back(added);
    const TempDir dir;
    spew(dir / "tokenizer.json", tokenizer.dump());
    const std::string error = error_of([&] { gguf_tokenizer(dir.path(), {}, 3); });
    EXPECT_TRUE(c.phrase == nullptr ? error.empty() : contains(error, c.phrase))
        << added << ": " << error;
    EXPECT_EQ(contains(error, "--no-tokenizer"), c.phrase != nullptr);
    EXPECT_NO_THROW(gguf_tokenizer(dir.path(), {}, 3, false));
  }
}

}  // namespace
}  // namespace mnm
