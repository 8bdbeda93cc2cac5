// scripts/verify asks transformers about exports whose probes an independent reference wrote.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "db/store.h"
#include "export/huggingface.h"
#include "export/probe.h"
#include "families/open_model.h"
#include "tests/db/stores.h"
#include "tests/export/reference_llama.h"
#include "tests/support/python.h"
#include "tests/support/temp_dir.h"

namespace mnm {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

struct Answer {
  int status = -1;
  std::string text;  // both streams
};

Answer verify(const std::string& arguments) {
  const std::string command = MNM_SOURCE_DIR "/scripts/verify " + arguments + " 2>&1";
  Answer answer;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  while (const std::size_t n = ::fread(buffer, 1, sizeof buffer, pipe)) {
    answer.text.append(buffer, n);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) answer.status = WEXITSTATUS(status);
  return answer;
}

void write_export(const fs::path& source, const test::TinyLlama& llama, const fs::path& target,
                  const Widths& widths, Dtype dtype, std::uint64_t shard_bytes) {
  const OpenedModel opened = open_model(source);
  auto texts = opened.family->huggingface_bridge(opened.model, widths);
  texts["config.json"] =
      opened.family->huggingface_config(opened.model, widths, dtype).dump(2) + "\n";
  const HuggingFacePlan plan =
      plan_huggingface(opened.model, opened.checkpoint, widths, texts,
                       {.dtype = dtype, .shard_bytes = shard_bytes, .metadata = {}});
  fs::create_directory(target);
  write_huggingface(plan, opened.checkpoint, target);
  Probe probe;
  probe.widths = to_string(widths);
  probe.fingerprint = opened.checkpoint.fingerprint();
  probe.inputs = ExampleInputs::of_tokens({1, 7, 3, 49, 0, 12, 12, 30});
  probe.vocab_size = opened.model.vocab_size;
  probe.logits =
      test::ReferenceLlama(llama).logits(probe.inputs.tokens, {widths.begin(), widths.end()});
  probe.artifact = Checkpoint::open(target).fingerprint();
  probe.tolerance = probe.operand_tolerance =
      logits_tolerance(probe.logits, llama.full, widths.size());
  write_probe(probe, target / kProbeFile);
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

// Makes `bytes` bytes of the file zero, the first at `begin_from_end` before its end.
void corrupt(const fs::path& file, std::size_t begin_from_end, std::size_t bytes) {
  std::string content = test::slurp(file);
  for (std::size_t i = 0; i < bytes; ++i) content[content.size() - begin_from_end + i] = '\0';
  test::spew(file, content);
}

TEST(Verify, ADamagedProbeIsASentence) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  TempDir dir;
  test::TinyLlama llama;
  llama.write(dir / "model");
  const fs::path out = dir / "out";
  write_export(dir / "model", llama, out, {16, 16, 16}, Dtype::kF32, 5'000'000'000);
  const std::string sound = test::slurp(out / kProbeFile);
  const auto with_tolerance = [&](std::string text) {
    const std::string key = "\"tolerance\":\"";
    const std::size_t begin = sound.find(key) + key.size();
    const std::size_t length = sound.find('"', begin) - begin;
    text.resize(length, ' ');
    return std::string(sound).replace(begin, length, text);
  };
  const std::string cases[] = {
      "",
      sound.substr(0, sound.size() - 1),
      replaced(sound, "\"1,7,", "\"1,x,"),
      replaced(sound, "\"1,7,3,49", "\"1,7,3,99"),  // outside the vocabulary
      replaced(sound, "\"1,7,", "\"1,77"),          // one token less
      replaced(sound, "\"tokens\"", "\"tokenz\""),
      replaced(sound, "\"F32\"", "\"I32\""),
      replaced(sound, "probe-2", "probe-1"),
      with_tolerance("1e300"),
      with_tolerance("1e1"),  // more than the largest logit
      with_tolerance("0"),
      with_tolerance("-1"),
      with_tolerance("nan"),
      replaced(sound, "16x3", "16\\t"),
  };
  std::size_t number = 0;
  for (const std::string& probe : cases) {
    test::spew(out / kProbeFile, probe);
    const Answer answer = verify("transformers " + out.string());
    EXPECT_EQ(answer.status, 1) << number << answer.text;
    EXPECT_TRUE(answer.text.starts_with(out.string() + ": cannot read its probe.safetensors: "))
        << number << answer.text;
    EXPECT_EQ(answer.text.find('\n'), answer.text.size() - 1) << number << answer.text;
    ++number;
  }
  EXPECT_FALSE(fs::exists(out / "verified.json"));
}

TEST(Verify, AgreesWithSoundExportsAndCatchesOneWrongRow) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  TempDir dir;
  test::TinyLlama llama;
  llama.kv_heads = 2;
  llama.tied = true;
  llama.dtype = Dtype::kBF16;
  llama.shards = 2;
  llama.write(dir / "model");
  write_export(dir / "model", llama, dir / "uniform", {16, 16, 16}, Dtype::kBF16, 5'000'000'000);
  write_export(dir / "model", llama, dir / "mixed", {8, 32, 4}, Dtype::kBF16, 2'000);
  write_export(dir / "model", llama, dir / "widened", {32, 8, 16}, Dtype::kF32, 5'000'000'000);
  write_export(dir / "model", llama, dir / "wrong", {16, 16, 16}, Dtype::kF32, 5'000'000'000);
  // The file ends with model.norm [16], before it the last down_proj [16, 16]: one of its rows.
  corrupt(dir / "wrong/model.safetensors", (16 + 16 * 16) * 4, 16 * 4);
  write_export(dir / "model", llama, dir / "cut", {16, 16, 16}, Dtype::kF32, 5'000'000'000);
  fs::resize_file(dir / "cut/model.safetensors", fs::file_size(dir / "cut/model.safetensors") - 1);

  test::spew(dir / "widened/verified.json", "[1]");

  std::string arguments = "transformers";
  for (const char* name : {"uniform", "mixed", "widened", "wrong", "cut", "absent"}) {
    arguments += fmt::format(" {}", (dir / name).string());
  }
  const Answer answer = verify(arguments);
  const auto says = [&](const char* name, const char* verdict) {
    const auto line = fmt::format("{}: transformers {}", (dir / name).string(), verdict);
    return answer.text.find(line) != std::string::npos;
  };
  EXPECT_EQ(answer.status, 1);
  EXPECT_TRUE(says("uniform", "agrees")) << answer.text;
  EXPECT_TRUE(says("mixed", "agrees")) << answer.text;
  EXPECT_TRUE(says("widened", "agrees")) << answer.text;
  EXPECT_TRUE(says("wrong", "DISAGREES")) << answer.text;
  EXPECT_TRUE(says("cut", "failed")) << answer.text;
  EXPECT_NE(answer.text.find("absent: there is no such directory"), std::string::npos)
      << answer.text;
  EXPECT_NE(answer.text.find("widened: the answer is not recorded in verified.json"),
            std::string::npos)
      << answer.text;
  EXPECT_EQ(test::slurp(dir / "widened/verified.json"), "[1]");

  // What was measured lies beside what was measured.
  const auto recorded = [&](const char* name) { return read_json(dir / name / "verified.json"); };
  EXPECT_FALSE(fs::exists(dir / "cut/verified.json"));
  for (const char* name : {"mixed", "wrong"}) {
    const nlohmann::json found = recorded(name);
    const Probe probe = read_probe(dir / name / kProbeFile);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0]["runtime"], "transformers");
    EXPECT_EQ(found[0]["version"], "5.23.0");
    EXPECT_EQ(found[0]["artifact"], probe.artifact);
    EXPECT_EQ(found[0]["agrees"], name == std::string("mixed"));
    EXPECT_NEAR(found[0]["tolerance"].get<double>(), probe.tolerance, 1e-8 * probe.tolerance);
  }
  EXPECT_LE(recorded("mixed")[0]["worst"], recorded("mixed")[0]["tolerance"]);
  EXPECT_GT(recorded("wrong")[0]["worst"], recorded("wrong")[0]["tolerance"]);

  // And in the store, which knows the export by its fingerprint; another export is no part of it.
  const fs::path db = dir / "results.db";
  Store store = Store::open(db, Store::Mode::kWrite);
  Store::Artifact artifact;
  artifact.model = store.model({"f", "model", "llama", "{}", "4"});
  artifact.widths = {8, 32, 4};
  artifact.check = "{}";
  artifact.fingerprint = read_probe(dir / "mixed" / kProbeFile).artifact;
  artifact.path = "elsewhere";
  store.add_artifact(artifact);
  artifact.path = fs::canonical(dir / "mixed").string();
  const std::int64_t id = store.add_artifact(artifact);
  artifact.path = "elsewhere";
  store.add_artifact(artifact);
  const Answer again = verify(fmt::format("transformers {} {} --db {}", (dir / "mixed").string(),
                                          (dir / "uniform").string(), db.string()));
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.text.find("has no artifact"), std::string::npos) << again.text;
  const auto verified = store.verifications();
  ASSERT_EQ(verified.size(), 1u) << again.text;
  EXPECT_EQ(verified[0].artifact, id);
  EXPECT_EQ(verified[0].runtime, "transformers");
  EXPECT_TRUE(verified[0].agrees);
  ASSERT_TRUE(verified[0].worst);
  EXPECT_LE(*verified[0].worst, verified[0].tolerance);
  EXPECT_EQ(recorded("mixed").size(), 1u) << "the last word of each runtime";

  // Nothing that a stranger put there runs when the row is added, whatever its name.
  test::query(db,
              "DROP TRIGGER record_stays; CREATE TRIGGER record_stays AFTER INSERT ON "
              "verification BEGIN DELETE FROM artifact; END");
  const Answer planted =
      verify(fmt::format("transformers {} --db {}", (dir / "mixed").string(), db.string()));
  EXPECT_NE(planted.text.find("holds 'record_stays', which mixnmatch did not make"),
            std::string::npos)
      << planted.text;
}

// An export comes from a stranger: what it brings along runs when the user says so, and not before.
TEST(Verify, RunsNoCodeThatThisProgramDoesNotShip) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  TempDir dir;
  test::TinyLlama llama;
  llama.write(dir / "model");
  for (const char* name : {"sound", "changed", "foreign", "linked", "elsewhere", "kernel", "inner",
                           "deep", "answered"}) {
    write_export(dir / "model", llama, dir / name, {8, 32, 4}, Dtype::kF32, 5'000'000'000);
  }
  const fs::path mark = dir / "PWNED", victim = dir / "victim.json";
  const fs::path bridge = dir / "changed/modeling_mixnmatch_llama.py";
  test::spew(bridge, fmt::format("open('{}', 'w').write(open('/proc/net/dev').read())\n{}",
                                 mark.string(), test::slurp(bridge)));
  test::spew(
      dir / "foreign/config.json",
      R"({"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "attacker/repo--m.X"}})");
  // As transformers lets a config name another, which it reads in its place.
  test::spew(dir / "elsewhere/evil.py", fmt::format("open('{}', 'w').close()", mark.string()));
  test::spew(
      dir / "elsewhere/config.json",
      R"({"model_type": "llama", "auto_map": {}, "configuration_files": ["config.4.0.0.json"]})");
  test::spew(dir / "elsewhere/config.4.0.0.json",
             R"({"model_type": "llama", "auto_map": {"AutoConfig": "evil.X"}})");
  test::spew(dir / "kernel/config.json",
             R"({"model_type": "llama", "text": {"_attn_implementation": "attacker/kernel:fn"}})");
  test::spew(
      dir / "inner/config.json",
      R"({"model_type": "llama", "text_config": {"auto_map": {"AutoModelForCausalLM": "/e--m.X"}}})");
  test::spew(dir / "deep/config.json", R"({"model_type": "llama", "num_hidden_layers": 3000000})");
  test::spew(dir / "answered/verified.json", "[]");
  fs::resize_file(dir / "answered/verified.json", 1 << 30);  // of holes
  test::spew(victim, "[]");
  fs::create_symlink(victim, dir / "linked/verified.json");

  std::string arguments;
  for (const char* name : {"sound", "changed", "foreign", "linked", "elsewhere", "kernel", "inner",
                           "deep", "answered"}) {
    arguments += " " + (dir / name).string();
  }
  const Answer answer = verify("transformers" + arguments);
  EXPECT_EQ(answer.status, 1);
  const auto says = [&](const char* name, const char* what) {
    const std::string begin = (dir / name).string() + ": " + what;
    EXPECT_NE(answer.text.find(begin), std::string::npos) << begin << "\n" << answer.text;
  };
  says("sound", "transformers agrees");
  says("changed", "transformers is not asked: it would run modeling_mixnmatch_llama.py");
  says("foreign", "transformers is not asked: its auto_map names code of another repository");
  says("elsewhere", "transformers is not asked: its config.json names other files");
  says("kernel", "transformers is not asked: it would run the kernel attacker/kernel:fn");
  says("inner", "transformers is not asked: its config.json names code inside text_config");
  says("linked", "the answer is not recorded in verified.json");
  says("deep", "transformers failed: its config.json says num_hidden_layers 3000000, at most 1024");
  says("answered", "the answer is not recorded in verified.json: it has 1073741824 bytes");
  EXPECT_FALSE(fs::exists(mark));
  EXPECT_EQ(test::slurp(victim), "[]");
  EXPECT_FALSE(fs::exists(dir / "changed/verified.json"));

  // Of a key that is there twice, the library reads both.
  test::spew(dir / "sound/genai_config.json",
             R"({"model": {"decoder": {"session_options": {"custom_ops_library": "x.so"},)"
             R"( "session_options": {}}}})");
  const Answer twice = verify("onnxruntime-genai " + (dir / "sound").string());
  EXPECT_EQ(twice.status, 1);
  EXPECT_NE(twice.text.find("not asked: its configuration says 'session_options' twice"),
            std::string::npos)
      << twice.text;

  const Answer trusted = verify("transformers --trust " + (dir / "changed").string());
  EXPECT_EQ(trusted.status, 0) << trusted.text;
  EXPECT_NE(trusted.text.find("transformers runs modeling_mixnmatch_llama.py"), std::string::npos)
      << trusted.text;
  // It found no network but the loopback, where a user may take it away.
  const std::string networks = test::slurp(mark);
  if (std::system("unshare --user --map-current-user --net true 2> /dev/null") == 0) {
    EXPECT_EQ(std::ranges::count(networks, ':'), 1) << networks;
  }
}

// A few bytes of a graph say a computation without an end, which is stopped.
TEST(Verify, AnEndlessModelIsStopped) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  TempDir dir;
  test::TinyLlama llama;
  llama.write(dir / "model");
  write_export(dir / "model", llama, dir / "out", {16, 16, 16}, Dtype::kF32, 5'000'000'000);
  ASSERT_EQ(test::python_failure("export/endless_onnx.py", {dir / "out/scorer.onnx"}, dir), "");
  ASSERT_LT(fs::file_size(dir / "out/scorer.onnx"), 1000u);
  const Answer answer = verify("onnxruntime --seconds 1 " + (dir / "out").string());
  EXPECT_EQ(answer.status, 1);
  EXPECT_NE(answer.text.find("and was stopped; --seconds allows more"), std::string::npos)
      << answer.text;
}

TEST(Verify, ItsPartsHoldAgainstStrangers) {
  if (!test::python_has("transformers")) GTEST_SKIP() << test::kNoPython;
  const TempDir dir;
  EXPECT_EQ(test::python_failure("export/verify_check.py", {dir.path()}, dir), "");
}

}  // namespace
}  // namespace mnm
