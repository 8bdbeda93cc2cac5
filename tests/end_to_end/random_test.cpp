// Checkpoints of random weights, and what is known of a model without any.
#include <cmath>
#include <csignal>
#include <cstring>

#include "tests/end_to_end/workshop.h"

namespace mnm::test {
namespace {

namespace fs = std::filesystem;

const std::string kShapes = std::string(MNM_SOURCE_DIR) + "/data/shapes/";

TEST_F(Workshop, RandomCheckpointsAreInspectedScoredAndExported) {
  const std::string config = path("model/config.json"), out = path("random");
  expect_done({"random", config, "--out", out, "--seed", "7", "--shard-size", "8K"});
  expect_done({"random", config, "--out", path("again"), "--seed", "7", "--shard-size", "8K"});
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(out)) {
    const fs::path name = entry.path().filename();
    EXPECT_TRUE(slurp(entry.path()) == slurp(path("again") / name)) << name;
    ++files;
  }
  EXPECT_GT(files, 3u) << "several shards, their index and a config";

  const nlohmann::json shown = expect_done({"inspect", out, "--json"}).json();
  EXPECT_EQ(shown["provenance"]["random_weights"]["seed"], 7);
  EXPECT_EQ(shown["uniform"], expect_done({"inspect", model_, "--json"}).json()["uniform"]);
  const auto scores =
      expect_done({"eval", out, "--data", search_, "--context", "32", "--json", "--threads", "1"})
          .json();
  for (const auto& score : scores) {
    // With weights this small a model knows nothing: the loss is that of a uniform guess.
    EXPECT_NEAR(score["loss"].get<double>(), std::log(256.0), 0.05);
  }
  expect_done({"export", out, "--widths", "8", "--out", path("cut"), "--threads", "1"});

  expect_refused({"random", config, "--out", out}, 1, "exists");
  expect_refused({"random", config, "--out", path("x"), "--shard-size", "0"}, 2, "shard-size");
  expect_refused({"random", path("gone.json"), "--out", path("x")}, 1, "gone.json");
  EXPECT_FALSE(fs::exists(path("x")));
}

TEST_F(Workshop, FewerLayersAreTheFirstOnes) {
  const std::string config = path("model/config.json");
  expect_done({"random", config, "--out", path("four"), "--dtype", "f32"});
  expect_done({"random", config, "--out", path("two"), "--dtype", "f32", "--layers", "2"});
  EXPECT_EQ(expect_done({"inspect", path("two"), "--json"}).json()["layers"], 2);
  // The same tensors come first in both, so the shorter data are the longer's but for what follows
  // the layers.
  const std::string four = slurp(path("four/model.safetensors"));
  const std::string two = slurp(path("two/model.safetensors"));
  const auto data = [](const std::string& file) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    return file.substr(8 + length);
  };
  const std::size_t layers = 4 * (256 * 16 + 2 * (2 * 16 + 4 * 16 * 16 + 3 * 16 * 32));
  EXPECT_EQ(data(four).substr(0, layers), data(two).substr(0, layers));
}

TEST_F(Workshop, AnInterruptedRandomCheckpointLeavesNothing) {
  const std::string home = path("home");
  fs::create_directory(home);
  std::signal(SIGHUP, SIG_DFL);  // nohup's children have it ignored
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    Running running(
        mixnmatch_argv({"random", kShapes + "llama-3.2-1b.json", "--out", home + "/big"}));
    while (fs::is_empty(home) && !running.ended()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ASSERT_FALSE(fs::is_empty(home));
    running.signal(number);
    EXPECT_EQ(running.wait().status, 1);
    EXPECT_TRUE(fs::is_empty(home));
  }
}

// 40B cut from a 70B model, from its shape alone.
TEST_F(Workshop, TheShapeOf70BIsEnoughToPlanACut) {
  const std::string config = kShapes + "llama-70b.json";
  const Result inspected = expect_done({"inspect", config, "--json"});
  // 80 layers of 2 * 8192^2 + 2 * 1024 * 8192 + 3 * 8192 * w + 2 * 8192, twice 128256 * 8192, 8192.
  EXPECT_EQ(inspected.json()["uniform"][3]["params"], 70553706496);
  EXPECT_TRUE(inspected.json()["fingerprint"].is_null());

  fs::create_directory(path("bare"));
  fs::copy(config, path("bare/config.json"));
  for (const std::string& from : {config, path("bare")}) {
    const Result planned = expect_done({"export", from, "--dry-run", "--budget", "40B"});
    EXPECT_LT(planned.max_resident_kib, 100 * 1024);
    EXPECT_NE(planned.out.find("7168x14,14336x66: the largest least-slope submodel"),
              std::string::npos)
        << planned.out;
    EXPECT_NE(planned.out.find("model-00001-of-00017.safetensors"), std::string::npos)
        << planned.out;
    EXPECT_NE(planned.out.find(" parameters, "), std::string::npos);
  }
  expect_refused({"export", config, "--dry-run", "--budget", "20B"}, 2, "21228691456");
  expect_refused({"export", config, "--budget", "40B", "--out", path("cut")}, 1, "without tensors");
  expect_refused({"export", config, "--budget", "40B"}, 2, "--out");
}

// The whole 70B, 141 GB of bf16, needs no disk to be planned.
TEST_F(Workshop, TheShapeOf70BIsEnoughToPlanItsRandomCheckpoint) {
  const Result planned =
      expect_done({"random", kShapes + "llama-70b.json", "--out", path("huge"), "--dry-run"});
  EXPECT_LT(planned.max_resident_kib, 100 * 1024);
  EXPECT_NE(planned.out.find("80 layers, 70553706496 parameters, 1411"), std::string::npos)
      << planned.out;
  EXPECT_NE(planned.out.find("-of-00030.safetensors"), std::string::npos) << planned.out;
  EXPECT_FALSE(fs::exists(path("huge")));
}

// What a dry run of the config says is what an export of the checkpoint writes.
TEST_F(Workshop, ThePlanOfAConfigIsWhatItsCheckpointExports) {
  fs::create_directories(path("bare/model"));
  fs::copy(path("model/config.json"), path("bare/model/config.json"));
  fs::remove_all(path("model"));  // --force does not replace what another program wrote
  expect_done({"random", path("bare/model"), "--out", path("model")});
  const std::vector<std::string> same = {"--budget", "15K",        "--shard-size",
                                         "8K",       "--no-check", "--dry-run"};
  const auto plan = [&](std::string from) {
    std::vector<std::string> words = {"export", std::move(from)};
    words.insert(words.end(), same.begin(), same.end());
    return expect_done(words).out;
  };
  EXPECT_EQ(plan(path("bare/model")), plan(model_));
}

// Escape sequences from a config or a store end as text.
TEST_F(Workshop, NothingFromOutsideSteersTheTerminal) {
  nlohmann::json config = llama_.config();
  config["model_type"] = "\x1b[2Jllama";
  spew(path("evil.json"), config.dump());
  const Result refused = mixnmatch({"inspect", path("evil.json")});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.err.find('\x1b'), std::string::npos) << refused.err;

  config = llama_.config();
  config["mixnmatch"] = {{"source", {{"name", "\x1b[2J"}, {"fingerprint", "\r"}}}};
  spew(path("model/config.json"), config.dump());
  const Result shown = expect_done({"inspect", model_});
  EXPECT_EQ(shown.out.find_first_of("\x1b\r"), std::string::npos) << shown.out;
  const Result gone = mixnmatch({"inspect", path("go\x1b[2Jne")});
  EXPECT_NE(gone.err.find("go\\x1b[2Jne"), std::string::npos) << gone.err;
}

}  // namespace
}  // namespace mnm::test
