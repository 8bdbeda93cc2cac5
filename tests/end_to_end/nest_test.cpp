// mixnmatch nest and the healing after it, as a user runs them: done, or one sentence and nothing
// written.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

class Nest : public Workshop {
 protected:
  Nest() {
    llama_.granularities = {};
    ordinary_ = llama_.write(dir_ / "ordinary").string();
  }

  std::vector<std::string> nest(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"nest", ordinary_, "--out", path("out"), "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string file(const std::string& name, const std::string& bytes) const {
    spew(dir_ / name, bytes);
    return path(name);
  }

  std::string ordinary_;
};

TEST_F(Nest, AnOrdinaryModelIsSearchedAndHealed) {
  const Result done =
      expect_done(nest({"--data", search_, "--context", "32", "--granularities", "1/4,1/2,1"}));
  EXPECT_NE(
      done.out.find(
          "4 layers of 32 neurons sorted by iterative over 8 sequences of 32 tokens of search.bin"),
      std::string::npos)
      << done.out;
  EXPECT_NE(done.out.find("the order of summation explains"), std::string::npos) << done.out;
  EXPECT_TRUE(fs::exists(path("out/probe.safetensors")));
  const nlohmann::json note = nlohmann::json::parse(slurp(path("out/config.json")))["mixnmatch"];
  EXPECT_EQ(note["nested"]["score"], "iterative");
  EXPECT_EQ(note["nested"]["sequences"], 8);
  expect_done({"search", path("out"), "--data", search_, "--confirm", confirm_, "--db", db_,
               "--context", "32", "--threads", "1", "--strategy", "uniform", "--keep", "0=full"});
  const std::vector<std::string> healing = {
      "train",     "--from",   path("out"), "--tokens", search_,     "--out", path("run"),
      "--context", "16",       "--steps",   "2",        "--batch",   "1",     "--schedule",
      "sandwich",  "--distil", "0.5",       "--freeze", "--threads", "1"};
  for (const char* name : {"tokenizer_config.json", "LICENSE"}) spew(dir_ / "out" / name, "{}");
  expect_done(healing);
  for (const char* name : {"tokenizer_config.json", "LICENSE"}) {
    EXPECT_EQ(slurp(path("run/model/" + std::string(name))), "{}");
  }
  EXPECT_FALSE(fs::exists(path("run/model/probe.safetensors")));
  expect_done(
      {"export", path("run/model"), "--widths", "8x4", "--out", path("sub"), "--threads", "1"});

  // Sorting what is nested is asked for twice: it is not sorted by mistake.
  std::vector<std::string> again = {"nest",  path("out"),   "--score",   "magnitude",
                                    "--out", path("again"), "--threads", "1"};
  expect_refused(again, 1,
                 "is nested already: its config names 3 granularities, and 'nest' sorted its "
                 "neurons");
  again.push_back("--force");
  std::vector<std::string> otherwise = again;
  otherwise.insert(otherwise.end(), {"--granularities", "1/2,1"});
  expect_refused(otherwise, 2, "granularities '1/2,1' differ from the config's");
  expect_done(again);
  EXPECT_TRUE(fs::exists(path("again/model.safetensors")));
}

// Sorted with means, searched at any width, healed, and written in every format that holds biases.
TEST_F(Nest, ACompensatedModelIsSearchedHealedAndExported) {
  const std::vector<std::string> nesting =
      nest({"--data", search_, "--context", "32", "--compensate"});
  std::vector<std::string> dry = nesting;
  dry.push_back("--dry-run");
  const Result planned = expect_done(dry);
  EXPECT_NE(planned.out.find("compensation.safetensors"), std::string::npos) << planned.out;
  EXPECT_NE(planned.err.find("sorted by iterative and compensated"), std::string::npos);
  const Result done = expect_done(nesting);
  EXPECT_NE(done.out.find("sorted by iterative and compensated over 8 sequences of 32 tokens"),
            std::string::npos)
      << done.out;
  const nlohmann::json config = nlohmann::json::parse(slurp(path("out/config.json")));
  EXPECT_EQ(config["mixnmatch_compensated"], true);
  EXPECT_EQ(config["mlp_bias"], false) << "other programs load it as before";
  EXPECT_EQ(config["mixnmatch"]["nested"]["compensated"], true);

  expect_done({"search", path("out"), "--data", search_, "--confirm", confirm_, "--db", db_,
               "--context", "32", "--threads", "1", "--strategy", "random", "--max-evaluations",
               "6", "--widths-step", "4"});
  for (const std::string format : {"huggingface", "gguf", "onnx"}) {
    const Result written = expect_done({"export", path("out"), "--widths", "16,32,13,8", "--format",
                                        format, "--out", path("of-" + format), "--threads", "1"});
    EXPECT_NE(written.out.find("the nested model at these widths differs from it by"),
              std::string::npos)
        << format << ": " << written.out;
  }
  expect_done({"export", path("out"), "--widths", "16,32,13,8", "--pad-to-uniform", "--out",
               path("padded"), "--threads", "1"});
  expect_refused({"export", path("out"), "--widths", "16", "--format", "decilm", "--out",
                  path("refused"), "--threads", "1"},
                 1, "multiples of 256");
  EXPECT_FALSE(fs::exists(path("refused")));
  for (const fs::directory_entry& entry : fs::directory_iterator(dir_.path())) {
    EXPECT_FALSE(entry.path().filename().string().ends_with(".biases")) << entry.path();
  }
  expect_done({"train", "--from", path("out"), "--tokens", search_, "--out", path("run"),
               "--context", "16", "--steps", "2", "--batch", "1", "--schedule", "sandwich",
               "--distil", "0.5", "--threads", "1"});
  expect_done({"eval", path("run/model"), "--data", search_, "--context", "32", "--widths", "8",
               "--threads", "1"});
  expect_done({"generate", path("out"), "--widths", "8", "--prompt", "import", "--max-new-tokens",
               "4", "--threads", "1"});
  EXPECT_NE(expect_done({"inspect", path("out")}).out, "");
}

TEST_F(Nest, ADryRunWritesNothing) {
  const Result planned = expect_done(nest({"--dry-run"}));
  EXPECT_NE(planned.out.find("model.safetensors"), std::string::npos) << planned.out;
  EXPECT_NE(planned.err.find("4 layers of 32 neurons would be sorted"), std::string::npos)
      << planned.err;
  EXPECT_FALSE(fs::exists(path("out")));
}

// Killed, or stopped, when two layers are calibrated: the same command goes on, to the same bytes.
TEST_F(Nest, ACalibrationThatWasKilledGoesOn) {
  const fs::path state = dir_ / ".out.unfinished";
  const auto lines = [&] {
    const std::string text = slurp(state);
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto written = [&] {
    std::map<std::string, std::string> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(path("out"))) {
      files[entry.path().filename().string()] = slurp(entry.path());
    }
    return files;
  };
  // Two lines are the head, each further one is a layer.
  const auto interrupt = [&](const std::vector<std::string>& command, int signal, int layers) {
    Running running(mixnmatch_argv(command), Running::Start::kTraced);
    EXPECT_TRUE(running.hold([&] { return fs::exists(state) && lines() >= 2 + layers; },
                             [&] { running.signal(signal); }));
    return running.wait();
  };
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"--stream"}, {"--compensate"}, {"--score", "l2"}}) {
    std::vector<std::string> command = nest({"--data", search_, "--context", "32"});
    command.insert(command.end(), more.begin(), more.end());
    fs::remove_all(path("out"));
    expect_done(command);
    EXPECT_FALSE(fs::exists(state));
    const auto expected = written();
    fs::remove_all(path("out"));
    EXPECT_EQ(interrupt(command, SIGKILL, 2).status, -SIGKILL);
    EXPECT_FALSE(fs::exists(path("out")));
    const Result stopped = interrupt(command, SIGINT, 3);
    EXPECT_EQ(stopped.status, 1) << stopped.err;
    EXPECT_NE(stopped.err.find("stopped; the same command goes on after the "), std::string::npos)
        << stopped.err;
    const Result done = expect_done(command);
    EXPECT_NE(done.err.find(" of 4 layers were calibrated by an earlier run"), std::string::npos)
        << done.err;
    EXPECT_EQ(written(), expected);
    EXPECT_FALSE(fs::exists(state));
  }
}

TEST_F(Nest, ACalibrationWithAnotherSettingBeginsAnew) {
  const fs::path state = dir_ / ".out.unfinished";
  const std::vector<std::string> command = nest({"--data", search_, "--context", "32"});
  {
    Running running(mixnmatch_argv(command), Running::Start::kTraced);
    running.hold([&] { return fs::exists(state); }, [&] { running.signal(SIGKILL); });
    ASSERT_EQ(running.wait().status, -SIGKILL);
  }
  const std::string left = slurp(state);
  const std::tuple<std::vector<std::string>, std::string> cases[] = {
      {nest({"--data", search_, "--context", "16"}), "with context 32, this run has 16"},
      {nest({"--data", search_, "--context", "32", "--max-tokens", "128"}), "this run has "},
      {nest({"--data", confirm_, "--context", "32"}), "with data \""},
      {nest({"--data", search_, "--context", "32", "--dtype", "bf16"}),
       "with dtype \"f32\", this run has \"bf16\""},
      {nest({"--data", search_, "--context", "32", "--score", "l2"}),
       "with score \"iterative\", this run has \"l2\""},
  };
  for (const auto& [other, says] : cases) {
    spew(state, left);
    const Result done = expect_done(other);
    EXPECT_NE(done.err.find("is not used, and calibration begins anew"), std::string::npos);
    EXPECT_NE(done.err.find(says), std::string::npos) << says << "\n" << done.err;
    EXPECT_EQ(done.err.find("by an earlier run"), std::string::npos) << done.err;
    EXPECT_FALSE(fs::exists(state));
    fs::remove_all(path("out"));
  }
  // Granularities are no setting of the calibration.
  spew(state, left);
  const Result done =
      expect_done(nest({"--data", search_, "--context", "32", "--granularities", "1/2,1"}));
  EXPECT_NE(done.err.find("by an earlier run"), std::string::npos) << done.err;
  fs::remove_all(path("out"));
  spew(state, "a diary");
  expect_refused(command, 1, "is not what an earlier run left; move it away");
  EXPECT_EQ(slurp(state), "a diary");
}

TEST_F(Nest, WhatCannotBeSortedIsOneSentence) {
  llama_.vocab = 100;
  const std::string narrow = llama_.write(dir_ / "narrow").string();
  const std::string same = file("same.bin", std::string(200, 'a'));
  const std::string shorter = file("short.bin", std::string(20, 'a'));
  const std::tuple<std::vector<std::string>, int, std::string> cases[] = {
      {{}, 2, "--score iterative needs --data, text or images to calibrate on"},
      {{"--score", "magnitude", "--data", search_}, 2, "reads no data"},
      {{"--score", "best", "--data", search_}, 2, "best"},
      {{"--score", "magnitude", "--compensate"},
       2,
       "--compensate needs --data, text or images over which"},
      {{"--data", same, "--compensate"}, 1, "all of its 192 tokens are token 97"},
      {{"--data", same}, 1, "all of its 192 tokens are token 97"},
      {{"--data", shorter}, 2, "not one sequence of 32 tokens"},
      {{"--data", path("gone.bin")}, 1, "gone.bin"},
      {{"--data", search_, "--granularities", "1/5,1"}, 2, "is no whole number"},
      {{"--data", search_, "--granularities", "64,32"}, 2, "64 is wider than layer 0's full width"},
  };
  for (const auto& [more, status, says] : cases) {
    expect_refused(nest(more), status, says);
    EXPECT_FALSE(fs::exists(path("out")));
  }
  expect_refused({"nest", narrow, "--data", search_, "--token-format", "bytes", "--out",
                  path("out"), "--threads", "1"},
                 1, "outside");
  expect_refused({"nest", ordinary_, "--data", search_, "--out", ordinary_, "--threads", "1"}, 2,
                 "that would replace");
  EXPECT_FALSE(fs::exists(path("out")));
  for (const fs::directory_entry& entry : fs::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().filename().string().find(".partial-"), std::string::npos);
  }
}

TEST_F(Nest, ATeacherOfOtherWordsIsRefused) {
  llama_.vocab = 200;
  const std::string other = llama_.write(dir_ / "other").string();
  const Result refused = mixnmatch({"train", "--from", ordinary_, "--tokens", search_, "--out",
                                    path("run"), "--context", "16", "--steps", "1", "--distil", "1",
                                    "--teacher", other, "--threads", "1"});
  EXPECT_EQ(refused.status, 1) << refused.out;
  EXPECT_NE(refused.err.find("it has 200 words, the model that is trained has 256"),
            std::string::npos)
      << refused.err;
  EXPECT_FALSE(fs::exists(path("run/model")));
  // As many words, in another order.
  llama_.vocab = 256;
  const std::string twin = llama_.write(dir_ / "twin").string();
  const auto tokenizer = [](const char* first, const char* second) {
    return nlohmann::json{{"model",
                           {{"type", "BPE"},
                            {"vocab", {{first, 0}, {second, 1}}},
                            {"merges", nlohmann::json::array()}}},
                          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                          {"decoder", {{"type", "ByteLevel"}}}}
        .dump();
  };
  const std::vector<std::string> taught = {"train", "--from",    ordinary_,   "--tokens",
                                           search_, "--out",     path("run"), "--context",
                                           "16",    "--steps",   "1",         "--distil",
                                           "1",     "--teacher", twin,        "--token-format",
                                           "bytes", "--threads", "1"};
  spew(path("ordinary/tokenizer.json"), tokenizer("a", "b"));
  spew(path("twin/tokenizer.json"), tokenizer("b", "a"));
  expect_refused(taught, 1, "its tokenizer gives words other numbers");
  EXPECT_FALSE(fs::exists(path("run/model")));
  spew(path("twin/tokenizer.json"), tokenizer("a", "b"));
  expect_done(taught);
  expect_refused({"train", "--tokens", search_, "--out", path("run")}, 2,
                 "give either CONFIG, a config.json, or --from");
}

}  // namespace
}  // namespace mnm::test
