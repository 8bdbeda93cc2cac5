// Files from a stranger, given to whole commands: nothing steers the terminal, takes the machine or
// carries away what is not in them.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/end_to_end/workshop.h"
#include "tests/support/malformed.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

// Where a text holds a control character but the end of a line, or a mark of writing direction; the
// number of its first byte, or npos.
std::size_t raw_at(const std::string& text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((byte(i) < 0x20 && text[i] != '\n' && text[i] != '\r') || byte(i) == 0x7f) return i;
    if (byte(i) == 0xc2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xa0) return i;
    const bool general = byte(i) == 0xe2 && byte(i + 1) == 0x80;
    if (general && byte(i + 2) >= 0xaa && byte(i + 2) <= 0xae) return i;
  }
  return std::string::npos;
}

TEST_F(Workshop, NamesFromOutsideDoNotSteerTheTerminal) {
  // A title, a colour, an override of the writing direction, and a control sequence of one byte.
  const std::string evil = "mo\x1b]0;PWN\x07\x1b[31m\u202egnp\u009b";
  const std::string model = path(evil), data = tokens("=1+2" + evil, 1, 32 * 8 + 1);
  fs::copy(model_, model);
  const std::vector<std::string> search = {"search",    model, "--data",     data,
                                           "--db",      db_,   "--context",  "32",
                                           "--threads", "1",   "--strategy", "uniform"};
  const std::vector<std::string> commands[] = {
      {"inspect", model},
      {"inspect", model, "--json"},
      search,
      {"eval", model, "--data", data, "--context", "32", "--widths", "8x4", "--threads", "1"},
      {"runs", "--db", db_},
      {"runs", "--db", db_, "--csv"},
      {"runs", "--db", db_, "--json"},
      {"pareto", "--db", db_, "--csv"},
      {"pareto", "--db", db_, "--json"},
      {"pareto", "--db", db_},
      {"search", "--resume", "1", "--db", db_},
      {"export", model, "--widths", "8", "--no-check", "--out", path("out" + evil)},
      {"inspect", path("out" + evil)},
      {"random", model + "/config.json", "--out", path("random" + evil)},
      {"train", model + "/config.json", "--tokens", data, "--out", path("run" + evil), "--steps",
       "1", "--batch", "1", "--context", "8", "--threads", "1"},
      {"tokenize", data, "--train", path("tokens" + evil)},
      {"generate", model, "--prompt", "a", "--max-tokens", "8", "--threads", "1", "--seed", "1"},
      {"inspect", path("gone" + evil)},
      {"inspect", model, "--" + evil},
  };
  for (const auto& command : commands) {
    const Result result = mixnmatch(command);
    for (const std::string& text : {result.out, result.err}) {
      const std::size_t at = command[0] == "generate" ? std::string::npos : raw_at(text);
      EXPECT_EQ(at, std::string::npos)
          << command[0] << " " << command[1] << ": "
          << ::testing::PrintToString(text.substr(at == std::string::npos ? 0 : at, 60));
    }
  }
  // For programs the name is what it was.
  EXPECT_EQ(expect_done({"inspect", model, "--json"}).json()["directory"], model);
}

TEST_F(Workshop, ASpreadsheetRunsNoFieldOfACsv) {
  for (const char first : {'=', '+', '-', '@'}) {
    const std::string name = std::string(1, first) + "1+2";
    const std::string db = path(std::string("of_") + first);
    expect_done({"eval", model_, "--data", tokens(name, 1, 32 * 8 + 1), "--context", "32",
                 "--widths", "8x4", "--threads", "1", "--db", db});
    const std::string csv = expect_done({"pareto", "--db", db, "--csv"}).out;
    EXPECT_NE(csv.find(",'" + name), std::string::npos) << csv;
  }
}

// What a reader runs or reads beside the weights is part of what was exported.
TEST_F(Workshop, AChangedBridgeOrTokenizerIsSeen) {
  spew(path("model/tokenizer.json"), "{}");
  const std::string out = path("out");
  expect_done({"export", model_, "--widths", "8,16,8,32", "--out", out, "--threads", "1"});
  const auto as_exported = [&] {
    return expect_done({"inspect", out, "--json"}).json()["as_exported"].get<bool>();
  };
  spew(out + "/README.md", "uploaded with this page");
  EXPECT_TRUE(as_exported());
  const std::string bridge = out + "/modeling_mixnmatch_llama.py";
  for (const std::string& file : {bridge, out + "/tokenizer.json", out + "/config.json"}) {
    const std::string before = slurp(file);
    spew(file, before + " ");
    EXPECT_FALSE(as_exported()) << file;
    spew(file, before);
    EXPECT_TRUE(as_exported()) << file;
  }
  spew(out + "/tokenizer_config.json", "{}");
  EXPECT_FALSE(as_exported()) << "one file too many";
}

// A config of a few hundred bytes may say any number of layers.
TEST_F(Workshop, ASmallConfigDoesNotTakeTheMachine) {
  nlohmann::json config = llama_.config();
  std::vector<int> list(4096);
  for (int i = 0; i < 4096; ++i) list[static_cast<std::size_t>(i)] = i + 1;
  config["intermediate_size"] = 4096;
  config["num_hidden_layers"] = 1024;
  config["matformer_granularities"] = list;
  spew(path("choices.json"), config.dump());
  config["num_hidden_layers"] = 65536;
  config["matformer_granularities"] = {64, 4096};
  spew(path("layers.json"), config.dump());
  for (const auto& [file, layers] : {std::pair("most.json", 1024), {"few.json", 256}}) {
    config["num_hidden_layers"] = layers;
    spew(path(file), config.dump());
  }
  const auto commands = [&](const std::string& file) {
    return std::vector<std::vector<std::string>>{
        {"inspect", path(file)},
        {"export", path(file), "--budget", "100T", "--dry-run", "--out", path("o")},
        {"export", path(file), "--widths", "64", "--format", "gguf", "--dry-run", "--out",
         path("o")},
        {"export", path(file), "--widths", "64", "--format", "onnx", "--dry-run", "--out",
         path("o")},
    };
  };
  for (const auto& [file, limit] : {std::pair("choices.json", "65536"), {"layers.json", "1024"}}) {
    for (const auto& command : commands(file)) expect_refused(command, 1, limit);
  }
  // Four times the layers cost at least 16 times as much where time grows with their square. Other
  // work on the machine may hit one side: then both are measured again, and the shortest count.
  const auto measure = [&](const std::vector<std::string>& command, double& shortest) {
    const Result result = expect_done(command);
    EXPECT_LT(result.max_resident_kib, 1 << 20) << command[0] << command[2];
    shortest = std::min(shortest, result.cpu_seconds);
  };
  const auto few = commands("few.json"), most = commands("most.json");
  for (std::size_t i = 0; i < most.size(); ++i) {
    double of_few = std::numeric_limits<double>::infinity(), of_most = of_few;
    for (int run = 0; run < 10 && (run < 3 || of_most >= 8 * of_few); ++run) {
      measure(few[i], of_few);
      measure(most[i], of_most);
    }
    EXPECT_LT(of_most, 8 * of_few) << most[i][0] << most[i][2];
  }
}

TEST_F(Workshop, AnExportCarriesNoFileFromElsewhere) {
  spew(path("id_rsa"), "a key");
  const auto refused = [&](const std::string& format, const std::string& name) {
    expect_refused({"export", model_, "--widths", "8", "--no-check", "--format", format, "--dtype",
                    "f32", "--out", path("out")},
                   1, "cannot carry '" + path("model/") + name + "' along");
    EXPECT_FALSE(fs::exists(path("out")));
  };
  for (const std::string format : {"huggingface", "gguf", "onnx"}) {
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                             "LICENSE", "generation_config.json"}) {
      // Of the runtimes' files GGUF holds the tokenizer and the template alone.
      if (format == "gguf" && name == std::string("generation_config.json")) continue;
      for (const char* target : {"id_rsa", "nothing"}) {
        fs::create_symlink(path(target), path("model/") + name);
        refused(format, name);
        fs::remove(path("model/") + name);
      }
    }
    fs::rename(path("model/config.json"), path("config.json"));
    fs::create_symlink(path("config.json"), path("model/config.json"));
    refused(format, "config.json");
    fs::remove(path("model/config.json"));
    fs::rename(path("config.json"), path("model/config.json"));
  }
  // Weights may lie on another disk.
  fs::rename(path("model/model.safetensors"), path("weights"));
  fs::create_symlink(path("weights"), path("model/model.safetensors"));
  expect_done({"export", model_, "--widths", "8", "--no-check", "--out", path("out")});
  EXPECT_FALSE(fs::is_symlink(path("out/model.safetensors")));
}

// A safetensors file with a tensor more of each of these names and types, of eight bytes.
std::string with_others(const std::string& file,
                        const std::vector<std::pair<std::string, std::string>>& others) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
  std::string data = file.substr(8 + length);
  for (const auto& [name, type] : others) {
    nlohmann::json tensor;
    tensor["dtype"] = type;
    tensor["shape"] = nlohmann::json::array({type == "I64" ? 1 : 8});
    tensor["data_offsets"] = nlohmann::json::array({data.size(), data.size() + 8});
    header[name] = tensor;
    data += std::string(8, '\1');
  }
  return with_header(header.dump(), 0) + data;
}

// A sound file with tensors that no model computes with is read, and they are named.
TEST_F(Workshop, WhatIsLeftAsideOfACheckpointIsSaid) {
  const std::string model = path("with_others"), file = model + "/model.safetensors";
  fs::copy(model_, model);
  const std::string plain = slurp(file);
  const std::vector<std::string> eval = {
      "eval",       model,      "--data", search_,  "--context", "32", "--db",
      path("e.db"), "--widths", "8x4",    "--json", "--threads", "1"};
  const nlohmann::json expected = expect_done(eval).json();
  fs::remove(path("e.db"));
  spew(file, with_others(plain, {{"a._extra_state", "U8"},
                                 {"b.mask", "BOOL"},
                                 {"c.position_ids", "I64"},
                                 {"d.scale", "F8_E4M3"},
                                 {"e.step", "U8"}}));
  const std::string what =
      "5 tensors of types that no weight has: a._extra_state (U8), b.mask (BOOL), c.position_ids "
      "(I64) and 2 more\n";
  EXPECT_NE(expect_done({"inspect", model}).out.find("left aside   " + what), std::string::npos);
  const nlohmann::json shown = expect_done({"inspect", model, "--json"}).json()["left_aside"];
  EXPECT_EQ(shown["tensors"], 5);
  EXPECT_EQ(shown["types"].size(), 3u);
  EXPECT_EQ(shown["types"]["b.mask"], "BOOL");

  const Result scored = expect_done(eval);
  EXPECT_EQ(scored.json()[0]["loss"], expected[0]["loss"]);
  const Result exported =
      expect_done({"export", model, "--widths", "8", "--no-check", "--out", path("out")});
  model_ = model;
  const Result searched = expect_done(search({"--strategy", "uniform"}, db_));
  for (const Result& result : {scored, exported, searched}) {
    EXPECT_NE(result.err.find("left aside: " + what), std::string::npos) << result.err;
  }
  spew(file, with_others(plain, {{"long." + std::string(300, 'n'), "U8"}}));
  const std::string one = expect_done({"inspect", model}).out;
  EXPECT_NE(one.find("1 tensor of types that no weight has: long."), std::string::npos) << one;
  EXPECT_EQ(one.find(std::string(200, 'n')), std::string::npos) << one;
  spew(file, plain);
  EXPECT_EQ(expect_done({"inspect", model}).out.find("left aside"), std::string::npos);
  EXPECT_FALSE(expect_done({"inspect", model, "--json"}).json().contains("left_aside"));
}

}  // namespace
}  // namespace mnm::test
